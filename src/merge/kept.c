/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selections are applied in the form in which they are known, without bytes in between:
 * to widen those to the masks of doubles takes longer than the arithmetic.
 */
#include "merge/kept.h"

#include <math.h>
#include <string.h>

#include "util/clones.h"

WW_CLONES void ww_keep_bytes(double *restrict x, const uint8_t *restrict keep,
                             double factor, double weight, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double v = x[i] * factor * weight;
        x[i] = keep[i] ? v : 0;
    }
}

WW_CLONES void ww_keep_range(double *restrict x, const double range[2], double factor,
                             double weight, size_t n)
{
    const double least = range[0];
    const double end = range[1];

    for (size_t i = 0; i < n; i++) {
        const double magnitude = fabs(x[i]);
        const double v = x[i] * factor * weight;
        x[i] = (magnitude >= least) & (magnitude < end) ? v : 0;
    }
}

#define MASK(bit) ((uint64_t)0 - (uint64_t)((bit)&1))
#define MASKS(set)                                                                       \
    {                                                                                    \
        MASK(set), MASK((set) >> 1), MASK((set) >> 2), MASK((set) >> 3)                  \
    }
const uint64_t ww_keep_masks[16][4] __attribute__((aligned(32))) = {
    MASKS(0), MASKS(1), MASKS(2),  MASKS(3),  MASKS(4),  MASKS(5),  MASKS(6),  MASKS(7),
    MASKS(8), MASKS(9), MASKS(10), MASKS(11), MASKS(12), MASKS(13), MASKS(14), MASKS(15),
};

typedef double quad __attribute__((vector_size(32), aligned(8), may_alias));
typedef uint64_t quad_bits __attribute__((vector_size(32), aligned(8), may_alias));

WW_CLONES void ww_keep_bits(double *restrict x, const uint8_t *restrict keep,
                            double factor, double weight, size_t n)
{
    for (size_t i = 0; i < n; i += 4) {
        const uint64_t *mask = ww_keep_masks[keep[i / 8] >> (i & 4) & 15];
        const quad v = *(const quad *)(x + i) * factor * weight;
        *(quad_bits *)(x + i) = (quad_bits)v & *(const quad_bits *)mask;
    }
}
