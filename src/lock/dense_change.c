/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cores commute with a dense transform as they do with an exact one; what is left is
 * the rounding of the mixed weights, and no argument by parts says how large its effect
 * is. So blocks are run whole.
 */
#include <math.h>

#include "lock/check_layout.h"
#include "lock/dense_run.h"
#include "util/fail.h"
#include "util/num.h"

#define MAX_BLOCK (UINT64_C(1) << 26)   /* weights of a block that is run */
#define MAX_WEIGHTS (UINT64_C(1) << 27) /* of all that are run */

static uint64_t weights_of(const struct ww_layout *layout, uint32_t block)
{
    uint64_t n = 0;

    for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
        if (layout->bindings[t].block == block) {
            n += layout->model->tensors[t].n_elements;
        }
    }
    return n;
}

/* How much a block's output may change: the rounding of its attention, with room. */
static double limit_of(const struct ww_layout *layout)
{
    static const struct {
        enum ww_dtype dtype;
        double limit;
    } coarse[] = {{WW_DTYPE_BF16, 0.1}, {WW_DTYPE_F16, 0.03}, {WW_DTYPE_F32, 1e-4}};

    for (size_t i = 0; i < WW_LEN(coarse); i++) {
        for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
            if (layout->model->tensors[t].dtype == coarse[i].dtype) {
                return coarse[i].limit;
            }
        }
    }
    return 1e-6;
}

/* Rounding may turn the choice of an expert, and then the output is another one: that is
 * told as it is, but says nothing about the transform. */
static double judged(const struct ww_layout *layout, uint32_t block, double error)
{
    return layout->blocks[block].moe == WW_NONE ? error : 0;
}

static enum ww_err run_block(const struct ww_gauge *gauge, uint32_t block, double limit,
                             double *change, uint32_t *n, struct ww_error *err)
{
    struct ww_error why = {0};
    double error = 0;
    double adds = 0;
    const enum ww_err rc = ww_check_block(gauge, NULL, block, &error, &adds, &why);

    if (ww_err_class_of(rc) == WW_CLASS_UNSUPPORTED) {
        return WW_OK; /* the forward pass does not know this block */
    }
    if (rc) {
        return WW_FAIL(err, rc, "%s", why.text);
    }
    if (adds > 0) {
        *change = fmax(*change, error);
        (*n)++;
    }
    if (!(judged(gauge->layout, block, error) <= limit)) {
        return WW_FAIL(err, WW_E_CHECK_FAILED,
                       "block '%s': mixing heads changes its output by %.3g (limit %g), "
                       "more than rounding explains; use level exact",
                       gauge->layout->blocks[block].name, error, limit);
    }
    return WW_OK;
}

enum ww_err ww_dense_change(const struct ww_gauge *gauge, double *change,
                            uint32_t *blocks_run, struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    const uint32_t n = layout->n_blocks;
    const double limit = limit_of(layout);
    const uint64_t each = n ? ww_max_u64(1, weights_of(layout, 0)) : 1;
    const uint64_t fit = ww_max_u64(1, MAX_WEIGHTS / each);
    const uint32_t step = (uint32_t)ww_max_u64(1, ww_div_up(n, fit));
    enum ww_err rc = WW_OK;

    *change = 0;
    *blocks_run = 0;
    for (uint32_t b = 0; b < n && !rc; b += step) {
        if (!layout->blocks[b].uncovered && weights_of(layout, b) <= MAX_BLOCK) {
            rc = run_block(gauge, b, limit, change, blocks_run, err);
        }
    }
    return rc;
}
