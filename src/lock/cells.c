/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums run over j from the first index to the last and start from zero, here and in the
 * kernel, so that every machine gets the same bits.
 */
#include "lock/cells.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_cells_init(struct ww_cells *cells, uint32_t n_cells, uint32_t n_at,
                          size_t n_values, struct ww_error *err)
{
    memset(cells, 0, sizeof(*cells));
    cells->cells = ww_calloc(n_cells, sizeof(*cells->cells));
    cells->at = ww_calloc(n_at, sizeof(*cells->at));
    cells->direct = ww_calloc(n_values, sizeof(*cells->direct));
    cells->inverse = ww_calloc(n_values, sizeof(*cells->inverse));
    if (!cells->cells || !cells->at || !cells->direct || !cells->inverse) {
        ww_cells_release(cells);
        return WW_FAIL_MEMORY(err, "the matrices of %u cells", n_cells);
    }
    cells->n_cells = n_cells;
    cells->n_at = n_at;
    cells->n_values = n_values;
    return WW_OK;
}

void ww_cells_release(struct ww_cells *cells)
{
    ww_free(cells->cells);
    ww_free(cells->at);
    ww_free(cells->direct);
    ww_free(cells->inverse);
    memset(cells, 0, sizeof(*cells));
}

enum ww_err ww_cells_copy(const struct ww_cells *from, struct ww_cells *out,
                          struct ww_error *err)
{
    enum ww_err rc = ww_cells_init(out, from->n_cells, from->n_at, from->n_values, err);

    if (rc || from->n_cells == 0) {
        return rc;
    }
    memcpy(out->cells, from->cells, from->n_cells * sizeof(*out->cells));
    memcpy(out->at, from->at, from->n_at * sizeof(*out->at));
    memcpy(out->direct, from->direct, from->n_values * sizeof(*out->direct));
    memcpy(out->inverse, from->inverse, from->n_values * sizeof(*out->inverse));
    return WW_OK;
}

void ww_cells_apply(const struct ww_cells *cells, enum ww_action action, double *x,
                    double *scratch)
{
    const double *matrices = action == WW_ACT_DIRECT ? cells->direct : cells->inverse;

    if (action == WW_ACT_PERMUTE) {
        return;
    }
    for (uint32_t c = 0; c < cells->n_cells; c++) {
        const struct ww_cell *cell = &cells->cells[c];
        const uint32_t *at = cells->at + cell->first;
        const double *row = matrices + cell->matrix;
        for (uint32_t i = 0; i < cell->n; i++, row += cell->n) {
            double sum = 0;
            for (uint32_t j = 0; j < cell->n; j++) {
                sum += row[j] * x[at[j]];
            }
            scratch[i] = sum;
        }
        for (uint32_t i = 0; i < cell->n; i++) {
            x[at[i]] = scratch[i];
        }
    }
}
