/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor W becomes W' = X W Y with X acting on its rows and Y on its columns. For a
 * vector u and u' = Y^-T u, every product W' u' is X (W u). Y^-T is the action of the
 * same element the other way round, so nothing is inverted here.
 *
 * Rounding is judged against the terms of the products and not the products: where
 * factors of two leave most of the weight with two rows, theirs may both vanish by
 * chance.
 */
#include "lock/dense_probe.h"

#include <math.h>

#include "lock/activation.h"
#include "lock/axis_map.h"
#include "lock/probe_dot.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

struct ww_dense_probe {
    const struct ww_gauge *gauge;
    const struct ww_cell_source *source;
    uint32_t tensor;
    enum ww_dtype dtype;
    uint64_t n_rows; /* of a tensor of rank 1: its elements */
    uint64_t n_cols;
    bool flat; /* rank 1 */
    float *u;
    float *moved;
    double *before; /* by source row */
    double *after;  /* by row */
    double *power;  /* by row: squares of the terms of after, summed */
};

/* How far a row's product may be off, relative: a few times what one rounding does. */
static double limit_of(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_BF16 ? 1e-2 : dtype == WW_DTYPE_F16 ? 1.5e-3 : 1e-5;
}

static enum ww_action other_way(enum ww_action action)
{
    return action == WW_ACT_DIRECT    ? WW_ACT_INVERSE
           : action == WW_ACT_INVERSE ? WW_ACT_DIRECT
                                      : WW_ACT_PERMUTE;
}

/* y = the action on a vector over the space, of which x holds what the segment covers. */
static enum ww_err act_on_space(const struct ww_dense_probe *p,
                                const struct ww_segment *segment, enum ww_action action,
                                const double *x, double *y, struct ww_error *err)
{
    struct ww_element element = {0};
    struct ww_cells cells = {0};
    double *scratch = NULL;
    enum ww_err rc = ww_gauge_space(p->gauge, segment->space, &element, err);

    if (rc) {
        return rc;
    }
    ww_element_apply(&element, action, x, y);
    ww_element_release(&element);
    if (!p->source->has(p->source->payload, segment->space)) {
        return WW_OK;
    }
    rc = p->source->get(p->source->payload, segment->space, false, &cells, err);
    if (rc) {
        return rc;
    }
    scratch = ww_calloc(WW_MAX_CELL, sizeof(*scratch));
    if (scratch) {
        ww_cells_apply(&cells, action, y, scratch);
    } else {
        rc = WW_FAIL_MEMORY(err, "a probe");
    }
    ww_free(scratch);
    ww_cells_release(&cells);
    return rc;
}

static enum ww_err act_on_segment(const struct ww_dense_probe *p,
                                  const struct ww_segment *segment, bool dual,
                                  const double *x, double *y, struct ww_error *err)
{
    const uint64_t size = p->gauge->layout->spaces[segment->space].size;
    const enum ww_action action = dual ? other_way(segment->action) : segment->action;
    double *from = ww_calloc((size_t)size, sizeof(*from));
    double *to = ww_calloc((size_t)size, sizeof(*to));
    enum ww_err rc = WW_OK;

    if (!from || !to) {
        rc = WW_FAIL_MEMORY(err, "a probe");
        goto out;
    }
    for (uint64_t s = 0; s < size; s++) {
        from[s] = ww_segment_covers(segment, s) ? x[ww_segment_at(segment, s)] : 0;
    }
    rc = act_on_space(p, segment, action, from, to, err);
    for (uint64_t s = 0; s < size && !rc; s++) {
        if (ww_segment_covers(segment, s)) {
            y[ww_segment_at(segment, s)] = to[s];
        }
    }
out:
    ww_free(from);
    ww_free(to);
    return rc;
}

/* y = X x along an axis, or X^-T x; y begins as a copy of x. */
static enum ww_err act_on_axis(const struct ww_dense_probe *p, unsigned axis, bool dual,
                               const double *x, double *y, struct ww_error *err)
{
    const struct ww_layout *layout = p->gauge->layout;
    const struct ww_axis *a = &layout->bindings[p->tensor].axis[axis];
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < a->n_segments && !rc; i++) {
        rc = act_on_segment(p, &layout->segments[a->first_segment + i], dual, x, y, err);
    }
    return rc;
}

/* Magnitudes in [1, 2), so that no column goes unseen. */
static enum ww_err fill_vectors(struct ww_dense_probe *p, struct ww_error *err)
{
    const size_t n = (size_t)p->n_cols;
    double *x = ww_calloc(n, sizeof(*x));
    double *y = ww_calloc(n, sizeof(*y));
    uint64_t seed = p->tensor;
    enum ww_err rc = WW_OK;

    if (!x || !y) {
        rc = WW_FAIL_MEMORY(err, "a probe");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t z = ww_random_bits(&seed);
        p->u[i] = (z & 1 ? -1.0f : 1.0f) * (1.0f + (float)(z >> 41) * 0x1p-23f);
        x[i] = y[i] = (double)p->u[i];
    }
    rc = act_on_axis(p, 1, true, x, y, err);
    for (size_t i = 0; i < n && !rc; i++) {
        p->moved[i] = (float)y[i];
    }
out:
    ww_free(x);
    ww_free(y);
    return rc;
}

enum ww_err ww_dense_probe_new(const struct ww_gauge *gauge,
                               const struct ww_cell_source *source, uint32_t tensor,
                               struct ww_dense_probe **out, struct ww_error *err)
{
    const struct ww_tensor *t = &gauge->layout->model->tensors[tensor];
    struct ww_dense_probe *p = ww_calloc(1, sizeof(*p));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!p) {
        return WW_FAIL_MEMORY(err, "a probe");
    }
    *p = (struct ww_dense_probe){.gauge = gauge,
                                 .source = source,
                                 .tensor = tensor,
                                 .dtype = t->dtype,
                                 .n_rows = t->shape[0],
                                 .n_cols = t->rank == 1 ? 1 : t->shape[1],
                                 .flat = t->rank == 1};
    p->u = ww_calloc((size_t)p->n_cols, sizeof(*p->u));
    p->moved = ww_calloc((size_t)p->n_cols, sizeof(*p->moved));
    p->before = ww_calloc((size_t)p->n_rows, sizeof(*p->before));
    p->after = ww_calloc((size_t)p->n_rows, sizeof(*p->after));
    p->power = ww_calloc((size_t)p->n_rows, sizeof(*p->power));
    if (!p->u || !p->moved || !p->before || !p->after || !p->power) {
        rc = WW_FAIL_MEMORY(err, "a probe");
    } else if (!p->flat) {
        rc = fill_vectors(p, err);
    }
    if (rc) {
        ww_dense_probe_free(p);
        return rc;
    }
    *out = p;
    return WW_OK;
}

void ww_dense_probe_free(struct ww_dense_probe *p)
{
    if (p) {
        ww_free(p->u);
        ww_free(p->moved);
        ww_free(p->before);
        ww_free(p->after);
        ww_free(p->power);
        ww_free(p);
    }
}

/* Sum over j of (row_j u_j)^2. */
static double row_power(enum ww_dtype dtype, const uint8_t *row, const float *u, size_t n)
{
    double x[256];
    double sum = 0;

    for (size_t at = 0; at < n; at += WW_LEN(x)) {
        const size_t k = n - at < WW_LEN(x) ? n - at : WW_LEN(x);
        ww_to_double(dtype, row + at * (ww_dtype_bits(dtype) / 8), x, k);
        for (size_t j = 0; j < k; j++) {
            const double term = x[j] * (double)u[at + j];
            sum += term * term;
        }
    }
    return sum;
}

void ww_dense_probe_note(struct ww_dense_probe *p, uint64_t from, uint64_t to, uint64_t n,
                         const uint8_t *in, const uint8_t *out)
{
    const size_t n_cols = (size_t)p->n_cols;
    const size_t row_bytes = n_cols * ww_dtype_bits(p->dtype) / 8;

    if (p->flat) {
        ww_to_double(p->dtype, in, p->before, (size_t)p->n_rows);
        ww_to_double(p->dtype, out, p->after, (size_t)p->n_rows);
        for (uint64_t r = 0; r < p->n_rows; r++) {
            p->power[r] = p->after[r] * p->after[r];
        }
        return;
    }
    for (uint64_t r = 0; r < n; r++) {
        p->before[from + r] = ww_probe_dot(p->dtype, in + r * row_bytes, p->u, n_cols);
        p->after[to + r] = ww_probe_dot(p->dtype, out + r * row_bytes, p->moved, n_cols);
        p->power[to + r] = row_power(p->dtype, out + r * row_bytes, p->moved, n_cols);
    }
}

enum ww_err ww_dense_probe_judge(const struct ww_dense_probe *p, double *error,
                                 struct ww_error *err)
{
    const struct ww_tensor *t = &p->gauge->layout->model->tensors[p->tensor];
    /* Subnormal half floats lie 2^-24 apart, however small they are. */
    const double step = p->dtype == WW_DTYPE_F16 ? 0x1p-24 : 0;
    double *want = ww_calloc((size_t)p->n_rows, sizeof(*want));
    double off = 0;
    double size = 0;
    enum ww_err rc = WW_OK;

    if (!want) {
        return WW_FAIL_MEMORY(err, "a probe");
    }
    for (uint64_t r = 0; r < p->n_rows; r++) {
        want[r] = p->before[r];
    }
    rc = act_on_axis(p, 0, false, p->before, want, err);
    for (uint64_t r = 0; r < p->n_rows && !rc; r++) {
        off += (p->after[r] - want[r]) * (p->after[r] - want[r]);
        size += p->power[r];
    }
    ww_free(want);
    if (rc) {
        return rc;
    }
    off = sqrt(off / (double)p->n_rows);
    size = sqrt(size / (double)p->n_rows);
    *error = off > 0 && size > 0 ? off / size : 0;
    if (!(off <= limit_of(p->dtype) * size + step * sqrt((double)p->n_cols))) {
        return WW_FAIL(
            err, WW_E_CHECK_FAILED,
            "tensor '%s': its rows deviate by %.3g from what the transform must "
            "give (limit %g)",
            t->name, *error, limit_of(p->dtype));
    }
    return WW_OK;
}
