/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of one weight in two models. What is read is checked for NaN and infinity every
 * time, because the files are not copied: what was looked at and what is used are two
 * reads.
 */
#include "merge/extract_pair.h"

#include "model/elements.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/reader.h"

#define MOST_ELEMENTS (UINT64_C(1) << 40)

enum ww_err ww_pair_open(const struct ww_model *base, const struct ww_model *model,
                         uint32_t t, struct ww_pair *out, struct ww_error *err)
{
    const struct ww_tensor *a = &base->tensors[t];
    const struct ww_tensor *b = NULL;

    *out = (struct ww_pair){base, model, t, ww_model_find(model, a->name)};
    if (out->other == WW_NONE) {
        return WW_FAIL(err, WW_E_TENSOR, "tensor '%.160s' of '%s' is not in '%s'",
                       a->name, base->path, model->path);
    }
    b = &model->tensors[out->other];
    if (!ww_same_shape(a, b)) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "tensor '%.160s' differs in shape between '%s' and '%s'", a->name,
                       base->path, model->path);
    }
    if (!ww_dtype_is_plain_float(a->dtype) || !ww_dtype_is_plain_float(b->dtype)) {
        return a->dtype == b->dtype
                   ? WW_OK
                   : WW_FAIL(err, WW_E_QUANTISED,
                             "tensor '%.160s' is stored as %s and as %s, expected BF16, "
                             "F16, F32 or F64 in both models",
                             a->name, ww_dtype_name(a->dtype), ww_dtype_name(b->dtype));
    }
    if (a->n_elements > MOST_ELEMENTS) {
        return WW_FAIL(err, WW_E_LIMIT, "tensor '%.160s' has %llu elements", a->name,
                       (unsigned long long)a->n_elements);
    }
    return WW_OK;
}

/* Elements [first, first + n) of a tensor. WW_E_NONFINITE. */
static enum ww_err values_of(const struct ww_model *model, uint32_t t, uint64_t first,
                             uint64_t n, float *out, struct ww_error *err)
{
    uint8_t *bytes = ww_calloc(n + 1, ww_dtype_bits(model->tensors[t].dtype) / 8);
    enum ww_err rc = bytes ? ww_elements_float(model, t, first, n, bytes, out, err)
                           : WW_FAIL_MEMORY(err, "an adapter");

    ww_free(bytes);
    return rc;
}

/* In blocks, so that a caller may ask for a matrix at once. */
enum ww_err ww_pair_difference(const struct ww_pair *pair, uint64_t first, uint64_t n,
                               float *out, struct ww_error *err)
{
    float *base = ww_calloc(ww_min_u64(n, WW_PAIR_BLOCK) + 1, sizeof(*base));
    enum ww_err rc = base ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint64_t at = 0; at < n && !rc; at += WW_PAIR_BLOCK) {
        const uint64_t count = ww_min_u64(WW_PAIR_BLOCK, n - at);
        rc = values_of(pair->base, pair->t, first + at, count, base, err);
        if (!rc) {
            rc = values_of(pair->model, pair->other, first + at, count, out + at, err);
        }
        for (uint64_t i = 0; i < count && !rc; i++) {
            out[at + i] -= base[i];
        }
    }
    ww_free(base);
    return rc;
}

void ww_pair_measure(const float *difference, uint64_t n, bool *changed, double *norm)
{
    for (uint64_t i = 0; i < n; i++) {
        *norm += (double)difference[i] * (double)difference[i];
        *changed = *changed || difference[i] != 0;
    }
}

/* Of other than floats: do their bytes differ? */
static enum ww_err compare_bytes(const struct ww_pair *pair, bool *changed,
                                 struct ww_error *err)
{
    const struct ww_tensor *t = &pair->base->tensors[pair->t];
    const size_t size = ww_dtype_bits(t->dtype) / 8;
    const uint64_t most = ww_min_u64(t->n_elements, WW_PAIR_BLOCK);
    uint8_t *bytes = ww_calloc(most + 1, 2 * size);
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint64_t at = 0; at < t->n_elements && !rc && !*changed; at += most) {
        const size_t n = (size_t)ww_min_u64(most, t->n_elements - at);
        rc = ww_elements_bytes(pair->base, pair->t, at, n, bytes, err);
        if (!rc) {
            rc =
                ww_elements_bytes(pair->model, pair->other, at, n, bytes + n * size, err);
        }
        *changed = !rc && memcmp(bytes, bytes + n * size, n * size) != 0;
    }
    ww_free(bytes);
    return rc;
}

static enum ww_err compare_floats(const struct ww_pair *pair, bool *changed, double *norm,
                                  struct ww_error *err)
{
    const uint64_t n = pair->base->tensors[pair->t].n_elements;
    float *diff = ww_calloc(ww_min_u64(n, WW_PAIR_BLOCK) + 1, sizeof(*diff));
    enum ww_err rc = diff ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint64_t at = 0; at < n && !rc; at += WW_PAIR_BLOCK) {
        const uint64_t count = ww_min_u64(WW_PAIR_BLOCK, n - at);
        rc = ww_pair_difference(pair, at, count, diff, err);
        if (!rc) {
            ww_pair_measure(diff, count, changed, norm);
        }
    }
    ww_free(diff);
    return rc;
}

/* A limit that both models have (build_copied.c) is no change and has no difference. */
enum ww_err ww_pair_compare(const struct ww_pair *pair, bool *changed, double *norm,
                            struct ww_error *err)
{
    const struct ww_tensor *t = &pair->base->tensors[pair->t];
    const bool floats = ww_dtype_is_plain_float(t->dtype);
    enum ww_err rc = WW_OK;

    *changed = false;
    *norm = 0;
    if (!floats || t->n_elements == 1) {
        rc = compare_bytes(pair, changed, err);
    }
    if (rc || !floats || (t->n_elements == 1 && !*changed)) {
        return rc;
    }
    *changed = false;
    return compare_floats(pair, changed, norm, err);
}
