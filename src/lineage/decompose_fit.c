/* SPDX-License-Identifier: Apache-2.0 */
/* Shares from the sums: their sides of zero, their intervals, and who is a source. */
#include <math.h>
#include <string.h>

#include "lineage/decompose_work.h"
#include "lineage/rank.h"
#include "lineage/sides.h"
#include "lineage/sketch.h"
#include "lineage/subsets.h"
#include "lineage/verdict.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SLACK 5e-5 /* by which a share may miss a number of a recipe anyway */

static enum ww_err draw_intervals(const struct ww_decomposing *d, double *low,
                                  double *high, struct ww_error *err)
{
    const struct ww_moments **blocks =
        ww_calloc(d->family.n_tensors, sizeof(struct ww_moments *));
    size_t n = 0;
    enum ww_err rc = blocks ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    for (uint32_t t = 0; t < d->family.n_tensors && !rc; t++) {
        if (d->fitted[t]) {
            blocks[n++] = d->moments[t];
        }
    }
    if (!rc && n) {
        rc = ww_fit_bootstrap(&(struct ww_fit_blocks){blocks, n, d->k, d->side},
                              d->options->seed, low, high, err);
    }
    ww_free(blocks);
    return rc;
}

/* Where tensors differ, means over them take the place of the one fit. */
static enum ww_err fit_each(struct ww_decomposing *d, struct ww_fit *fit, double *low,
                            double *high, struct ww_error *err)
{
    const uint32_t n = d->family.n_tensors;
    uint32_t *layers = ww_calloc(n, sizeof(*layers));
    const struct ww_varied_ask ask = {d->moments, d->fitted,  layers,          n, d->k,
                                      d->side,    fit->share, d->options->seed};
    enum ww_err rc = layers ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    for (uint32_t t = 0; t < n && !rc; t++) {
        layers[t] = d->family.tensors[t].layer;
    }
    if (!rc) {
        rc = ww_varied_fit(&ask, &d->varied, err);
    }
    if (!rc && d->varied.varies) {
        d->report->varies = true;
        memcpy(fit->share, d->varied.share, d->k * sizeof(*low));
        memcpy(low, d->varied.low, d->k * sizeof(*low));
        memcpy(high, d->varied.high, d->k * sizeof(*high));
        rc =
            ww_gradient_shares(&d->family, d->moments, d->fitted, d->side, &d->over, err);
    }
    ww_free(layers);
    return rc;
}

/* One layer among many has a small share and is a finding all the same. */
static bool has_layers(const struct ww_decompose_report *r, const char *name)
{
    for (size_t i = 0; i < r->n_places; i++) {
        if (r->places[i].model && strcmp(r->places[i].model, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Do the elements agree that sources were taken away, where some were dropped? Then one
 * by one they are sums over the sources with those, and not without. */
static enum ww_err ask_elements(struct ww_decomposing *d, const int8_t *side, bool *agree,
                                struct ww_error *err)
{
    struct ww_subsets parts[2]; /* with all on one side, and with these */
    enum ww_err rc = WW_OK;

    for (unsigned turn = 0; turn < 2 && !rc; turn++) {
        double shares[WW_LINEAGE_MAX_SOURCES] = {0};
        struct ww_fit fit;
        ww_fit(d->whole, turn ? side : d->side, &fit);
        for (size_t i = 0; i < d->options->n_candidates; i++) {
            shares[i] = fabs(fit.share[i]) > WW_LINEAGE_LEAST ? fit.share[i] : 0;
        }
        rc = ww_subsets_measure(&d->family, shares, d->fitted, &d->options->run,
                                &parts[turn], &d->report->run.bytes_read, err);
    }
    *agree = !rc && parts[1].told && parts[1].explained >= WW_LINEAGE_PARTS &&
             !(parts[0].told && parts[0].explained >= WW_LINEAGE_PARTS);
    return rc;
}

/* The same of a suspect whose blocks leave more noise than their steps say: cells of its
 * values tell what is explained without and with these. */
static enum ww_err ask_cells(struct ww_decomposing *d, const int8_t *side, bool *agree,
                             struct ww_error *err)
{
    double left[2] = {0};
    enum ww_err rc = WW_OK;

    for (unsigned turn = 0; turn < 2 && !rc; turn++) {
        struct ww_replay sums;
        struct ww_fit fit;
        ww_fit(d->whole, turn ? side : d->side, &fit);
        rc = ww_replay_blend(&d->family, fit.share, NULL, d->fitted, &d->options->run,
                             &sums, NULL, &d->report->run.bytes_read, err);
        left[turn] = rc ? 0 : ww_decompose_unexplained(&sums);
    }
    *agree = !rc && left[0] > WW_LINEAGE_ELSEWHERE && left[1] <= WW_SIDES_CLEAR * left[0];
    return rc;
}

/* Which shares lie below zero. */
static enum ww_err find_sides(struct ww_decomposing *d, struct ww_error *err)
{
    const struct ww_sides_ask ask = {d->whole,
                                     d->moments,
                                     d->fitted,
                                     d->family.n_tensors,
                                     (unsigned)d->options->n_candidates,
                                     d->options->seed,
                                     d->family.disguise.searched};
    struct ww_sides found;
    enum ww_err rc = ww_sides_find(&ask, d->side, &found, err);

    if (!rc && found.any && !found.clear) {
        rc = d->family.disguise.searched ? ask_cells(d, found.side, &found.any, err)
                                         : ask_elements(d, found.side, &found.any, err);
    }
    if (!rc && found.any) {
        memcpy(d->side, found.side, sizeof(d->side));
    }
    return rc;
}

enum ww_err ww_decompose_fit(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *report = d->report;
    double low[WW_LINEAGE_MAX_SOURCES] = {0};
    double high[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_fit fit;
    bool inexact = false;
    enum ww_err rc = WW_OK;

    ww_fit(d->whole, d->side, &fit);
    report->used = fit.used;
    report->pruned = (double)d->whole->pruned / (double)report->elements;
    report->noise = sqrt(fit.tau2);
    if (fit.used < WW_FIT_LEAST) {
        return ww_decompose_warn(
            d,
            "too few elements moved by eight rounding steps or more: no share can "
            "be read from these weights",
            err);
    }
    rc = find_sides(d, err);
    if (!rc) {
        ww_fit(d->whole, d->side, &fit);
        report->noise = sqrt(fit.tau2);
        inexact = fit.tau2 > 0 || fit.more || report->pruned > WW_VERDICT_PRUNED ||
                  d->family.disguise.read;
        rc = draw_intervals(d, low, high, err);
    }
    if (!rc) {
        rc = fit_each(d, &fit, low, high, err);
    }
    if (!rc) {
        rc = ww_decompose_rounding(d, &fit, low, high, err);
    }
    /* Rounding of an eight-step task vector is not quite even. Where something came after
     * the merge, the elements that show no such bias no longer carry the fit, and shares
     * are off by WW_FIT_ROUGHLY at times. */
    for (size_t i = 0; i < report->n_sources && !rc; i++) {
        struct ww_lineage_source *s = &report->sources[i];
        const double roughly = fmax(WW_FIT_ROUGHLY, d->family.disguise.off);
        const double margin = ww_fit_margin(&fit, (unsigned)i, inexact ? roughly : 0);
        s->share = fit.share[i];
        s->error = fit.error[i];
        s->n_eff = fit.n_eff[i];
        s->low = fmin(low[i], s->share - margin);
        s->high = fmax(high[i], s->share + margin);
        ww_fit_stay_on(d->side[i], &s->low, &s->high);
        s->included = s->low > WW_LINEAGE_LEAST || s->high < -WW_LINEAGE_LEAST ||
                      (d->side[i] && has_layers(report, s->name));
        s->recipe = s->included ? ww_sketch_shortest(s->share, 3 * s->error + SLACK) : 0;
    }
    return rc;
}

enum ww_err ww_decompose_controls(struct ww_decomposing *d, struct ww_error *err)
{
    const struct ww_rank_ask ask = {d->ranked ? d->ranked : d->whole, d->side, d->same,
                                    d->options->controls, d->options->n_controls};

    return d->report->used < WW_FIT_LEAST
               ? WW_OK
               : ww_rank_sources(&ask, d->report, &d->family.warnings, err);
}
