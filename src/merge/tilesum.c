/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles are summed in the order of their elements and then pairwise, the way a tournament
 * is played: the tree depends on the number of tiles alone. Pairwise sums also keep the
 * error at the logarithm of the length.
 */
#include "merge/tilesum.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "arch/core_dot.h"
#include "merge/select.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"
#include "util/num.h"

#define MAX_BYTES ((uint64_t)64 << 20)

enum ww_err ww_tilesum_init(struct ww_tilesum *sums, struct ww_merge_job *job,
                            size_t n_sums, struct ww_error *err)
{
    uint64_t n = 0;

    sums->n_sums = n_sums;
    sums->slots = NULL;
    if (!ww_mul_u64(ww_max_u64(job->n_tiles, 1), n_sums, &n) ||
        n > MAX_BYTES / sizeof(double)) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.200s': %zu sums for each of %" PRIu64
                       " tiles are more than a merge keeps",
                       job->tensor->name, n_sums, job->n_tiles);
    }
    sums->slots = ww_calloc(n, sizeof(double));
    job->acc_bytes = n_sums * sizeof(double);
    return sums->slots ? WW_OK : ww_merge_no_memory(job, err);
}

void ww_tilesum_release(struct ww_tilesum *sums)
{
    ww_free(sums->slots);
    sums->slots = NULL;
}

void ww_tilesum_fold(struct ww_tilesum *sums, uint64_t tile, const double *acc)
{
    memcpy(sums->slots + tile * sums->n_sums, acc, sums->n_sums * sizeof(double));
}

const double *ww_tilesum_total(struct ww_tilesum *sums, uint64_t n_tiles)
{
    for (uint64_t step = 1; step < n_tiles; step *= 2) {
        for (uint64_t t = 0; t + step < n_tiles; t += 2 * step) {
            double *to = sums->slots + t * sums->n_sums;
            const double *from = sums->slots + (t + step) * sums->n_sums;
            for (size_t i = 0; i < sums->n_sums; i++) {
                to[i] += from[i];
            }
        }
    }
    return sums->slots;
}

void ww_gram_add(double *const *x, uint32_t n_x, size_t n, double *acc)
{
    const double *of[WW_DOT_PAIRS];
    double products[WW_GRAM_SUMS(WW_DOT_PAIRS)];

    if (n_x >= 2 && n_x <= WW_DOT_PAIRS) {
        for (uint32_t i = 0; i < n_x; i++) {
            of[i] = x[i];
        }
        ww_dot_pairs(of, n_x, n, products);
        for (size_t k = 0; k < WW_GRAM_SUMS(n_x); k++) {
            acc[k] += products[k];
        }
        return;
    }
    for (uint32_t i = 0; i < n_x; i++) {
        for (uint32_t j = i; j < n_x; j++) {
            *acc++ += ww_dot(x[i], x[j], n);
        }
    }
}

/* Of each key the place among the bins of its lane and sum, and the units. */
#define MAGSUM_STEP 256u
#define MAGSUM_SIZE (sizeof(struct ww_magsum) / sizeof(uint64_t))
WW_CLONES static void take_apart(const uint32_t *restrict keys,
                                 const uint8_t *restrict which, size_t n,
                                 uint32_t *restrict place, uint32_t *restrict units)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t exponent = keys[i] >> 23;
        place[i] = exponent + (uint32_t)(i % WW_MAGSUM_LANES) * WW_MAGSUM_BINS +
                   which[i] * (uint32_t)MAGSUM_SIZE;
        units[i] = (keys[i] & 0x7fffff) + (exponent ? 0x800000U : 0);
    }
}

void ww_magsum_add_keys(struct ww_magsum sums[2], const uint32_t *keys,
                        const uint8_t *which, size_t n)
{
    uint64_t *bins = sums[0].bins[0];
    uint32_t place[MAGSUM_STEP];
    uint32_t units[MAGSUM_STEP];

    for (size_t at = 0; at < n; at += MAGSUM_STEP) {
        const size_t m = ww_min_u64(MAGSUM_STEP, n - at);
        take_apart(keys + at, which + at, m, place, units);
        for (size_t i = 0; i < m; i++) {
            bins[place[i]] += units[i];
        }
    }
}

void ww_magsum_add_split(struct ww_magsum sums[2], const double *x, const uint8_t *which,
                         size_t n)
{
    uint32_t keys[MAGSUM_STEP];

    for (size_t at = 0; at < n; at += MAGSUM_STEP) {
        const size_t m = ww_min_u64(MAGSUM_STEP, n - at);
        ww_key_magnitudes32(x + at, m, keys);
        ww_magsum_add_keys(sums, keys, which + at, m);
    }
}

void ww_magsum_add(struct ww_magsum *sum, const double *x, size_t n)
{
    static const uint8_t first[MAGSUM_STEP];

    for (size_t at = 0; at < n; at += MAGSUM_STEP) {
        ww_magsum_add_split(sum, x + at, first, ww_min_u64(MAGSUM_STEP, n - at));
    }
}

void ww_magsum_merge(struct ww_magsum *to, const struct ww_magsum *from)
{
    for (size_t l = 0; l < WW_MAGSUM_LANES; l++) {
        for (size_t b = 0; b < WW_MAGSUM_BINS; b++) {
            to->bins[l][b] += from->bins[l][b];
        }
    }
    ww_magsum_add_whole(to, from->whole[0]);
    to->whole[1] += from->whole[1];
}

void ww_magsum_add_whole(struct ww_magsum *sum, uint64_t n)
{
    sum->whole[0] += n;
    sum->whole[1] += sum->whole[0] < n;
}

/* Whole numbers of 2^-149, which all magnitudes are. */
#define LIMBS 6u
#define LEAST_BIT 149

static void add_at(uint64_t limbs[LIMBS], unsigned shift, uint64_t v)
{
    uint64_t parts[2] = {v << shift % 64, shift % 64 ? v >> (64 - shift % 64) : 0};
    uint64_t carry = 0;

    for (unsigned i = shift / 64, k = 0; i < LIMBS; i++, k++) {
        const uint64_t part = k < 2 ? parts[k] : 0;
        const uint64_t sum = limbs[i] + part;
        limbs[i] = sum + carry;
        carry = (sum < part) | (limbs[i] < sum);
    }
}

/* The upper 64 digits, the last of which remembers what lies below: 11 are rounded off
 * with it. */
static double round_limbs(const uint64_t limbs[LIMBS])
{
    unsigned top = LIMBS - 1;

    while (top > 0 && limbs[top] == 0) {
        top--;
    }
    if (top == 0) {
        return (double)limbs[0] * 0x1p-149;
    }
    const unsigned up = (unsigned)__builtin_clzll(limbs[top]);
    uint64_t digits = limbs[top] << up | (up ? limbs[top - 1] >> (64 - up) : 0);
    uint64_t below = limbs[top - 1] << up;
    for (unsigned i = 0; i + 1 < top; i++) {
        below |= limbs[i];
    }
    digits |= below != 0;
    return ldexp((double)digits, (int)(64 * top - up) - LEAST_BIT);
}

double ww_magsum_value(const struct ww_magsum *sum)
{
    uint64_t limbs[LIMBS] = {0};

    for (unsigned b = 0; b < WW_MAGSUM_BINS; b++) {
        for (size_t l = 0; l < WW_MAGSUM_LANES; l++) {
            add_at(limbs, b ? b - 1 : 0, sum->bins[l][b]);
        }
    }
    add_at(limbs, LEAST_BIT - WW_MAGSUM_WHOLE_BITS, sum->whole[0]);
    add_at(limbs, LEAST_BIT - WW_MAGSUM_WHOLE_BITS + 64, sum->whole[1]);
    return round_limbs(limbs);
}
