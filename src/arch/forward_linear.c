/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A linear map on a rectangle of a stored tensor. Its rows and columns are found through
 * the layout's segments, so fused, per-head, interleaved, transposed and stacked storage
 * are one case. A few rows at a time are widened to double and met by all tokens: peak
 * memory is those rows, and each stored element is read and widened once.
 */
#include "arch/forward_impl.h"

#include "arch/core_dot.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define BAND 16 /* rows widened together: a transposed tensor is read in runs of it */

/* Index i of an axis of the rectangle to its place in the tensor, in elements. */
struct side {
    uint64_t n;
    uint64_t offset;
    uint64_t stride;
    uint64_t width;
    uint64_t step;
};

struct rectangle {
    struct side out;
    struct side in;
    uint64_t base; /* first element of the expert's slice */
};

static uint64_t place(const struct side *side, uint64_t i)
{
    return (side->offset + i / side->width * side->stride + i % side->width) * side->step;
}

static enum ww_err side_of(const struct ww_layout *layout, const struct ww_tensor *tensor,
                           uint32_t segment, uint8_t axis, struct side *out,
                           struct ww_error *err)
{
    uint64_t extent = axis < tensor->rank ? tensor->shape[axis] : 0;
    *out = (struct side){.n = extent, .width = extent, .stride = extent, .step = 1};
    if (segment != WW_NONE) {
        const struct ww_segment *s = &layout->segments[segment];
        *out = (struct side){.n = s->count * s->width,
                             .offset = s->offset,
                             .stride = s->count > 1 ? s->stride : s->width,
                             .width = s->width,
                             .step = 1};
        if (out->stride == s->width) {
            out->width = out->n;
        }
    }
    uint64_t last = out->n ? place(out, out->n - 1) : 0;
    if (out->n == 0 || out->width == 0 || last >= extent) {
        return WW_FAIL(
            err, WW_E_SHAPE,
            "tensor '%s': a linear map reaches index %llu of axis %u, which has "
            "%llu",
            tensor->name, (unsigned long long)last, (unsigned)axis,
            (unsigned long long)extent);
    }
    for (unsigned i = axis + 1u; i < tensor->rank; i++) {
        out->step *= tensor->shape[i];
    }
    return WW_OK;
}

/* Axes beside out, in and expert must be flat: a map has no room for them. */
static bool flat_elsewhere(const struct ww_linear *linear, const struct ww_tensor *tensor)
{
    for (unsigned i = 0; i < tensor->rank; i++) {
        if (i != linear->out_axis && i != linear->in_axis && i != linear->expert_axis &&
            tensor->shape[i] != 1) {
            return false;
        }
    }
    return linear->out_axis != linear->in_axis;
}

static enum ww_err rectangle_of(const struct ww_forward *f,
                                const struct ww_linear *linear, struct rectangle *out,
                                struct ww_error *err)
{
    const struct ww_model *model = f->layout->model;
    if (linear->weight >= model->n_tensors) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "descriptor '%s' gives no weight for a map of the forward pass",
                       f->layout->descriptor);
    }
    const struct ww_tensor *tensor = &model->tensors[linear->weight];
    enum ww_err rc =
        side_of(f->layout, tensor, linear->out_segment, linear->out_axis, &out->out, err);
    if (rc) {
        return rc;
    }
    rc = side_of(f->layout, tensor, linear->in_segment, linear->in_axis, &out->in, err);
    if (rc) {
        return rc;
    }
    out->base = 0;
    if (linear->expert_axis < tensor->rank) {
        struct side slice = {0};
        rc = side_of(f->layout, tensor, WW_NONE, linear->expert_axis, &slice, err);
        if (rc) {
            return rc;
        }
        out->base = linear->expert * slice.step;
    }
    if (!flat_elsewhere(linear, tensor) ||
        (linear->expert_axis < tensor->rank &&
         linear->expert >= tensor->shape[linear->expert_axis])) {
        return WW_FAIL(err, WW_E_SHAPE, "tensor '%s': its axes do not make a linear map",
                       tensor->name);
    }
    return WW_OK;
}

enum ww_err ww_fw_linear_size(const struct ww_forward *f, const struct ww_linear *linear,
                              uint64_t *n_out, uint64_t *n_in, struct ww_error *err)
{
    struct rectangle r = {0};
    enum ww_err rc = rectangle_of(f, linear, &r, err);
    if (rc) {
        return rc;
    }
    *n_out = r.out.n;
    *n_in = r.in.n;
    return WW_OK;
}

/* Inputs lie side by side: whole runs of a row. */
static void widen_runs(const struct ww_fw_view *view, const struct rectangle *r,
                       uint64_t first, uint64_t n, double *rows)
{
    size_t elem = ww_dtype_bits(view->dtype) / 8;
    const uint8_t *bytes = view->bytes;
    for (uint64_t o = 0; o < n; o++) {
        uint64_t row = r->base + place(&r->out, first + o);
        for (uint64_t i = 0; i < r->in.n; i += r->in.width) {
            ww_to_double(view->dtype, bytes + (row + place(&r->in, i)) * elem,
                         rows + o * r->in.n + i, (size_t)r->in.width);
        }
    }
}

/* Stored in x out: runs along the outputs, scattered to rows. */
static void widen_columns(const struct ww_fw_view *view, const struct rectangle *r,
                          uint64_t first, uint64_t n, double *rows)
{
    size_t elem = ww_dtype_bits(view->dtype) / 8;
    const uint8_t *bytes = view->bytes;
    uint64_t step = r->out.step == 1 && r->out.width == r->out.n ? n : 1;
    for (uint64_t i = 0; i < r->in.n; i++) {
        uint64_t column = r->base + place(&r->in, i);
        double run[BAND];
        for (uint64_t o = 0; o < n; o += step) {
            ww_to_double(view->dtype, bytes + (column + place(&r->out, first + o)) * elem,
                         run + o, (size_t)step);
        }
        for (uint64_t o = 0; o < n; o++) {
            rows[o * r->in.n + i] = run[o];
        }
    }
}

/* A kept tensor's rows need no copy. */
static const double *rows_in_place(const struct ww_fw_view *view,
                                   const struct rectangle *r, uint64_t first)
{
    const double *values = view->bytes;
    bool whole = view->dtype == WW_DTYPE_F64 && r->in.step == 1 &&
                 r->in.width == r->in.n && (uintptr_t)values % _Alignof(double) == 0;
    return whole ? values + r->base + place(&r->out, first) + r->in.offset : NULL;
}

static void apply(const struct ww_fw_view *view, const struct rectangle *r, double *band,
                  const double *x, size_t n, double *y)
{
    size_t n_in = (size_t)r->in.n;
    size_t n_out = (size_t)r->out.n;
    for (size_t o = 0; o < n_out; o += BAND) {
        size_t n_rows = n_out - o < BAND ? n_out - o : BAND;
        if (r->in.step != 1) {
            widen_columns(view, r, o, n_rows, band);
        } else if (!rows_in_place(view, r, o)) {
            widen_runs(view, r, o, n_rows, band);
        }
        for (size_t j = 0; j < n_rows; j++) {
            const double *row = rows_in_place(view, r, o + j);
            ww_dot_many(row ? row : band + j * n_in, x, n_in, n, n_in, y + o + j, n_out);
        }
    }
}

/* Biases lie on the last axis; stacked experts put theirs in front of it. */
static enum ww_err add_bias(struct ww_forward *f, const struct ww_linear *linear,
                            size_t n, double *y, uint64_t n_out, struct ww_error *err)
{
    struct ww_fw_view view = {0};
    struct side side = {0};
    if (linear->bias == WW_NONE) {
        return WW_OK;
    }
    enum ww_err rc = ww_fw_get(f, linear->bias, &view, err);
    if (rc) {
        return rc;
    }
    uint8_t axis = (uint8_t)(view.tensor->rank ? view.tensor->rank - 1 : 0);
    rc = side_of(f->layout, view.tensor, linear->bias_segment, axis, &side, err);
    if (rc) {
        return rc;
    }
    uint64_t base = linear->expert_axis != UINT8_MAX && axis > 0
                        ? linear->expert * view.tensor->shape[axis]
                        : 0;
    if (side.n != n_out || base + place(&side, side.n - 1) >= view.tensor->n_elements) {
        return WW_FAIL(err, WW_E_SHAPE, "bias '%s' has %llu elements, expected %llu",
                       view.tensor->name, (unsigned long long)side.n,
                       (unsigned long long)n_out);
    }
    size_t elem = ww_dtype_bits(view.dtype) / 8;
    for (size_t o = 0; o < n_out; o++) {
        double b;
        ww_to_double(view.dtype,
                     (const uint8_t *)view.bytes + (base + place(&side, o)) * elem, &b,
                     1);
        for (size_t t = 0; t < n; t++) {
            y[t * n_out + o] += b;
        }
    }
    return WW_OK;
}

enum ww_err ww_fw_linear(struct ww_forward *f, const struct ww_linear *linear,
                         const double *x, size_t n, uint64_t n_in, double *y,
                         uint64_t n_out, struct ww_error *err)
{
    struct rectangle r = {0};
    struct ww_fw_view view = {0};
    double *band = NULL;
    enum ww_err rc = rectangle_of(f, linear, &r, err);
    if (rc) {
        return rc;
    }
    rc = ww_fw_get(f, linear->weight, &view, err);
    if (rc) {
        return rc;
    }
    if (r.out.n != n_out || r.in.n != n_in) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "tensor '%s': the map has %llu outputs and %llu inputs, expected "
                       "%llu and %llu",
                       view.tensor->name, (unsigned long long)r.out.n,
                       (unsigned long long)r.in.n, (unsigned long long)n_out,
                       (unsigned long long)n_in);
    }
    rc = ww_fw_alloc(&band, BAND, n_in, err);
    if (rc) {
        return rc;
    }
    apply(&view, &r, band, x, n, y);
    rc = add_bias(f, linear, n, y, n_out, err);
    ww_free(band);
    return rc;
}
