/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Passes over the sketches of a whole family. Each reads hundreds of megabytes, which is
 * what a search costs, so that one pass answers for several targets at once.
 *
 * Differences, products and their partial sums are floats: the difference of near numbers
 * is exact, and rounding in eight partial sums of 4,096 terms stays below 1e-6 of the
 * lengths, where a sketch itself is off by 1 / 64. The order is fixed: the same bits for
 * any vector unit and number of threads.
 */
#ifndef WW_LINEAGE_CATALOGUE_SCAN_H
#define WW_LINEAGE_CATALOGUE_SCAN_H

#include <stdbool.h>
#include <stddef.h>

struct ww_scan {
    const float *sketches; /* [n][m] */
    const bool *use;       /* [n] */
    const float *root;     /* [m], subtracted from each; NULL: nothing is */
    size_t n;
    size_t m; /* a multiple of 8 */
    unsigned threads;
};

/** Targets of one pass: more would not stay in the innermost caches. */
#define WW_SCAN_AT_ONCE 4

/** with[k][i] = product of target k and member i's difference from the root, for those in
 *  use; squares (NULL: not wanted) gets the lengths of the differences, squared. */
void ww_scan_products(const struct ww_scan *scan, const float *const *targets, unsigned k,
                      double *const *with, double *squares);

/** Sum of the differences in use, in double and in their order; out is [m]. */
void ww_scan_sum(const struct ww_scan *scan, double *out);
/** One more member to such a sum. */
void ww_scan_add(const float *x, size_t m, double *sum);

/** Product of two of m doubles, m a multiple of 8, in eight partial sums. */
double ww_sketch_dot(const double *a, const double *b, size_t m);

/** Takes the part along the root out of v: rounding in blocks changes the size of a
 *  suspect's weights, which is nobody's share. */
void ww_sketch_beside(double *v, const float *root, size_t m);

double ww_sketch_cosine(const float *a, const float *b, size_t m);

/** The member nearest to the mean of those in use: differences of siblings cancel in the
 *  mean, so that is what they descend from. n when none is in use. sum is that of those
 *  in use; NULL: it is made here. The root is not looked at; room is [m + n]. */
size_t ww_sketch_centre(const struct ww_scan *scan, const double *sum, double *room);

#endif
