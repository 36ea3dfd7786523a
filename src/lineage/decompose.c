/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decomposition: one reading for the sums, the fits from them, a second reading for the
 * replay, then what the bits say of the method.
 */
#include <string.h>

#include "lineage/attention.h"
#include "lineage/common_root.h"
#include "lineage/decompose_work.h"
#include "lineage/in_common.h"
#include "lineage/layer_shares.h"
#include "lineage/places.h"
#include "lineage/prereg.h"
#include "lineage/verdict.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"

enum ww_err ww_decompose_warn(struct ww_decomposing *d, const char *text,
                              struct ww_error *err)
{
    return ww_strlist_add(&d->family.warnings, text, err);
}

static enum ww_err open_family(struct ww_decomposing *d, const char *suspect,
                               struct ww_error *err)
{
    const struct ww_decompose_options *o = d->options;
    const char *paths[WW_LINEAGE_MAX_SOURCES + 2] = {suspect, o->base};

    if (o->n_candidates == 0 || o->n_candidates > WW_LINEAGE_MAX_CANDIDATES ||
        o->n_controls > WW_LINEAGE_MAX_SOURCES - o->n_candidates) {
        return WW_FAIL(err, o->n_candidates ? WW_E_LIMIT : WW_E_USAGE,
                       "%zu candidates and %zu controls given, expected 1 to %d "
                       "candidates and at most %d models",
                       o->n_candidates, o->n_controls, WW_LINEAGE_MAX_CANDIDATES,
                       WW_LINEAGE_MAX_SOURCES);
    }
    d->k = (unsigned)(o->n_candidates + o->n_controls);
    for (unsigned i = 0; i < d->k; i++) {
        paths[i + 2] =
            i < o->n_candidates ? o->candidates[i] : o->controls[i - o->n_candidates];
    }
    return ww_family_open(paths, d->k + 2, &o->run, &d->family, err);
}

static enum ww_err name_sources(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *report = d->report;
    const size_t n = d->options->n_candidates;

    report->sources = ww_calloc(n, sizeof(*report->sources));
    if (!report->sources) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    report->n_sources = n;
    for (size_t i = 0; i < n; i++) {
        report->sources[i].p_value = -1;
        report->sources[i].kept = -1;
        report->sources[i].name = ww_strdup(d->options->candidates[i]);
        if (!report->sources[i].name) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
    }
    return WW_OK;
}

static void release(struct ww_decomposing *d)
{
    for (uint32_t t = 0; d->moments && t < d->family.n_tensors; t++) {
        ww_moments_free(d->moments[t]);
    }
    ww_free(d->moments);
    ww_free(d->half);
    ww_free(d->fitted);
    ww_free(d->varied.tensors);
    ww_gradient_shares_release(&d->over);
    ww_free(d->held);
    ww_moments_free(d->whole);
    ww_moments_free(d->ranked);
    d->report->disguise = d->family.disguise.undone;
    d->family.disguise.undone = NULL;
    d->report->warnings = d->family.warnings.items;
    d->report->n_warnings = d->family.warnings.n;
    memset(&d->family.warnings, 0, sizeof(d->family.warnings));
    ww_family_release(&d->family);
}

static enum ww_err check_plan(const struct ww_decomposing *d, struct ww_error *err)
{
    const struct ww_decompose_options *o = d->options;
    const struct ww_prereg_run run = {o->base,     o->candidates, o->n_candidates,
                                      o->controls, o->n_controls, o->seed,
                                      &o->run};

    d->report->confirmatory = o->plan != NULL;
    return o->plan ? ww_prereg_check(o->plan, o->plan_key, &run, err) : WW_OK;
}

/* Shares, of the whole, of layers and of heads. */
static enum ww_err tell_shares(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *report = d->report;
    enum ww_err rc = ww_decompose_read(d, err);

    if (!rc) {
        rc = ww_decompose_choose(d, err);
    }
    if (!rc) {
        rc = ww_decompose_read_again(d, err);
    }
    if (!rc) {
        rc = ww_places_find(&d->family, d->options, d->fitted, report, err);
    }
    if (!rc) {
        rc = ww_decompose_fit(d, err);
    }
    if (!rc) {
        rc = ww_decompose_controls(d, err);
    }
    if (!rc) {
        rc = ww_layers_fit(&d->family, d->moments, d->side, report, err);
    }
    if (!rc) {
        rc = ww_attention_tell(&d->family, d->side, d->same, d->options->seed, report,
                               err);
    }
    return rc;
}

/* The method, and what it says of who is included. */
static enum ww_err tell_method(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *report = d->report;
    bool before[WW_LINEAGE_MAX_SOURCES] = {false};
    double lengths[WW_LINEAGE_MAX_SOURCES];
    const struct ww_verdict_ask ask = {
        .family = &d->family,
        .options = d->options,
        .fitted = d->fitted,
        .half = d->half,
        .over = d->over.n ? &d->over : NULL,
        .per_tensor = d->varied.varies ? d->varied.tensors : NULL,
        .lengths = lengths,
        .scale = d->scale,
        .side = d->side,
        .elsewhere = d->elsewhere,
    };
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < report->n_sources; i++) {
        before[i] = report->sources[i].included;
    }
    ww_fit_lengths(d->whole, lengths);
    rc = ww_verdict(&ask, report, err);
    if (!rc) {
        rc = ww_in_common_drop(report, ww_decompose_rescaled(d) ? NULL : d->varied.even,
                               err);
    }
    if (!rc) {
        rc = ww_decompose_replay_without(d, before, err);
    }
    return rc;
}

enum ww_err ww_lineage_decompose(const char *suspect,
                                 const struct ww_decompose_options *options,
                                 struct ww_decompose_report *report, struct ww_error *err)
{
    struct ww_decomposing d = {.options = options, .report = report};
    const double start = ww_now();
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = check_plan(&d, err);
    if (!rc) {
        rc = open_family(&d, suspect, err);
    }
    if (!rc) {
        rc = name_sources(&d, err);
    }
    if (!rc && !d.family.disguise.read) { /* rows as they were trained, in their order */
        rc = ww_root_test(d.family.disguise.raw ? d.family.disguise.raw
                                                : d.family.models[WW_FAMILY_SUSPECT],
                          d.family.models[WW_FAMILY_BASE], &report->root, err);
    }
    if (!rc) {
        rc = tell_shares(&d, err);
    }
    if (!rc) {
        rc = ww_decompose_replay(&d, err);
    }
    if (!rc) {
        rc = ww_family_unchanged(&d.family, err);
    }
    if (!rc) {
        rc = tell_method(&d, err);
    }
    if (!rc) {
        rc = ww_decompose_tell_rest(&d, err);
    }
    report->run.seconds = ww_now() - start;
    release(&d);
    return rc;
}
