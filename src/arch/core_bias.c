/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALiBi (Press, Smith and Lewis, arXiv 2108.12409) with the slopes that BLOOM and Falcon
 * compute, and the relative buckets of T5 (Raffel et al., arXiv 1910.10683). Where the
 * models round to a shorter format the rounding is part of the model and is kept:
 * Falcon's biases are bfloat16, BLOOM's biases and T5's logarithms are single precision.
 */
#include "arch/core_bias.h"

#include <math.h>

#include "model/convert.h"
#include "util/num.h"

static double slope_base(uint64_t n)
{
    return (double)(float)exp2(-exp2(3 - log2((double)n)));
}

void ww_core_alibi_slopes(uint64_t n_heads, double *slopes)
{
    uint64_t whole = 1;
    while (2 * whole <= n_heads) {
        whole *= 2;
    }
    for (uint64_t h = 0; h < n_heads; h++) {
        double base = slope_base(h < whole ? whole : 2 * whole);
        uint64_t power = h < whole ? h + 1 : 2 * (h - whole) + 1;
        slopes[h] = (double)(float)pow(base, (double)power);
    }
}

static double round_bf16(double x)
{
    uint16_t bits;
    double rounded;
    ww_from_double(WW_DTYPE_BF16, &x, &bits, 1);
    ww_to_double(WW_DTYPE_BF16, &bits, &rounded, 1);
    return rounded;
}

double ww_core_alibi(const struct ww_attention *att, double slope, uint64_t key_position)
{
    if (att->alibi_scaled) {
        return round_bf16(round_bf16(slope) * round_bf16((double)key_position));
    }
    return (double)((float)slope * (float)key_position);
}

uint64_t ww_core_relative_bucket(const struct ww_attention *att, uint64_t query_position,
                                 uint64_t key_position)
{
    uint64_t buckets = att->relative_buckets;
    uint64_t first = 0;
    bool ahead = key_position > query_position;
    uint64_t distance =
        ahead ? key_position - query_position : query_position - key_position;
    if (!att->relative_bias_causal) {
        buckets /= 2;
        first = ahead ? buckets : 0;
    } else if (ahead) {
        distance = 0;
    }
    uint64_t exact = buckets / 2;
    if (distance < exact || exact == 0) {
        return first + ww_min_u64(distance, buckets > 0 ? buckets - 1 : 0);
    }
    float part = (float)log((double)((float)distance / (float)exact));
    float whole = (float)log((double)att->relative_max_distance / (double)exact);
    float step = part / whole * (float)(buckets - exact);
    /* The comparison, written so that an infinite or undefined step is the last bucket.
     */
    if (!(step < (float)(buckets - exact))) {
        return first + buckets - 1;
    }
    return first + exact + (step > 0 ? (uint64_t)step : 0);
}
