/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Axes behind the last one that moves are read as one wide column; short rows are folded
 * into the columns, because the executor spends a pointer on every row. What is left is
 * one gather per row whatever the rank was.
 */
#include "lock/tensor_map.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define SHORT_ROW_BYTES 512
#define MAX_FOLDED_COLS (UINT64_C(1) << 20)

bool ww_tensor_moves(const struct ww_layout *layout, uint32_t tensor)
{
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    bool moves = false;

    for (unsigned a = 0; a < t->rank; a++) {
        moves = moves || ww_axis_moves(layout, tensor, a);
    }
    return moves && t->n_elements > 0;
}

static uint64_t product(const struct ww_tensor *t, unsigned from, unsigned to)
{
    uint64_t n = 1;
    for (unsigned a = from; a < to; a++) {
        n *= t->shape[a];
    }
    return n;
}

void ww_tensor_view(const struct ww_layout *layout, uint32_t tensor,
                    struct ww_tensor_view *view)
{
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    const uint64_t width = ww_dtype_bits(t->dtype) / 8;
    unsigned first = 0;

    for (unsigned a = 0; a < t->rank; a++) {
        if (ww_axis_moves(layout, tensor, a)) {
            first = a + 1;
        }
    }
    if (first == t->rank && first > 0) {
        first--;
    }
    while (first > 0 && product(t, first, t->rank) * width < SHORT_ROW_BYTES &&
           product(t, first - 1, t->rank) <= MAX_FOLDED_COLS) {
        first--;
    }
    view->first_col_axis = first;
    view->n_rows = product(t, 0, first);
    view->n_cols = product(t, first, t->rank);
    view->row_bytes = view->n_cols * width;
}

/* One factor of a product of axis maps: entry i of axis takes part in entry
 * i / inner % extent of the product. */
struct factor {
    struct ww_element *maps; /* one per slice, or one */
    uint32_t n_maps;
    uint64_t extent;
    uint64_t inner; /* product of the extents behind it */
};

static void free_factors(struct factor *factors, unsigned rank)
{
    for (unsigned a = 0; a < rank; a++) {
        for (uint32_t m = 0; factors[a].maps && m < factors[a].n_maps; m++) {
            ww_element_release(&factors[a].maps[m]);
        }
        ww_free(factors[a].maps);
    }
}

static enum ww_err load_factors(const struct ww_gauge *gauge, uint32_t tensor,
                                struct factor factors[WW_MAX_RANK], struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    const uint32_t moe = ww_axis_stack(layout, tensor);
    enum ww_err rc = WW_OK;

    for (unsigned a = 0; a < t->rank && !rc; a++) {
        const bool sliced = a > 0 && moe != WW_NONE && ww_axis_moves(layout, tensor, a);
        const uint32_t n_maps = sliced ? (uint32_t)t->shape[0] : 1;
        factors[a].extent = t->shape[a];
        factors[a].inner = product(t, a + 1, t->rank);
        factors[a].maps = ww_calloc(n_maps, sizeof(*factors[a].maps));
        if (!factors[a].maps) {
            return WW_FAIL_MEMORY(err, "the maps of '%s'", t->name);
        }
        factors[a].n_maps = n_maps;
        for (uint32_t m = 0; m < n_maps && !rc; m++) {
            rc = ww_axis_map(gauge, tensor, a, m, &factors[a].maps[m], err);
        }
    }
    return rc;
}

static bool any_moves(const struct factor *factors, unsigned from, unsigned to)
{
    bool moves = false;
    for (unsigned a = from; a < to; a++) {
        moves = moves || factors[a].maps[0].perm;
    }
    return moves;
}

/* Product of the maps of axes [from, to) with a fixed slice, or with the slice that axis
 * 0 says when it is among them. */
static enum ww_err multiply(const struct factor *factors, unsigned from, unsigned to,
                            uint64_t slice, struct ww_element *out, struct ww_error *err)
{
    const uint64_t below = from < to ? factors[to - 1].inner : 1;
    uint64_t n = 1;
    enum ww_err rc = WW_OK;

    for (unsigned a = from; a < to; a++) {
        n *= factors[a].extent;
    }
    if (!any_moves(factors, from, to)) {
        ww_element_none(out, (uint32_t)n);
        return WW_OK;
    }
    rc = ww_element_init(out, n, err);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < out->n; i++) {
        uint64_t source = 0;
        bool neg = false;
        int exp = 0;
        for (unsigned a = from; a < to; a++) {
            const struct factor *f = &factors[a];
            const uint64_t inner = f->inner / below;
            const uint64_t at = i / inner % f->extent;
            if (from == 0 && a == 0) {
                slice = at;
            }
            const struct ww_element *map = &f->maps[f->n_maps > 1 ? slice : 0];
            source += (map->perm ? map->perm[at] : at) * inner;
            neg ^= map->perm && map->neg[at];
            exp += map->perm ? map->exp[at] : 0;
        }
        out->perm[i] = (uint32_t)source;
        out->neg[i] = neg;
        out->exp[i] = (int8_t)exp;
    }
    return WW_OK;
}

/* Row r of the locked tensor came from row_src[r], so the slice that r lies in is undone
 * where row_src[r] lies: the column maps trade places too. */
static enum ww_err invert(struct ww_tensor_map *map, struct ww_error *err)
{
    struct ww_element *cols = NULL;
    enum ww_err rc = WW_OK;

    cols = ww_calloc(map->n_slices, sizeof(*cols));
    if (!cols) {
        return WW_FAIL_MEMORY(err, "an inverse map");
    }
    for (uint32_t s = 0; s < map->n_slices && !rc; s++) {
        rc = ww_element_invert(&map->cols[s], err);
    }
    for (uint32_t s = 0; s < map->n_slices; s++) {
        const uint64_t r = s * map->rows_per_slice;
        const uint64_t source =
            map->rows.perm && map->n_slices > 1 ? map->rows.perm[r] : r;
        cols[source / map->rows_per_slice] = map->cols[s];
    }
    ww_free(map->cols);
    map->cols = cols;
    if (!rc) {
        rc = ww_element_invert(&map->rows, err);
    }
    return rc;
}

enum ww_err ww_tensor_map_init(struct ww_tensor_map *map, const struct ww_gauge *gauge,
                               uint32_t tensor, bool inverse, struct ww_error *err)
{
    const struct ww_tensor *t = &gauge->layout->model->tensors[tensor];
    struct factor factors[WW_MAX_RANK] = {{0}};
    unsigned first = 0;
    bool sliced = false;
    enum ww_err rc = WW_OK;

    memset(map, 0, sizeof(*map));
    ww_tensor_view(gauge->layout, tensor, &map->view);
    map->dtype = t->dtype;
    first = map->view.first_col_axis;
    rc = load_factors(gauge, tensor, factors, err);
    if (rc) {
        goto out;
    }
    for (unsigned a = first; a < t->rank && first > 0; a++) {
        sliced = sliced || factors[a].n_maps > 1;
    }
    map->n_slices = sliced ? (uint32_t)t->shape[0] : 1;
    map->rows_per_slice = map->view.n_rows / map->n_slices;
    map->cols = ww_calloc(map->n_slices, sizeof(*map->cols));
    if (!map->cols) {
        rc = WW_FAIL_MEMORY(err, "the map of '%s'", t->name);
        goto out;
    }
    rc = multiply(factors, 0, first, 0, &map->rows, err);
    for (uint32_t s = 0; s < map->n_slices && !rc; s++) {
        rc = multiply(factors, first, t->rank, s, &map->cols[s], err);
    }
    if (!rc && inverse) {
        rc = invert(map, err);
    }
out:
    free_factors(factors, t->rank);
    if (rc) {
        ww_tensor_map_release(map);
    }
    return rc;
}

void ww_tensor_map_release(struct ww_tensor_map *map)
{
    for (uint32_t s = 0; map->cols && s < map->n_slices; s++) {
        ww_element_release(&map->cols[s]);
    }
    ww_free(map->cols);
    ww_element_release(&map->rows);
    memset(map, 0, sizeof(*map));
}
