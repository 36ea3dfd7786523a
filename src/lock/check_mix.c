/* SPDX-License-Identifier: Apache-2.0 */
#include "lock/check_mix.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_check_mix(const struct ww_gauge *gauge, uint32_t space,
                         enum ww_action action, double *x, size_t rows,
                         struct ww_error *err)
{
    const struct ww_cell_source *source = gauge->cells;
    struct ww_cells cells = {0};
    double *scratch = NULL;
    enum ww_err rc = WW_OK;

    if (!source || space == WW_NONE || !source->has(source->payload, space)) {
        return WW_OK;
    }
    rc = source->get(source->payload, space, false, &cells, err);
    if (rc) {
        return rc;
    }
    scratch = ww_calloc(WW_MAX_CELL, sizeof(*scratch));
    if (!scratch) {
        rc = WW_FAIL_MEMORY(err, "activations");
    }
    for (size_t r = 0; r < rows && !rc; r++) {
        ww_cells_apply(&cells, action, x + r * gauge->layout->spaces[space].size,
                       scratch);
    }
    ww_free(scratch);
    ww_cells_release(&cells);
    return rc;
}

void ww_check_join_heads(const struct ww_attention *att, size_t n_tokens,
                         uint64_t n_heads, uint64_t n_rope, const double *nope,
                         const double *rope, double *out)
{
    const size_t n = (size_t)att->mla_nope;
    const size_t r = (size_t)(att->head_dim - att->mla_nope);

    for (size_t t = 0; t < n_tokens; t++) {
        for (size_t h = 0; h < n_heads; h++) {
            const size_t row = t * (size_t)n_heads + h;
            const size_t from = t * (size_t)n_rope + (n_rope > 1 ? h : 0);
            memcpy(out + row * (n + r), nope + row * n, n * sizeof(*out));
            memcpy(out + row * (n + r) + n, rope + from * r, r * sizeof(*out));
        }
    }
}
