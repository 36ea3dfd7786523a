/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors meet the stream and through which norm they read it, and the orthogonal
 * Procrustes solution from the tables of both models: with rows e' = R e the polar factor
 * of sum e' e^T is the best R.
 */
#include "attack/rotation.h"

#include <math.h>
#include <string.h>

#include "la/la.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define MOST_ROWS 65536
#define BATCH 512
#define LIKE 0.5 /* mean cosine of rows turned back and the anchor's */
#define SURE 0.8 /* the same: no rotation does that to others */

void ww_rotation_release(struct ww_rotation *rotation)
{
    for (uint32_t t = 0; rotation->gains && t < rotation->n_tensors; t++) {
        ww_free(rotation->gains[t]);
    }
    ww_free(rotation->gains);
    ww_free(rotation->parts);
    ww_free(rotation->r);
    memset(rotation, 0, sizeof(*rotation));
}

/* Part of a tensor on the stream: one whole axis, else *fits is false. */
static void find_part(const struct ww_layout *layout, uint32_t t,
                      struct ww_stream_part *out, bool *fits)
{
    const struct ww_tensor *tensor = &layout->model->tensors[t];

    for (unsigned a = 0; a < tensor->rank; a++) {
        const struct ww_axis *axis = &layout->bindings[t].axis[a];
        for (uint32_t i = 0; i < axis->n_segments; i++) {
            const struct ww_segment *s = &layout->segments[axis->first_segment + i];
            if (s->space != layout->residual.space) {
                continue;
            }
            *fits = *fits && !out->on && axis->n_segments == 1 &&
                    s->count * s->width == tensor->shape[a] &&
                    ww_dtype_is_plain_float(tensor->dtype);
            out->on = true;
            out->axis = a;
        }
    }
}

/* Effective gains of the anchor's tensor of that name. */
static enum ww_err read_gains(const struct ww_pair *pair, const struct ww_norm *norm,
                              double **out, struct ww_error *err)
{
    const uint32_t at = ww_pair_tensor(pair, norm->gain);
    const struct ww_tensor *t = &pair->anchor->model->tensors[at];
    const size_t n = (size_t)t->n_elements;
    void *bytes = ww_alloc_aligned(64, (size_t)t->n_bytes + 64);
    double *gains = ww_calloc(n, sizeof(*gains));
    double most = 0;
    enum ww_err rc = WW_OK;

    if (!bytes || !gains) {
        rc = WW_FAIL_MEMORY(err, "'%s'", t->name);
    }
    if (!rc) {
        rc = ww_model_read(pair->anchor->model, at, bytes, err);
    }
    if (!rc) {
        ww_to_double(t->dtype, bytes, gains, n);
        for (size_t i = 0; i < n; i++) {
            gains[i] += norm->plus_one ? 1 : 0;
            most = fmax(most, fabs(gains[i]));
        }
        for (size_t i = 0; i < n; i++) {
            /* Nothing can be divided by such a gain: it stays folded. */
            gains[i] = isfinite(gains[i]) && fabs(gains[i]) > 1e-4 * most ? gains[i] : 1;
        }
        *out = gains;
        gains = NULL;
    }
    ww_free(bytes);
    ww_free(gains);
    return rc;
}

struct walk {
    const struct ww_pair *pair;
    struct ww_rotation *out;
    bool fits;
    bool folded;    /* all gains of the suspect are one so far */
    bool different; /* some of the anchor's are not */
    enum ww_err rc;
    struct ww_error *err;
};

static bool is_one(const struct walk *w, const struct ww_norm *norm)
{
    const struct ww_model *model = w->pair->locked->model;
    const struct ww_tensor *t = &model->tensors[norm->gain];
    const double want = norm->plus_one ? 0 : 1;
    void *bytes = ww_alloc_aligned(64, (size_t)t->n_bytes + 64);
    double *x = ww_calloc((size_t)t->n_elements, sizeof(*x));
    bool one = bytes && x && !ww_model_read(model, norm->gain, bytes, NULL);

    if (one) {
        ww_to_double(t->dtype, bytes, x, (size_t)t->n_elements);
    }
    for (size_t i = 0; one && i < t->n_elements; i++) {
        one = x[i] == want;
    }
    ww_free(bytes);
    ww_free(x);
    return one;
}

/* Take note of a norm on the stream; its gains, NULL when it does not fit. */
static const double *enter_norm(struct walk *w, const struct ww_norm *norm)
{
    if (w->rc || norm->kind != WW_NORM_RMS || norm->gain == WW_NONE ||
        norm->bias != WW_NONE || !w->out->parts[norm->gain].on) {
        w->fits = false;
        return NULL;
    }
    double **gains = &w->out->gains[norm->gain];
    if (!*gains) {
        w->folded = w->folded && is_one(w, norm);
        w->out->parts[norm->gain].is_gain = true;
        w->out->parts[norm->gain].plus_one = norm->plus_one;
        w->rc = read_gains(w->pair, norm, gains, w->err);
    }
    for (size_t i = 0; *gains && i < w->out->n; i++) {
        w->different = w->different || (*gains)[i] != 1;
    }
    return *gains;
}

/* Its gains stay where they are. */
static void leave_norm(struct walk *w, const struct ww_norm *norm)
{
    w->out->gains_alone = true;
    if (norm->gain != WW_NONE) {
        w->out->parts[norm->gain].on = false;
    }
}

static void enter_reader(struct walk *w, const struct ww_linear *linear,
                         const double *gains)
{
    if (linear->weight == WW_NONE || !w->out->parts[linear->weight].on) {
        return;
    }
    struct ww_stream_part *part = &w->out->parts[linear->weight];
    w->fits = w->fits && gains && (!part->gains || part->gains == gains) &&
              part->axis == linear->in_axis;
    part->gains = gains;
}

static void enter_mlp(struct walk *w, uint32_t mlp, const double *gains)
{
    if (mlp != WW_NONE) {
        enter_reader(w, &w->pair->locked->mlps[mlp].gate, gains);
        enter_reader(w, &w->pair->locked->mlps[mlp].up, gains);
    }
}

static void enter_block(struct walk *w, const struct ww_block *block)
{
    const struct ww_layout *layout = w->pair->locked;
    const struct ww_attention *att =
        block->self == WW_NONE ? NULL : &layout->attentions[block->self];

    if ((block->form != WW_BLOCK_PRE && block->form != WW_BLOCK_SANDWICH) ||
        block->cross != WW_NONE || block->uncovered) {
        w->fits = false;
        return;
    }
    if (block->form == WW_BLOCK_SANDWICH) {
        leave_norm(w, &block->post_self);
        leave_norm(w, &block->post_mlp);
    }
    if (att) {
        const double *gains = enter_norm(w, &block->norm_self);
        const struct ww_linear *const readers[] = {&att->q,   &att->k,    &att->v,
                                                   &att->q_a, &att->kv_a, &att->gate};
        for (size_t i = 0; i < WW_LEN(readers); i++) {
            enter_reader(w, readers[i], gains);
        }
    }
    if (block->mlp != WW_NONE || block->moe != WW_NONE) {
        const double *gains = enter_norm(w, &block->norm_mlp);
        enter_mlp(w, block->mlp, gains);
        if (block->moe != WW_NONE) {
            const struct ww_moe *moe = &layout->moes[block->moe];
            enter_reader(w, &moe->router, gains);
            enter_reader(w, &moe->shared_gate, gains);
            enter_mlp(w, moe->shared_mlp, gains);
            for (uint32_t e = 0; e < moe->n_experts; e++) {
                enter_mlp(w, moe->first_mlp + e, gains);
            }
        }
    }
}

static bool writes(const struct ww_linear *linear, uint32_t t)
{
    return linear->weight == t || linear->bias == t;
}

/* Is the tensor known to write the stream, or a table of it? */
static bool is_writer(const struct ww_layout *layout, uint32_t t)
{
    bool found = t == layout->embed;

    for (uint32_t a = 0; a < layout->n_attentions && !found; a++) {
        found = writes(&layout->attentions[a].o, t);
    }
    for (uint32_t m = 0; m < layout->n_mlps && !found; m++) {
        found = writes(&layout->mlps[m].down, t);
    }
    return found;
}

/* Every tensor on the stream: a gain, a reader whose norm is known, or a writer. */
static void walk_model(struct walk *w)
{
    const struct ww_layout *layout = w->pair->locked;

    w->fits = layout->residual.space != WW_NONE &&
              layout->residual.group == WW_RESIDUAL_SIGNED && layout->n_stacks == 1 &&
              !layout->stacks[0].own_stream && layout->head.weight != WW_NONE;
    for (uint32_t t = 0; t < w->out->n_tensors && w->fits; t++) {
        find_part(layout, t, &w->out->parts[t], &w->fits);
    }
    for (uint32_t b = 0; b < layout->n_blocks && w->fits; b++) {
        enter_block(w, &layout->blocks[b]);
    }
    if (w->fits && layout->head.weight == layout->embed) {
        leave_norm(w, &layout->stacks[0].final_norm);
    } else if (w->fits) {
        const double *gains = enter_norm(w, &layout->stacks[0].final_norm);
        enter_reader(w, &layout->head, gains);
    }
    for (uint32_t t = 0; t < w->out->n_tensors && w->fits; t++) {
        const struct ww_stream_part *part = &w->out->parts[t];
        w->fits = !part->on || part->is_gain || part->gains || is_writer(layout, t);
    }
}

/* Rows first .. first + n of a table of width d, as doubles. */
static enum ww_err read_rows(const struct ww_model *model, uint32_t t, uint64_t first,
                             size_t n, size_t d, uint8_t *bytes, double *out,
                             struct ww_error *err)
{
    enum ww_err rc = ww_elements_bytes(model, t, first * d, n * d, bytes, err);

    if (!rc) {
        ww_to_double(model->tensors[t].dtype, bytes, out, n * d);
    }
    return rc;
}

static double norm2(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

/* sum e' e^T over a table, at unit size, onto m. gains: folded into the suspect's. */
static enum ww_err add_table(const struct ww_pair *pair, uint32_t t, const double *gains,
                             size_t d, double *m, struct ww_error *err)
{
    const uint64_t n_rows = ww_min_u64(ww_pair_elements(pair, t) / d, MOST_ROWS);
    double *room = ww_calloc((size_t)BATCH * 3 + d, d * sizeof(*room));
    double sizes[2] = {0};
    enum ww_err rc = WW_OK;

    if (!room) {
        return WW_FAIL_MEMORY(err, "a rotation");
    }
    double *anchor = room + (size_t)BATCH * d;
    double *sum = anchor + (size_t)BATCH * d;
    uint8_t *bytes = (uint8_t *)(sum + d * d);
    for (uint64_t at = 0; at < n_rows && !rc; at += BATCH) {
        const size_t n = (size_t)ww_min_u64(BATCH, n_rows - at);
        rc = read_rows(pair->locked->model, t, at, n, d, bytes, room, err);
        if (!rc) {
            rc = read_rows(pair->anchor->model, ww_pair_tensor(pair, t), at, n, d, bytes,
                           anchor, err);
        }
        for (size_t i = 0; i < n * d && gains && !rc; i++) {
            anchor[i] *= gains[i % d];
        }
        if (!rc) {
            sizes[0] += norm2(room, n * d);
            sizes[1] += norm2(anchor, n * d);
            ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, d, d, n, 1, room, d, anchor, d, 1,
                       sum, d);
        }
    }
    const double both = sqrt(sizes[0]) * sqrt(sizes[1]);
    for (size_t i = 0; i < d * d && both > 0 && !rc; i++) {
        m[i] += sum[i] / both;
    }
    ww_free(room);
    return rc;
}

/* The same of tensors whose rows lie on the stream, and how many there are. */
static enum ww_err add_rows(const struct ww_pair *pair, const struct ww_rotation *out,
                            uint32_t t, double *m, unsigned *n, struct ww_error *err)
{
    const struct ww_stream_part *part = t == WW_NONE ? NULL : &out->parts[t];

    if (!part || !part->on || part->axis != 1 ||
        pair->locked->model->tensors[t].rank != 2) {
        return WW_OK;
    }
    ++*n;
    return add_table(pair, t, part->gains, out->n, m, err);
}

static enum ww_err sum_tables(const struct ww_pair *pair, const struct ww_rotation *out,
                              double *m, unsigned *n, struct ww_error *err)
{
    const uint32_t tables[] = {pair->locked->embed, pair->locked->head.weight};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(tables) && !rc; i++) {
        rc = add_rows(pair, out, tables[i], m, n, err);
    }
    return rc;
}

/* Neurons in their own places. */
static enum ww_err sum_gates(const struct ww_pair *pair, const struct ww_rotation *out,
                             double *m, unsigned *n, struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < layout->n_mlps && !rc; i++) {
        const struct ww_mlp *mlp = &layout->mlps[i];
        rc = add_rows(pair, out, mlp->gated ? mlp->gate.weight : mlp->up.weight, m, n,
                      err);
    }
    return rc;
}

/* Mean cosine of the anchor's rows and those that r turns. */
static double cosine_of(const double *r, const double *m, size_t square, unsigned n)
{
    double sum = 0;

    for (size_t i = 0; i < square; i++) {
        sum += r[i] * m[i];
    }
    return n > 0 ? sum / n : 0;
}

static bool are_finite(const double *m, size_t square)
{
    bool finite = true;

    for (size_t i = 0; i < square; i++) {
        finite = finite && isfinite(m[i]);
    }
    return finite;
}

/* r by neurons in the anchor's places, where these tell it and tables are in another
 * order: few words can be turned into any others, more neurons than the stream is wide
 * cannot. */
static enum ww_err turn_by_gates(const struct ww_pair *pair, struct ww_rotation *out,
                                 const double *tables, unsigned n_tables, double *gates,
                                 bool *told, struct ww_error *err)
{
    const size_t square = out->n * out->n;
    unsigned n = 0;
    enum ww_err rc = sum_gates(pair, out, gates, &n, err);

    *told = false;
    if (rc || n == 0 || !are_finite(gates, square)) {
        return rc;
    }
    memcpy(out->r, gates, square * sizeof(*gates));
    rc = ww_la_polar(out->n, out->n, out->r, NULL, err);
    *told = !rc && cosine_of(out->r, gates, square, n) >= SURE &&
            cosine_of(out->r, tables, square, n_tables) < LIKE;
    return rc;
}

static enum ww_err solve(const struct ww_pair *pair, struct ww_rotation *out,
                         struct ww_error *err)
{
    const size_t square = out->n * out->n;
    double *tables = ww_calloc(2 * square, sizeof(*tables));
    unsigned n = 0;
    bool by_gates = false;
    enum ww_err rc = WW_OK;

    out->r = ww_calloc(square, sizeof(*out->r));
    if (!out->r || !tables) {
        rc = WW_FAIL_MEMORY(err, "a rotation");
    }
    rc = rc ? rc : sum_tables(pair, out, tables, &n, err);
    if (!rc && !are_finite(tables, square)) {
        rc = WW_FAIL(err, WW_E_NONFINITE,
                     "the embeddings hold NaN or infinity, so that they cannot be "
                     "compared");
    }
    rc = rc ? rc : turn_by_gates(pair, out, tables, n, tables + square, &by_gates, err);
    if (!rc && !by_gates) {
        memcpy(out->r, tables, square * sizeof(*tables));
        rc = ww_la_polar(out->n, out->n, out->r, NULL, err);
    }
    rc =
        rc ? rc : ww_rotation_refine(pair, by_gates ? tables + square : tables, out, err);
    ww_free(tables);
    return rc;
}

static enum ww_err find_parts(struct walk *w)
{
    struct ww_rotation *out = w->out;

    memset(out, 0, sizeof(*out));
    out->n = (size_t)w->pair->locked->residual.width;
    out->n_tensors = w->pair->locked->model->n_tensors;
    out->parts = ww_calloc(out->n_tensors, sizeof(*out->parts));
    out->gains = ww_calloc(out->n_tensors, sizeof(*out->gains));
    if (!out->parts || !out->gains) {
        return WW_FAIL_MEMORY(w->err, "a rotation");
    }
    walk_model(w);
    return w->rc;
}

enum ww_err ww_rotation_parts(const struct ww_layout *layout, struct ww_rotation *out,
                              bool *fits, struct ww_error *err)
{
    struct ww_pair pair;
    struct walk w = {.pair = &pair, .out = out, .folded = true, .err = err};
    enum ww_err rc = ww_pair_init(&pair, layout, layout, err);

    *out = (struct ww_rotation){0};
    *fits = false;
    if (rc) {
        return rc;
    }
    rc = find_parts(&w);
    *fits = !rc && w.fits;
    ww_pair_release(&pair);
    if (rc) {
        ww_rotation_release(out);
    }
    return rc;
}

enum ww_err ww_rotation_find(const struct ww_pair *pair, struct ww_rotation *out,
                             struct ww_error *err)
{
    struct walk w = {.pair = pair, .out = out, .folded = true, .err = err};
    enum ww_err rc = find_parts(&w);

    out->gains_alone = out->gains_alone && w.fits && w.folded && w.different;
    if (!rc && w.fits && w.folded && w.different && !out->gains_alone) {
        rc = ww_la_ready(err);
        rc = rc ? rc : solve(pair, out, err);
    }
    if (rc) {
        ww_rotation_release(out);
    }
    return rc;
}
