/* SPDX-License-Identifier: Apache-2.0 */
/* Which bin an element belongs to: its rounding step, if a task vector is long enough. */
#include "lineage/moments_work.h"

#include "util/clones.h"

/* Magnitudes of doubles compare like their bits, and vector units compare whole numbers
 * without a branch. */
static inline int64_t magnitude(double v)
{
    int64_t bits = 0;

    memcpy(&bits, &v, sizeof(bits));
    return bits & INT64_MAX;
}

static inline int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What a block of elements has in common with no other loop: it stays in the innermost
 * cache while all columns pass. */
#define BLOCK 1024
struct block {
    int64_t largest[BLOCK]; /* bits of the largest magnitude among base and sources */
    int64_t longest[BLOCK]; /* the same of the task vectors */
};

WW_CLONES static void begin_block(struct block *b, const double *base, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        b->largest[e] = magnitude(base[e]);
        b->longest[e] = 0;
    }
}

/* Leaves differences in place of values. */
WW_CLONES static void add_source(struct block *b, const double *base, double *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        const double difference = x[e] - base[e];
        b->largest[e] = larger(b->largest[e], magnitude(x[e]));
        b->longest[e] = larger(b->longest[e], magnitude(difference));
        x[e] = difference;
    }
}

/* Of a source that does not decide. */
WW_CLONES static void subtract_base(const double *base, double *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        x[e] -= base[e];
    }
}

static bool decides(const struct ww_moments_tile *tile, unsigned source)
{
    return !tile->decides || tile->decides[source];
}

/* One loop for elements on a plain grid, of the bits alone: the step is a power of two,
 * and a task vector of eight steps is one with an exponent of three more. */
WW_CLONES static uint64_t put_in_bins(const struct block *b, const double *base,
                                      double *y, uint8_t *bin, size_t n,
                                      struct ww_moments_format f)
{
    const int64_t least = f.least;
    const int64_t mantissa = f.mantissa;
    const int64_t lowest = mantissa - WW_MOMENTS_BIN_BIAS;
    uint64_t n_pruned = 0;

    for (size_t e = 0; e < n; e++) {
        const int64_t exponent = larger((b->largest[e] >> 52) - 1023, least);
        const int64_t pruned = ww_moments_pruned(y[e], base[e], false);
        const int64_t used = (b->longest[e] >> 52) - 1023 >= exponent - mantissa + 3 &&
                             b->longest[e] != 0 && exponent > lowest &&
                             exponent < lowest + WW_MOMENTS_BINS && !pruned;
        bin[e] = (uint8_t)((exponent - lowest) & -used);
        n_pruned += (uint64_t)pruned;
        y[e] -= base[e];
    }
    return n_pruned;
}

/* A block's step, where it is the longer one, decides the bin: what lies below it was
 * rounded away afterwards, evenly. */
static void put_in_rounded_bins(const struct block *b, const double *base, double *y,
                                double *steps, uint8_t *bin, size_t n,
                                struct ww_moments_format f)
{
    for (size_t e = 0; e < n; e++) {
        const int64_t exponent =
            larger((b->largest[e] >> 52) - 1023, f.least) - f.mantissa;
        const double grid = ww_moments_power((int)exponent);
        const bool coarse = steps[e] > grid;
        const double step = coarse ? steps[e] : grid;
        const int64_t of = (magnitude(step) >> 52) - 1023 + WW_MOMENTS_BIN_BIAS;
        const bool used = (b->longest[e] >> 52) - 1023 >= exponent + 3 &&
                          b->longest[e] != 0 && of > 0 && of < WW_MOMENTS_BINS;
        bin[e] = used ? (uint8_t)of : 0;
        steps[e] = coarse ? step : -step;
        y[e] -= base[e];
    }
}

uint64_t ww_moments_classify(struct ww_moments_tile *tile, unsigned k, size_t n,
                             enum ww_dtype dtype)
{
    const struct ww_moments_format f = ww_moments_format(dtype);
    uint64_t n_pruned = 0;
    struct block block;

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t len = n - at < BLOCK ? n - at : BLOCK;
        double *y = tile->columns + at;
        const double *base = tile->columns + WW_MOMENTS_TILE + at;
        begin_block(&block, base, len);
        for (unsigned i = 0; i < k; i++) {
            double *x = tile->columns + (size_t)(i + 2) * WW_MOMENTS_TILE + at;
            if (decides(tile, i)) {
                add_source(&block, base, x, len);
            } else {
                subtract_base(base, x, len);
            }
        }
        if (tile->has_steps) {
            put_in_rounded_bins(&block, base, y, tile->steps + at, tile->bin + at, len,
                                f);
        } else {
            n_pruned += put_in_bins(&block, base, y, tile->bin + at, len, f);
        }
    }
    return n_pruned;
}
