/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor makes tiles on all its threads, so each of them reads, checks for NaN and
 * infinity, and widens. The caller sees to it that the model did not change meanwhile.
 */
#include "merge/extract_whole.h"

#include <string.h>

#include "crypto/hash.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err whole_run(void *state, const struct ww_tile *tile,
                             struct ww_error *err)
{
    const struct ww_extract_whole *w = state;
    const size_t n = tile->n_rows * w->unit;
    const size_t size = ww_dtype_bits(w->model->tensors[w->tensor].dtype) / 8;
    uint8_t *bytes = ww_calloc(n + 1, size);
    enum ww_err rc = WW_OK;

    if (!bytes) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    rc = ww_elements_float(w->model, w->tensor, tile->first_row * w->unit, n, bytes,
                           (float *)(void *)tile->out, err);
    ww_free(bytes);
    return rc;
}

static const struct ww_kernel kernel = {"weight in float32", ww_kernel_open_plain,
                                        whole_run, ww_kernel_close_plain};

void ww_extract_whole_piece(const struct ww_model *model, uint32_t tensor,
                            uint32_t tree_index, struct ww_extract_whole *whole,
                            struct ww_piece *piece)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const uint64_t unit = t->rank > 1 ? t->shape[t->rank - 1] : 1;

    *whole = (struct ww_extract_whole){model, tensor, unit};
    *piece = (struct ww_piece){
        .kind = WW_PIECE_KERNEL,
        .n_bytes = t->n_elements * sizeof(float),
        .n_rows = unit ? t->n_elements / unit : 0,
        .row_bytes = unit * sizeof(float),
        .kernel = &kernel,
        .params = whole,
        .tree_index = tree_index,
    };
    ww_sha256_of(t->name, strlen(t->name), piece->params_digest);
}
