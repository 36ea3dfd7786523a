/* SPDX-License-Identifier: Apache-2.0 */
/* Pairing rows of two matrices that are permutations of each other up to noise. */
#ifndef WW_ATTACK_PAIR_ROWS_H
#define WW_ATTACK_PAIR_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_matching {
    size_t n;
    uint32_t *match; /* row of b for each row of a: a permutation */
    float *cosine;   /* of the two rows, with its sign */
};

/** Pair the rows of a and b (n x width) by cosine; either_sign: by its size. Long rows of
 *  large n are first compared on some of their columns. */
enum ww_err ww_pair_rows(const float *a, const float *b, size_t n, size_t width,
                         bool either_sign, struct ww_matching *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_matching_release(struct ww_matching *matching);

double ww_matching_mean(const struct ww_matching *matching);

#endif
