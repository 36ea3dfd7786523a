/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The orthogonal Procrustes solution from the tables of both models: with rows e' = R e
 * the polar factor of sum e' e^T is the best R.
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
#define LIKE 0.5   /* mean cosine of rows turned back and the anchor's */
#define SURE 0.8   /* the same: no rotation does that to others */
#define WORDS 4    /* times as many as the stream is wide tell it, */
#define NEURONS 64 /* and so many times as many neurons at most are asked */

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

/* So many blocks tell enough neurons, of all depths: experts have thousands. */
static uint32_t gate_stride(const struct ww_layout *layout, size_t width)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < layout->n_mlps; i++) {
        all += layout->mlps[i].n_neurons;
    }
    return (uint32_t)ww_max_u64(1, all / (NEURONS * (uint64_t)width));
}

/* Neurons in their own places. */
static enum ww_err sum_gates(const struct ww_pair *pair, const struct ww_rotation *out,
                             double *m, unsigned *n, struct ww_error *err)
{
    const struct ww_layout *layout = pair->locked;
    const uint32_t stride = gate_stride(layout, out->n);
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < layout->n_mlps && !rc; i += stride) {
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

static enum ww_err polar_of(const double *m, struct ww_rotation *out,
                            struct ww_error *err)
{
    memcpy(out->r, m, out->n * out->n * sizeof(*m));
    return ww_la_polar(out->n, out->n, out->r, NULL, err);
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
    rc = polar_of(gates, out, err);
    *told = !rc && cosine_of(out->r, gates, square, n) >= SURE &&
            cosine_of(out->r, tables, square, n_tables) < LIKE;
    return rc;
}

/* Do tables tell r, so that no neurons need be asked? Of more words than the stream is
 * wide, as of neurons, no other rotation does. */
static bool tables_tell(const struct ww_pair *pair, const struct ww_rotation *out,
                        const double *tables, unsigned n)
{
    const uint32_t embed = pair->locked->embed;
    const uint64_t words = embed == WW_NONE ? 0 : ww_pair_elements(pair, embed) / out->n;

    return words >= WORDS * (uint64_t)out->n &&
           cosine_of(out->r, tables, out->n * out->n, n) >= SURE;
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
    rc = rc ? rc : polar_of(tables, out, err);
    if (!rc && !tables_tell(pair, out, tables, n)) {
        rc = turn_by_gates(pair, out, tables, n, tables + square, &by_gates, err);
        rc = rc || by_gates ? rc : polar_of(tables, out, err);
    }
    rc =
        rc ? rc : ww_rotation_refine(pair, by_gates ? tables + square : tables, out, err);
    ww_free(tables);
    return rc;
}

enum ww_err ww_rotation_find(const struct ww_pair *pair, struct ww_rotation *out,
                             struct ww_error *err)
{
    bool fits = false;
    bool folded = false;
    enum ww_err rc = ww_rotation_read(pair, out, &fits, &folded, err);

    out->gains_alone = out->gains_alone && fits && folded;
    if (!rc && fits && folded && !out->gains_alone) {
        rc = ww_la_ready(err);
        rc = rc ? rc : solve(pair, out, err);
    }
    if (rc) {
        ww_rotation_release(out);
    }
    return rc;
}
