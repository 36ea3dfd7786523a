/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every sentence is on one scale: what was measured supports it, or does not, or nothing
 * can be told. None proves. Where a rate of false claims is known it stands in the
 * sentence's ground, and where none is known that stands there.
 */
#include "report/lineage_sentences.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/utc.h"

#define ROOT_LOG10_P (-6.0) /* as docs/lineage.md has it */
#define COMPLETE 0.01       /* unexplained */

static const char *const limits[] = {
    "Sources that were not given cannot be found; the unexplained share alone shows "
    "them.",
    "Whoever has a suspect can make up a source that fits it, so a finding counts only "
    "against a model that is known to be older.",
    "Distillation and training on another model's answers leave nothing that is looked "
    "at "
    "here.",
    "Descent is no licence and no breach of one.",
    "It was made by one side; the other can run the commands below and compare.",
};

const char *ww_lineage_limit(size_t i)
{
    return i < WW_LEN(limits) ? limits[i] : NULL;
}

const char *ww_sentence_word(enum ww_sentence_scale scale)
{
    static const char *const words[] = {"supports", "does not support", "cannot tell"};

    return words[scale];
}

/* Takes both texts, be they NULL. */
static enum ww_err add(struct ww_sentences *f, const char *about,
                       enum ww_sentence_scale scale, char *claim, char *basis,
                       struct ww_error *err)
{
    f->items[f->n++] = (struct ww_sentence){about, scale, claim, basis};
    return claim && basis ? WW_OK : WW_FAIL_MEMORY(err, "a report");
}

static enum ww_err add_root(struct ww_sentences *f, const struct ww_lineage_report *r,
                            struct ww_error *err)
{
    const struct ww_lineage_root *root = &r->decompose.root;
    const bool found = root->layers && root->log10_p <= ROOT_LOG10_P;
    char *claim = ww_asprintf("'%s' and '%s' share initial weights or later ones",
                              r->models[0].name, r->models[1].name);

    if (!root->layers) {
        return add(
            f, "root", WW_SENTENCE_UNTOLD, claim,
            ww_strdup("there are no feed-forward rows in their own order to compare"),
            err);
    }
    return add(
        f, "root", found ? WW_SENTENCE_SUPPORTS : WW_SENTENCE_NOT, claim,
        ww_asprintf("%" PRIu64 " of %" PRIu64
                    " feed-forward rows match in place; between models of "
                    "independent initialisations, whose units nobody sorted, the "
                    "chance of so many is at most 10^%.0f (10^%.0f is asked for)%s",
                    root->fixed_points, root->rows, root->log10_p, ROOT_LOG10_P,
                    found ? "" : "; units that were permuted look the same"),
        err);
}

/* The share and what was asked of it. */
static char *share_of(const struct ww_lineage_source *s)
{
    return ww_asprintf("share %.4f, 95 %% interval %.4f to %.4f over tensors drawn anew "
                       "(%s %.2f is asked for)",
                       s->share, s->low, s->high, s->share < 0 ? "below" : "above",
                       s->share < 0 ? -WW_LINEAGE_LEAST : WW_LINEAGE_LEAST);
}

/* Siblings trained on similar data have as much in common as a source that leaves most of
 * the suspect unexplained; controls tell, if there are any. */
static bool may_be_sibling(const struct ww_decompose_report *d)
{
    return d->incomplete && d->n_controls == 0 && d->unexplained > WW_LINEAGE_MOSTLY;
}

/* What speaks against it, or how often it is wrong. */
static char *doubt_of(const struct ww_decompose_report *d,
                      const struct ww_lineage_source *s)
{
    if (s->p_value >= 0) {
        return ww_asprintf("p %.3g by rank among %zu controls, corrected for all "
                           "candidates, which cannot be below %.3g%s",
                           s->p_value, d->n_controls, 1.0 / (double)(d->n_controls + 1),
                           d->incomplete && s->included
                               ? "; but not all of the difference is explained, and "
                                 "relatives of a source that was not given look like "
                                 "sources"
                               : "");
    }
    if (d->incomplete && s->included) {
        return ww_asprintf(
            "but %.4f of the difference is not explained, and relatives of "
            "a source that was not given look like sources; no controls "
            "were given to tell (--control with other descendants of the base)",
            d->unexplained);
    }
    if (d->noise_like && s->included) {
        return ww_asprintf(
            "%.4f of the difference is not explained and looks like noise, in which a "
            "further source of a share below %.3f may hide, or one that is noise itself; "
            "no controls were given, so no rate of false claims is known",
            d->unexplained, d->hides);
    }
    if (d->still > 0 && s->included) {
        return ww_asprintf(
            "elements were selected by no known recipe, and at %" PRIu64
            " places that none of these sources moves, where another one would "
            "have shown, one in a thousand moved at most; no controls were given, "
            "so no rate of false claims is known",
            d->still);
    }
    if ((d->has_keep_rates || d->unseen > 0) && s->included &&
        d->parts >= WW_LINEAGE_PARTS) {
        return ww_asprintf("elements were dropped by no known recipe, and %.4f of those "
                           "that moved are sums over some of the sources, so that "
                           "nothing shows another one; no controls were given, so no "
                           "rate of false claims is known",
                           d->parts);
    }
    if (d->has_keep_rates && s->included) {
        return ww_strdup("but elements were dropped by no known recipe, which hides "
                         "whether a source was not given, and relatives of one look like "
                         "sources; no controls were given to tell");
    }
    return ww_strdup("no controls were given, so no rate of false claims is known");
}

/* What is left beside, where it was held against noise. */
static char *noise_of(const struct ww_decompose_report *d)
{
    if (d->noise_like) {
        return ww_asprintf("; what is left looks like noise (score %.1f, below %.0f is "
                           "asked for), and a further source that went in whole and is "
                           "as long as these would have shown from a share of %.3f on",
                           d->score, WW_LINEAGE_NO_NOISE, d->hides);
    }
    if (!d->has_noise) {
        return ww_strdup("");
    }
    if (d->score >= WW_LINEAGE_NO_NOISE) {
        return ww_asprintf("; what is left is not as noise would be (score %.1f, noise "
                           "is below %.0f)",
                           d->score, WW_LINEAGE_NO_NOISE);
    }
    if (d->unexplained > WW_LINEAGE_MOSTLY) {
        return ww_strdup("; what is left looks like noise, but is most of the "
                         "difference, as it is below a disguise that was not undone");
    }
    return d->copies < WW_LINEAGE_COPIES
               ? ww_strdup("; what is left looks like noise, but is so little that a "
                           "noisy copy of a source would not show")
               : ww_asprintf("; what is left looks like noise, in which a further source "
                             "of a share of %.3f could hide",
                             d->hides);
}

/* What rounding after the merge hides, with controls and without. */
static char *unseen_of(const struct ww_decompose_report *d,
                       const struct ww_lineage_source *s)
{
    return d->unseen > 0 && s->included
               ? ww_asprintf("; weights were rounded after the merge, and a relative of "
                             "this source that was not given, as another version of its "
                             "training is, may be what went in where it leaves less than "
                             "%.2f of the difference",
                             d->unseen)
               : ww_strdup("");
}

static char *rate_of(const struct ww_decompose_report *d,
                     const struct ww_lineage_source *s)
{
    char *share = NULL;
    char *doubt = NULL;
    char *unseen = NULL;
    char *all = NULL;

    if (s->note) {
        return ww_strdup(s->note);
    }
    share = share_of(s);
    doubt = doubt_of(d, s);
    unseen = unseen_of(d, s);
    all = share && doubt && unseen ? ww_asprintf("%s; %s%s", share, doubt, unseen) : NULL;
    ww_free(share);
    ww_free(doubt);
    ww_free(unseen);
    return all;
}

static enum ww_err add_sources(struct ww_sentences *f, const struct ww_lineage_report *r,
                               struct ww_error *err)
{
    const struct ww_decompose_report *d = &r->decompose;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < d->n_sources && !rc; i++) {
        const struct ww_lineage_source *s = &d->sources[i];
        rc = add(
            f, "source",
            !s->included        ? WW_SENTENCE_NOT
            : may_be_sibling(d) ? WW_SENTENCE_UNTOLD
                                : WW_SENTENCE_SUPPORTS,
            ww_asprintf("'%s' %s '%s' beyond '%s'", s->name,
                        s->included && s->share < 0 ? "was taken away in" : "went into",
                        r->models[0].name, r->models[1].name),
            rate_of(d, s), err);
    }
    return rc;
}

static enum ww_err add_recipe(struct ww_sentences *f, const struct ww_lineage_report *r,
                              struct ww_error *err)
{
    const struct ww_replay_report *p = &r->replay;
    double best = 0;
    char *claim = ww_asprintf("'%s' was computed by %s", r->models[0].name,
                              p->recipe ? "the recipe of this report"
                                        : "a recipe of the given models");

    if (!p->recipe) {
        const char *stored = r->decompose.disguise;
        return add(f, "recipe", WW_SENTENCE_UNTOLD, claim,
                   stored
                       ? ww_asprintf("the suspect is %s: no bits can be compared", stored)
                       : ww_strdup("no recipe could be inferred"),
                   err);
    }
    for (size_t i = 0; i < p->n_controls; i++) {
        best = fmax(best, p->controls[i].match);
    }
    return add(f, "recipe", p->supports ? WW_SENTENCE_SUPPORTS : WW_SENTENCE_NOT, claim,
               ww_asprintf("%.4f of %" PRIu64
                           " moved weights have its bits (%.4f to %.4f "
                           "over tensors), on %" PRIu64 " tensors that it was not fitted "
                           "on; the best of %zu recipes with other sources gives %.4f "
                           "(%.2f and a tenth of their misses are asked for)",
                           p->match, p->moved, p->low, p->high, p->tensors, p->n_controls,
                           best, WW_REPLAY_SUPPORTED),
               err);
}

/* A sum explains little of a selection, but its recipe gives the bits. */
static bool has_bits(const struct ww_decompose_report *d)
{
    return d->recipe && !d->nearest;
}

/* What speaks for it beyond a sum, or against it however little is left. */
static char *beyond_of(const struct ww_decompose_report *d)
{
    if (d->strangers > 0) {
        return ww_asprintf("; %" PRIu64
                           " tensor%s not compared, as what points elsewhere "
                           "than the base's says nothing",
                           d->strangers, d->strangers == 1 ? " was" : "s were");
    }
    if (d->incomplete && d->unexplained < COMPLETE) {
        return ww_strdup(has_bits(d)
                             ? "; but tensors of the suspect have other bits than the "
                               "recipe that gives nearly all of a sample, as where a "
                               "source which was not given changed few"
                             : "; but no recipe gives the bits, and a relative that "
                               "stands for a source which was not given leaves as "
                               "little");
    }
    return has_bits(d) && d->unexplained >= COMPLETE
               ? ww_asprintf("; but a recipe of them gives %.4f of the bits of a sample",
                             d->method_match)
               : ww_strdup("");
}

static char *explained_of(const struct ww_decompose_report *d)
{
    char *noise = noise_of(d);
    char *beyond = beyond_of(d);
    char *text =
        noise && beyond
            ? ww_asprintf("explained by a sum: %.4f, after rounding at most %.4f; "
                          "unexplained: %.4f (below %.2f is asked for); no rate of error "
                          "is known for this%s%s",
                          d->r2, d->r2_ceiling, d->unexplained, COMPLETE, beyond, noise)
            : NULL;

    ww_free(noise);
    ww_free(beyond);
    return text;
}

static enum ww_sentence_scale completeness_of(const struct ww_decompose_report *d)
{
    const bool little = d->unexplained < COMPLETE;

    if (d->incomplete) {
        return little ? WW_SENTENCE_UNTOLD : WW_SENTENCE_NOT;
    }
    if (d->strangers > 0 && (little || has_bits(d))) {
        return WW_SENTENCE_UNTOLD;
    }
    return little || has_bits(d) ? WW_SENTENCE_SUPPORTS : WW_SENTENCE_NOT;
}

static enum ww_err add_completeness(struct ww_sentences *f,
                                    const struct ww_lineage_report *r,
                                    struct ww_error *err)
{
    const struct ww_decompose_report *d = &r->decompose;
    const bool differs = d->r2_ceiling > 0 || d->unexplained > 0;

    return add(f, "completeness", differs ? completeness_of(d) : WW_SENTENCE_UNTOLD,
               ww_asprintf("the given models explain all of the difference from '%s'",
                           r->models[1].name),
               differs ? explained_of(d) : ww_strdup("there is no difference"), err);
}

static char *both_times(const struct ww_commitment *source,
                        const struct ww_commitment *suspect)
{
    char a[WW_UTC_BYTES];
    char b[WW_UTC_BYTES];

    ww_utc_text(source->at_unix, a);
    ww_utc_text(suspect->at_unix, b);
    return ww_asprintf(
        "a third party signed %s for the source's signature and %s for the "
        "suspect's; so the source's bytes existed at the first time, and "
        "nothing says that the suspect's did not exist before the second",
        a, b);
}

static const char *why_untold(const struct ww_commitment *c)
{
    return c->why ? c->why : "a third party signed its time";
}

static enum ww_err add_priority(struct ww_sentences *f, const struct ww_lineage_report *r,
                                struct ww_error *err)
{
    static const enum ww_sentence_scale scales[] = {
        [WW_PRIORITY_UNTOLD] = WW_SENTENCE_UNTOLD,
        [WW_PRIORITY_OLDER] = WW_SENTENCE_SUPPORTS,
        [WW_PRIORITY_YOUNGER] = WW_SENTENCE_NOT,
    };
    const struct ww_commitment *suspect = &r->models[0];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->decompose.n_sources && !rc; i++) {
        const struct ww_commitment *source = &r->models[2 + i];
        if (!r->decompose.sources[i].included) {
            continue;
        }
        rc = add(f, "priority", scales[r->priority[i]],
                 ww_asprintf("'%s' was committed to before '%s' was", source->name,
                             suspect->name),
                 r->priority[i] == WW_PRIORITY_UNTOLD
                     ? ww_asprintf("of the source: %s; of the suspect: %s",
                                   why_untold(source), why_untold(suspect))
                     : both_times(source, suspect),
                 err);
    }
    return rc;
}

enum ww_err ww_sentences_make(const struct ww_lineage_report *report,
                              struct ww_sentences *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    out->n = 0;
    out->items = ww_calloc(3 + 2 * report->decompose.n_sources, sizeof(*out->items));
    if (!out->items) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    rc = add_root(out, report, err);
    rc = rc ? rc : add_sources(out, report, err);
    if (!rc && report->has_replay) {
        rc = add_recipe(out, report, err);
    }
    rc = rc ? rc : add_completeness(out, report, err);
    return rc ? rc : add_priority(out, report, err);
}

void ww_sentences_release(struct ww_sentences *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        ww_free(findings->items[i].claim);
        ww_free(findings->items[i].basis);
    }
    ww_free(findings->items);
    memset(findings, 0, sizeof(*findings));
}
