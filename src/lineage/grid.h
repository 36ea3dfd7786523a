/* SPDX-License-Identifier: Apache-2.0 */
/**
 * On which grid do stored values lie? A model that was rounded to BF16 and then stored as
 * F32 has the values of BF16, and its bits come out of a recipe that rounds to it.
 */
#ifndef WW_LINEAGE_GRID_H
#define WW_LINEAGE_GRID_H

#include "weightward/model.h"

/** The coarsest float dtype that holds all values of a sample of the tensor: BF16 before
 *  F16 before F32. */
enum ww_err ww_grid_of(const struct ww_model *model, uint32_t tensor, enum ww_dtype *grid,
                       struct ww_error *err) WW_MUST_USE;
/** The same of each tensor, [model->n_tensors], own; a tensor that is no plain float has
 *  its own dtype. */
enum ww_err ww_grids_of(const struct ww_model *model, enum ww_dtype **grids,
                        struct ww_error *err) WW_MUST_USE;

/** n stored values at src in the dtype of the grid, which may lie there too. One that the
 *  grid does not hold becomes NaN, which equals nothing that is predicted. */
void ww_grid_narrow(enum ww_dtype stored, enum ww_dtype grid, const void *src, void *out,
                    size_t n);

#endif
