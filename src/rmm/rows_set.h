/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters that are merged reversibly by their rows: the same modules, shapes and rank.
 */
#ifndef WW_RMM_ROWS_SET_H
#define WW_RMM_ROWS_SET_H

#include "rmm/inspect.h"
#include "rmm/rows.h"

struct ww_rows_set {
    size_t n; /* adapters */
    struct ww_peek *peeks[WW_INSPECT_MEMBERS];
    struct ww_inspect_pair *pairs[WW_INSPECT_MEMBERS];
    size_t n_of[WW_INSPECT_MEMBERS]; /* pairs of each */
    size_t n_pairs;                  /* modules, when all have the same */
    size_t r;                        /* of all of them */
    struct ww_inspect_side sides[WW_INSPECT_MEMBERS];
    struct ww_inspect_side back[WW_INSPECT_MEMBERS];
};

/** Pairs of an adapter that belongs to the set too; at most WW_INSPECT_MEMBERS. */
enum ww_err ww_rows_set_add(struct ww_rows_set *set, struct ww_peek *peek,
                            struct ww_error *err) WW_MUST_USE;
/** All were added: why they cannot be taken together, or NULL. */
const char *ww_rows_set_why_not(struct ww_rows_set *set);
/** The most directions that make sense: min(n - 1, r). */
size_t ww_rows_set_most(const struct ww_rows_set *set);
/** Rows of B and columns of A of module k. */
uint64_t ww_rows_set_positions(const struct ww_rows_set *set, size_t k);
/** Vectors of n sides at one position: row `at` of B, or column `at` of A. out: n x r. */
void ww_rows_gather(const struct ww_inspect_side *sides, size_t n, bool is_b, size_t at,
                    double *out);
/** Factors of module k into sides, scaled; then back: what p directions give of them. */
enum ww_err ww_rows_set_read(struct ww_rows_set *set, size_t k,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_rows_set_go(struct ww_rows_set *set, size_t p,
                           struct ww_error *err) WW_MUST_USE;
/** Squared length of a product, and of the error of what comes back. */
void ww_rows_measure(const struct ww_inspect_side *side,
                     const struct ww_inspect_side *back, double *norm2, double *error2);
/** Squared length of adapter i's product, and of its error. */
void ww_rows_set_measure(const struct ww_rows_set *set, size_t i, double *norm2,
                         double *error2);
void ww_rows_set_drop(struct ww_rows_set *set);
void ww_rows_set_release(struct ww_rows_set *set);

#endif
