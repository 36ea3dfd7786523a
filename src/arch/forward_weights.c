/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the forward pass gets its tensors: whole, from the caller's source, and held
 * until the block is done, because q, k and v often lie in one tensor. A model small
 * enough can be kept widened instead, which is what makes decoding token by token
 * bearable.
 */
#include "arch/forward_impl.h"

#include "arch/core.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

static enum ww_err hold(struct ww_forward *f, uint32_t tensor, const void **bytes,
                        struct ww_error *err)
{
    for (size_t i = 0; i < f->n_held; i++) {
        if (f->held[i].tensor == tensor) {
            *bytes = f->held[i].bytes;
            return WW_OK;
        }
    }
    if (f->n_held == f->held_capacity) {
        size_t capacity = f->held_capacity ? 2 * f->held_capacity : 16;
        struct ww_fw_held *more = ww_realloc_array(f->held, capacity, sizeof(*more));
        if (!more) {
            return WW_FAIL_MEMORY(err, "the list of held tensors");
        }
        f->held = more;
        f->held_capacity = capacity;
    }
    struct ww_fw_held *slot = &f->held[f->n_held];
    slot->tensor = tensor;
    slot->bytes = NULL;
    enum ww_err rc = f->source.get(f->source.payload, tensor, &slot->bytes, err);
    if (rc) {
        return rc;
    }
    f->n_held++;
    *bytes = slot->bytes;
    return WW_OK;
}

enum ww_err ww_fw_get(struct ww_forward *f, uint32_t tensor, struct ww_fw_view *out,
                      struct ww_error *err)
{
    const struct ww_model *model = f->layout->model;
    if (tensor >= model->n_tensors) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "descriptor '%s' names no tensor where the forward pass needs one",
                       f->layout->descriptor);
    }
    out->tensor = &model->tensors[tensor];
    out->dtype = out->tensor->dtype;
    if (!ww_dtype_is_plain_float(out->dtype)) {
        return WW_FAIL(
            err, WW_E_QUANTISED,
            "tensor '%s' is stored as %s, the forward pass reads F64, F32, F16 "
            "and BF16",
            out->tensor->name, ww_dtype_name(out->dtype));
    }
    if (f->wide && f->wide[tensor]) {
        out->bytes = f->wide[tensor];
        out->dtype = WW_DTYPE_F64;
        return WW_OK;
    }
    return hold(f, tensor, &out->bytes, err);
}

void ww_fw_release(struct ww_forward *f)
{
    for (size_t i = 0; i < f->n_held; i++) {
        if (f->source.release) {
            f->source.release(f->source.payload, f->held[i].tensor, f->held[i].bytes);
        }
    }
    f->n_held = 0;
}

static bool wanted(const struct ww_layout *layout, uint32_t tensor)
{
    return !(layout->bindings && layout->bindings[tensor].ignored) &&
           ww_dtype_is_plain_float(layout->model->tensors[tensor].dtype);
}

static bool fits(const struct ww_layout *layout, uint64_t max_bytes)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < layout->model->n_tensors; i++) {
        uint64_t bytes = 0;
        if (!wanted(layout, i)) {
            continue;
        }
        if (!ww_mul_u64(layout->model->tensors[i].n_elements, sizeof(double), &bytes) ||
            !ww_add_u64(total, bytes, &total) || total > max_bytes) {
            return false;
        }
    }
    return true;
}

enum ww_err ww_fw_keep(struct ww_forward *f, uint64_t max_bytes, bool *kept,
                       struct ww_error *err)
{
    const struct ww_model *model = f->layout->model;
    enum ww_err rc = WW_OK;
    *kept = fits(f->layout, max_bytes);
    if (!*kept) {
        return WW_OK;
    }
    if (!f->wide) {
        f->wide = ww_calloc(model->n_tensors, sizeof(*f->wide));
    }
    if (!f->wide) {
        return WW_FAIL_MEMORY(err, "the list of kept tensors");
    }
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        if (f->wide[i] || !wanted(f->layout, i)) {
            continue;
        }
        double *values = NULL;
        rc = ww_fw_vector(f, i, model->tensors[i].n_elements, &values, err);
        ww_fw_release(f);
        if (rc) {
            return rc;
        }
        f->wide[i] = values;
    }
    return WW_OK;
}

enum ww_err ww_fw_alloc(double **out, uint64_t rows, uint64_t cols, struct ww_error *err)
{
    uint64_t n = 0;
    *out = NULL;
    if (ww_mul_u64(rows, cols, &n) && n <= SIZE_MAX / sizeof(double)) {
        *out = ww_calloc((size_t)n, sizeof(double));
    }
    if (!*out) {
        return WW_FAIL_MEMORY(err, "activations of %llu x %llu doubles",
                              (unsigned long long)rows, (unsigned long long)cols);
    }
    return WW_OK;
}

enum ww_err ww_fw_vector(struct ww_forward *f, uint32_t tensor, uint64_t n, double **out,
                         struct ww_error *err)
{
    struct ww_fw_view view = {0};
    *out = NULL;
    if (tensor == WW_NONE) {
        return WW_OK;
    }
    enum ww_err rc = ww_fw_get(f, tensor, &view, err);
    if (rc) {
        return rc;
    }
    if (view.tensor->n_elements != n) {
        return WW_FAIL(err, WW_E_SHAPE, "tensor '%s' has %llu elements, expected %llu",
                       view.tensor->name, (unsigned long long)view.tensor->n_elements,
                       (unsigned long long)n);
    }
    rc = ww_fw_alloc(out, n, 1, err);
    if (rc) {
        return rc;
    }
    ww_to_double(view.dtype, view.bytes, *out, (size_t)n);
    return WW_OK;
}

enum ww_err ww_fw_norm(struct ww_forward *f, const struct ww_norm *norm, const double *x,
                       double *y, size_t n, uint64_t width, struct ww_error *err)
{
    double *gain = NULL;
    double *bias = NULL;
    enum ww_err rc = WW_OK;
    if (norm->kind != WW_NORM_NONE) {
        rc = ww_fw_vector(f, norm->gain, width, &gain, err);
        if (rc) {
            goto out;
        }
        rc = ww_fw_vector(f, norm->bias, width, &bias, err);
        if (rc) {
            goto out;
        }
    }
    struct ww_norm_values values = {.gain = gain, .bias = bias};
    for (size_t t = 0; t < n; t++) {
        ww_core_norm(norm, values, x + t * width, y + t * width, (size_t)width);
    }
out:
    ww_free(gain);
    ww_free(bias);
    return rc;
}
