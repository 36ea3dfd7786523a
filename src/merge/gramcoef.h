/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that are linear combinations: the coefficients follow from inner products. */
#ifndef WW_MERGE_GRAMCOEF_H
#define WW_MERGE_GRAMCOEF_H

#include <stdbool.h>
#include <stdint.h>

#define WW_GRAM_MAX 64

/** Inner products of n vectors: upper triangle with diagonal, row by row. */
struct ww_gram {
    const double *upper;
    uint32_t n;
};

/** All write g->n coefficients. Directions that cancel to a millionth, where what is left
 *  is rounding, count as opposite: nuslerp takes the line between the models then, and
 *  multislerp of two their weighted mean, as mergekit does where they cancel exactly. */
void ww_coef_slerp(const struct ww_gram *g, double t, double *c);
void ww_coef_nuslerp(const struct ww_gram *g, double t, double *c);
/** False when the weighted directions cancel and there are more than two; of vectors that
 *  are 0, as differences of what nobody trained, the sum is 0. */
bool ww_coef_multislerp(const struct ww_gram *g, const double *w, double eps, double *c);
void ww_coef_karcher(const struct ww_gram *g, uint32_t max_iter, double tol, double *c);
void ww_coef_model_stock(const struct ww_gram *g, double *c);
void ww_coef_median(const struct ww_gram *g, uint32_t max_iter, double eps, double *c);

#endif
