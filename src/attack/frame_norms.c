/* SPDX-License-Identifier: Apache-2.0 */
#include "attack/frame_norms.h"

#include <math.h>
#include <string.h>

#include "attack/slab.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define MOST_FEATURES 256
#define FLAT 1e-6 /* spread of a feature, of its mean square, that tells nothing */

/* Feature k of index i is at values[i * stride + k]. */
struct features {
    size_t n;
    size_t stride;
    size_t filled;
    float *values;
};

/* To mean 0 and spread 1, so that each feature says as much. */
static void level(struct features *f)
{
    double mean = 0;
    double square = 0;

    for (size_t i = 0; i < f->n; i++) {
        const double v = (double)f->values[i * f->stride + f->filled];
        mean += v / (double)f->n;
        square += v * v / (double)f->n;
    }
    const double spread = square - mean * mean;
    for (size_t i = 0; i < f->n; i++) {
        float *v = &f->values[i * f->stride + f->filled];
        *v = spread > FLAT * FLAT * square ? (float)(((double)*v - mean) / sqrt(spread))
                                           : 0;
    }
    f->filled++;
}

/* Gates of layers, which are not moved against each other as experts are. */
static const struct ww_mlp *gate_of(const struct ww_layout *layout, uint32_t block)
{
    const uint32_t m = layout->blocks[block].mlp;
    const struct ww_mlp *mlp = m == WW_NONE ? NULL : &layout->mlps[m];

    return mlp && mlp->gated && mlp->gate.weight != WW_NONE && mlp->neuron != WW_NONE
               ? mlp
               : NULL;
}

static enum ww_err add_gate(const struct ww_layout *layout, const struct ww_mlp *mlp,
                            uint32_t space, struct features *f, struct ww_error *err)
{
    const struct ww_slab_of of = {layout, NULL, &mlp->gate, true, space};
    struct ww_slab slab = {0};
    enum ww_err rc = ww_slab_load(&of, &slab, err);

    for (size_t i = 0; i < f->n && slab.rows && slab.n == f->n && !rc; i++) {
        const float *column = slab.rows + i * slab.width;
        f->values[i * f->stride + f->filled] =
            (float)sqrt(ww_row_dot(column, column, slab.width));
    }
    if (!rc) {
        level(f);
    }
    ww_slab_release(&slab);
    return rc;
}

/* A gain or a bias that lies on the stream and nothing else. */
static bool is_vector(const struct ww_layout *layout, uint32_t t, uint32_t space)
{
    const struct ww_tensor *tensor = &layout->model->tensors[t];
    const struct ww_axis *axis = &layout->bindings[t].axis[0];

    return tensor->rank == 1 && axis->n_segments == 1 &&
           layout->segments[axis->first_segment].space == space &&
           tensor->n_elements == layout->spaces[space].size &&
           ww_dtype_is_plain_float(tensor->dtype);
}

static enum ww_err add_vector(const struct ww_layout *layout, uint32_t t,
                              struct features *f, struct ww_error *err)
{
    const struct ww_tensor *tensor = &layout->model->tensors[t];
    uint8_t *bytes = ww_calloc((size_t)tensor->n_bytes + 1, 1);
    float *x = ww_calloc(f->n, sizeof(*x));
    enum ww_err rc = bytes && x ? WW_OK : WW_FAIL_MEMORY(err, "a frame");

    rc = rc ? rc : ww_model_read(layout->model, t, bytes, err);
    rc = rc ? rc : ww_slab_finite(tensor, bytes, f->n, err);
    if (!rc) {
        ww_to_float(tensor->dtype, bytes, x, f->n);
        for (size_t i = 0; i < f->n; i++) {
            f->values[i * f->stride + f->filled] = fabsf(x[i]);
        }
        level(f);
    }
    ww_free(bytes);
    ww_free(x);
    return rc;
}

static size_t count(const struct ww_layout *layout, uint32_t space)
{
    uint64_t n = 0;

    for (uint32_t b = 0; b < layout->n_blocks; b++) {
        n += gate_of(layout, b) != NULL;
    }
    for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
        n += is_vector(layout, t, space);
    }
    return (size_t)ww_min_u64(n, MOST_FEATURES);
}

/* The same of both models: tensors go by the locked model's order. */
static enum ww_err collect(const struct ww_pair *pair, bool anchor, uint32_t space,
                           struct features *f, struct ww_error *err)
{
    const struct ww_layout *layout = anchor ? pair->anchor : pair->locked;
    enum ww_err rc = WW_OK;

    f->values = ww_calloc(f->n, f->stride * sizeof(*f->values));
    if (!f->values) {
        return WW_FAIL_MEMORY(err, "a frame");
    }
    for (uint32_t b = 0; b < layout->n_blocks && f->filled < f->stride && !rc; b++) {
        const struct ww_mlp *mlp = gate_of(layout, b);
        rc = mlp ? add_gate(layout, mlp, space, f, err) : WW_OK;
    }
    for (uint32_t t = 0;
         t < pair->locked->model->n_tensors && f->filled < f->stride && !rc; t++) {
        if (is_vector(pair->locked, t, space)) {
            rc = add_vector(layout, anchor ? ww_pair_tensor(pair, t) : t, f, err);
        }
    }
    return rc;
}

/* Sizes of a gate's weights, its columns in the order of the anchor's. */
static float *sizes_of(const struct ww_slab *slab, const uint32_t *order)
{
    float *out = ww_calloc(slab->n, slab->width * sizeof(*out));

    for (size_t j = 0; out && j < slab->n; j++) {
        for (size_t i = 0; i < slab->width; i++) {
            out[j * slab->width + i] =
                fabsf(slab->rows[j * slab->width + (order ? order[i] : i)]);
        }
    }
    return out;
}

/* Cosines of the gate's columns, neuron j of one model beside rows->match[j] of the
 * other. */
static void compare_columns(const struct ww_slab *locked, const struct ww_slab *anchor,
                            const struct ww_matching *rows, struct ww_matching *out)
{
    for (size_t i = 0; i < out->n; i++) {
        double sums[3] = {0};
        for (size_t j = 0; j < locked->n; j++) {
            const double a = (double)locked->rows[j * locked->width + i];
            const double b =
                (double)anchor->rows[rows->match[j] * anchor->width + out->match[i]];
            sums[0] += a * a;
            sums[1] += a * b;
            sums[2] += b * b;
        }
        const double norm = sqrt(sums[0]) * sqrt(sums[2]);
        out->cosine[i] = norm > 0 ? (float)(sums[1] / norm) : 0;
    }
}

static enum ww_err settle(const struct ww_pair *pair, const struct ww_mlp *locked,
                          const struct ww_mlp *anchor, struct ww_matching *out,
                          struct ww_error *err)
{
    const struct ww_slab_of of[2] = {
        {pair->locked, NULL, &locked->gate, false, locked->neuron},
        {pair->anchor, NULL, &anchor->gate, false, anchor->neuron}};
    struct ww_slab slabs[2] = {{0}, {0}};
    struct ww_matching rows = {0};
    float *sizes[2] = {NULL, NULL};
    enum ww_err rc = ww_slab_load(&of[0], &slabs[0], err);

    rc = rc ? rc : ww_slab_load(&of[1], &slabs[1], err);
    if (rc || !slabs[0].rows || !slabs[1].rows || slabs[0].n != slabs[1].n ||
        slabs[0].width != out->n || slabs[1].width != out->n) {
        ww_matching_release(out);
        goto out;
    }
    sizes[0] = sizes_of(&slabs[0], NULL);
    sizes[1] = sizes_of(&slabs[1], out->match);
    rc = sizes[0] && sizes[1]
             ? ww_pair_rows(sizes[0], sizes[1], slabs[0].n, out->n, false, &rows, err)
             : WW_FAIL_MEMORY(err, "a frame");
    if (!rc) {
        compare_columns(&slabs[0], &slabs[1], &rows, out);
    }
out:
    ww_matching_release(&rows);
    ww_free(sizes[0]);
    ww_free(sizes[1]);
    ww_slab_release(&slabs[0]);
    ww_slab_release(&slabs[1]);
    return rc;
}

enum ww_err ww_frame_by_norms(const struct ww_pair *pair,
                              const struct ww_residual *stream, struct ww_matching *out,
                              struct ww_error *err)
{
    const struct features empty = {.n = (size_t)stream->width,
                                   .stride = count(pair->locked, stream->space)};
    struct features locked = empty;
    struct features anchor = empty;
    uint32_t first = 0;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    while (first < pair->locked->n_blocks && !gate_of(pair->locked, first)) {
        first++;
    }
    if (first == pair->locked->n_blocks || !gate_of(pair->anchor, first)) {
        return WW_OK;
    }
    rc = collect(pair, false, stream->space, &locked, err);
    rc = rc ? rc : collect(pair, true, stream->space, &anchor, err);
    rc = rc ? rc
            : ww_pair_rows(locked.values, anchor.values, empty.n, empty.stride, false,
                           out, err);
    rc = rc ? rc
            : settle(pair, gate_of(pair->locked, first), gate_of(pair->anchor, first),
                     out, err);
    if (rc) {
        ww_matching_release(out);
    }
    ww_free(locked.values);
    ww_free(anchor.values);
    return rc;
}
