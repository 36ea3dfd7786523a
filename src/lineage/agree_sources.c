/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declared models looked for in the weights, beside those that nobody declared. A folder
 * counts as the one that it is, whatever path leads there.
 */
#include <string.h>
#include <sys/stat.h>

#include "lineage/agree.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ROOT_SHARED (-6) /* log10 p */
#define OF_A_PARENT                                                                      \
    0.8 /* share that a model has in what was trained from it, or more                   \
         */

/* Candidates of a decomposition: declared ones first, each once. */
struct looking {
    const char *base;
    const char *candidates[WW_LINEAGE_MAX_SOURCES];
    size_t n;
    size_t n_declared;
};

static const char *path_of(const struct ww_agreeing *a, const char *name)
{
    for (size_t i = 0; i < a->options->n_names; i++) {
        if (strcmp(a->options->names[i].name, name) == 0) {
            return a->options->names[i].path;
        }
    }
    return NULL;
}

/* Do both lead to one folder? What is not there is compared by its name. */
static bool is_same(const char *a, const char *b)
{
    struct stat at;
    struct stat bt;

    if (stat(a, &at) != 0 || stat(b, &bt) != 0) {
        return strcmp(a, b) == 0;
    }
    return at.st_dev == bt.st_dev && at.st_ino == bt.st_ino;
}

/* The candidate's place; one that is there already keeps its own. */
static size_t place_of(struct looking *l, const char *path)
{
    for (size_t i = 0; i < l->n; i++) {
        if (is_same(l->candidates[i], path)) {
            return i;
        }
    }
    if (l->n == WW_LINEAGE_MAX_SOURCES) {
        return WW_DECLARED_NOWHERE;
    }
    l->candidates[l->n] = path;
    return l->n++;
}

/* Declared models that are here, less the base. */
static enum ww_err collect(struct ww_agreeing *a, struct looking *l, bool *all,
                           struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    enum ww_err rc = WW_OK;

    *all = true;
    for (size_t i = 0; i < a->declared.names.n && !rc; i++) {
        const char *name = a->declared.names.items[i];
        const char *path = path_of(a, name);
        if (path && l->base && is_same(path, l->base)) {
            continue;
        }
        *all &= path != NULL;
        rc = ww_agree_add(a, name, path != NULL, err);
        if (!rc && path) {
            r->declared[r->n_declared - 1].at = place_of(l, path);
        }
    }
    l->n_declared = l->n;
    return rc;
}

/* What the decomposition says of each declared model; *missing: one that the weights do
 * not support, *open: one of which they say nothing. */
static void read_sources(struct ww_agreeing *a, bool *missing, bool *open)
{
    struct ww_verify_lineage_report *r = a->report;

    *missing = *open = false;
    for (size_t i = 0; i < r->n_declared; i++) {
        struct ww_declared_source *d = &r->declared[i];
        const struct ww_lineage_source *s =
            d->at < r->decompose.n_sources ? &r->decompose.sources[d->at] : NULL;
        const bool spans = s && !s->included && !s->note && s->high > WW_LINEAGE_LEAST;
        d->compared = s && !s->alike && !spans;
        d->observed = s && s->included;
        d->share = s ? s->share : 0;
        *missing |= d->compared && !d->observed;
        *open |= !d->compared;
    }
}

static enum ww_err list_undeclared(struct ww_agreeing *a, size_t n_declared,
                                   struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    enum ww_err rc = WW_OK;

    for (size_t i = n_declared; i < r->decompose.n_sources && !rc; i++) {
        if (r->decompose.sources[i].included) {
            struct ww_strlist list = {r->undeclared, r->n_undeclared, r->n_undeclared};
            rc = ww_strlist_add(&list, r->decompose.sources[i].name, err);
            r->undeclared = list.items;
            r->n_undeclared = list.n;
        }
    }
    return rc;
}

/* All declared sources are in: does what is left over go with what is declared? Of one
 * model a fine-tune is declared, and training leaves something over, but not of its
 * parent; rounding leaves little. NULL: it does. */
static const char *left_over(const struct ww_agreeing *a, size_t n_declared)
{
    const struct ww_decompose_report *d = &a->report->decompose;
    const enum ww_declared_relation how = a->declared.relation;

    if (!d->incomplete) {
        return NULL;
    }
    if (n_declared != 1 || how == WW_DECLARED_MERGE) {
        return "every declared source looks like one, but not all of the difference is "
               "explained: training after a merge, or a relative stands for a source "
               "that was not declared";
    }
    if (how == WW_DECLARED_QUANTIZED) {
        return "a quantised copy of one model is declared, and rounding does not leave "
               "as much as is unexplained: training, or a source that was not declared";
    }
    return d->sources[0].high < OF_A_PARENT
               ? "the one declared model has a smaller share than a model has in what "
                 "was trained from it, and not all of the difference is explained: a "
                 "merge with a source that was not declared may look the same"
               : NULL;
}

static enum ww_err judge(struct ww_agreeing *a, size_t n_declared, struct ww_error *err)
{
    const struct ww_verify_lineage_report *r = a->report;
    const struct ww_decompose_report *d = &r->decompose;
    const char *left = NULL;
    bool missing = false;
    bool open = false;
    enum ww_err rc = list_undeclared(a, n_declared, err);

    read_sources(a, &missing, &open);
    if (rc) {
        return rc;
    }
    if (r->n_undeclared && d->incomplete) {
        return ww_agree_conclude(
            a, WW_LINEAGE_UNTOLD,
            "a candidate that is not declared looks like a source, but not all "
            "of the difference is explained, and relatives of a source that is "
            "not here look like sources",
            err);
    }
    if (r->n_undeclared) {
        return ww_agree_conclude(a, WW_LINEAGE_DISAGREES,
                                 "the weights support a source that is not declared",
                                 err);
    }
    if (d->unexplained > WW_LINEAGE_MOSTLY || d->used == 0) {
        return ww_agree_conclude(
            a, WW_LINEAGE_UNTOLD,
            "most of the difference from the base is not explained by the "
            "models that are here",
            err);
    }
    if (missing) {
        return ww_agree_conclude(a, WW_LINEAGE_DISAGREES,
                                 "the weights do not support a declared source", err);
    }
    if (open) {
        return ww_agree_conclude(
            a, WW_LINEAGE_UNTOLD,
            "of a declared source the weights say nothing: its share is too uncertain, "
            "or it cannot be told from the base or from another model",
            err);
    }
    left = left_over(a, n_declared);
    return left ? ww_agree_conclude(a, WW_LINEAGE_UNTOLD, left, err)
                : ww_agree_conclude(a, WW_LINEAGE_AGREES,
                                    "the weights support every declared source", err);
}

/* Suspect and base have rows to compare, and these tell of no common root. */
static bool has_no_root(const struct ww_decompose_report *d)
{
    return d->root.layers && d->root.log10_p > ROOT_SHARED;
}

static enum ww_err decompose(struct ww_agreeing *a, struct looking *l,
                             struct ww_error *err)
{
    const struct ww_decompose_report *d = &a->report->decompose;
    const struct ww_decompose_options options = {.base = l->base,
                                                 .candidates = l->candidates,
                                                 .n_candidates = l->n,
                                                 .seed = a->options->seed,
                                                 .run = a->options->run};
    enum ww_err rc =
        ww_lineage_decompose(a->suspect, &options, &a->report->decompose, err);

    a->report->has_decompose = rc == WW_OK;
    if (rc == WW_E_UNRELATED) {
        return ww_agree_conclude(a, WW_LINEAGE_DISAGREES, err->text, err);
    }
    if (rc) {
        return rc;
    }
    if (has_no_root(d)) {
        return ww_agree_conclude(a, WW_LINEAGE_UNTOLD,
                                 "the weights show no root in common with the base; "
                                 "neurons may have been moved",
                                 err);
    }
    return judge(a, l->n_declared, err);
}

/* Candidates that nobody declared, each once and less the base. */
static void add_candidates(const struct ww_agreeing *a, struct looking *l)
{
    for (size_t i = 0; i < a->options->n_candidates; i++) {
        if (!is_same(a->options->candidates[i], l->base)) {
            (void)place_of(l, a->options->candidates[i]);
        }
    }
}

enum ww_err ww_agree_card(struct ww_agreeing *a, struct ww_error *err)
{
    struct looking l = {.base = a->options->base};
    bool all = false;
    enum ww_err rc = collect(a, &l, &all, err);

    if (rc) {
        return rc;
    }
    if (!all || !l.base) {
        return ww_agree_conclude(a, WW_LINEAGE_UNTOLD,
                                 all ? "a base is needed to look at the declared models"
                                     : "a declared model is not here; name its folder",
                                 err);
    }
    add_candidates(a, &l);
    if (l.n == 0) {
        return ww_agree_conclude(a, WW_LINEAGE_UNTOLD, "only the base is declared", err);
    }
    return decompose(a, &l, err);
}

/* Shares say which sources went in; what masks drawn anew leave says the rest: weights,
 * densities, the method, the base. */
static enum ww_err hold_against_draw(struct ww_agreeing *a, struct ww_error *err)
{
    const struct ww_verify_lineage_report *r = a->report;

    if (r->agreement == WW_LINEAGE_DISAGREES || has_no_root(&r->decompose)) {
        return WW_OK;
    }
    if (r->replay.apart) {
        return ww_agree_conclude(a, WW_LINEAGE_DISAGREES, r->replay.apart, err);
    }
    return r->agreement == WW_LINEAGE_AGREES
               ? ww_agree_conclude(
                     a, WW_LINEAGE_AGREES,
                     "the weights support every declared source, and are as "
                     "the recipe's masks leave them when they are drawn anew",
                     err)
               : WW_OK;
}

static enum ww_err look_for_sources(struct ww_agreeing *a, struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    struct looking l = {.base = r->replay.base};
    bool all = l.base != NULL;

    for (size_t c = 0, i = 0; c < r->replay.n_controls; c++) {
        if (!r->replay.controls[c].control) {
            const char *path = r->replay.controls[c].path;
            r->declared[i].compared = r->declared[i].observed = false;
            r->declared[i++].at = path && all ? place_of(&l, path) : WW_DECLARED_NOWHERE;
            all &= path != NULL;
        }
    }
    l.n_declared = l.n;
    if (!all || l.n == 0) {
        return ww_agree_conclude(a, WW_LINEAGE_UNTOLD,
                                 "the recipe draws elements by chance, so that its bits "
                                 "cannot be compared, and not all of its models are "
                                 "folders that can be looked for in the weights",
                                 err);
    }
    add_candidates(a, &l);
    return decompose(a, &l, err);
}

enum ww_err ww_agree_drawn(struct ww_agreeing *a, struct ww_error *err)
{
    const enum ww_err rc = look_for_sources(a, err);

    return rc ? rc : hold_against_draw(a, err);
}
