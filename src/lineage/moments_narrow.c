/* SPDX-License-Identifier: Apache-2.0 */
/* The same of BF16 as it is stored: the larger half of a float. So a difference is cut
 * off to its larger half as well, which has its exponent, and everything is 16 bits wide.
 */
#include "lineage/moments_work.h"

#include "util/clones.h"
#include "util/float_bits.h"

/* Elements that stay in the innermost cache while all columns pass. */
#define BLOCK 1024

struct narrow_block {
    uint16_t largest[BLOCK];
    uint16_t longest[BLOCK];
};

WW_CLONES static void begin_narrow(struct narrow_block *b, const uint16_t *base, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        b->largest[e] = base[e] & 0x7fff;
        b->longest[e] = 0;
    }
}

WW_CLONES static void add_narrow(struct narrow_block *b, const uint16_t *base,
                                 const uint16_t *x, size_t n)
{
    for (size_t e = 0; e < n; e++) {
        const uint16_t length = x[e] & 0x7fff;
        b->largest[e] = b->largest[e] > length ? b->largest[e] : length;
    }
    for (size_t e = 0; e < n; e++) {
        const float difference = ww_float_of_bf16(x[e]) - ww_float_of_bf16(base[e]);
        uint32_t bits = 0;
        memcpy(&bits, &difference, sizeof(bits));
        const uint16_t half = (uint16_t)(bits >> 16 & 0x7fff);
        b->longest[e] = b->longest[e] > half ? b->longest[e] : half;
    }
}

/* All bits, or none: conditions that vector units compute without a branch. */
static inline uint16_t mask(bool condition)
{
    return condition ? 0xffff : 0;
}

/* Fields of exponents alone: a normal one is at least 1, eight steps are 2^-4 of the
 * largest value's power of two. */
WW_CLONES static uint64_t put_narrow_in_bins(const struct narrow_block *b,
                                             const uint16_t *base, const uint16_t *y,
                                             uint8_t *bin, size_t n)
{
    const uint16_t to_bin = WW_MOMENTS_BIN_BIAS - 7 - 127;
    uint16_t of[BLOCK];
    uint32_t n_pruned = 0;

    for (size_t e = 0; e < n; e++) {
        const uint16_t field = b->largest[e] >> 7;
        const uint16_t normal = field > 1 ? field : 1;
        const uint16_t length = (uint16_t)((b->longest[e] >> 7) + 4);
        const uint16_t at = (uint16_t)(normal + to_bin);
        const uint16_t pruned =
            mask((uint16_t)(y[e] << 1) == 0) & mask((uint16_t)(base[e] << 1) != 0);
        const uint16_t used = mask(length >= normal) & mask(b->longest[e] != 0) &
                              mask(at < WW_MOMENTS_BINS);
        of[e] = at & used & (uint16_t)~pruned;
        n_pruned += pruned & 1;
    }
    for (size_t e = 0; e < n; e++) {
        bin[e] = (uint8_t)of[e];
    }
    return n_pruned;
}

uint64_t ww_moments_classify_stored(struct ww_moments_tile *tile, unsigned k, size_t n)
{
    uint64_t n_pruned = 0;
    struct narrow_block block;

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t len = n - at < BLOCK ? n - at : BLOCK;
        const uint16_t *base = (const uint16_t *)(const void *)tile->stored[1] + at;
        begin_narrow(&block, base, len);
        for (unsigned i = 0; i < k; i++) {
            if (!tile->decides || tile->decides[i]) {
                add_narrow(&block, base,
                           (const uint16_t *)(const void *)tile->stored[i + 2] + at, len);
            }
        }
        n_pruned += put_narrow_in_bins(
            &block, base, (const uint16_t *)(const void *)tile->stored[0] + at,
            tile->bin + at, len);
    }
    return n_pruned;
}
