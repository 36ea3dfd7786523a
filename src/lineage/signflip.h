/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Is a matrix independent noise? Noise that is as likely above zero as below stays what
 * it is when each element changes its sign by the toss of a coin, however large each of
 * them is: rows, columns and large weights may have more of it than others. What a model
 * learned does not, since it lies in directions. So sizes are taken as they are, and a
 * statistic is compared with its mean and variance over all 2^(m n) signs, which have
 * closed forms (Hong, Sheng and Dobriban 2020 draw signs for the same question). Sums in
 * fixed order: the same numbers on any machine.
 */
#ifndef WW_LINEAGE_SIGNFLIP_H
#define WW_LINEAGE_SIGNFLIP_H

#include <stddef.h>

#include "weightward/error.h"

/** A statistic less its mean over all signs, and its variance over them. Both add up over
 *  matrices. */
struct ww_signflip_sum {
    double excess;
    double variance;
};
void ww_signflip_add(struct ww_signflip_sum *into, const struct ww_signflip_sum *more);
/** excess in standard deviations; 0 without a variance. */
double ww_signflip_score(const struct ww_signflip_sum *sum);

/** Longest side of a matrix. */
#define WW_SIGNFLIP_SIDE 256

/** A matrix e (m x n, row-major) with its products, and room for those of others. */
struct ww_signflip {
    size_t m;
    size_t n;
    double *e;
    double *rows;         /* e e^T, [m][m] */
    double *row_sizes;    /* the same of the squares of e */
    double *columns;      /* e^T e, [n][n] */
    double *column_sizes; /* the same of the squares */
    double *turned;       /* rooms of a matrix each */
    double *squares;
    double *product;
};
/** For matrices of WW_SIGNFLIP_SIDE; WW_E_NOMEM. */
enum ww_err ww_signflip_init(struct ww_signflip *s, struct ww_error *err) WW_MUST_USE;
void ww_signflip_release(struct ww_signflip *s);
/** Products of e (m x n), once it is filled. */
void ww_signflip_set(struct ww_signflip *s, size_t m, size_t n);

/** sum over i < j of <row i, row j>^2: half of what e's singular values to the fourth
 *  make, less what rows make by themselves. Directions of any kind raise it. */
void ww_signflip_spectrum(const struct ww_signflip *s, struct ww_signflip_sum *out);

/** sum over i < j of <row i, row j> <x's row i, x's row j>, and the same of columns:
 *  directions that e has in common with x (m x n) raise it. spectrum: that of x, without
 *  its variance. */
void ww_signflip_beside(struct ww_signflip *s, const double *x,
                        struct ww_signflip_sum *rows, struct ww_signflip_sum *columns,
                        double *spectrum);

/** sum of e g: two-sided. g must not depend on e's signs. */
void ww_signflip_along(const struct ww_signflip *s, const double *g,
                       struct ww_signflip_sum *out);
/** x x^T x into g (m x n): what of x lies in its own leading directions, most of all. */
void ww_signflip_leading(struct ww_signflip *s, const double *x, double *g);

#endif
