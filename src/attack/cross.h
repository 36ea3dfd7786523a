/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the locked rows of one head and the anchor's have in common, as small matrices.
 *
 * A head has two sides that meet in one product: queries and keys, values and outputs. A
 * lock multiplies the *direct* side by A and the *inverse* side by A^-T. All solves need
 * the d x d products of these rows only, so the weights are read once.
 */
#ifndef WW_ATTACK_CROSS_H
#define WW_ATTACK_CROSS_H

#include "attack/pair.h"
#include "attack/slab.h"

struct ww_cross {
    size_t d;
    double *c[2]; /* direct, inverse: anchor rows times locked rows, [anchor][locked] */
    double *gram[2];   /* locked rows times locked rows */
    double *own[2];    /* squared norm of each anchor row */
    double *anchor[2]; /* anchor rows times anchor rows; NULL unless asked for */
};

/** n of them, all zero. Free with ww_crosses_free. */
enum ww_err ww_crosses_new(size_t n, size_t d, struct ww_cross **out,
                           struct ww_error *err) WW_MUST_USE;
void ww_crosses_free(struct ww_cross *crosses, size_t n);
/** Before rows are added: sum up products of the anchor's rows with each other too. */
enum ww_err ww_crosses_want_anchor(struct ww_cross *crosses, size_t n,
                                   struct ww_error *err) WW_MUST_USE;

/** One side of all heads of an attention. */
struct ww_strand {
    const struct ww_linear *locked;
    const struct ww_linear *anchor;
    bool inputs;
    bool inverse;
    uint32_t locked_space;
    uint32_t anchor_space;
};

/** Add a strand of attention a; its blocks of d rows are spread evenly over n crosses.
 *  *any grows true when there were rows. */
enum ww_err ww_crosses_add(const struct ww_pair *pair, uint32_t a,
                           const struct ww_strand *strand, struct ww_cross *crosses,
                           size_t n, bool *any, struct ww_error *err) WW_MUST_USE;

#endif
