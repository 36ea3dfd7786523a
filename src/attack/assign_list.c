/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assignment from a few candidates per row, for sides whose full score matrix would not
 * fit into memory. Mutual best pairs first; the rest by shortest augmenting paths
 * (Dijkstra with prices on the candidates alone), which finds as many pairs as there can
 * be and the best sum among those. Rows that no path can serve get the columns that
 * nobody wanted, in order.
 */
#include "attack/solve.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define NONE UINT32_MAX

struct heap_item {
    double reach;
    uint32_t col;
};

struct graph {
    uint32_t n;
    uint32_t per_row;
    const uint32_t *candidate;
    const double *score;
    uint32_t *match;  /* by row */
    uint32_t *row_of; /* by column */
    uint32_t *parent; /* by column: the row that reached it */
    double *row_price;
    double *col_price;
    double *reach;
    bool *done;
    uint32_t *touched; /* columns with a reach */
    uint32_t n_touched;
    struct heap_item *heap;
    size_t n_heap;
};

static void heap_push(struct graph *g, double reach, uint32_t col)
{
    size_t at = g->n_heap++;
    while (at > 0 && g->heap[(at - 1) / 2].reach > reach) {
        g->heap[at] = g->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    g->heap[at] = (struct heap_item){reach, col};
}

static struct heap_item heap_pop(struct graph *g)
{
    const struct heap_item top = g->heap[0];
    const struct heap_item last = g->heap[--g->n_heap];
    size_t at = 0;
    for (size_t child = 1; child < g->n_heap; child = 2 * at + 1) {
        if (child + 1 < g->n_heap && g->heap[child + 1].reach < g->heap[child].reach) {
            child++;
        }
        if (g->heap[child].reach >= last.reach) {
            break;
        }
        g->heap[at] = g->heap[child];
        at = child;
    }
    g->heap[at] = last;
    return top;
}

static void reach_from(struct graph *g, uint32_t row, double so_far)
{
    const size_t first = (size_t)row * g->per_row;
    for (size_t k = first; k < first + g->per_row; k++) {
        const uint32_t col = g->candidate[k];
        if (col == NONE || g->done[col]) {
            continue;
        }
        const double slack =
            fmax(-g->score[k] - g->row_price[row] - g->col_price[col], 0.0);
        if (so_far + slack < g->reach[col]) {
            if (g->reach[col] == HUGE_VAL) {
                g->touched[g->n_touched++] = col;
            }
            g->reach[col] = so_far + slack;
            g->parent[col] = row;
            heap_push(g, g->reach[col], col);
        }
    }
}

/* The nearest free column, or NONE. */
static uint32_t search(struct graph *g, uint32_t row, double *length)
{
    g->n_heap = 0;
    g->n_touched = 0;
    reach_from(g, row, 0.0);
    while (g->n_heap > 0) {
        const struct heap_item item = heap_pop(g);
        if (g->done[item.col] || item.reach > g->reach[item.col]) {
            continue;
        }
        g->done[item.col] = true;
        if (g->row_of[item.col] == NONE) {
            *length = item.reach;
            return item.col;
        }
        reach_from(g, g->row_of[item.col], item.reach);
    }
    return NONE;
}

static void augment(struct graph *g, uint32_t row)
{
    double length = 0.0;
    uint32_t col = search(g, row, &length);
    if (col != NONE) {
        g->row_price[row] += length;
    }
    for (uint32_t k = 0; k < g->n_touched; k++) {
        const uint32_t c = g->touched[k];
        if (col != NONE && g->done[c] && c != col) {
            const double gain = length - g->reach[c];
            g->col_price[c] -= gain;
            g->row_price[g->row_of[c]] += gain;
        }
        g->reach[c] = HUGE_VAL;
        g->done[c] = false;
    }
    while (col != NONE) {
        const uint32_t by = g->parent[col];
        const uint32_t before = g->match[by];
        g->row_of[col] = by;
        g->match[by] = col;
        col = by == row ? NONE : before;
    }
}

/* Prices under which every candidate costs no less than nothing. */
static enum ww_err first_prices(struct graph *g, struct ww_error *err)
{
    for (uint32_t i = 0; i < g->n; i++) {
        double best = -HUGE_VAL;
        const size_t first = (size_t)i * g->per_row;
        for (size_t k = first; k < first + g->per_row; k++) {
            if (g->candidate[k] == NONE) {
                continue;
            }
            if (g->candidate[k] >= g->n || !isfinite(g->score[k])) {
                return WW_FAIL(err, WW_E_USAGE, "candidate %zu of row %u is no column",
                               k - first, i);
            }
            best = fmax(best, g->score[k]);
        }
        g->row_price[i] = isfinite(best) ? -best : 0.0;
    }
    return WW_OK;
}

/* A row's best candidate that has no better row: such pairs cost nothing at these prices.
 */
static void mutual_pairs(struct graph *g)
{
    for (uint32_t j = 0; j < g->n; j++) {
        g->reach[j] = -HUGE_VAL;
    }
    for (uint32_t i = 0; i < g->n; i++) {
        const size_t first = (size_t)i * g->per_row;
        for (size_t k = first; k < first + g->per_row; k++) {
            const uint32_t col = g->candidate[k];
            if (col != NONE && g->score[k] > g->reach[col]) {
                g->reach[col] = g->score[k];
                g->parent[col] = i;
            }
        }
    }
    for (uint32_t i = 0; i < g->n; i++) {
        const size_t first = (size_t)i * g->per_row;
        for (size_t k = first; k < first + g->per_row; k++) {
            const uint32_t col = g->candidate[k];
            if (col != NONE && g->score[k] == -g->row_price[i] && g->parent[col] == i &&
                g->reach[col] == g->score[k] && g->match[i] == NONE &&
                g->row_of[col] == NONE) {
                g->match[i] = col;
                g->row_of[col] = i;
            }
        }
    }
    for (uint32_t j = 0; j < g->n; j++) {
        g->reach[j] = HUGE_VAL;
    }
}

static uint32_t give_the_rest(struct graph *g)
{
    uint32_t guessed = 0;
    uint32_t col = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        if (g->match[i] != NONE) {
            continue;
        }
        while (g->row_of[col] != NONE) {
            col++;
        }
        g->row_of[col] = i;
        g->match[i] = col;
        guessed++;
    }
    return guessed;
}

static enum ww_err graph_new(struct graph *g, struct ww_error *err)
{
    g->row_of = ww_calloc(g->n, sizeof(*g->row_of));
    g->parent = ww_calloc(g->n, sizeof(*g->parent));
    g->row_price = ww_calloc(g->n, sizeof(*g->row_price));
    g->col_price = ww_calloc(g->n, sizeof(*g->col_price));
    g->reach = ww_calloc(g->n, sizeof(*g->reach));
    g->done = ww_calloc(g->n, sizeof(*g->done));
    g->touched = ww_calloc(g->n, sizeof(*g->touched));
    g->heap = ww_calloc((size_t)g->n * g->per_row, sizeof(*g->heap));
    if (!g->row_of || !g->parent || !g->row_price || !g->col_price || !g->reach ||
        !g->done || !g->touched || !g->heap) {
        return WW_FAIL_MEMORY(err, "an assignment of %u", g->n);
    }
    for (uint32_t i = 0; i < g->n; i++) {
        g->match[i] = NONE;
        g->row_of[i] = NONE;
    }
    return WW_OK;
}

static void graph_release(struct graph *g)
{
    ww_free(g->row_of);
    ww_free(g->parent);
    ww_free(g->row_price);
    ww_free(g->col_price);
    ww_free(g->reach);
    ww_free(g->done);
    ww_free(g->touched);
    ww_free(g->heap);
}

enum ww_err ww_assign_candidates(uint32_t n, uint32_t per_row, const uint32_t *candidate,
                                 const double *score, uint32_t *match, uint32_t *guessed,
                                 struct ww_error *err)
{
    struct graph graph = {.n = n,
                          .per_row = per_row,
                          .candidate = candidate,
                          .score = score,
                          .match = match};
    *guessed = 0;
    enum ww_err rc = graph_new(&graph, err);
    if (rc) {
        goto out;
    }
    rc = first_prices(&graph, err);
    if (rc) {
        goto out;
    }
    mutual_pairs(&graph);
    for (uint32_t i = 0; i < n; i++) {
        if (match[i] == NONE) {
            augment(&graph, i);
        }
    }
    *guessed = give_the_rest(&graph);
out:
    graph_release(&graph);
    return rc;
}
