/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declared lineage against the weights. A recipe is replayed; the models of a card are
 * taken as candidates beside those that nobody declared. What could not be looked at is
 * "could not tell", never "disagrees".
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lineage/declared.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/lineage.h"
#include "weightward/merge.h"
#include "weightward/model.h"

#define ROOT_SHARED (-6) /* log10 p */

struct agreeing {
    const char *suspect;
    const struct ww_verify_lineage_options *options;
    struct ww_verify_lineage_report *report;
    struct ww_declared declared;
};

static enum ww_err conclude(struct agreeing *a, enum ww_lineage_agreement what,
                            const char *why, struct ww_error *err)
{
    a->report->agreement = what;
    ww_free(a->report->why);
    a->report->why = ww_strdup(why);
    return a->report->why ? WW_OK
                          : WW_FAIL_MEMORY(err, "a comparison with what is declared");
}

static const char *path_of(const struct agreeing *a, const char *name)
{
    for (size_t i = 0; i < a->options->n_names; i++) {
        if (strcmp(a->options->names[i].name, name) == 0) {
            return a->options->names[i].path;
        }
    }
    return NULL;
}

static enum ww_err add_declared(struct agreeing *a, const char *name, bool found,
                                struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    struct ww_declared_source *grown =
        ww_realloc_array(r->declared, r->n_declared + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "a comparison with what is declared");
    }
    r->declared = grown;
    grown[r->n_declared] =
        (struct ww_declared_source){.name = ww_strdup(name), .found = found};
    return grown[r->n_declared++].name
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a comparison with what is declared");
}

/* Does the recipe make most of what the folder holds? Bits of the rest say nothing. */
static enum ww_err covers_most(const struct agreeing *a, bool *most, struct ww_error *err)
{
    struct ww_model *model = NULL;
    enum ww_err rc = ww_model_open(a->suspect, &model, err);

    *most = !rc && 2 * a->report->replay.tensors >= model->n_tensors;
    ww_model_close(model);
    return rc;
}

/* The recipe that lies in the folder, replayed. */
static enum ww_err replay(struct agreeing *a, struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    bool most = true;
    char *path = ww_path_join(a->suspect, WW_MERGE_RECIPE_FILE);
    const struct ww_replay_options options = {.recipe = path,
                                              .controls = a->options->candidates,
                                              .n_controls = a->options->n_candidates,
                                              .names = a->options->names,
                                              .n_names = a->options->n_names,
                                              .seed = a->options->seed,
                                              .run = a->options->run};
    enum ww_err rc = path ? ww_lineage_replay(a->suspect, &options, &r->replay, err)
                          : WW_FAIL_MEMORY(err, "a comparison with what is declared");

    ww_free(path);
    r->has_replay = rc == WW_OK;
    if (rc == WW_E_NOTFOUND || rc == WW_E_UNSUPPORTED || rc == WW_E_RULE) {
        return conclude(a, WW_LINEAGE_UNTOLD, err->text, err);
    }
    if (rc == WW_E_UNRELATED) {
        return conclude(a, WW_LINEAGE_DISAGREES, err->text, err);
    }
    if (rc) {
        return rc;
    }
    for (size_t c = 0; c < r->replay.n_controls && !rc; c++) {
        if (!r->replay.controls[c].control) {
            rc = add_declared(a, r->replay.controls[c].source, true, err);
            r->declared[r->n_declared - 1].observed =
                1 - r->replay.controls[c].match >
                WW_REPLAY_TIMES_WORSE * (1 - r->replay.match);
        }
    }
    if (!rc && r->replay.supports) {
        rc = covers_most(a, &most, err);
    }
    if (rc) {
        return rc;
    }
    if (!most) {
        return conclude(
            a, WW_LINEAGE_UNTOLD,
            "the recipe gives the bits that it makes, and makes fewer than half "
            "of the suspect's tensors in their names, shapes and dtypes",
            err);
    }
    return r->replay.supports
               ? conclude(a, WW_LINEAGE_AGREES,
                          "the recipe in the folder gives the suspect's bits", err)
               : conclude(a, WW_LINEAGE_DISAGREES,
                          "the recipe in the folder does not give the suspect's bits, or "
                          "gives them as well without one of its sources",
                          err);
}

/* Declared models that are here, less the base. */
static enum ww_err collect(struct agreeing *a, const char **candidates, size_t *n,
                           bool *all, struct ww_error *err)
{
    const char *base = a->options->base;
    enum ww_err rc = WW_OK;

    *n = 0;
    *all = true;
    for (size_t i = 0; i < a->declared.names.n && !rc; i++) {
        const char *name = a->declared.names.items[i];
        const char *path = path_of(a, name);
        if (path && base && strcmp(path, base) == 0) {
            continue;
        }
        *all &= path != NULL;
        rc = add_declared(a, name, path != NULL, err);
        if (path && *n < WW_LINEAGE_MAX_SOURCES) {
            candidates[(*n)++] = path;
        }
    }
    return rc;
}

static enum ww_err judge_sources(struct agreeing *a, size_t n_declared,
                                 struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    const struct ww_decompose_report *d = &r->decompose;
    size_t missing = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0, k = 0; i < r->n_declared; i++) {
        if (r->declared[i].found && k < n_declared) {
            r->declared[i].observed = d->sources[k].included;
            r->declared[i].share = d->sources[k].share;
            missing += !d->sources[k++].included;
        }
    }
    for (size_t i = n_declared; i < d->n_sources && !rc; i++) {
        if (d->sources[i].included) {
            struct ww_strlist list = {r->undeclared, r->n_undeclared, r->n_undeclared};
            rc = ww_strlist_add(&list, d->sources[i].name, err);
            r->undeclared = list.items;
            r->n_undeclared = list.n;
        }
    }
    if (rc) {
        return rc;
    }
    if (r->n_undeclared && d->incomplete) {
        return conclude(
            a, WW_LINEAGE_UNTOLD,
            "a candidate that is not declared looks like a source, but not all "
            "of the difference is explained, and relatives of a source that is "
            "not here look like sources",
            err);
    }
    if (r->n_undeclared) {
        return conclude(a, WW_LINEAGE_DISAGREES,
                        "the weights support a source that is not declared", err);
    }
    if (d->unexplained > WW_LINEAGE_MOSTLY || d->used == 0) {
        return conclude(a, WW_LINEAGE_UNTOLD,
                        "most of the difference from the base is not explained by the "
                        "models that are here",
                        err);
    }
    if (missing) {
        return conclude(a, WW_LINEAGE_DISAGREES,
                        "the weights do not support a declared source", err);
    }
    /* Of one model a fine-tune is declared, and training leaves something over. */
    return d->incomplete && n_declared > 1
               ? conclude(a, WW_LINEAGE_UNTOLD,
                          "every declared source looks like one, but not all of the "
                          "difference is explained: training after a merge, or a "
                          "relative stands for a source that was not declared",
                          err)
               : conclude(a, WW_LINEAGE_AGREES,
                          "the weights support every declared source", err);
}

/* A card's list: the declared ones first, then those that nobody declared. */
static enum ww_err decompose(struct agreeing *a, struct ww_error *err)
{
    const char *candidates[WW_LINEAGE_MAX_SOURCES];
    struct ww_decompose_options options = {.base = a->options->base,
                                           .candidates = candidates,
                                           .seed = a->options->seed,
                                           .run = a->options->run};
    size_t n_declared = 0;
    bool all = false;
    enum ww_err rc = collect(a, candidates, &n_declared, &all, err);

    if (rc) {
        return rc;
    }
    if (!all || !a->options->base) {
        return conclude(a, WW_LINEAGE_UNTOLD,
                        all ? "a base is needed to look at the declared models"
                            : "a declared model is not here; name its folder",
                        err);
    }
    options.n_candidates = n_declared;
    for (size_t i = 0; i < a->options->n_candidates; i++) {
        if (options.n_candidates < WW_LINEAGE_MAX_SOURCES) {
            candidates[options.n_candidates++] = a->options->candidates[i];
        }
    }
    if (options.n_candidates == 0) {
        return conclude(a, WW_LINEAGE_UNTOLD, "only the base is declared", err);
    }
    rc = ww_lineage_decompose(a->suspect, &options, &a->report->decompose, err);
    a->report->has_decompose = rc == WW_OK;
    if (rc == WW_E_UNRELATED) {
        return conclude(a, WW_LINEAGE_DISAGREES, err->text, err);
    }
    if (rc) {
        return rc;
    }
    if (a->report->decompose.root.layers &&
        a->report->decompose.root.log10_p > ROOT_SHARED) {
        return conclude(a, WW_LINEAGE_UNTOLD,
                        "the weights show no root in common with the base; neurons may "
                        "have been moved",
                        err);
    }
    return judge_sources(a, n_declared, err);
}

enum ww_err ww_lineage_verify(const char *suspect,
                              const struct ww_verify_lineage_options *options,
                              struct ww_verify_lineage_report *report,
                              struct ww_error *err)
{
    struct agreeing a = {.suspect = suspect, .options = options, .report = report};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_declared_read(suspect, &a.declared, err);
    report->declared_by = a.declared.file;
    if (!rc && !a.declared.file) {
        rc = conclude(&a, WW_LINEAGE_UNTOLD,
                      "the folder declares nothing: no " WW_MERGE_RECIPE_FILE
                      ", and no base_model in its card",
                      err);
    } else if (!rc && strcmp(a.declared.file, WW_MERGE_RECIPE_FILE) == 0) {
        rc = replay(&a, err);
    } else if (!rc) {
        rc = decompose(&a, err);
    }
    ww_declared_release(&a.declared);
    return rc;
}

void ww_verify_lineage_report_release(struct ww_verify_lineage_report *report)
{
    struct ww_strlist undeclared = {report->undeclared, report->n_undeclared,
                                    report->n_undeclared};

    for (size_t i = 0; i < report->n_declared; i++) {
        ww_free(report->declared[i].name);
    }
    ww_free(report->declared);
    ww_free(report->why);
    ww_strlist_release(&undeclared);
    ww_replay_report_release(&report->replay);
    ww_decompose_report_release(&report->decompose);
    memset(report, 0, sizeof(*report));
}
