/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Sets of points that none of the set is better than in every objective. Larger is
 * better; a point with a NaN is worse than all.
 */
#ifndef WW_EVO_PARETO_H
#define WW_EVO_PARETO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_PARETO_MAX_OBJECTIVES 4
#define WW_PARETO_MAX_VOLUME 64 /* points that a volume is computed of */

/** a is nowhere worse than b and somewhere better. */
bool ww_pareto_dominates(const double *a, const double *b, uint32_t k);

/** Which of n points [n][k] none dominates; of equal ones the first. Returns how many. */
size_t ww_pareto_front(const double *points, size_t n, uint32_t k, bool *in_front);

/** How alone each point of a front is (Deb et al. 2002): infinite at the ends, else the
 *  sum of the distances of its neighbours in each objective, in shares of the range. */
void ww_pareto_crowding(const double *points, size_t n, uint32_t k, double *out);

/** Volume that at most WW_PARETO_MAX_VOLUME points dominate above a reference, exact, by
 *  slicing (While et al. 2006). */
double ww_pareto_volume(const double *points, size_t n, uint32_t k,
                        const double *reference);

/** Which points to take where few can be: the one with the most volume above the
 *  reference, then the one that adds most to it, and so on, at most want <=
 *  WW_PARETO_MAX_VOLUME. What adds nothing is not taken. most [n] is room to work in.
 *  Returns how many; their indices to out. */
size_t ww_pareto_pick(const double *points, size_t n, uint32_t k, const double *reference,
                      size_t want, double *most, uint32_t *out);

#endif
