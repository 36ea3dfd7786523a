/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/grid.h"

#include <math.h>

#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"

#define PIECES 4
#define PIECE ((size_t)512) /* elements; of 16 bits less, one by chance is 2^-16 */

static const enum ww_dtype narrow[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32};

static void pass_through(enum ww_dtype grid, const double *values, double *out, size_t n)
{
    uint64_t bits[PIECE];

    ww_from_double(grid, values, bits, n);
    ww_to_double(grid, bits, out, n);
}

static bool holds(enum ww_dtype grid, const double *values, size_t n)
{
    double again[PIECE];
    bool same = true;

    pass_through(grid, values, again, n);
    for (size_t e = 0; e < n && same; e++) {
        same = again[e] == values[e];
    }
    return same;
}

enum ww_err ww_grid_of(const struct ww_model *model, uint32_t tensor, enum ww_dtype *grid,
                       struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const size_t n = t->n_elements < PIECE ? (size_t)t->n_elements : PIECE;
    bool fits[WW_LEN(narrow)] = {true, true, true};
    uint8_t bytes[PIECE * sizeof(double)];
    double values[PIECE];
    enum ww_err rc = WW_OK;

    *grid = t->dtype;
    if (!ww_dtype_is_plain_float(t->dtype) || t->dtype == WW_DTYPE_BF16) {
        return WW_OK;
    }
    for (unsigned p = 0; p < PIECES && !rc; p++) {
        const uint64_t first = (t->n_elements - n) / (PIECES - 1) * p;
        rc = ww_elements_bytes(model, tensor, first, n, bytes, err);
        if (!rc) {
            ww_to_double(t->dtype, bytes, values, n);
        }
        for (size_t i = 0; i < WW_LEN(narrow) && !rc; i++) {
            fits[i] = fits[i] && holds(narrow[i], values, n);
        }
    }
    for (size_t i = 0; i < WW_LEN(narrow) && !rc; i++) {
        if (fits[i]) {
            *grid = narrow[i];
            break;
        }
    }
    return rc;
}

enum ww_err ww_grids_of(const struct ww_model *model, enum ww_dtype **grids,
                        struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *grids = ww_calloc(model->n_tensors + (size_t)1, sizeof(**grids));
    if (!*grids) {
        return WW_FAIL_MEMORY(err, "grids of weights");
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        rc = ww_grid_of(model, t, &(*grids)[t], err);
    }
    if (rc) {
        ww_free(*grids);
        *grids = NULL;
    }
    return rc;
}

void ww_grid_narrow(enum ww_dtype stored, enum ww_dtype grid, const void *src, void *out,
                    size_t n)
{
    const size_t from = ww_dtype_bits(stored) / 8;
    const size_t to = ww_dtype_bits(grid) / 8;
    double values[PIECE];
    double again[PIECE];

    for (size_t at = 0; at < n; at += PIECE) { /* narrower, so it never catches up */
        const size_t len = n - at < PIECE ? n - at : PIECE;
        ww_to_double(stored, (const uint8_t *)src + at * from, values, len);
        pass_through(grid, values, again, len);
        for (size_t e = 0; e < len; e++) {
            values[e] = again[e] == values[e] ? values[e] : (double)NAN;
        }
        ww_from_double(grid, values, (uint8_t *)out + at * to, len);
    }
}
