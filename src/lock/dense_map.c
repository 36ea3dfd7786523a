/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the cells of a space to those of a tensor's axis, through its segments, as
 * axis_map.c does for elements.
 */
#include "lock/dense_map.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

static bool axis_has_cells(const struct ww_layout *layout,
                           const struct ww_cell_source *source, uint32_t tensor,
                           unsigned axis, bool *clash)
{
    const struct ww_axis *a = &layout->bindings[tensor].axis[axis];
    bool any = false;

    for (uint32_t i = 0; i < a->n_segments; i++) {
        const struct ww_segment *segment = &layout->segments[a->first_segment + i];
        if (source->has(source->payload, segment->space)) {
            any = true;
            *clash = *clash || segment->action == WW_ACT_PERMUTE;
        }
    }
    return any;
}

uint32_t ww_dense_axis(const struct ww_layout *layout,
                       const struct ww_cell_source *source, uint32_t tensor, bool *clash)
{
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    uint32_t found = WW_NO_AXIS;

    *clash = false;
    if (!source || layout->bindings[tensor].ignored || t->n_elements == 0) {
        return WW_NO_AXIS;
    }
    for (unsigned a = 0; a < t->rank; a++) {
        if (axis_has_cells(layout, source, tensor, a, clash)) {
            *clash = *clash || found != WW_NO_AXIS || t->rank > 2;
            found = a;
        }
    }
    *clash =
        *clash || (found != WW_NO_AXIS && layout->bindings[tensor].name_space != WW_NONE);
    return found;
}

/* Cells gathered from all segments of an axis. */
struct gathering {
    const struct ww_layout *layout;
    const struct ww_cell_source *source;
    const struct ww_tensor *tensor;
    const struct ww_axis *axis;
    bool shape_only;
    struct ww_cells out;
};

static enum ww_err cut_cell(const struct gathering *g, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "tensor '%s': a head lies in several parts of it, which a dense lock "
                   "does not mix; use level exact",
                   g->tensor->name);
}

static uint32_t n_covered(const struct ww_segment *segment, const struct ww_cells *cells,
                          const struct ww_cell *cell)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < cell->n; i++) {
        n += ww_segment_covers(segment, cells->at[cell->first + i]);
    }
    return n;
}

/* Append what the segment holds; with_matrices once per segment. */
static enum ww_err add_segment(struct gathering *g, const struct ww_segment *segment,
                               const struct ww_cells *cells, struct ww_error *err)
{
    struct ww_cells *out = &g->out;
    const bool direct = segment->action == WW_ACT_DIRECT;
    const size_t base = out->n_values;

    memcpy(out->direct + base, direct ? cells->direct : cells->inverse,
           cells->n_values * sizeof(*out->direct));
    memcpy(out->inverse + base, direct ? cells->inverse : cells->direct,
           cells->n_values * sizeof(*out->inverse));
    out->n_values += cells->n_values;
    for (uint32_t c = 0; c < cells->n_cells; c++) {
        const struct ww_cell *cell = &cells->cells[c];
        const uint32_t n = n_covered(segment, cells, cell);
        if (n == 0) {
            continue;
        }
        if (n != cell->n || cell->n > WW_MAX_CELL) {
            return cut_cell(g, err);
        }
        out->cells[out->n_cells++] =
            (struct ww_cell){cell->n, out->n_at, base + cell->matrix};
        for (uint32_t i = 0; i < cell->n; i++) {
            out->at[out->n_at++] =
                (uint32_t)ww_segment_at(segment, cells->at[cell->first + i]);
        }
    }
    return WW_OK;
}

static enum ww_err grow(struct ww_cells *out, const struct ww_cells *by,
                        struct ww_error *err)
{
    struct ww_cells next = {0};
    const struct ww_cells used = *out;
    enum ww_err rc =
        ww_cells_init(&next, out->n_cells + by->n_cells, out->n_at + by->n_at,
                      out->n_values + by->n_values, err);

    if (rc) {
        return rc;
    }
    if (used.n_cells > 0) {
        memcpy(next.cells, used.cells, used.n_cells * sizeof(*next.cells));
        memcpy(next.at, used.at, used.n_at * sizeof(*next.at));
        memcpy(next.direct, used.direct, used.n_values * sizeof(*next.direct));
        memcpy(next.inverse, used.inverse, used.n_values * sizeof(*next.inverse));
    }
    ww_cells_release(out);
    *out = next;
    out->n_cells = used.n_cells;
    out->n_at = used.n_at;
    out->n_values = used.n_values;
    return WW_OK;
}

static enum ww_err gather_cells(struct gathering *g, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < g->axis->n_segments && !rc; i++) {
        const struct ww_segment *segment =
            &g->layout->segments[g->axis->first_segment + i];
        struct ww_cells cells = {0};
        if (!g->source->has(g->source->payload, segment->space)) {
            continue;
        }
        rc = g->source->get(g->source->payload, segment->space, g->shape_only, &cells,
                            err);
        if (!rc) {
            rc = grow(&g->out, &cells, err);
        }
        if (!rc) {
            rc = add_segment(g, segment, &cells, err);
        }
        ww_cells_release(&cells);
    }
    return rc;
}

/* Does no cell and no move across units cut a run of u rows? */
static bool is_unit(const struct ww_dense_map *map, uint64_t n_rows, uint64_t u)
{
    const uint32_t *perm = map->rows.perm;

    for (uint64_t i = 0; perm && i < n_rows; i++) {
        if (perm[i] / u != perm[i / u * u] / u) {
            return false;
        }
    }
    for (uint32_t c = 0; c < map->cells.n_cells; c++) {
        const struct ww_cell *cell = &map->cells.cells[c];
        const uint32_t *at = map->cells.at + cell->first;
        for (uint32_t i = 1; i < cell->n; i++) {
            if (at[i] / u != at[0] / u) {
                return false;
            }
        }
    }
    return true;
}

static uint64_t unit_of(const struct ww_dense_map *map, uint32_t cell)
{
    return map->cells.at[map->cells.cells[cell].first] / map->unit_rows;
}

/* Cells in the order of their units: a counting sort that keeps the order inside. */
static enum ww_err sort_cells(struct ww_dense_map *map, struct ww_error *err)
{
    const uint32_t n = map->cells.n_cells;
    struct ww_cell *sorted = ww_calloc(n, sizeof(*sorted));
    uint32_t *first = ww_calloc((size_t)map->n_units + 2, sizeof(*first));

    if (!sorted || !first) {
        ww_free(sorted);
        ww_free(first);
        return WW_FAIL_MEMORY(err, "%u cells", n);
    }
    for (uint32_t c = 0; c < n; c++) {
        first[unit_of(map, c) + 2]++;
    }
    for (uint64_t u = 0; u < map->n_units; u++) {
        first[u + 2] += first[u + 1];
    }
    for (uint32_t c = 0; c < n; c++) {
        sorted[first[unit_of(map, c) + 1]++] = map->cells.cells[c];
    }
    ww_free(map->cells.cells);
    map->cells.cells = sorted;
    map->unit_cells = first;
    WW_INVARIANT(n < 2 || unit_of(map, 0) <= unit_of(map, n - 1));
    return WW_OK;
}

static enum ww_err set_unit_src(struct ww_dense_map *map, struct ww_error *err)
{
    if (!map->rows.perm) {
        return WW_OK;
    }
    map->unit_src = ww_calloc((size_t)map->n_units, sizeof(*map->unit_src));
    if (!map->unit_src) {
        return WW_FAIL_MEMORY(err, "a row map");
    }
    for (uint64_t u = 0; u < map->n_units; u++) {
        map->unit_src[u] =
            (uint32_t)(map->rows.perm[u * map->unit_rows] / map->unit_rows);
    }
    return WW_OK;
}

/* The sign and factor that the exact map gives to an index, as a number. */
static double factor_at(const struct ww_element *element, uint32_t i)
{
    if (!element->perm) {
        return 1;
    }
    return ldexp(element->neg[i] ? -1 : 1, element->exp[i]);
}

static enum ww_err set_factors(const struct ww_element *element, double **out,
                               struct ww_error *err)
{
    *out = ww_calloc(element->n, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "the factors of an axis");
    }
    for (uint32_t i = 0; i < element->n; i++) {
        (*out)[i] = factor_at(element, i);
    }
    return WW_OK;
}

/* A map of its parts (moved out of the arguments, also on failure): exact maps of both
 * axes and the cells of one, direct being the matrix and inverse its transposed inverse.
 * A tensor of rank 1 is one row. */
static enum ww_err assemble(struct ww_dense_map *map, enum ww_dtype dtype, bool on_rows,
                            struct ww_element *rows, struct ww_element *cols,
                            struct ww_cells *cells, struct ww_error *err)
{
    const uint64_t n_rows = rows->n;
    uint64_t unit = 1;
    enum ww_err rc = WW_OK;

    *map =
        (struct ww_dense_map){.dtype = dtype,
                              .on_rows = on_rows,
                              .n_cols = cols->n,
                              .row_bytes = cols->n * (uint64_t)ww_dtype_bits(dtype) / 8,
                              .rows = *rows,
                              .cols = *cols,
                              .cells = *cells};
    memset(rows, 0, sizeof(*rows));
    memset(cols, 0, sizeof(*cols));
    memset(cells, 0, sizeof(*cells));
    while (on_rows && (n_rows % unit != 0 || !is_unit(map, n_rows, unit))) {
        unit++;
    }
    map->unit_rows = unit;
    map->n_units = n_rows / unit;
    if (on_rows) {
        rc = sort_cells(map, err);
    }
    if (!rc) {
        rc = set_unit_src(map, err);
    }
    if (!rc) {
        rc = set_factors(&map->rows, &map->row_factor, err);
    }
    if (!rc) {
        rc = set_factors(&map->cols, &map->col_factor, err);
    }
    if (rc) {
        ww_dense_map_release(map);
    }
    return rc;
}

void ww_dense_map_release(struct ww_dense_map *map)
{
    ww_element_release(&map->rows);
    ww_element_release(&map->cols);
    ww_cells_release(&map->cells);
    ww_free(map->row_factor);
    ww_free(map->col_factor);
    ww_free(map->unit_src);
    ww_free(map->unit_cells);
    memset(map, 0, sizeof(*map));
}

static enum ww_err invert_element(const struct ww_element *element,
                                  struct ww_element *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!element->perm) {
        ww_element_none(out, element->n);
        return WW_OK;
    }
    rc = ww_element_init(out, element->n, err);
    for (uint32_t i = 0; i < element->n && !rc; i++) {
        const uint32_t at = element->perm[i];
        out->perm[at] = i;
        out->neg[at] = element->neg[i];
        out->exp[at] = (int8_t)-element->exp[i];
    }
    return rc;
}

/* m'[i][j] = m^-1[i][j] f_j / f_i: M^-1 seen before E instead of behind it. */
static void conjugate(const struct ww_element *e, const struct ww_cells *from,
                      const struct ww_cell *cell, struct ww_cells *out,
                      struct ww_cell *made)
{
    const uint32_t *at = from->at + cell->first;
    const size_t n = cell->n;

    for (size_t i = 0; i < n; i++) {
        out->at[made->first + i] = e->perm ? e->perm[at[i]] : at[i];
        for (size_t j = 0; j < n; j++) {
            const double f = factor_at(e, at[j]) / factor_at(e, at[i]);
            out->direct[made->matrix + i * n + j] =
                from->inverse[cell->matrix + j * n + i] * f;
            out->inverse[made->matrix + i * n + j] =
                from->direct[cell->matrix + j * n + i] / f;
        }
    }
}

enum ww_err ww_dense_map_invert(const struct ww_dense_map *map, struct ww_dense_map *out,
                                struct ww_error *err)
{
    const struct ww_element *on = map->on_rows ? &map->rows : &map->cols;
    struct ww_element rows = {0};
    struct ww_element cols = {0};
    struct ww_cells cells = {0};
    size_t n_values = 0;
    enum ww_err rc = invert_element(&map->rows, &rows, err);

    memset(out, 0, sizeof(*out));
    for (uint32_t c = 0; c < map->cells.n_cells; c++) {
        n_values += (size_t)map->cells.cells[c].n * map->cells.cells[c].n;
    }
    if (!rc) {
        rc = invert_element(&map->cols, &cols, err);
    }
    if (!rc) {
        rc = ww_cells_init(&cells, map->cells.n_cells, map->cells.n_at, n_values, err);
    }
    if (rc) {
        ww_element_release(&rows);
        ww_element_release(&cols);
        return rc;
    }
    n_values = 0;
    for (uint32_t c = 0; c < map->cells.n_cells; c++) {
        const struct ww_cell *cell = &map->cells.cells[c];
        cells.cells[c] = (struct ww_cell){cell->n, cell->first, n_values};
        n_values += (size_t)cell->n * cell->n;
        conjugate(on, &map->cells, cell, &cells, &cells.cells[c]);
    }
    return assemble(out, map->dtype, map->on_rows, &rows, &cols, &cells, err);
}

/* One map of the tensor as rows and columns; a tensor of rank 1 is one row. */
static enum ww_err exact_maps(const struct ww_gauge *gauge, uint32_t tensor,
                              struct ww_element *rows, struct ww_element *cols,
                              struct ww_error *err)
{
    const unsigned rank = gauge->layout->model->tensors[tensor].rank;
    enum ww_err rc = WW_OK;

    if (rank == 1) {
        ww_element_none(rows, 1);
        return ww_axis_map(gauge, tensor, 0, 0, cols, err);
    }
    rc = ww_axis_map(gauge, tensor, 0, 0, rows, err);
    return rc ? rc : ww_axis_map(gauge, tensor, 1, 0, cols, err);
}

static enum ww_err build(struct ww_dense_map *map, const struct ww_gauge *gauge,
                         struct gathering *g, uint32_t axis, uint32_t tensor,
                         struct ww_error *err)
{
    struct ww_element rows = {0};
    struct ww_element cols = {0};
    enum ww_err rc = exact_maps(gauge, tensor, &rows, &cols, err);

    if (!rc) {
        rc = gather_cells(g, err);
    }
    if (rc) {
        ww_element_release(&rows);
        ww_element_release(&cols);
        ww_cells_release(&g->out);
        return rc;
    }
    return assemble(map, g->tensor->dtype, axis == 0 && g->tensor->rank == 2, &rows,
                    &cols, &g->out, err);
}

enum ww_err ww_dense_map_init(struct ww_dense_map *map, const struct ww_gauge *gauge,
                              const struct ww_cell_source *source, uint32_t tensor,
                              bool inverse, bool shape_only, struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    struct ww_dense_map forward = {0};
    struct gathering g = {.layout = layout,
                          .source = source,
                          .tensor = &layout->model->tensors[tensor],
                          .shape_only = shape_only};
    bool clash = false;
    const uint32_t axis = ww_dense_axis(layout, source, tensor, &clash);
    enum ww_err rc = WW_OK;

    memset(map, 0, sizeof(*map));
    if (axis == WW_NO_AXIS || clash) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%s': its shape does not let a dense lock mix heads; use "
                       "level exact",
                       g.tensor->name);
    }
    g.axis = &layout->bindings[tensor].axis[axis];
    rc = build(&forward, gauge, &g, axis, tensor, err);
    if (rc) {
        return rc;
    }
    if (!inverse) {
        *map = forward;
        return WW_OK;
    }
    rc = ww_dense_map_invert(&forward, map, err);
    ww_dense_map_release(&forward);
    return rc;
}
