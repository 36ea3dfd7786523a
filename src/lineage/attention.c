/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All attentions of all models, one attention at a time. Gains of the norm in front are
 * folded into what reads through it, because a lock may move them there.
 *
 * Rounding a blend to the grid of its sources shifts shares (decompose.c), and products
 * mix coordinates, so that no weights undo it. But it can be copied: a blend is computed
 * and rounded, what its own products give is compared with what the suspect's gave, and
 * its shares are moved until both are the same.
 */
#include "lineage/attention.h"

#include <math.h>
#include <string.h>

#include "attack/slab.h"
#include "lineage/gains.h"
#include "lineage/invariant.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LEAST_MOVE 0.01 /* of a share, to see a slope */
#define MOST_MOVE 0.1
#define MOST_SLOPE 4.0 /* beyond that it says only that little is known */
#define DOUBT 4        /* part of what was undone that may be wrong */

struct shares_run {
    const struct ww_family *family;
    struct ww_layout *layouts[WW_INVARIANT_MAX];
    unsigned n;            /* models */
    const double *replica; /* shares of the copy that takes the suspect's place */
    struct ww_invariant sums;
};

/* One of the two products of an attention, in all models. */
struct side {
    struct ww_slab a[WW_INVARIANT_MAX];
    struct ww_slab c[WW_INVARIANT_MAX];
};

static void release_side(struct side *s)
{
    for (unsigned m = 0; m < WW_INVARIANT_MAX; m++) {
        ww_slab_release(&s->a[m]);
        ww_slab_release(&s->c[m]);
    }
}

static enum ww_err load(const struct ww_layout *layout, const struct ww_linear *linear,
                        uint32_t space, bool inputs, struct ww_slab *out,
                        struct ww_error *err)
{
    const struct ww_slab_of of = {layout, NULL, linear, inputs, space};
    return ww_slab_load(&of, out, err);
}

/* The blend of the sources, on the grid that weights are on, in place of the suspect's.
 */
static void blend(const struct shares_run *run, float *const *of, size_t n,
                  enum ww_dtype grid)
{
    for (size_t e = 0; e < n; e++) {
        const double base = (double)of[WW_FAMILY_BASE][e];
        double v = base;
        uint64_t bits = 0;
        for (unsigned m = WW_FAMILY_SOURCES; m < run->n; m++) {
            v += run->replica[m - WW_FAMILY_SOURCES] * ((double)of[m][e] - base);
        }
        ww_from_double(grid, &v, &bits, 1);
        ww_to_float(grid, &bits, of[WW_FAMILY_SUSPECT] + e, 1);
    }
}

/* Gains move with everything else, also in the copy. */
static enum ww_err fold_all(const struct shares_run *run, uint32_t attention,
                            enum ww_dtype grid, struct ww_slab *slabs,
                            struct ww_error *err)
{
    float *gains[WW_INVARIANT_MAX] = {NULL};
    bool all = true;
    enum ww_err rc = WW_OK;

    for (unsigned m = 0; m < run->n && !rc; m++) {
        rc = ww_gains_read(run->layouts[m], attention, slabs[m].width, &gains[m], err);
        all = all && gains[m];
    }
    if (!rc && all && run->replica) {
        blend(run, gains, slabs[0].width, grid);
    }
    for (unsigned m = 0; m < run->n; m++) {
        if (!rc && all) {
            ww_gains_fold(gains[m], &slabs[m]);
        }
        ww_free(gains[m]);
    }
    return rc;
}

/* Rows of one linear map in all models; *ok: they have one shape. */
static enum ww_err load_all(const struct shares_run *run, uint32_t attention,
                            bool queries, bool first, struct ww_slab *out, bool *ok,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    enum ww_dtype grid = WW_DTYPE_F32;

    for (unsigned m = 0; m < run->n && !rc; m++) {
        const struct ww_attention *att = &run->layouts[m]->attentions[attention];
        const struct ww_linear *linear = queries ? first ? &att->q : &att->k
                                         : first ? &att->o
                                                 : &att->v;
        const uint32_t space = queries ? first ? att->query : att->key
                               : first ? att->context
                                       : att->value;
        rc = load(run->layouts[m], linear, space, !queries && first, &out[m], err);
        *ok = *ok && !rc && out[m].rows && out[m].n == out[0].n &&
              out[m].width == out[0].width;
        if (m == WW_FAMILY_BASE && *ok) {
            grid = run->layouts[m]->model->tensors[linear->weight].dtype;
        }
    }
    if (!rc && *ok && run->replica) {
        float *rows[WW_INVARIANT_MAX];
        for (unsigned m = 0; m < run->n; m++) {
            rows[m] = out[m].rows;
        }
        blend(run, rows, out[0].n * out[0].width, grid);
    }
    if (!rc && *ok && (queries || !first)) {
        rc = fold_all(run, attention, grid, out, err);
    }
    return rc;
}

/* The heads of a group share their keys or values and what a lock rounded off them: one
 * unit. */
static enum ww_err add_heads(struct shares_run *run, const struct side *s,
                             const struct ww_head_shape *shape, uint64_t n_heads,
                             uint64_t n_groups, struct ww_error *err)
{
    const size_t per_group = (size_t)(n_heads / n_groups);
    double *scratch = ww_calloc(2 * shape->d * shape->d, sizeof(double));
    const size_t n_gram = (size_t)run->n * run->n;
    double *gram = ww_calloc(2 * n_gram, sizeof(double));
    struct ww_head heads[WW_INVARIANT_MAX];
    enum ww_err rc = scratch && gram ? WW_OK : WW_FAIL_MEMORY(err, "products of heads");

    for (size_t h = 0; h < n_heads && !rc; h++) {
        for (unsigned m = 0; m < run->n; m++) {
            heads[m].a = s->a[m].rows + h * shape->d * shape->width_a;
            heads[m].c = s->c[m].rows + h / per_group * shape->d * shape->width_c;
        }
        ww_invariant_gram(shape, heads, run->n, gram + n_gram, scratch);
        for (size_t i = 0; i < n_gram; i++) {
            gram[i] = gram[n_gram + i] + (h % per_group ? gram[i] : 0);
        }
        if (h % per_group == per_group - 1) {
            rc = ww_invariant_add(&run->sums, gram, err);
        }
    }
    ww_free(scratch);
    ww_free(gram);
    return rc;
}

static enum ww_err add_side(struct shares_run *run, uint32_t attention, bool queries,
                            struct ww_error *err)
{
    const struct ww_attention *att = &run->layouts[WW_FAMILY_BASE]->attentions[attention];
    struct side *s = ww_calloc(1, sizeof(*s));
    bool ok = true;
    enum ww_err rc = s ? WW_OK : WW_FAIL_MEMORY(err, "heads");

    if (!rc) {
        rc = load_all(run, attention, queries, true, s->a, &ok, err);
    }
    if (!rc && ok) {
        rc = load_all(run, attention, queries, false, s->c, &ok, err);
    }
    if (!rc && ok) {
        const struct ww_head_shape shape = {
            .d = (size_t)(queries ? att->head_dim : att->v_dim),
            .width_a = s->a[0].width,
            .width_c = s->c[0].width,
            .rope = queries ? att->rope : (struct ww_rope){.style = WW_ROPE_NONE}};
        ok = shape.d > 0 && att->n_kv_heads > 0 && s->a[0].n == att->n_heads * shape.d &&
             s->c[0].n == att->n_kv_heads * shape.d && shape.rope.dims <= shape.d;
        if (ok) {
            rc = add_heads(run, s, &shape, att->n_heads, att->n_kv_heads, err);
        }
    }
    if (s) {
        release_side(s);
    }
    ww_free(s);
    return rc;
}

/* Products of queries and keys are what a lock keeps only where no norm stands between.
 */
static bool has_products(const struct ww_attention *att, bool queries)
{
    return queries ? att->qk_class == WW_QK_GL || att->qk_class == WW_QK_ROPE
                   : att->vo_class == WW_VO_GL;
}

static enum ww_err add_all(struct shares_run *run, struct ww_error *err)
{
    const struct ww_layout *base = run->layouts[WW_FAMILY_BASE];
    enum ww_err rc = WW_OK;

    run->sums.n = 0;
    for (uint32_t a = 0; a < base->n_attentions && !rc; a++) {
        for (unsigned queries = 0; queries < 2 && !rc; queries++) {
            if (has_products(&base->attentions[a], queries)) {
                rc = add_side(run, a, queries, err);
            }
        }
    }
    return rc;
}

/* Layouts of all models. A model without one, or with other attentions: none is used. */
static bool resolve(struct shares_run *run)
{
    for (unsigned m = 0; m < run->n; m++) {
        if (ww_layout_resolve(run->family->models[m], NULL, &run->layouts[m], NULL) ||
            run->layouts[m]->n_attentions != run->layouts[0]->n_attentions) {
            return false;
        }
    }
    return true;
}

/* What the products of a copy with these shares give. */
static enum ww_err read_copy(struct shares_run *run, const double *shares,
                             const int8_t *side, double *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    run->replica = shares;
    rc = add_all(run, err);
    run->replica = NULL;
    if (!rc) {
        ww_invariant_fit(&run->sums, side, out);
    }
    return rc;
}

/* By how much a copy gives more when its shares are moved towards what was found. */
static enum ww_err see_slope(struct shares_run *run, const int8_t *side,
                             const double *share, const double *copy, const double *found,
                             double *slope, struct ww_error *err)
{
    double moved[WW_LINEAGE_MAX_SOURCES];
    double more[WW_LINEAGE_MAX_SOURCES];
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < run->sums.k; i++) {
        const double step = found[i] - copy[i];
        const double length = fmin(fmax(fabs(step), LEAST_MOVE), MOST_MOVE);
        const bool away = share[i] == 0 && found[i] == 0;
        moved[i] =
            away ? 0 : share[i] + (side[i] * step < 0 ? -side[i] : side[i]) * length;
        moved[i] = side[i] * moved[i] > 0 ? moved[i] : 0;
    }
    rc = read_copy(run, moved, side, more, err);
    for (unsigned i = 0; i < run->sums.k && !rc; i++) {
        const double by = moved[i] - share[i];
        slope[i] = by != 0 ? (more[i] - copy[i]) / by : 1;
        slope[i] = fmin(fmax(slope[i], 1 / MOST_SLOPE), MOST_SLOPE);
    }
    return rc;
}

/* Shares whose copy gives what was found, in two steps of Newton's. Where rounding goes
 * one way or the other, at a half, small differences are read as large ones, and beside
 * that large ones as small. What was read from other weights is nearly always the share
 * of the heads too, and then there is nothing to go. */
static enum ww_err undo_rounding(struct shares_run *run, const int8_t *side,
                                 const double *found, double *share, double *half,
                                 struct ww_error *err)
{
    double copy[WW_LINEAGE_MAX_SOURCES];
    double slope[WW_LINEAGE_MAX_SOURCES];
    enum ww_err rc = WW_OK;

    for (unsigned step = 0; step < 2 && !rc; step++) {
        rc = read_copy(run, share, side, copy, err);
        if (!rc && step == 0) {
            rc = see_slope(run, side, share, copy, found, slope, err);
        }
        for (unsigned i = 0; i < run->sums.k && !rc; i++) {
            const double length = side[i] * (share[i] + (found[i] - copy[i]) / slope[i]);
            share[i] = length > 0 ? side[i] * length : 0;
        }
    }
    for (unsigned i = 0; i < run->sums.k && !rc; i++) {
        /* What was copied is a model of what happened, and as sure as that. */
        half[i] = half[i] / slope[i] + fabs(found[i] - share[i]) / DOUBT;
    }
    return rc;
}

static enum ww_err fit(struct shares_run *run, const int8_t *side, const double *start,
                       uint64_t seed, struct ww_attention_shares *out,
                       struct ww_error *err)
{
    double found[WW_LINEAGE_MAX_SOURCES];
    enum ww_err rc = add_all(run, err);

    out->n_heads = run->sums.n;
    if (rc || run->sums.n == 0) {
        return rc;
    }
    ww_invariant_fit(&run->sums, side, found);
    rc = ww_invariant_spread(&run->sums, side, seed, out->half, err);
    memcpy(out->share, start ? start : found, run->sums.k * sizeof(*found));
    return rc ? rc : undo_rounding(run, side, found, out->share, out->half, err);
}

enum ww_err ww_attention_shares(const struct ww_family *family, const int8_t *side,
                                const double *start, uint64_t seed,
                                struct ww_attention_shares *out, struct ww_error *err)
{
    struct shares_run run = {.family = family, .n = family->n_models};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    run.sums.k = family->n_models - WW_FAMILY_SOURCES;
    if (resolve(&run)) {
        rc = fit(&run, side, start, seed, out, err);
    }
    for (unsigned m = 0; m < run.n; m++) {
        ww_layout_free(run.layouts[m]);
    }
    ww_invariant_release(&run.sums);
    return rc;
}

/* A source that changed nothing but what was mixed has no other share. */
static void share_of_heads(struct ww_lineage_source *s, uint32_t same)
{
    if (same == WW_NONE && s->heads_low > WW_LINEAGE_LEAST) {
        s->share = s->heads;
        s->low = s->heads_low;
        s->high = s->heads_high;
        s->included = true;
        ww_free(s->note);
        s->note = NULL;
    }
}

enum ww_err ww_attention_tell(const struct ww_family *family, const int8_t *side,
                              const uint32_t *same, uint64_t seed,
                              struct ww_decompose_report *r, struct ww_error *err)
{
    struct ww_attention_shares heads;
    double start[WW_LINEAGE_MAX_SOURCES];
    int8_t sides[WW_LINEAGE_MAX_SOURCES] = {WW_SIDE_OUT};
    enum ww_err rc = WW_OK;

    /* Products are those of the files. */
    if (family->n_dense == 0 || (family->disguise.read && !family->disguise.heads)) {
        return WW_OK;
    }
    for (size_t i = 0; i < r->n_sources; i++) {
        start[i] = r->sources[i].share;
        sides[i] = same[i] == WW_NONE ? WW_SIDE_PLUS : side[i];
    }
    rc = ww_attention_shares(family, sides, r->used < WW_FIT_LEAST ? NULL : start, seed,
                             &heads, err);
    r->heads = rc ? 0 : heads.n_heads;
    for (size_t i = 0; i < r->n_sources && r->heads; i++) {
        struct ww_lineage_source *s = &r->sources[i];
        s->heads = heads.share[i];
        s->heads_low = s->heads - heads.half[i] - WW_FIT_ROUGHLY;
        s->heads_high = s->heads + heads.half[i] + WW_FIT_ROUGHLY;
        ww_fit_stay_on(sides[i], &s->heads_low, &s->heads_high);
        share_of_heads(s, same[i]);
    }
    return rc;
}
