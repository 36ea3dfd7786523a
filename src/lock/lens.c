/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks run on the transform that the stream will write, so they go through the same
 * kernel and the same choice of source tensors, one whole tensor at a time.
 */
#include "lock/lens.h"

#include <string.h>

#include "lock/dense_kernel.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err base_get(const struct ww_lens *lens, uint32_t tensor, void **bytes,
                            struct ww_error *err)
{
    const struct ww_model *model = lens->job.gauge->layout->model;
    enum ww_err rc = WW_OK;

    *bytes = NULL;
    if (lens->base) {
        return lens->base->get(lens->base->payload, tensor, bytes, err);
    }
    *bytes = ww_calloc(1, (size_t)model->tensors[tensor].n_bytes);
    if (!*bytes) {
        return WW_FAIL_MEMORY(err, "tensor '%s'", model->tensors[tensor].name);
    }
    rc = ww_model_read(model, tensor, *bytes, err);
    if (rc) {
        ww_free(*bytes);
        *bytes = NULL;
    }
    return rc;
}

static void base_release(const struct ww_lens *lens, uint32_t tensor, void *bytes)
{
    if (lens->base && bytes) {
        lens->base->release(lens->base->payload, tensor, bytes);
    } else {
        ww_free(bytes);
    }
}

static enum ww_err transform(const struct ww_lens *lens, uint32_t tensor, const void *in,
                             void *out, struct ww_error *err)
{
    const struct ww_gauge *gauge = lens->job.gauge;
    const struct ww_dense_job mixing = {.gauge = gauge, .source = gauge->cells};
    bool clash = false;

    if (ww_dense_axis(gauge->layout, gauge->cells, tensor, &clash) != WW_NO_AXIS) {
        return ww_dense_tensor(&mixing, tensor, in, out, err);
    }
    return ww_lock_tensor(&lens->job, tensor, in, out, err);
}

static enum ww_err lens_get(void *payload, uint32_t tensor, void **bytes,
                            struct ww_error *err)
{
    const struct ww_lens *lens = payload;
    const struct ww_layout *layout = lens->job.gauge->layout;
    const size_t n_bytes = (size_t)layout->model->tensors[tensor].n_bytes;
    uint32_t source = tensor;
    void *in = NULL;
    enum ww_err rc = WW_OK;

    *bytes = NULL;
    rc = ww_axis_source(lens->job.gauge, tensor, &source, err);
    if (rc) {
        goto out;
    }
    rc = base_get(lens, source, &in, err);
    if (rc) {
        goto out;
    }
    *bytes = ww_alloc_aligned(64, n_bytes);
    if (!*bytes) {
        rc = WW_FAIL_MEMORY(err, "tensor '%s'", layout->model->tensors[tensor].name);
        goto out;
    }
    if (ww_tensor_moves(layout, tensor)) {
        rc = transform(lens, tensor, in, *bytes, err);
    } else {
        memcpy(*bytes, in, n_bytes);
    }
out:
    base_release(lens, source, in);
    if (rc) {
        ww_free(*bytes);
        *bytes = NULL;
    }
    return rc;
}

static void lens_release(void *payload, uint32_t tensor, void *bytes)
{
    (void)payload;
    (void)tensor;
    ww_free(bytes);
}

void ww_lens_init(struct ww_lens *lens, const struct ww_gauge *gauge,
                  const struct ww_weights *base)
{
    *lens = (struct ww_lens){.job = {.gauge = gauge}, .base = base};
    lens->weights = (struct ww_weights){lens_get, lens_release, lens};
}

enum ww_err ww_lens_read(const struct ww_layout *layout, const struct ww_weights *weights,
                         uint32_t tensor, double **out, struct ww_error *err)
{
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    void *own = NULL;
    void *bytes = NULL;
    enum ww_err rc = WW_OK;

    *out = ww_calloc((size_t)t->n_elements, sizeof(**out));
    if (!weights) {
        own = ww_calloc(1, (size_t)t->n_bytes);
    }
    if (!*out || (!weights && !own)) {
        rc = WW_FAIL_MEMORY(err, "tensor '%s'", t->name);
        goto out;
    }
    rc = weights ? weights->get(weights->payload, tensor, &bytes, err)
                 : ww_model_read(layout->model, tensor, own, err);
    if (!rc) {
        ww_to_double(t->dtype, weights ? bytes : own, *out, (size_t)t->n_elements);
    }
out:
    if (weights && bytes) {
        weights->release(weights->payload, tensor, bytes);
    }
    ww_free(own);
    if (rc) {
        ww_free(*out);
        *out = NULL;
    }
    return rc;
}
