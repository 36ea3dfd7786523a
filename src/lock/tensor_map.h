/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What happens to one tensor: it is seen as rows of columns; rows are taken from other
 * rows, columns gathered, signs and factors applied. Axis maps multiply: leading axes
 * make the row map, the rest the column map, and on stacked experts each slice (a run of
 * rows_per_slice rows) has a column map of its own.
 *
 *   out[r][c] = +-2^e in[row_src[r]][col_src[slice of r][c]]
 */
#ifndef WW_LOCK_TENSOR_MAP_H
#define WW_LOCK_TENSOR_MAP_H

#include "lock/axis_map.h"

/** How a tensor is cut; depends on layout and shape only. */
struct ww_tensor_view {
    unsigned first_col_axis; /* axes before it are rows */
    uint64_t n_rows;
    uint64_t n_cols;
    uint64_t row_bytes;
};

struct ww_tensor_map {
    struct ww_tensor_view view;
    enum ww_dtype dtype;
    struct ww_element rows;  /* perm NULL: they stay */
    struct ww_element *cols; /* [n_slices], perm NULL: they stay */
    uint32_t n_slices;
    uint64_t rows_per_slice;
};

/** True when some axis moves, so that a kernel has work on it. */
bool ww_tensor_moves(const struct ww_layout *layout, uint32_t tensor);
void ww_tensor_view(const struct ww_layout *layout, uint32_t tensor,
                    struct ww_tensor_view *view);

/** The map that locks the tensor; inverse: the one that undoes it. */
enum ww_err ww_tensor_map_init(struct ww_tensor_map *map, const struct ww_gauge *gauge,
                               uint32_t tensor, bool inverse,
                               struct ww_error *err) WW_MUST_USE;
void ww_tensor_map_release(struct ww_tensor_map *map);

#endif
