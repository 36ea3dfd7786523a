/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anchors: products E E^T among 256 rows of the embedding. Locks inside layers, permuted
 * neurons and a rotation of the residual stream leave them as they are, so they find a
 * root when the weights themselves have no place in common with it.
 */
#include "lineage/catalogue_print.h"

#include <math.h>
#include <string.h>

#include "model/elements.h"
#include "model/vocab_names.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define STEP_MOST 16
#define WIDTH_MOST 65536

static bool has_anchors(const struct ww_tensor *t)
{
    return t->rank == 2 && ww_dtype_is_plain_float(t->dtype) &&
           t->shape[0] >= WW_PRINT_ANCHORS && t->shape[1] > 0 &&
           t->shape[1] <= WIDTH_MOST;
}

/* A power of two, so that some more tokens at the end do not move the anchors. */
static uint64_t step_of(uint64_t rows)
{
    uint64_t step = STEP_MOST;
    while (step > 1 && (WW_PRINT_ANCHORS - 1) * step >= rows) {
        step /= 2;
    }
    return step;
}

/* The same of weights that are decoded. */
static enum ww_err decode_rows(const struct ww_disguise *decoded, uint32_t index,
                               const struct ww_tensor *t, double *out,
                               struct ww_error *err)
{
    const size_t width = (size_t)t->shape[1];
    double *steps = ww_calloc(width, sizeof(*steps));
    enum ww_err rc = steps ? WW_OK : WW_FAIL_MEMORY(err, "'%s'", t->name);

    for (uint64_t a = 0; a < WW_PRINT_ANCHORS && !rc; a++) {
        rc = ww_disguise_values(decoded, index, a * step_of(t->shape[0]) * width, width,
                                out + a * width, steps, err);
    }
    ww_free(steps);
    return rc;
}

static enum ww_err read_rows(const struct ww_model *model, uint32_t index,
                             const struct ww_tensor *t, double *out, struct ww_error *err)
{
    const size_t width = (size_t)t->shape[1];
    uint8_t *bytes = ww_calloc(width, ww_dtype_bits(t->dtype) / 8);
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "'%s'", t->name);

    for (uint64_t a = 0; a < WW_PRINT_ANCHORS && !rc; a++) {
        rc = ww_elements_double(model, index, a * step_of(t->shape[0]) * width, width,
                                bytes, out + a * width, err);
    }
    ww_free(bytes);
    return rc;
}

enum ww_err ww_anchor_gram(const struct ww_model *model,
                           const struct ww_disguise *decoded, float **out,
                           struct ww_error *err)
{
    const uint32_t index = ww_find_embedding(model, has_anchors);
    const struct ww_tensor *t = index == WW_NONE ? NULL : &model->tensors[index];
    const size_t width = t ? (size_t)t->shape[1] : 0;
    double *rows = t ? ww_calloc(WW_PRINT_ANCHORS * width, sizeof(*rows)) : NULL;
    float *gram = t ? ww_calloc(WW_PRINT_GRAM, sizeof(*gram)) : NULL;
    size_t at = 0;
    enum ww_err rc = WW_OK;

    if (!t) {
        return WW_OK;
    }
    if (!rows || !gram) {
        rc = WW_FAIL_MEMORY(err, "'%s'", t->name);
        goto out;
    }
    rc = decoded ? decode_rows(decoded, index, t, rows, err)
                 : read_rows(model, index, t, rows, err);
    for (size_t i = 0; i < WW_PRINT_ANCHORS && !rc; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t d = 0; d < width; d++) {
                sum += rows[i * width + d] * rows[j * width + d];
            }
            gram[at++] = (float)sum;
        }
    }
out:
    ww_free(rows);
    if (rc) {
        ww_free(gram);
        gram = NULL;
    }
    *out = gram;
    return rc;
}

static double cosine_at(const float *gram, size_t i, size_t j)
{
    const double a = (double)gram[i * (i + 1) / 2 + i];
    const double b = (double)gram[j * (j + 1) / 2 + j];
    return a > 0 && b > 0 ? (double)gram[i * (i + 1) / 2 + j] / sqrt(a * b) : 0;
}

double ww_anchor_likeness(const float *a, const float *b)
{
    const double n = WW_PRINT_ANCHORS * (WW_PRINT_ANCHORS - 1) / 2;
    double x = 0;
    double y = 0;
    double xx = 0;
    double yy = 0;
    double xy = 0;

    for (size_t i = 0; i < WW_PRINT_ANCHORS; i++) {
        for (size_t j = 0; j < i; j++) {
            const double p = cosine_at(a, i, j);
            const double q = cosine_at(b, i, j);
            x += p;
            y += q;
            xx += p * p;
            yy += q * q;
            xy += p * q;
        }
    }
    xx -= x * x / n;
    yy -= y * y / n;
    return xx > 0 && yy > 0 ? (xy - x * y / n) / sqrt(xx * yy) : 0;
}
