/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lineage decompose: shares of given sources in a model. */
#include "cli_lineage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct decompose {
    struct cli_common common;
    struct cli_family family;
    struct cli_planned planned;
};

static void tell_source(const struct ww_lineage_source *s)
{
    if (s->note) {
        printf("  '%s': %s, %s\n", s->name, s->included ? "included" : "left out",
               s->note);
        return;
    }
    printf("  '%s': share %.4f, 95 %% interval %.4f to %.4f", s->name, s->share, s->low,
           s->high);
    if (s->p_value >= 0) {
        printf(", p %.3g among the controls", s->p_value);
    }
    printf("%s", s->included && s->share < 0 ? ", taken away" : "");
    if (s->kept >= 0) {
        printf(", of its elements %.2f kept", s->kept);
    }
    printf("\n");
}

/* Is the layer behind p told in one breath with it? */
static bool goes_on(const struct ww_lineage_place *p)
{
    const bool none = p->of_layer == UINT32_MAX;

    return p[1].model == p->model &&
           p[1].of_layer == (none ? UINT32_MAX : p->of_layer + 1);
}

/* "layers: 0 to 2 are 0 to 2 of 'a', 3 to 5 are 1 to 3 of 'b'". Only their beginnings
 * were compared; a stack was replayed as well. */
static void tell_places(const struct ww_decompose_report *r, const char *base)
{
    const struct ww_lineage_place *p = r->places;
    const char *are = strcmp(r->method, "passthrough") == 0 ? "are" : "begin as";
    size_t from = 0;

    for (size_t i = 0; i < r->n_places; i++) {
        if (i + 1 < r->n_places && goes_on(&p[i])) {
            continue;
        }
        printf("%s%zu to %zu ", from ? ", " : "layers: ", from, i);
        if (p[i].of_layer == UINT32_MAX) {
            printf("are like none");
        } else if (p[i].model) {
            printf("%s %" PRIu32 " to %" PRIu32 " of '%s'", are, p[from].of_layer,
                   p[i].of_layer, p[i].model);
        } else {
            printf("come from %" PRIu32 " to %" PRIu32 " of descendants of '%s'",
                   p[from].of_layer, p[i].of_layer, base);
        }
        from = i + 1;
    }
    if (r->n_places) {
        printf("\n");
    }
}

static void tell_ranks(const struct ww_decompose_report *r)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;

    for (size_t i = 0; i < r->n_ranks; i++) {
        least = r->ranks[i].rank < least ? r->ranks[i].rank : least;
        most = r->ranks[i].rank > most ? r->ranks[i].rank : most;
    }
    if (r->n_ranks) {
        printf("what was added to %zu matrices has rank %" PRIu32 " to %" PRIu32
               " above rounding\n",
               r->n_ranks, least, most);
    }
}

/* The first line: what a reader may stop at. */
static void tell_answer(const struct ww_decompose_report *report, const char *suspect,
                        const char *base)
{
    size_t included = 0;
    size_t away = 0;
    char found[48];
    for (size_t i = 0; i < report->n_sources; i++) {
        included += report->sources[i].included;
        away += report->sources[i].included && report->sources[i].share < 0;
    }
    printf("%s: the weights of '%s' %s that %s candidate%s went into it beyond '%s'",
           !included            ? "DOES NOT SUPPORT"
           : report->incomplete ? "SUPPORTS IN PART"
                                : "SUPPORTS",
           suspect, included ? "support" : "do not support",
           cli_found_of(included, report->n_sources, found), cli_s(report->n_sources),
           base);
    if (away) {
        printf(", %zu of them below zero", away);
    }
    printf("\n");
}

/* What the suspect was, and what could not be compared for that. */
static void tell_disguise(const struct ww_decompose_report *report)
{
    if (report->disguise) {
        printf("the suspect is %s\n", report->disguise);
    }
    for (size_t i = 0; i < report->n_sources && report->heads > 0; i++) {
        const struct ww_lineage_source *s = &report->sources[i];
        printf("%s'%s' %.4f (%.4f to %.4f)",
               i ? ", " : "shares in the heads that were mixed: ", s->name, s->heads,
               s->heads_low, s->heads_high);
    }
    if (report->heads > 0) {
        printf("; %" PRIu64 " products compared\n", report->heads);
    }
    if (report->pruned >= 0.001) {
        printf("%.4f of its weights are zero where the base's are not, and left out\n",
               report->pruned);
    }
}

/* Is what is left as noise would be? */
static void tell_noise(const struct ww_decompose_report *report)
{
    if (report->noise_like) {
        printf(
            "%.4f of the difference is not explained, and it looks like noise (at most "
            "%.4f lies in directions): supports that no further source of a share of "
            "%.3f or more went in whole, if its task vector is as long as the "
            "candidates' and lies in directions as theirs do; a shorter one may hide "
            "with a larger share, and one that is noise itself looks the same\n",
            report->unexplained, report->structured, report->hides);
    } else if (report->has_noise && report->score >= WW_LINEAGE_NO_NOISE) {
        printf(
            "what is not explained is not as noise would be (%.1f standard deviations, "
            "%.0f are asked for): %.4f of the difference lies in directions, %.4f does "
            "not\n",
            report->score, WW_LINEAGE_NO_NOISE, report->structured,
            report->unexplained - report->structured);
    } else if (report->has_noise && report->copies < WW_LINEAGE_COPIES) {
        printf(
            "what is not explained looks like noise, but is so little that a noisy copy "
            "of a source would not show (%.1f standard deviations, %.0f are asked for)\n",
            report->copies, WW_LINEAGE_COPIES);
    } else if (report->has_noise && report->unexplained > WW_LINEAGE_MOSTLY) {
        printf("what is not explained looks like noise, but is most of the difference, "
               "as it is below a disguise that was not undone\n");
    } else if (report->has_noise) {
        printf(
            "what is not explained looks like noise, but is so long that a further "
            "source "
            "of a share of %.3f, or as much of one for which a candidate stands, could "
            "hide in it\n",
            report->hides);
    }
}

/* What may have gone in besides. */
static void tell_missing(const struct ww_decompose_report *report)
{
    if (report->incomplete) {
        printf("%.4f of the difference is not explained: training after a merge, or a "
               "source that was not given, and then its relatives look like sources\n",
               report->unexplained);
        if (report->n_controls == 0) {
            printf(
                "%s: give --control models, other descendants of the base that did not "
                "go in; their ranks tell\n",
                report->unexplained > WW_LINEAGE_MOSTLY
                    ? "so little is explained that a sibling which no candidate went "
                      "into, trained on similar data, may look the same"
                    : "a sibling trained on similar data may look like a small share");
        }
    } else if (report->still > 0) {
        printf(
            "%.4f of the difference is not explained by a sum, and no recipe was "
            "found; at %" PRIu64
            " places that none of these sources moves another one would have shown, and "
            "one in a thousand moved at most: elements were selected\n",
            report->unexplained, report->still);
    } else if (report->has_keep_rates && report->parts >= WW_LINEAGE_PARTS) {
        printf(
            "elements were dropped, and no recipe tells which; %.4f of those that moved "
            "are sums over some of the sources, so nothing shows another one\n",
            report->parts);
    } else if (report->has_keep_rates) {
        printf(
            "elements were dropped, and no recipe tells which: what is left unexplained "
            "does not tell whether a source is missing\n");
    }
    tell_noise(report);
    if (report->unseen > 0) {
        printf("weights were rounded after the merge: a source may stand for a relative "
               "that was not given, as another version of its training is, where that "
               "leaves less than %.2f of the difference\n",
               report->unseen);
    }
}

static void tell(const struct ww_decompose_report *report, const char *suspect,
                 const char *base)
{
    tell_answer(report, suspect, base);
    for (size_t i = 0; i < report->n_sources; i++) {
        tell_source(&report->sources[i]);
    }
    tell_disguise(report);
    if (report->root.layers) {
        printf("root shared with '%s': %" PRIu64 " of %" PRIu64 " rows match in place, "
               "log10 p at most %.0f\n",
               base, report->root.fixed_points, report->root.rows, report->root.log10_p);
    }
    tell_places(report, base);
    tell_ranks(report);
    printf("method: %s%s", report->method,
           report->gradient ? ", by numbers that run over the layers" : "");
    for (size_t i = 0; report->not_excluded[i]; i++) {
        printf("%s%s", i ? ", " : "; not excluded: ", report->not_excluded[i]);
    }
    if (report->recipe) {
        printf("; the %s recipe gives %.4f of the bits of a sample%s",
               report->nearest ? "nearest" : "best", report->method_match,
               report->nearest ? ", too few to take it for the suspect's" : "");
    }
    printf("\nexplained: %.4f of the difference, %.4f at most after rounding; %.4f of "
           "the moved weights come out bit for bit\n",
           report->r2, report->r2_ceiling, report->replay);
    tell_missing(report);
    printf("note: %s; sources that were not given cannot be found\n",
           report->confirmatory ? "confirmatory, as the plan says"
                                : "exploratory, without a plan signed beforehand");
}

static int run_decompose(const void *given, const char *verb, const char *const *args)
{
    const struct decompose *opt = given;
    const char *suspect = args[0];
    struct ww_decompose_report report = {0};
    struct ww_error err = {0};
    struct ww_decompose_options options = cli_family_options(&opt->family);
    if (!cli_family_is_whole(&opt->family)) {
        return cli_usage(verb, "--base MODEL and --candidate MODEL are needed");
    }
    options.plan = opt->planned.plan;
    options.plan_key = opt->planned.key;
    int status = cli_planned_check(&opt->planned, verb);
    if (!status) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_lineage_decompose(suspect, &options, &report, &err);
    cli_progress_done();
    cli_warn(&opt->common, report.warnings, report.n_warnings);
    if (rc) {
        status = cli_fail(CLI_LINEAGE, &opt->common, &err);
    } else if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_decompose_json(opt->family.base, &report, &json, &err);
        status = cli_answer_json(CLI_LINEAGE, &opt->common, rc, json, &err);
    } else {
        tell(&report, suspect, opt->family.base);
    }
    ww_decompose_report_release(&report);
    return status;
}

int lineage_decompose(int argc, const char **argv)
{
    struct decompose opt = {0};
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_family_table(&opt.family), 0, "Models:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_planned_table(&opt.planned), 0, "Plan:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "SUSPECT", 1, 1, run_decompose, &opt);
}
