/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight numbers that undergo the same sum go side by side: eight columns of a head whose
 * rows are mixed, or eight rows where columns are mixed. Each sum runs over the cell in
 * order and starts from zero, so lanes, vector width and blocking leave the bits alone;
 * the compiler is told to fuse nothing (-ffp-contract=off).
 */
#include "lock/dense_map.h"

#include <string.h>

#include "model/convert.h"
#include "util/clones.h"
#include "util/num.h"

#define LANES WW_DENSE_ROWS
#define PANEL 64 /* columns that are converted at a time where rows are mixed */

typedef double double4 __attribute__((vector_size(32)));

/* out[i][lane] = sum_j m[i][j] y[j][lane], m row-major n x n. */
WW_CLONES static void mix(const double *m, size_t n, const double *y, double *out)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const double *rows[4] = {m + i * n, m + (i + 1) * n, m + (i + 2) * n,
                                 m + (i + 3) * n};
        double4 sum[4][2] = {{{0}}};
        for (size_t j = 0; j < n; j++) {
            double4 lanes[2];
            memcpy(lanes, y + j * LANES, sizeof(lanes));
            for (int q = 0; q < 4; q++) {
                sum[q][0] += rows[q][j] * lanes[0];
                sum[q][1] += rows[q][j] * lanes[1];
            }
        }
        memcpy(out + i * LANES, sum, sizeof(sum));
    }
    for (; i < n; i++) {
        double4 sum[2] = {{0}};
        for (size_t j = 0; j < n; j++) {
            double4 lanes[2];
            memcpy(lanes, y + j * LANES, sizeof(lanes));
            sum[0] += m[i * n + j] * lanes[0];
            sum[1] += m[i * n + j] * lanes[1];
        }
        memcpy(out + i * LANES, sum, sizeof(sum));
    }
}

static int16_t level_of(double sum)
{
    uint64_t bits = 0;

    memcpy(&bits, &sum, sizeof(bits));
    return (int16_t)((int)(bits >> 52 & 0x7ff) - 1023);
}

/* Exponents of the sums of squares of eight columns of y. */
static void measure(size_t n, const double *y, int16_t levels[LANES])
{
    double sum[LANES] = {0};

    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < LANES; k++) {
            sum[k] += y[j * LANES + k] * y[j * LANES + k];
        }
    }
    for (size_t k = 0; k < LANES; k++) {
        levels[k] = level_of(sum[k]);
    }
}

/* Scratch: a panel of either kind, a cell before and after, a converted line. */
static size_t panel_doubles(const struct ww_dense_map *map)
{
    return map->on_rows ? (size_t)map->unit_rows * PANEL : (size_t)map->n_cols * LANES;
}

size_t ww_dense_scratch(const struct ww_dense_map *map)
{
    return panel_doubles(map) + (size_t)2 * WW_MAX_CELL * LANES + (size_t)map->n_cols +
           PANEL;
}

/* Where an index of the axis lies in the panel, and eight lanes of it. */
struct panel {
    double *y;
    size_t stride; /* from one index of the axis to the next */
    double *before, *after;
};

/* Mix the eight lanes from lane on of one cell, in place. first: what at counts from. */
static void mix_cell(const struct ww_dense_map *map, const struct ww_cell *cell,
                     uint64_t first, const struct panel *p, size_t lane,
                     int16_t levels[LANES])
{
    const uint32_t *at = map->cells.at + cell->first;

    for (uint32_t j = 0; j < cell->n; j++) {
        memcpy(p->before + (size_t)j * LANES, p->y + (at[j] - first) * p->stride + lane,
               LANES * sizeof(double));
    }
    mix(map->cells.direct + cell->matrix, cell->n, p->before, p->after);
    for (uint32_t j = 0; j < cell->n; j++) {
        memcpy(p->y + (at[j] - first) * p->stride + lane, p->after + (size_t)j * LANES,
               LANES * sizeof(double));
    }
    if (levels) {
        measure(cell->n, p->before, levels);
    }
}

static void clear_levels(int16_t *levels, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        levels[i] = WW_NO_LEVEL;
    }
}

/* Elements of a row picked and widened: columns first .. first + n of the output. */
static void pick(const struct ww_dense_map *map, const uint8_t *row, uint64_t first,
                 size_t n, double factor, double *out)
{
    const unsigned width = ww_dtype_bits(map->dtype) / 8;
    const uint32_t *perm = map->cols.perm;
    uint8_t raw[PANEL * sizeof(double)];

    for (size_t c = 0; c < n && perm; c++) {
        memcpy(raw + c * width, row + (size_t)perm[first + c] * width, width);
    }
    ww_to_double(map->dtype, perm ? raw : row + first * width, out, n);
    for (size_t c = 0; c < n; c++) {
        out[c] *= factor * map->col_factor[first + c];
    }
}

/* One unit whose rows are mixed, PANEL columns at a time. */
static void apply_rows(const struct ww_dense_map *map, uint64_t unit, const uint8_t *in,
                       uint8_t *out, int16_t *levels, const struct panel *p)
{
    const unsigned width = ww_dtype_bits(map->dtype) / 8;
    const uint64_t first = unit * map->unit_rows;
    int16_t found[LANES];

    for (uint64_t c = 0; c < map->n_cols; c += PANEL) {
        const size_t n = (size_t)ww_min_u64(PANEL, map->n_cols - c);
        for (uint64_t r = 0; r < map->unit_rows; r++) {
            const uint64_t from =
                map->rows.perm ? map->rows.perm[first + r] % map->unit_rows : r;
            double *y = p->y + r * PANEL;
            pick(map, in + from * map->row_bytes, c, n, map->row_factor[first + r], y);
            memset(y + n, 0, (PANEL - n) * sizeof(*y));
        }
        for (uint32_t k = map->unit_cells[unit]; k < map->unit_cells[unit + 1]; k++) {
            const struct ww_cell *cell = &map->cells.cells[k];
            for (size_t lane = 0; lane < n; lane += LANES) {
                mix_cell(map, cell, first, p, lane, levels ? found : NULL);
                for (uint32_t j = 0; j < cell->n && levels; j++) {
                    const uint64_t r = map->cells.at[cell->first + j] - first;
                    memcpy(levels + r * map->n_cols + c + lane, found,
                           ww_min_u64(LANES, n - lane) * sizeof(*found));
                }
            }
        }
        for (uint64_t r = 0; r < map->unit_rows; r++) {
            ww_from_double(map->dtype, p->y + r * PANEL,
                           out + r * map->row_bytes + c * width, n);
        }
    }
}

/* Up to eight rows whose columns are mixed. line: n_cols doubles. */
static void apply_cols(const struct ww_dense_map *map, const struct ww_dense_rows *rows,
                       bool with_levels, const struct panel *p, double *line)
{
    int16_t found[LANES];

    memset(p->y, 0, panel_doubles(map) * sizeof(*p->y));
    for (unsigned i = 0; i < rows->n; i++) {
        const double factor = map->row_factor[rows->units[i]];
        for (uint64_t c = 0; c < map->n_cols; c += PANEL) {
            pick(map, rows->in[i], c, (size_t)ww_min_u64(PANEL, map->n_cols - c), factor,
                 line + c);
        }
        for (uint64_t c = 0; c < map->n_cols; c++) {
            p->y[c * LANES + i] = line[c];
        }
    }
    for (uint32_t k = 0; k < map->cells.n_cells; k++) {
        const struct ww_cell *cell = &map->cells.cells[k];
        mix_cell(map, cell, 0, p, 0, with_levels ? found : NULL);
        for (unsigned i = 0; i < rows->n && with_levels; i++) {
            for (uint32_t j = 0; j < cell->n; j++) {
                rows->levels[i][map->cells.at[cell->first + j]] = found[i];
            }
        }
    }
    for (unsigned i = 0; i < rows->n; i++) {
        for (uint64_t c = 0; c < map->n_cols; c++) {
            line[c] = p->y[c * LANES + i];
        }
        ww_from_double(map->dtype, line, rows->out[i], (size_t)map->n_cols);
    }
}

bool ww_dense_apply(const struct ww_dense_map *map, const struct ww_dense_rows *rows,
                    bool with_levels, double *scratch)
{
    const uint64_t n_elements = map->unit_rows * map->n_cols;
    const struct panel p = {scratch, map->on_rows ? PANEL : LANES,
                            scratch + panel_doubles(map),
                            scratch + panel_doubles(map) + (size_t)WW_MAX_CELL * LANES};
    uint64_t bad = 0;

    for (unsigned i = 0; i < rows->n && with_levels; i++) {
        clear_levels(rows->levels[i], n_elements);
    }
    if (map->on_rows) {
        for (unsigned i = 0; i < rows->n; i++) {
            apply_rows(map, rows->units[i], rows->in[i], rows->out[i],
                       with_levels ? rows->levels[i] : NULL, &p);
        }
    } else {
        apply_cols(map, rows, with_levels, &p, p.after + (size_t)WW_MAX_CELL * LANES);
    }
    for (unsigned i = 0; i < rows->n; i++) {
        bad += ww_count_nonfinite(map->dtype, rows->out[i], (size_t)n_elements);
    }
    return bad == 0;
}
