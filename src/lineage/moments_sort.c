/* SPDX-License-Identifier: Apache-2.0 */
/* Stable, so that sums run in the order of elements. */
#include "lineage/moments_work.h"

#include <string.h>

#include "util/clones.h"
#include "util/float_bits.h"

/* Elements that are used, in order, without a branch that nobody could foresee: eight
 * bins at once, of which a zero leaves no bit. The tile's bins end with zeros; those of
 * what is used take the place of all. */
static size_t pick(uint8_t *bin, size_t n, uint32_t *picked)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    size_t used = 0;

    for (size_t e = 0; e < n; e += 8) {
        uint64_t word = 0;
        memcpy(&word, bin + e, sizeof(word));
        uint64_t bits = (((word & low) + low) | word) & ~low;
        for (; bits; bits &= bits - 1) {
            const size_t at = e + (size_t)__builtin_ctzll(bits) / 8;
            picked[used] = (uint32_t)at;
            bin[used++] = bin[at];
        }
    }
    return used;
}

/* Few bins take nearly all, so a count waits for the one before: some parts of the tile
 * are counted side by side. */
#define PARTS 4
struct counts {
    uint32_t of[PARTS][WW_MOMENTS_BINS];
};

static void count_bins(const uint8_t *bin, size_t used, struct counts *counts)
{
    const size_t part = used / PARTS;

    memset(counts, 0, sizeof(*counts));
    for (size_t i = 0; i < part; i++) {
        for (size_t p = 0; p < PARTS; p++) {
            counts->of[p][bin[p * part + i]]++;
        }
    }
    for (size_t i = PARTS * part; i < used; i++) {
        counts->of[PARTS - 1][bin[i]]++;
    }
}

/* Where each one goes. counts: the places that come next. */
static void find_places(const uint8_t *bin, size_t used, struct counts *counts,
                        uint32_t *place)
{
    const size_t part = used / PARTS;

    for (size_t i = 0; i < part; i++) {
        for (size_t p = 0; p < PARTS; p++) {
            place[p * part + i] = counts->of[p][bin[p * part + i]]++;
        }
    }
    for (size_t i = PARTS * part; i < used; i++) {
        place[i] = counts->of[PARTS - 1][bin[i]]++;
    }
}

size_t ww_moments_sort(struct ww_moments_tile *tile, size_t n,
                       uint32_t first[WW_MOMENTS_BINS + 1])
{
    struct counts counts;
    uint32_t at = 0;
    size_t used = 0;

    memset(tile->bin + n, 0, 8);
    used = pick(tile->bin, n, tile->picked);
    count_bins(tile->bin, used, &counts);
    for (unsigned b = 0; b < WW_MOMENTS_BINS; b++) {
        first[b] = at;
        for (unsigned p = 0; p < PARTS; p++) {
            const uint32_t count = counts.of[p][b];
            counts.of[p][b] = at;
            at += count;
        }
    }
    first[WW_MOMENTS_BINS] = at;
    find_places(tile->bin, used, &counts, tile->place);
    return used;
}

static void order_by_place(const struct ww_moments_tile *tile, size_t used)
{
    for (size_t i = 0; i < used; i++) {
        tile->order[tile->place[i]] = tile->picked[i];
    }
}

static void gather(const double *restrict from, const uint32_t *restrict order, size_t n,
                   double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[order[i]];
    }
}

WW_CLONES static void subtract(const uint16_t *x, const uint16_t *base, size_t n,
                               double *to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (double)ww_float_of_bf16(x[i]) - (double)ww_float_of_bf16(base[i]);
    }
}

#define MOST 3 /* columns of BF16 at once */

/* Some columns, read in the order of elements and written to as many places as there are
 * bins, which stay in the nearest cache; a column in the order of bins would not. */
static inline __attribute__((always_inline)) void
sort_some(const struct ww_moments_tile *tile, const uint8_t *const *stored, unsigned n_c,
          size_t n, uint16_t *restrict to)
{
    const uint16_t *from[MOST];
    const uint32_t *picked = tile->picked;
    const uint32_t *place = tile->place;

    for (unsigned c = 0; c < n_c; c++) {
        from[c] = (const uint16_t *)(const void *)stored[c];
    }
    for (size_t i = 0; i < n; i++) {
        for (unsigned c = 0; c < n_c; c++) {
            to[c * WW_MOMENTS_TILE + place[i]] = from[c][picked[i]];
        }
    }
}

static void sort_narrow(const struct ww_moments_tile *tile, const uint8_t *const *stored,
                        unsigned n_c, size_t n, uint16_t *to)
{
    switch (n_c) {
    case 1:
        sort_some(tile, stored, 1, n, to);
        break;
    case 2:
        sort_some(tile, stored, 2, n, to);
        break;
    default:
        sort_some(tile, stored, MOST, n, to);
    }
}

/* Of those that are used alone: their values, less the base's. The column of the base is
 * free, as there are no steps: it takes four of 16 bits. */
static void sort_stored(const struct ww_moments_tile *tile, unsigned k, size_t n)
{
    uint16_t *base =
        (uint16_t *)(void *)(tile->sorted + (size_t)(k + 1) * WW_MOMENTS_TILE);
    uint16_t *x = base + WW_MOMENTS_TILE;
    const uint8_t *stored[MOST];

    sort_narrow(tile, &tile->stored[1], 1, n, base);
    for (unsigned p = 0; p <= k; p += MOST) {
        const unsigned n_c = k + 1 - p < MOST ? k + 1 - p : MOST;
        for (unsigned c = 0; c < n_c; c++) {
            stored[c] = tile->stored[p + c ? p + c + 1 : 0];
        }
        sort_narrow(tile, stored, n_c, n, x);
        for (unsigned c = 0; c < n_c; c++) {
            subtract(x + c * (size_t)WW_MOMENTS_TILE, base, n,
                     tile->sorted + (size_t)(p + c) * WW_MOMENTS_TILE);
        }
    }
}

static void gather_columns(const struct ww_moments_tile *tile, unsigned k, size_t n)
{
    for (unsigned p = 0; p <= k; p++) {
        /* The base's own column is not among the differences. */
        const double *from = tile->columns + (size_t)(p ? p + 1 : 0) * WW_MOMENTS_TILE;
        gather(from, tile->order, n, tile->sorted + (size_t)p * WW_MOMENTS_TILE);
    }
    if (tile->has_steps) {
        gather(tile->columns + WW_MOMENTS_TILE, tile->order, n,
               tile->sorted + (size_t)(k + 1) * WW_MOMENTS_TILE);
    }
}

void ww_moments_sort_columns(struct ww_moments_tile *tile, unsigned k, size_t used)
{
    if (tile->is_stored) {
        sort_stored(tile, k, used);
    } else {
        order_by_place(tile, used);
        gather_columns(tile, k, used);
    }
}
