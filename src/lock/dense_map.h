/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What happens to a tensor one axis of which runs over cells: first the exact map of
 * every axis (axis_map.h), then the matrices along that one axis.
 *
 *   y[r][c]   = +-2^e in[row_src[r]][col_src[c]]
 *   out[at_i] = sum_j m[i][j] y[at_j]      along the axis of the cells, at from one cell
 *
 * The executor hands rows over one for one, but a row of a head needs all rows of that
 * head. So where rows are mixed, whole heads are the executor's rows: units of unit_rows
 * rows, the shortest runs that neither a cell nor a move across units cuts.
 *
 * An inverse map has the same form. E^-1 M^-1 = (E^-1 M^-1 E) E^-1, and what stands in
 * parentheses mixes the indices that E sends into the cell, with signs and factors of two
 * taken into the matrix, which is exact.
 */
#ifndef WW_LOCK_DENSE_MAP_H
#define WW_LOCK_DENSE_MAP_H

#include "lock/axis_map.h"
#include "lock/cells.h"

#define WW_NO_AXIS UINT32_MAX
/** Level of an element that no cell mixes. */
#define WW_NO_LEVEL INT16_MIN
/** Most units in one call: where columns are mixed, rows go through side by side. */
#define WW_DENSE_ROWS 8

struct ww_dense_map {
    enum ww_dtype dtype;
    bool on_rows;       /* the cells lie on rows, else on columns */
    uint64_t n_units;   /* what the executor calls rows */
    uint64_t unit_rows; /* 1 unless on_rows */
    uint64_t n_cols;
    uint64_t row_bytes;     /* of one row of n_cols */
    struct ww_element rows; /* exact moves; perm NULL: they stay */
    struct ww_element cols;
    double *row_factor; /* +-2^e per row and per column */
    double *col_factor;
    uint32_t *unit_src;    /* source unit of each unit, NULL: the identity */
    struct ww_cells cells; /* on the axis; direct is the matrix, inverse its transposed
                              inverse */
    uint32_t *unit_cells;  /* on_rows: cells of unit u are unit_cells[u] .. [u + 1) */
};

/** The axis of a tensor that carries cells, WW_NO_AXIS when none does. source may be
 * NULL. *clash: more than one does, or a place where no kernel serves them. */
uint32_t ww_dense_axis(const struct ww_layout *layout,
                       const struct ww_cell_source *source, uint32_t tensor, bool *clash);

/** The map of a tensor of rank 1 or 2 that has such an axis. shape_only: for the units.
 */
enum ww_err ww_dense_map_init(struct ww_dense_map *map, const struct ww_gauge *gauge,
                              const struct ww_cell_source *source, uint32_t tensor,
                              bool inverse, bool shape_only,
                              struct ww_error *err) WW_MUST_USE;
void ww_dense_map_release(struct ww_dense_map *map);

/** The inverse of a map. */
enum ww_err ww_dense_map_invert(const struct ww_dense_map *map, struct ww_dense_map *out,
                                struct ww_error *err) WW_MUST_USE;

static inline uint64_t ww_dense_unit_bytes(const struct ww_dense_map *map)
{
    return map->unit_rows * map->row_bytes;
}

/** Units that go through the map together; n is 1 where rows are mixed. in[i] is source
 *  unit unit_src[units[i]], unaligned. levels[i] (levels may be NULL) takes for every
 *  element the binary exponent of the sum of squares of its cell's y, or WW_NO_LEVEL. */
struct ww_dense_rows {
    unsigned n;
    uint64_t units[WW_DENSE_ROWS];
    const uint8_t *in[WW_DENSE_ROWS];
    uint8_t *out[WW_DENSE_ROWS];
    int16_t *levels[WW_DENSE_ROWS];
};

/** Doubles that ww_dense_apply needs. */
size_t ww_dense_scratch(const struct ww_dense_map *map);
/** Sums in the order of the cell, in double, nothing fused, rounded once to nearest even:
 *  the same bits on every machine. False when a result is not finite (out is complete).
 */
bool ww_dense_apply(const struct ww_dense_map *map, const struct ww_dense_rows *rows,
                    bool with_levels, double *scratch);

#endif
