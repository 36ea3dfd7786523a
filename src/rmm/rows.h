/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Reversible model merging as published (arXiv 2510.14163), to compare with: every row of
 * B and every column of A is a position; the n models' vectors there, in R^r, are a mean
 * and p principal directions, with p coefficients for each model. 16 bits a number.
 */
#ifndef WW_RMM_ROWS_H
#define WW_RMM_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "model/dtype.h"
#include "weightward/error.h"

struct ww_rows {
    size_t n; /* models */
    size_t r; /* length of a vector */
    size_t p; /* directions, at most min(n - 1, r) */
};

/** Numbers that a position takes: p (r + n) + r. */
uint64_t ww_rows_numbers(const struct ww_rows *rows);
/** The most directions for which positions take at most so many bytes; 0: none do. */
size_t ww_rows_within(size_t n, size_t r, uint64_t positions, uint64_t bytes);

/** Working memory of a position. */
struct ww_rows_room {
    double *centred; /* n x r */
    double *gram;
    double *vectors;
    double *values;
};
enum ww_err ww_rows_room_init(const struct ww_rows *rows, struct ww_rows_room *out,
                              struct ww_error *err) WW_MUST_USE;
void ww_rows_room_release(struct ww_rows_room *room);

/** One position. vectors: n x r. mean: r, directions: p x r, coefficients: n x p, each
 *  rounded to bfloat16, which is what would be stored. The largest number of a direction
 *  is positive. Sums in a fixed order: the same bits everywhere. */
void ww_rows_fit(const struct ww_rows *rows, const double *vectors,
                 struct ww_rows_room *room, double *mean, double *directions,
                 double *coefficients);
/** Model i's vector from what is stored: mean + sum of its coefficients' directions. */
void ww_rows_recover(const struct ww_rows *rows, const double *mean,
                     const double *directions, const double *coefficients, size_t i,
                     double *out);

#endif
