/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/gains.h"

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

/* The gain of a norm as factors of width columns; NULL, and WW_OK, when it has none. */
static enum ww_err read_gain(const struct ww_layout *layout, const struct ww_norm *norm,
                             size_t width, float **out, struct ww_error *err)
{
    const uint32_t gain = norm->kind == WW_NORM_NONE ? WW_NONE : norm->gain;
    const struct ww_tensor *t = gain == WW_NONE ? NULL : &layout->model->tensors[gain];
    uint8_t *bytes = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!t || t->n_elements != width || !ww_dtype_is_plain_float(t->dtype)) {
        return WW_OK;
    }
    bytes = ww_calloc((size_t)t->n_bytes, 1);
    *out = ww_calloc(width, sizeof(**out));
    if (!bytes || !*out) {
        rc = WW_FAIL_MEMORY(err, "gains");
    }
    if (!rc) {
        rc = ww_model_read(layout->model, gain, bytes, err);
    }
    if (!rc) {
        ww_to_float(t->dtype, bytes, *out, width);
    }
    for (size_t c = 0; c < width && !rc && norm->plus_one; c++) {
        (*out)[c] += 1;
    }
    ww_free(bytes);
    return rc;
}

void ww_gains_fold(const float *gain, struct ww_slab *slab)
{
    for (size_t r = 0; gain && r < slab->n; r++) {
        for (size_t c = 0; c < slab->width; c++) {
            slab->rows[r * slab->width + c] *= gain[c];
        }
    }
}

static const struct ww_block *block_of(const struct ww_layout *layout, uint32_t attention)
{
    for (uint32_t b = 0; b < layout->n_blocks; b++) {
        if (layout->blocks[b].self == attention) {
            return &layout->blocks[b];
        }
    }
    return NULL;
}

enum ww_err ww_gains_read(const struct ww_layout *layout, uint32_t attention,
                          size_t width, float **out, struct ww_error *err)
{
    const struct ww_block *block = block_of(layout, attention);

    *out = NULL;
    if (!block || (block->form != WW_BLOCK_PRE && block->form != WW_BLOCK_PARALLEL &&
                   block->form != WW_BLOCK_SANDWICH)) {
        return WW_OK;
    }
    return read_gain(layout, &block->norm_self, width, out, err);
}
