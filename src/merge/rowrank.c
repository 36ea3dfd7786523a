/* SPDX-License-Identifier: Apache-2.0 */
/* Four rounds of 8 bits over pairs of key and index; linear in the row. A digit that all
 * keys share costs no round. */
#include "merge/rowrank.h"

#include <string.h>

#define DIGIT_BITS 8u
#define BINS (1u << DIGIT_BITS)
#define ROUNDS 4u
#define SMALL 64u

static void insertion(uint64_t *pairs, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t v = pairs[i];
        size_t k = i;
        for (; k > 0 && pairs[k - 1] > v; k--) {
            pairs[k] = pairs[k - 1];
        }
        pairs[k] = v;
    }
}

/* How often each digit of each round occurs, in one reading. */
static void count(const uint64_t *pairs, size_t n, uint32_t counts[ROUNDS][BINS])
{
    memset(counts, 0, ROUNDS * sizeof(counts[0]));
    for (size_t i = 0; i < n; i++) {
        const uint32_t key = (uint32_t)(pairs[i] >> 32);
        counts[0][key & (BINS - 1)]++;
        counts[1][key >> DIGIT_BITS & (BINS - 1)]++;
        counts[2][key >> 2 * DIGIT_BITS & (BINS - 1)]++;
        counts[3][key >> 3 * DIGIT_BITS]++;
    }
}

/* at: counts, which become places. */
static void scatter(const uint64_t *from, uint64_t *to, size_t n, unsigned shift,
                    uint32_t at[BINS])
{
    uint32_t sum = 0;

    for (uint32_t d = 0; d < BINS; d++) {
        uint32_t found = at[d];
        at[d] = sum;
        sum += found;
    }
    for (size_t i = 0; i < n; i++) {
        to[at[from[i] >> shift & (BINS - 1)]++] = from[i];
    }
}

void ww_row_rank(const uint32_t *keys, size_t n, bool shared, void *scratch, double *rank)
{
    uint64_t *pairs = scratch;
    uint64_t *other = pairs + n;
    uint32_t counts[ROUNDS][BINS];

    for (size_t i = 0; i < n; i++) {
        pairs[i] = (uint64_t)keys[i] << 32 | i;
    }
    if (n <= SMALL) {
        insertion(pairs, n);
    } else {
        count(pairs, n, counts);
    }
    for (unsigned r = 0; r < ROUNDS && n > SMALL; r++) {
        const unsigned shift = 32 + r * DIGIT_BITS;
        if (counts[r][pairs[0] >> shift & (BINS - 1)] == n) {
            continue; /* low digits of differences of 16-bit floats: all 0 */
        }
        scatter(pairs, other, n, shift, counts[r]);
        uint64_t *swap = pairs;
        pairs = other;
        other = swap;
    }
    for (size_t i = 0; i < n;) {
        size_t end = i + 1;
        while (shared && end < n && pairs[end] >> 32 == pairs[i] >> 32) {
            end++;
        }
        double mean = (double)(i + end - 1) / 2;
        for (; i < end; i++) {
            rank[pairs[i] & 0xffffffffU] = mean;
        }
    }
}
