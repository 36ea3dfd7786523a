/* SPDX-License-Identifier: Apache-2.0 */
/* Reproducible random activations and their comparison, for the checks. */
#ifndef WW_LOCK_ACTIVATION_H
#define WW_LOCK_ACTIVATION_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/** splitmix64 (Steele, Lea, Flood 2014): fixed, well spread, no secret in it. */
static inline uint64_t ww_random_bits(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/** Uniform with mean 0 and variance 1. */
static inline double ww_random_activation(uint64_t *state)
{
    return ((double)(ww_random_bits(state) >> 11) * 0x1p-53 - 0.5) * 3.4641016151377544;
}

static inline double ww_largest(const double *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(x[i]));
    }
    return largest;
}

/** Largest absolute difference; infinite when one of them is no number. */
static inline double ww_largest_difference(const double *a, const double *b, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double off = fabs(a[i] - b[i]);
        largest = off <= largest ? largest : isfinite(off) ? off : HUGE_VAL;
    }
    return largest;
}

#endif
