/* SPDX-License-Identifier: Apache-2.0 */
/* A product of low rank that explains a tensor: for rank_find.c. */
#ifndef WW_RMM_RANK_FIT_H
#define WW_RMM_RANK_FIT_H

#include "rmm/rank_block.h"

struct ww_rank_fit {
    const struct ww_rank_pair *pair;
    size_t r;
    double *b;     /* m x r */
    double *a;     /* r x d */
    double noise2; /* what rounding the tensor adds: sum of squares */
    double delta2; /* sum of squares of all differences */
    bool finite;
};

/** Which rows span the difference, by a sample of it; *n 0: it is not of low rank, or too
 *  small to be told from rounding. rows: WW_RANK_SOUGHT of them. */
enum ww_err ww_rank_probe(const struct ww_rank_pair *pair, size_t *rows, size_t *n,
                          struct ww_error *err) WW_MUST_USE;
/** The product nearest to the difference, begun with these rows of it, of the rank that
 *  stands out of the rounding; r 0: none does. */
enum ww_err ww_rank_fit(const struct ww_rank_pair *pair, const size_t *rows, size_t n,
                        struct ww_rank_fit *out, struct ww_error *err) WW_MUST_USE;
void ww_rank_fit_release(struct ww_rank_fit *fit);

#endif
