/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model is written once and may be larger than memory, so the check happens in the
 * stream. One random vector per tensor and one number per row find a wrong map with
 * probability one and a single wrong element unless it is below about 1/500 of the
 * row's typical size (then the deviation is lost in the rounding of float sums).
 * Tensors of one row (gains, biases) are compared element by element, exactly.
 *
 * Deviations are measured against the largest product of the tile, or, where all are
 * small by chance, against the length of its first row.
 */
#include "lock/probe.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "lock/activation.h"
#include "lock/probe_dot.h"
#include "lock/probe_truth.h"
#include "lock/tensor_map.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Which axes of a tensor are input and output of its linear maps. */
struct roles {
    uint8_t in_axis;
    uint8_t out_axis;
    uint32_t n_linears;
};

struct ww_probes {
    const struct ww_gauge *gauge;
    struct roles *roles; /* per tensor */
    pthread_mutex_t mutex;
    double max_error;
    uint64_t n_linears;
};

struct ww_probe {
    struct ww_probes *probes;
    const struct ww_tensor *tensor;
    uint32_t index;
    struct ww_truth_of of;
    struct ww_tensor_view view;
    uint64_t rows_per_slice;
    uint32_t n_slices;
    struct ww_truth rows;
    struct ww_truth line; /* one-row tensors: compared element by element */
    float *u;
    float *moved; /* [n_slices][n_cols] */
};

static void note(struct ww_probes *probes, const struct ww_linear *linear)
{
    if (linear->weight != WW_NONE) {
        struct roles *roles = &probes->roles[linear->weight];
        roles->in_axis = linear->in_axis;
        roles->out_axis = linear->out_axis;
        roles->n_linears++;
    }
}

static void note_all(struct ww_probes *probes)
{
    const struct ww_layout *layout = probes->gauge->layout;
    const uint32_t tables[] = {layout->embed, layout->embed_position, layout->embed_type};

    for (size_t i = 0; i < WW_LEN(tables); i++) {
        if (tables[i] != WW_NONE) {
            const struct ww_tensor *t = &layout->model->tensors[tables[i]];
            probes->roles[tables[i]].in_axis = (uint8_t)(t->rank - 1);
            probes->roles[tables[i]].n_linears++;
        }
    }
    note(probes, &layout->head);
    if (layout->head_norm.kind != WW_NORM_NONE) {
        note(probes, &layout->head_transform);
    }
    for (uint32_t i = 0; i < layout->n_attentions; i++) {
        const struct ww_attention *att = &layout->attentions[i];
        note(probes, &att->q);
        note(probes, &att->k);
        note(probes, &att->v);
        note(probes, &att->o);
        note(probes, &att->q_a);
        note(probes, &att->kv_a);
        note(probes, &att->kv_b);
    }
    for (uint32_t i = 0; i < layout->n_mlps; i++) {
        note(probes, &layout->mlps[i].gate);
        note(probes, &layout->mlps[i].up);
        note(probes, &layout->mlps[i].down);
    }
    for (uint32_t i = 0; i < layout->n_moes; i++) {
        note(probes, &layout->moes[i].router);
        if (layout->moes[i].shared_gated) {
            note(probes, &layout->moes[i].shared_gate);
        }
    }
}

enum ww_err ww_probes_new(const struct ww_gauge *gauge, struct ww_probes **out,
                          struct ww_error *err)
{
    const uint32_t n_tensors = gauge->layout->model->n_tensors;
    struct ww_probes *probes = ww_calloc(1, sizeof(*probes));

    *out = NULL;
    if (probes) {
        probes->roles = ww_calloc(n_tensors, sizeof(*probes->roles));
    }
    if (!probes || !probes->roles) {
        ww_free(probes);
        return WW_FAIL_MEMORY(err, "the probes of %u tensors", n_tensors);
    }
    probes->gauge = gauge;
    for (uint32_t t = 0; t < n_tensors; t++) {
        probes->roles[t].in_axis = WW_NO_AXIS;
        probes->roles[t].out_axis = WW_NO_AXIS;
    }
    note_all(probes);
    WW_INVARIANT(pthread_mutex_init(&probes->mutex, NULL) == 0);
    *out = probes;
    return WW_OK;
}

void ww_probes_free(struct ww_probes *probes)
{
    if (probes) {
        pthread_mutex_destroy(&probes->mutex);
        ww_free(probes->roles);
        ww_free(probes);
    }
}

double ww_probes_max_error(const struct ww_probes *probes)
{
    return probes->max_error;
}

uint64_t ww_probes_linears(const struct ww_probes *probes)
{
    return probes->n_linears;
}

void ww_probes_count(struct ww_probes *probes, uint32_t tensor)
{
    pthread_mutex_lock(&probes->mutex);
    probes->n_linears += probes->roles[tensor].n_linears;
    pthread_mutex_unlock(&probes->mutex);
}

/* Magnitudes in [1, 2), so that no column goes unseen. */
static float random_entry(uint64_t *state)
{
    const uint64_t z = ww_random_bits(state);
    const float magnitude = 1.0f + (float)(z >> 41) * 0x1p-23f;
    return z & 1 ? -magnitude : magnitude;
}

static enum ww_err fill_vectors(struct ww_probe *probe, struct ww_error *err)
{
    const size_t n = (size_t)probe->view.n_cols;
    struct ww_truth cols = {0};
    uint64_t seed = probe->index;
    enum ww_err rc = WW_OK;

    probe->u = ww_calloc(n, sizeof(*probe->u));
    probe->moved = ww_calloc(n * probe->n_slices, sizeof(*probe->moved));
    if (!probe->u || !probe->moved) {
        return WW_FAIL_MEMORY(err, "a probe");
    }
    for (size_t j = 0; j < n; j++) {
        probe->u[j] = random_entry(&seed);
    }
    for (uint32_t s = 0; s < probe->n_slices && !rc; s++) {
        rc = ww_truth_of_axes(&probe->of, probe->view.first_col_axis, probe->tensor->rank,
                              s, &cols, err);
        for (size_t j = 0; j < n && !rc; j++) {
            /* The covector goes the other way: what the weight is multiplied by, it is
             * divided by. */
            probe->moved[s * n + j] =
                (float)((double)probe->u[cols.from[j]] / cols.factor[j]);
        }
        ww_truth_release(&cols);
    }
    return rc;
}

static enum ww_err build(struct ww_probe *probe, struct ww_error *err)
{
    const struct ww_layout *layout = probe->probes->gauge->layout;
    const bool stacked = ww_axis_stack(layout, probe->index) != WW_NONE;
    const bool one_row = probe->view.n_rows == 1;
    const unsigned to = one_row ? probe->tensor->rank : probe->view.first_col_axis;
    struct ww_truth *truth = one_row ? &probe->line : &probe->rows;
    enum ww_err rc = WW_OK;

    probe->n_slices = stacked && !one_row ? (uint32_t)probe->tensor->shape[0] : 1;
    probe->rows_per_slice = probe->view.n_rows / probe->n_slices;
    rc = stacked ? ww_truth_of_stack(&probe->of, to, truth, err)
                 : ww_truth_of_axes(&probe->of, 0, to, 0, truth, err);
    if (!rc && !one_row) {
        rc = fill_vectors(probe, err);
    }
    return rc;
}

enum ww_err ww_probe_new(struct ww_probes *probes, uint32_t tensor, struct ww_probe **out,
                         struct ww_error *err)
{
    struct ww_probe *probe = ww_calloc(1, sizeof(*probe));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!probe) {
        return WW_FAIL_MEMORY(err, "a probe");
    }
    probe->probes = probes;
    probe->index = tensor;
    probe->of = (struct ww_truth_of){.gauge = probes->gauge,
                                     .tensor = tensor,
                                     .in_axis = probes->roles[tensor].in_axis,
                                     .out_axis = probes->roles[tensor].out_axis};
    probe->tensor = &probes->gauge->layout->model->tensors[tensor];
    ww_tensor_view(probes->gauge->layout, tensor, &probe->view);
    rc = build(probe, err);
    if (rc) {
        ww_probe_free(probe, false);
        return rc;
    }
    *out = probe;
    return WW_OK;
}

void ww_probe_free(struct ww_probe *probe, bool complete)
{
    if (!probe) {
        return;
    }
    if (complete) {
        ww_probes_count(probe->probes, probe->index);
    }
    ww_truth_release(&probe->rows);
    ww_truth_release(&probe->line);
    ww_free(probe->u);
    ww_free(probe->moved);
    ww_free(probe);
}

static enum ww_err mismatch(const struct ww_probe *probe, uint64_t row, double error,
                            struct ww_error *err)
{
    return WW_FAIL(
        err, WW_E_CHECK_FAILED,
        "tensor '%s': row %llu deviates by %.3g from what the transform must give "
        "(limit %g)",
        probe->tensor->name, (unsigned long long)row, error, WW_PROBE_LIMIT);
}

static double length(const struct ww_probe *probe, const uint8_t *row)
{
    const enum ww_dtype dtype = probe->tensor->dtype;
    const unsigned width = ww_dtype_bits(dtype) / 8;
    double sum = 0;

    for (uint64_t j = 0; j < probe->view.n_cols; j++) {
        double x = 0;
        ww_to_double(dtype, row + j * width, &x, 1);
        sum += x * x;
    }
    return sqrt(sum);
}

static enum ww_err compare_line(const struct ww_probe *probe, const uint8_t *in,
                                const uint8_t *out, struct ww_error *err)
{
    const enum ww_dtype dtype = probe->tensor->dtype;
    const unsigned width = ww_dtype_bits(dtype) / 8;

    for (uint32_t j = 0; j < probe->line.n; j++) {
        double x = 0;
        double y = 0;
        ww_to_double(dtype, in + (size_t)probe->line.from[j] * width, &x, 1);
        ww_to_double(dtype, out + (size_t)j * width, &y, 1);
        if (y != x * probe->line.factor[j]) {
            return WW_FAIL(err, WW_E_CHECK_FAILED,
                           "tensor '%s': element %u is %.9g, expected %.9g",
                           probe->tensor->name, j, y, x * probe->line.factor[j]);
        }
    }
    return WW_OK;
}

/* Deviation of one row from what the layout says it must be; *size is that. */
static double deviation(const struct ww_probe *probe, const struct ww_tile *tile,
                        uint64_t i, double *size)
{
    const size_t n = (size_t)probe->view.n_cols;
    const uint64_t r = tile->first_row + i;
    const float *moved = probe->moved + r / probe->rows_per_slice * n;
    const enum ww_dtype dtype = probe->tensor->dtype;
    const double before = ww_probe_dot(dtype, tile->rows[0][i], probe->u, n);
    const double after = ww_probe_dot(dtype, tile->out + i * tile->row_bytes, moved, n);
    const double wanted = before * probe->rows.factor[r];

    *size = fabs(wanted);
    return fabs(after - wanted);
}

static enum ww_err check_row_source(const struct ww_probe *probe, uint64_t row,
                                    const uint32_t *row_src, struct ww_error *err)
{
    const uint64_t from = row_src ? row_src[row] : row;

    if (from != probe->rows.from[row]) {
        return WW_FAIL(err, WW_E_CHECK_FAILED,
                       "tensor '%s': row %llu was taken from row %llu, expected %u",
                       probe->tensor->name, (unsigned long long)row,
                       (unsigned long long)from, probe->rows.from[row]);
    }
    return WW_OK;
}

enum ww_err ww_probe_tile(struct ww_probe *probe, const struct ww_tile *tile,
                          const uint32_t *row_src, struct ww_error *err)
{
    double scale = 0;
    double worst = 0;
    uint64_t worst_row = tile->first_row;

    if (probe->line.from) {
        return compare_line(probe, tile->rows[0][0], tile->out, err);
    }
    scale = length(probe, tile->rows[0][0]);
    for (uint64_t i = 0; i < tile->n_rows; i++) {
        double size = 0;
        const double off = deviation(probe, tile, i, &size);
        enum ww_err rc = check_row_source(probe, tile->first_row + i, row_src, err);
        if (rc) {
            return rc;
        }
        scale = fmax(scale, size);
        if (off > worst || !isfinite(off)) {
            worst = isfinite(off) ? off : HUGE_VAL;
            worst_row = tile->first_row + i;
        }
    }
    worst = worst > 0 ? worst / scale : 0;
    if (!(worst <= WW_PROBE_LIMIT)) {
        return mismatch(probe, worst_row, worst, err);
    }
    pthread_mutex_lock(&probe->probes->mutex);
    probe->probes->max_error = fmax(probe->probes->max_error, worst);
    pthread_mutex_unlock(&probe->probes->mutex);
    return WW_OK;
}
