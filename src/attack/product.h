/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Merging two heads by what they compute, not by their rows.
 *
 * A head is a product M = Y^T X of its direct rows X (values, queries) and its inverse
 * rows Y (outputs, keys), d of each; a lock of the head does not change M. So the mean of
 * two products w M' + (1 - w) M0 needs no alignment. It has rank up to 2 d and is cut
 * back to d by its singular values, and the rows that make it up again are sums of the
 * rows that were there: only d x d products of these are needed. docs/attack.md derives
 * it.
 */
#ifndef WW_ATTACK_PRODUCT_H
#define WW_ATTACK_PRODUCT_H

#include <complex.h>
#include <stddef.h>

#include "weightward/error.h"

/** Side 0 is the direct one, side 1 the inverse. All d x d, row-major. */
struct ww_product {
    size_t d;
    const double *gram[2];   /* locked rows times locked rows */
    const double *anchor[2]; /* anchor rows times anchor rows */
    const double *cross[2];  /* anchor rows times locked rows, [anchor][locked] */
    double weight;           /* of the locked head; the anchor's is what is left of 1 */
};

struct ww_product_report {
    double merged;  /* squared norm of the merged product */
    double dropped; /* of what does not fit into d dimensions */
    double locked;  /* of M' */
    double anchor;  /* of M0 */
    double dot;     /* <M', M0> */
};

/** New rows are locked[side] X' + anchor[side] X0, d x d each. The rows are as near to
 * the anchor's as rows with this product can be, in balanced form where the merged
 * product has less than d dimensions. */
enum ww_err ww_merge_products(const struct ww_product *product, double *const locked[2],
                              double *const anchor[2], struct ww_product_report *report,
                              struct ww_error *err) WW_MUST_USE;

/** The same for a rotary pair, whose rows are complex, direct q and inverse k; what a
 * lock leaves alone is conj(q)^T k. Index 0 is the locked row, 1 the anchor's. */
struct ww_product_pair {
    double complex q[2][2]; /* q[a][b] = sum q_a conj(q_b) */
    double complex k[2][2];
    double weight;
};
static inline double complex ww_complex(double re, double im)
{
    return re + im * (double complex)I;
}

void ww_merge_pair(const struct ww_product_pair *pair, double complex q[2],
                   double complex k[2], struct ww_product_report *report);

#endif
