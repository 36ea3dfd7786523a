/* SPDX-License-Identifier: Apache-2.0 */
/* weightward attack: what a lock is worth against somebody who has a related model. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define NO_WEIGHT (-1.0)

struct attack {
    struct cli_common common;
    char *anchor;
    char *truth;
    char *mode;
    double weight;
    struct cli_signing signing;
    char *descriptor;
    char *descriptor_dir;
};

static void tell_found(const struct attack *opt, const struct ww_attack_found *f)
{
    cli_say(&opt->common,
            "found: %llu residual indices moved and %llu negated, %llu heads "
            "moved, %llu dimensions of heads moved and %llu negated",
            (unsigned long long)f->residual_moved,
            (unsigned long long)f->residual_negated, (unsigned long long)f->heads_moved,
            (unsigned long long)f->inner_moved, (unsigned long long)f->inner_negated);
    cli_say(&opt->common,
            "       %llu neurons moved and %llu negated, %llu experts moved, "
            "%llu factors of two, %llu heads mixed by dense matrices",
            (unsigned long long)f->neurons_moved, (unsigned long long)f->neurons_negated,
            (unsigned long long)f->experts_moved, (unsigned long long)f->scaled,
            (unsigned long long)f->dense_heads);
    if (f->residual_rotated) {
        cli_say(&opt->common,
                "       a rotation of the residual stream over %llu dimensions, "
                "with the gains of norms folded",
                (unsigned long long)f->residual_rotated);
    }
    if (f->rows_alone) {
        cli_say(
            &opt->common,
            "       %llu rows of tables that the anchor lacks: undone with the others, "
            "compared with nothing",
            (unsigned long long)f->rows_alone);
    }
}

static bool is_nothing(const struct ww_attack_found *f)
{
    return !(f->residual_moved || f->residual_negated || f->residual_rotated ||
             f->heads_moved || f->inner_moved || f->inner_negated || f->neurons_moved ||
             f->neurons_negated || f->experts_moved || f->scaled || f->dense_heads);
}

static void tell_merge(const struct attack *opt, const struct ww_attack_report *report)
{
    cli_say(&opt->common,
            "merged with the anchor at weight %g by the products of %llu heads; "
            "%.2g %% of their norm did not fit",
            report->weight, (unsigned long long)report->found.product_heads,
            100 * report->dropped);
}

/* What was measured, and no more: without a truth nobody knows how much came back. */
static void tell(const struct attack *opt, const struct ww_attack_report *report,
                 const char *out)
{
    const bool merged = report->mode == WW_ATTACK_INVARIANT;

    tell_found(opt, &report->found);
    if (merged) {
        tell_merge(opt, report);
    }
    cli_say(&opt->common,
            "distance to the anchor, as a share of its norm: %.4f before, %.4f "
            "after",
            report->distance_before, report->distance_after);
    if (!report->scored) {
        cli_say(&opt->common,
                "without --truth it is not known how much of the source came "
                "back");
    } else if (report->identical == 1) {
        cli_say(&opt->common, "undone: every weight has the bits of the truth%s",
                merged ? "'s merge" : "");
    } else if (report->has_task) {
        cli_say(&opt->common,
                "recovered %.1f %% of the task vector; %.1f %% of the bytes are "
                "those of the truth%s",
                100 * report->recovered, 100 * report->identical,
                merged ? "'s merge" : "");
    }
    if (report->drift_known) {
        cli_say(&opt->common,
                "outputs of blocks differ from the locked model's by at most "
                "%.2g",
                report->function_drift);
    }
    if (report->mode == WW_ATTACK_NAIVE) {
        cli_say(&opt->common,
                "measured only: mode naive undoes nothing and writes nothing");
    } else {
        if (!merged && is_nothing(&report->found)) {
            cli_say(&opt->common, "no lock was found: the weights are as they were");
        }
        cli_say(&opt->common, "written to '%s' in %.1f s%s", out, report->seconds,
                opt->signing.path ? ", signed" : "");
    }
}

static bool parse_mode(const char *word, enum ww_attack_mode *mode)
{
    static const enum ww_attack_mode all[] = {WW_ATTACK_JOINT, WW_ATTACK_AGA,
                                              WW_ATTACK_INVARIANT, WW_ATTACK_NAIVE};
    *mode = WW_ATTACK_JOINT;
    for (size_t i = 0; word && i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(word, ww_attack_mode_name(all[i])) == 0) {
            *mode = all[i];
            return true;
        }
    }
    return !word;
}

static int check_usage(const struct attack *opt, const char *verb)
{
    enum ww_attack_mode mode = WW_ATTACK_JOINT;
    const char *what = NULL;
    if (!opt->anchor) {
        what =
            "--anchor MODEL is needed: the base model, a sibling, or the merge partner";
    } else if (!parse_mode(opt->mode, &mode)) {
        return cli_choice(verb, "--mode", "joint, aga, invariant or naive", opt->mode);
    } else if (opt->weight != NO_WEIGHT && mode != WW_ATTACK_INVARIANT) {
        what = "--weight goes with --mode invariant";
    } else if (opt->weight != NO_WEIGHT && !(opt->weight > 0 && opt->weight < 1)) {
        what = "--weight is between 0 and 1, both excluded";
    }
    return what ? cli_usage(verb, what) : 0;
}

static int run_attack(const void *given, const char *verb, const char *const *args)
{
    const struct attack *opt = given;
    struct ww_error err = {0};
    struct ww_attack_report report = {0};
    struct ww_signer signer = {0};
    struct ww_attack_options options = {
        .anchor = opt->anchor,
        .truth = opt->truth,
        .weight = opt->weight == NO_WEIGHT ? 0 : opt->weight,
        .layout = {opt->descriptor_dir, opt->descriptor},
    };
    enum ww_err rc = WW_OK;
    int status = check_usage(opt, verb);
    if (status == 0) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    parse_mode(opt->mode, &options.mode);
    cli_catch_signals();
    rc = cli_signing_open(&opt->signing, &signer, &options.signer, &err);
    if (!rc) {
        rc = ww_attack_folder(args[0], args[1], &options, &report, &err);
    }
    if (rc) {
        goto out;
    }
    tell(opt, &report, args[1]);
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_attack_json(opt->anchor, &report, &json, &err);
        status = cli_answer_json(verb, &opt->common, rc, json, &err);
        rc = WW_OK;
    }
out:
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
    }
    ww_attack_report_release(&report);
    ww_signkey_free(signer.key);
    return status;
}

int cmd_attack(int argc, const char **argv)
{
    struct attack opt = {.weight = NO_WEIGHT, .signing = CLI_SIGNING};
    const struct poptOption table[] = {
        {"anchor", 0, POPT_ARG_STRING, &opt.anchor, 0,
         "base model, sibling or merge partner", "MODEL"},
        {"mode", 0, POPT_ARG_STRING, &opt.mode, 0,
         "joint (default), aga, invariant or naive", "MODE"},
        {"weight", 0, POPT_ARG_DOUBLE, &opt.weight, 0,
         "of the locked model in a merge by invariants; 0.5 by default", "W"},
        {"truth", 0, POPT_ARG_STRING, &opt.truth, 0,
         "the model before its lock, to score with", "MODEL"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_signing_table(&opt.signing, false), 0, NULL, NULL},
        {"descriptor", 0, POPT_ARG_STRING, &opt.descriptor, 0,
         "use this architecture descriptor", "ID"},
        {"descriptor-dir", 0, POPT_ARG_STRING, &opt.descriptor_dir, 0,
         "folder with more descriptors", "DIR"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "LOCKED OUT", 2, 2, run_attack, &opt);
}
