/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of blends that nobody trained: sums of uniform draws, rounded as models are. */
#ifndef WW_UNIT_LINEAGE_BLENDS_H
#define WW_UNIT_LINEAGE_BLENDS_H

#include <stdint.h>

#include "model/convert.h"

static uint64_t state_of_draws = 1;

/* From 0 to 1. */
static inline double uniform(void)
{
    state_of_draws =
        state_of_draws * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (double)(state_of_draws >> 33) / (double)(UINT64_C(1) << 31);
}

static inline double bell(double deviation)
{
    double sum = 0;
    for (unsigned i = 0; i < 12; i++) {
        sum += uniform() - 0.5;
    }
    return sum * deviation;
}

static inline double bf16(double v)
{
    uint16_t stored = 0;
    ww_from_double(WW_DTYPE_BF16, &v, &stored, 1);
    ww_to_double(WW_DTYPE_BF16, &stored, &v, 1);
    return v;
}

#endif
