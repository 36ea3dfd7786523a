/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of a fair binomial, from above. Terms follow each other by one multiplication
 * and one division, and doubles with an exponent beside them do not underflow, so there
 * is no logarithm, no gamma function and no approximation: n roundings of 2^-53 each
 * change a term by less than n 2^-51, and 1 + 2^-20 covers that for every n below 2^30.
 */
#include <math.h>

#include "trace/votes.h"

#define ROUNDINGS (1.0 + 0x1p-20)
#define SMALLEST 1e-300

/* value * 2^exp */
struct wide {
    double value;
    int64_t exp;
};

static void times(struct wide *x, double factor)
{
    int exp = 0;
    x->value = frexp(x->value * factor, &exp);
    x->exp += exp;
}

/* sum of C(n, i) / C(n, k) for i >= k: 1 + (n-k)/(k+1) + ... */
static double tail_ratio(uint32_t n, uint32_t k)
{
    double term = 1;
    double sum = 1;

    for (uint32_t i = k; i < n && term > 0; i++) {
        term *= (double)(n - i) / (double)(i + 1);
        sum += term;
    }
    return sum;
}

double ww_votes_chance(uint32_t n, uint32_t agree)
{
    struct wide x = {1, 0};
    double p = 0;

    if (agree > n) {
        return SMALLEST;
    }
    /* The lower half of a fair coin is no evidence, and its sum would not stay small. */
    if (2 * (uint64_t)agree <= n) {
        return 1;
    }
    for (uint32_t i = 0; i < agree; i++) {
        times(&x, (double)(n - i) / (double)(i + 1));
    }
    times(&x, tail_ratio(n, agree));
    x.exp -= n;
    if (x.exp < -1100) {
        return SMALLEST;
    }
    p = ldexp(x.value, (int)x.exp) * ROUNDINGS;
    p = p < SMALLEST ? SMALLEST : p;
    return p > 1 ? 1 : p;
}
