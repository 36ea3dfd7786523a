/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Cells: disjoint groups of a space's indices, each mixed by a matrix of its own. What an
 * element is to permutations, cells are to dense transforms: a head of values is one cell
 * of v_dim indices, a rotary pair a cell of two. Indices in no cell stay.
 *
 * Cells act on top of a space's exact element, so x'[at[i]] = sum_j m[i][j] y[at[j]] with
 * y the exact image of x: whole heads and in-head permutations move first.
 *
 * For the attack and for the lock alike: a source (below) hands out the cells of a space,
 * drawn from a key in the one case and solved for in the other.
 */
#ifndef WW_LOCK_CELLS_H
#define WW_LOCK_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/layout.h"

/** Widest cell: a head. */
#define WW_MAX_CELL 1024

struct ww_cell {
    uint32_t n;
    uint32_t first; /* its indices: at[first .. first + n) */
    size_t matrix;  /* its matrices: n x n from here on, row-major */
};

struct ww_cells {
    uint32_t n_cells; /* 0: nothing is mixed */
    struct ww_cell *cells;
    uint32_t n_at;
    uint32_t *at;
    size_t n_values;
    double *direct;  /* M, for segments of action DIRECT */
    double *inverse; /* M^-T, for segments of action INVERSE */
};

/** Room for n_cells cells over n_at indices and n_values numbers, all zero; the caller
 *  fills it. */
enum ww_err ww_cells_init(struct ww_cells *cells, uint32_t n_cells, uint32_t n_at,
                          size_t n_values, struct ww_error *err) WW_MUST_USE;
void ww_cells_release(struct ww_cells *cells);
enum ww_err ww_cells_copy(const struct ww_cells *from, struct ww_cells *out,
                          struct ww_error *err) WW_MUST_USE;

/** x = A x in place, where the action of M is A: M or M^-T. PERMUTE leaves x as it is:
 *  the planners keep cells away from spaces that are only permuted somewhere. scratch
 *  holds WW_MAX_CELL doubles. */
void ww_cells_apply(const struct ww_cells *cells, enum ww_action action, double *x,
                    double *scratch);

/** Where cells come from. Both functions are called from the calling thread only. */
struct ww_cell_source {
    /* Does the space have cells? Cheap: asked for every axis of every tensor. */
    bool (*has)(const void *payload, uint32_t space);
    /* A copy of the space's cells, the caller's to release. Each index of the space is in
     * one cell at most; cells may share matrices. shape_only: the numbers do not matter,
     * which spares drawing them. */
    enum ww_err (*get)(void *payload, uint32_t space, bool shape_only,
                       struct ww_cells *out, struct ww_error *err);
    void *payload;
};

#endif
