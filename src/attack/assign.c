/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assignment on a full score matrix. Between related models almost every row and its
 * column prefer each other, so mutual best pairs are taken first, n^2 work in all. The
 * rest is solved exactly by shortest augmenting paths with prices (Jonker and Volgenant
 * 1987), cubic in the number of leftovers.
 */
#include "attack/solve.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define NONE UINT32_MAX
#define MAX_SIDE 8192

struct rest {
    size_t n; /* of the full matrix */
    const double *score;
    uint32_t left; /* rows and columns that are left */
    uint32_t *rows;
    uint32_t *cols;
    uint32_t *row_of; /* by leftover column; `left` is a column of no row */
    uint32_t *parent;
    double *row_price;
    double *col_price;
    double *reach; /* cheapest path to a column so far */
    bool *done;
};

static double cost(const struct rest *r, uint32_t row, uint32_t col)
{
    return -r->score[(size_t)r->rows[row] * r->n + r->cols[col]];
}

static enum ww_err best_of_all(size_t n, const double *score, uint32_t *row_best,
                               uint32_t *col_best, struct ww_error *err)
{
    memset(col_best, 0, n * sizeof(*col_best));
    for (size_t i = 0; i < n; i++) {
        const double *row = score + i * n;
        uint32_t best = 0;
        for (size_t j = 0; j < n; j++) {
            if (!isfinite(row[j])) {
                return WW_FAIL(err, WW_E_NONFINITE,
                               "the score of %zu and %zu is not finite", i, j);
            }
            best = row[j] > row[best] ? (uint32_t)j : best;
            if (row[j] > score[(size_t)col_best[j] * n + j]) {
                col_best[j] = (uint32_t)i;
            }
        }
        row_best[i] = best;
    }
    return WW_OK;
}

/* One more leftover row gets a column, others move along the cheapest path. */
static void augment(struct rest *r, uint32_t row)
{
    const uint32_t none = r->left;
    uint32_t col = none;
    r->row_of[none] = row;
    for (uint32_t j = 0; j <= r->left; j++) {
        r->reach[j] = HUGE_VAL;
        r->done[j] = false;
    }
    while (r->row_of[col] != NONE) {
        const uint32_t i = r->row_of[col];
        double least = HUGE_VAL;
        uint32_t next = none;
        r->done[col] = true;
        for (uint32_t j = 0; j < r->left; j++) {
            if (r->done[j]) {
                continue;
            }
            const double slack = cost(r, i, j) - r->row_price[i] - r->col_price[j];
            if (slack < r->reach[j]) {
                r->reach[j] = slack;
                r->parent[j] = col;
            }
            if (r->reach[j] < least) {
                least = r->reach[j];
                next = j;
            }
        }
        for (uint32_t j = 0; j <= r->left; j++) {
            if (r->done[j]) {
                r->row_price[r->row_of[j]] += least;
                r->col_price[j] -= least;
            } else {
                r->reach[j] -= least;
            }
        }
        col = next;
    }
    while (col != none) {
        r->row_of[col] = r->row_of[r->parent[col]];
        col = r->parent[col];
    }
}

static enum ww_err solve_rest(struct rest *r, uint32_t *match, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    const size_t side = (size_t)r->left + 1;
    r->row_of = ww_calloc(side, sizeof(*r->row_of));
    r->parent = ww_calloc(side, sizeof(*r->parent));
    r->row_price = ww_calloc(side, sizeof(*r->row_price));
    r->col_price = ww_calloc(side, sizeof(*r->col_price));
    r->reach = ww_calloc(side, sizeof(*r->reach));
    r->done = ww_calloc(side, sizeof(*r->done));
    if (!r->row_of || !r->parent || !r->row_price || !r->col_price || !r->reach ||
        !r->done) {
        rc = WW_FAIL_MEMORY(err, "an assignment of %u", r->left);
        goto out;
    }
    for (size_t j = 0; j < side; j++) {
        r->row_of[j] = NONE;
    }
    for (uint32_t i = 0; i < r->left; i++) {
        augment(r, i);
    }
    for (uint32_t j = 0; j < r->left; j++) {
        match[r->rows[r->row_of[j]]] = r->cols[j];
    }
out:
    ww_free(r->row_of);
    ww_free(r->parent);
    ww_free(r->row_price);
    ww_free(r->col_price);
    ww_free(r->reach);
    ww_free(r->done);
    return rc;
}

enum ww_err ww_assign(size_t n, const double *score, uint32_t *match,
                      struct ww_error *err)
{
    struct rest rest = {.n = n, .score = score};
    enum ww_err rc = WW_OK;
    if (n > MAX_SIDE) {
        return WW_FAIL(
            err, WW_E_LIMIT,
            "an assignment of %zu from all scores, at most %d: give candidates", n,
            MAX_SIDE);
    }
    rest.rows = ww_calloc(n, sizeof(*rest.rows));
    rest.cols = ww_calloc(n, sizeof(*rest.cols));
    if (!rest.rows || !rest.cols) {
        rc = WW_FAIL_MEMORY(err, "an assignment of %zu", n);
        goto out;
    }
    rc = best_of_all(n, score, match, rest.cols, err);
    if (rc) {
        goto out;
    }
    uint32_t free_cols = 0;
    for (uint32_t j = 0; j < n; j++) {
        const uint32_t row = rest.cols[j];
        if (match[row] != j) {
            rest.cols[free_cols++] = j; /* never ahead of j */
        } else {
            rest.rows[row] = NONE;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (rest.rows[i] != NONE) {
            rest.rows[rest.left++] = i;
        }
    }
    WW_INVARIANT(rest.left == free_cols);
    rc = solve_rest(&rest, match, err);
out:
    ww_free(rest.rows);
    ww_free(rest.cols);
    return rc;
}
