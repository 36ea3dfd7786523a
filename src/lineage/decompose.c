/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decomposition: one reading for the sums, the fits from them, a second reading for the
 * replay. Every tensor keeps sums of its own, so that layers, the whole and the bootstrap
 * cost no further reading.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/attention.h"
#include "lineage/decompose_report.h"
#include "lineage/draws.h"
#include "lineage/fit.h"
#include "lineage/halves.h"
#include "lineage/layer_shares.h"
#include "lineage/subsets.h"
#include "lineage/places.h"
#include "lineage/prereg.h"
#include "lineage/rank.h"
#include "lineage/replay.h"
#include "lineage/common_root.h"
#include "lineage/sides.h"
#include "lineage/sketch.h"
#include "lineage/varied.h"
#include "lineage/verdict.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"

#define LEAST_COSINE 0.1 /* of weights with the base's: strangers have none */
/* Rounding of an eight-step task vector is not quite even. Where something came after the
 * merge, the elements that show no such bias no longer carry the fit, and shares are off
 * by this at times. */
/* Of the base in a suspect: more than sources change of its size, where the two are alike
 * but for that, as with strange layers they are not. */
#define RESCALED 0.02
#define ALONG 0.95
#define BITS_AGREE 0.99
#define SLACK 5e-5 /* by which a share may miss a number of a recipe anyway */

struct decomposing {
    const struct ww_decompose_options *options;
    struct ww_decompose_report *report;
    struct ww_family family;
    unsigned k;                  /* candidates and controls */
    struct ww_moments **moments; /* per tensor */
    bool *half;   /* per tensor of the suspect: of the fitted half; NULL: no halves */
    bool *fitted; /* per tensor */
    bool *held;   /* per tensor: replayed; NULL: all are */
    struct ww_moments *whole;
    struct ww_moments *ranked; /* for ranks, where no model decides more than another;
                                  NULL: whole does */
    bool decides[WW_LINEAGE_MAX_SOURCES];
    uint32_t same[WW_LINEAGE_MAX_SOURCES]; /* ww_fit_collinear */
    int8_t side[WW_LINEAGE_MAX_SOURCES];   /* of zero, of candidates in the fit */
    struct ww_varied varied;
    struct ww_gradient_shares over;
    double scale;  /* of the base in the suspect, by the replayed matrices, */
    double cosine; /* and that of the two */
};

static enum ww_err warn(struct decomposing *d, const char *text, struct ww_error *err)
{
    return ww_strlist_add(&d->family.warnings, text, err);
}

static enum ww_err open_family(struct decomposing *d, const char *suspect,
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
    return ww_family_open(paths, d->k + 2, &d->family, err);
}

static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    struct decomposing *d = payload;

    return ww_moments_accumulate(d->moments[tensor], tile, n,
                                 d->family.tensors[tensor].grid, err);
}

/* Which half a tensor is in is decided before anything is read. */
static enum ww_err cut_in_halves(struct decomposing *d, struct ww_error *err)
{
    const uint32_t n = d->family.n_tensors;
    enum ww_err rc = WW_OK;

    d->fitted = ww_calloc(n, sizeof(*d->fitted));
    d->held = d->options->halves ? ww_calloc(n, sizeof(*d->held)) : NULL;
    if (!d->fitted || (d->options->halves && !d->held)) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    if (d->held) {
        rc = ww_halves_draw(d->family.models[WW_FAMILY_SUSPECT], d->options->seed,
                            &d->half, err);
    }
    for (uint32_t t = 0; t < n && !rc; t++) {
        const uint32_t at = d->family.tensors[t].index[WW_FAMILY_SUSPECT];
        d->fitted[t] = !d->half || d->half[at];
        if (d->held) {
            d->held[t] = !d->fitted[t];
        }
        d->report->tensors_fit += d->fitted[t];
    }
    return rc;
}

static enum ww_err sum_up(struct decomposing *d, const bool *decides,
                          struct ww_error *err)
{
    const struct ww_sweep_ask ask = {
        .phase = "decompose", .stored = true, .use = d->fitted, .decides = decides};
    enum ww_err rc = WW_OK;

    d->whole = ww_moments_new(d->k);
    if (!d->whole) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (uint32_t t = 0; t < d->family.n_tensors; t++) {
        ww_moments_free(d->moments[t]);
        d->moments[t] = ww_moments_new(d->k);
        if (!d->moments[t]) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
    }
    rc = ww_sweep(&d->family, &ask, &d->options->run, visit, d,
                  &d->report->run.bytes_read, err);
    for (uint32_t t = 0; t < d->family.n_tensors && !rc; t++) {
        rc = ww_moments_add(d->whole, d->moments[t], 1, err);
    }
    return rc;
}

static enum ww_err read_sums(struct decomposing *d, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    d->moments = ww_calloc(d->family.n_tensors, sizeof(struct ww_moments *));
    if (!d->moments) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    rc = cut_in_halves(d, err);
    for (uint32_t t = 0; t < d->family.n_tensors; t++) {
        d->report->elements += d->family.tensors[t].n_elements;
    }
    d->report->tensors = d->family.n_tensors;
    return rc ? rc : sum_up(d, NULL, err);
}

static enum ww_err read_again(struct decomposing *d, struct ww_error *err)
{
    const bool again = ww_fit_decides(d->whole, d->side, d->decides);

    d->ranked = again ? d->whole : NULL;
    return again ? sum_up(d, d->decides, err) : WW_OK;
}

static enum ww_err name_sources(struct decomposing *d, struct ww_error *err)
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

/* Candidates that the sums cannot tell from the base or from each other stay out, and say
 * so: a share that could as well be another's is no finding. */
static enum ww_err choose(struct decomposing *d, struct ww_error *err)
{
    const uint32_t *same = d->same;

    ww_fit_collinear(d->whole, d->same);
    for (size_t i = 0; i < d->options->n_candidates; i++) {
        struct ww_lineage_source *source = &d->report->sources[i];
        d->side[i] = same[i] == i ? WW_SIDE_PLUS : WW_SIDE_OUT;
        source->alike = same[i] != i;
        if (same[i] == WW_NONE) {
            source->note = ww_strdup("it does not differ from the base where it counts");
        } else if (same[i] != i) {
            source->note = ww_asprintf("it cannot be told from '%s'",
                                       d->options->candidates[same[i]]);
        }
        if (!d->side[i] && !source->note) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
    }
    return WW_OK;
}

static enum ww_err draw_intervals(const struct decomposing *d, double *low, double *high,
                                  struct ww_error *err)
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
        rc = ww_fit_bootstrap(blocks, n, d->k, d->side, d->options->seed, low, high, err);
    }
    ww_free(blocks);
    return rc;
}

/* Where tensors differ, means over them take the place of the one fit. */
static enum ww_err fit_each(struct decomposing *d, struct ww_fit *fit, double *low,
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
static enum ww_err ask_elements(struct decomposing *d, const int8_t *side, bool *agree,
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

static double unexplained(const struct ww_replay *sums)
{
    const double r2 = 1 - sums->residual / sums->total;
    const double ceiling = 1 - sums->floor / sums->total;

    return ceiling > 0 ? fmax(0, 1 - r2 / ceiling) : 1;
}

/* The same of a suspect whose blocks leave more noise than their steps say: cells of its
 * values tell what is explained without and with these. */
static enum ww_err ask_cells(struct decomposing *d, const int8_t *side, bool *agree,
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
        left[turn] = rc ? 0 : unexplained(&sums);
    }
    *agree = !rc && left[0] > WW_LINEAGE_ELSEWHERE && left[1] <= WW_SIDES_CLEAR * left[0];
    return rc;
}

/* Which shares lie below zero. */
static enum ww_err find_sides(struct decomposing *d, struct ww_error *err)
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

static enum ww_err fit_whole(struct decomposing *d, struct ww_error *err)
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
        return warn(
            d,
            "too few elements moved by eight rounding steps or more: no share can "
            "be read from these weights",
            err);
    }
    rc = find_sides(d, err);
    if (!rc) {
        ww_fit(d->whole, d->side, &fit);
        report->noise = sqrt(fit.tau2);
        inexact =
            fit.tau2 > 0 || report->pruned > WW_VERDICT_PRUNED || d->family.disguise.read;
        rc = draw_intervals(d, low, high, err);
    }
    if (!rc) {
        rc = fit_each(d, &fit, low, high, err);
    }
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

static enum ww_err test_controls(struct decomposing *d, struct ww_error *err)
{
    const struct ww_rank_ask ask = {d->ranked ? d->ranked : d->whole, d->side, d->same,
                                    d->options->controls, d->options->n_controls};

    return d->report->used < WW_FIT_LEAST
               ? WW_OK
               : ww_rank_sources(&ask, d->report, &d->family.warnings, err);
}

/* Weights of strangers are orthogonal, whatever shapes and names they share. */
static enum ww_err check_related(struct decomposing *d, const struct ww_replay *s,
                                 struct ww_error *err)
{
    d->cosine =
        s->base > 0 && s->suspect > 0 ? s->both / sqrt(s->base) / sqrt(s->suspect) : 1;
    if (d->cosine >= LEAST_COSINE) {
        return WW_OK;
    }
    return WW_FAIL(
        err, WW_E_UNRELATED,
        "'%s' is no relative of '%s': the cosine of their weights is %.3f, "
        "expected at least %.1f; or its weights are in an order that comparing "
        "them with the base does not undo: a lock and a rotation of the residual stream "
        "above it may be undone by 'attack --anchor BASE SUSPECT OUT'",
        d->family.models[WW_FAMILY_SUSPECT]->path, d->family.models[WW_FAMILY_BASE]->path,
        d->cosine, LEAST_COSINE);
}

/* Tensors that were not replayed have no place in the list. */
static enum ww_err tell_each(struct decomposing *d, const struct ww_replay *each,
                             struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;

    r->each = ww_calloc(d->family.n_tensors, sizeof(*r->each));
    if (!r->each) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (uint32_t t = 0; t < d->family.n_tensors; t++) {
        const struct ww_family_tensor *tensor = &d->family.tensors[t];
        struct ww_lineage_tensor *out = &r->each[r->n_each];
        if (d->held && !d->held[t]) {
            continue;
        }
        out->name = ww_strdup(tensor->name);
        if (!out->name) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
        r->n_each++;
        out->layer = tensor->layer;
        out->elements = tensor->n_elements;
        out->unexplained = each[t].total > 0 ? unexplained(&each[t]) : -1;
        out->replay = each[t].moved ? (double)each[t].same / (double)each[t].moved : -1;
    }
    return WW_OK;
}

/* By the numbers that the report's sources have. */
static enum ww_err replay(struct decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_replay *each = ww_calloc(d->family.n_tensors, sizeof(*each));
    struct ww_replay sums;
    enum ww_err rc = each ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    ww_decompose_forget_each(r);
    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].recipe;
    }
    if (!rc) {
        rc = ww_replay_blend(&d->family, shares,
                             d->varied.varies ? d->varied.tensors : NULL, d->held,
                             &d->options->run, &sums, each, &r->run.bytes_read, err);
    }
    rc = rc ? rc : check_related(d, &sums, err);
    rc = rc ? rc : tell_each(d, each, err);
    ww_free(each);
    if (rc) {
        return rc;
    }
    d->scale = sums.base > 0 ? sums.both / sums.base : 1;
    if (sums.total <= 0) {
        return warn(d, "the suspect does not differ from the base", err);
    }
    r->r2 = 1 - sums.residual / sums.total;
    r->r2_ceiling = 1 - sums.floor / sums.total;
    r->unexplained = unexplained(&sums);
    if (sums.moved > 0) {
        r->replay = (double)sums.same / (double)sums.moved;
        r->kept = (double)sums.left / (double)sums.moved;
        r->kept_most = (double)sums.would / (double)sums.moved;
    }
    return WW_OK;
}

static enum ww_err tell_unexplained(struct decomposing *d, struct ww_error *err)
{
    const struct ww_decompose_report *r = d->report;

    if (r->unexplained <= WW_LINEAGE_MOSTLY) {
        return WW_OK;
    }
    return warn(d,
                r->r2_ceiling > 0
                    ? "most of the difference from the base is not explained: other "
                      "sources, layers or neurons in other places, or a lock; shares "
                      "say little then"
                    : "rounding is as long as the difference from the base: nothing is "
                      "said of whether something else went in",
                err);
}

/* Who turned out to be no source explains nothing, and no recipe has it. What it seemed
 * to explain is another's, that was not given. */
static enum ww_err replay_without(struct decomposing *d, const bool *before,
                                  struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;
    const double unexplained = r->unexplained;
    bool left = false;
    bool fewer = false;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->n_sources; i++) {
        left |= r->sources[i].included;
        if (!before[i] || r->sources[i].included) {
            continue;
        }
        fewer = true;
        for (uint32_t t = 0; d->varied.varies && t < d->family.n_tensors; t++) {
            d->varied.tensors[(size_t)t * d->k + i] = 0;
        }
        if (r->recipe && ww_sketch_has(r->recipe, r->sources[i].name)) {
            ww_free(r->recipe);
            r->recipe = NULL;
            r->nearest = false;
            r->method_match = 0;
        }
    }
    if (fewer && r->method_match < BITS_AGREE) {
        rc = replay(d, err);
        r->incomplete |=
            left && r->still == 0 && r->unexplained > unexplained + WW_LINEAGE_ELSEWHERE;
    }
    return rc;
}

/* A sum that has less or more of the base than all of it is no sum of differences. */
static enum ww_err tell_scale(struct decomposing *d, struct ww_error *err)
{
    char *text = NULL;
    enum ww_err rc = WW_OK;

    if (fabs(d->scale - 1) <= RESCALED || d->cosine < ALONG || d->family.disguise.read ||
        d->report->method_match >= BITS_AGREE) {
        return WW_OK;
    }
    text = ww_asprintf("the base is in the suspect at %.2f of its size, as where a model "
                       "was scaled or weights of a sum without the base do not make 1, "
                       "and no recipe gives the bits: shares and their intervals are "
                       "those of a fit that takes it for whole, and may all miss",
                       d->scale);
    rc = text ? warn(d, text, err) : WW_FAIL_MEMORY(err, "a note");
    ww_free(text);
    return rc;
}

static void release(struct decomposing *d)
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

static enum ww_err check_plan(const struct decomposing *d, struct ww_error *err)
{
    const struct ww_decompose_options *o = d->options;
    const struct ww_prereg_run run = {o->base,     o->candidates, o->n_candidates,
                                      o->controls, o->n_controls, o->seed,
                                      &o->run};

    d->report->confirmatory = o->plan != NULL;
    return o->plan ? ww_prereg_check(o->plan, o->plan_key, &run, err) : WW_OK;
}

enum ww_err ww_lineage_decompose(const char *suspect,
                                 const struct ww_decompose_options *options,
                                 struct ww_decompose_report *report, struct ww_error *err)
{
    struct decomposing d = {.options = options, .report = report};
    bool before[WW_LINEAGE_MAX_SOURCES] = {false};
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
        rc = read_sums(&d, err);
    }
    if (!rc) {
        rc = choose(&d, err);
    }
    if (!rc) {
        rc = read_again(&d, err);
    }
    if (!rc) {
        rc = ww_places_find(&d.family, options, d.fitted, report, err);
    }
    if (!rc) {
        rc = fit_whole(&d, err);
    }
    if (!rc) {
        rc = test_controls(&d, err);
    }
    if (!rc) {
        rc = ww_layers_fit(&d.family, d.moments, d.side, report, err);
    }
    if (!rc) {
        rc = ww_attention_tell(&d.family, d.side, d.same, options->seed, report, err);
    }
    if (!rc) {
        rc = replay(&d, err);
    }
    if (!rc) {
        rc = ww_family_unchanged(&d.family, err);
    }
    if (!rc) {
        double lengths[WW_LINEAGE_MAX_SOURCES];
        for (size_t i = 0; i < report->n_sources; i++) {
            before[i] = report->sources[i].included;
        }
        ww_fit_lengths(d.whole, lengths);
        const struct ww_verdict_ask ask = {&d.family,
                                           options,
                                           d.fitted,
                                           d.half,
                                           d.over.n ? &d.over : NULL,
                                           d.varied.varies ? d.varied.tensors : NULL,
                                           lengths,
                                           d.scale,
                                           d.side};
        rc = ww_verdict(&ask, report, err);
    }
    if (!rc) {
        rc = ww_rank_drop(report, err);
    }
    if (!rc) {
        rc = replay_without(&d, before, err);
    }
    if (!rc) {
        rc = tell_unexplained(&d, err);
    }
    if (!rc) {
        rc = tell_scale(&d, err);
    }
    report->run.seconds = ww_now() - start;
    release(&d);
    return rc;
}
