/* SPDX-License-Identifier: Apache-2.0 */
/* The election of signs of TIES (arXiv 2306.01708), on a block. */
#ifndef WW_MERGE_ELECT_H
#define WW_MERGE_ELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_ELECT_FEW 4

struct ww_election {
    double *const *x; /* [n_x]: changes times their weights */
    const double *weights;
    uint32_t n_x;
    double zero;    /* the sign of a sum of 0 */
    bool normalize; /* divide by the sum of the weights of those that agree */
};

/** Up to WW_ELECT_FEW sources: out[i] from x alone. */
void ww_elect_few(const struct ww_election *election, size_t n, double *out);
/** numerator and divisor of a source more, by the sign of sum; both begin with 0. */
void ww_elect_add(const struct ww_election *election, uint32_t source, const double *sum,
                  size_t n, double *numerator, double *divisor);
/** out = numerator / divisor, undivided where that is 0. */
void ww_elect_divide(const double *numerator, const double *divisor, size_t n,
                     double *out);

#endif
