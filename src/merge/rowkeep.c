/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks are a means: what counts is whether a draw is below a bound that grows with the
 * rank. Most draws are above or below the bounds of all ranks; of the others the rank is
 * known within a bin of keys after one count, and within a bin of one key from the count
 * itself, which decides nearly all; for the few that are left the smaller keys of the row
 * are counted. A row with many of those is sorted.
 */
#include "merge/rowrank.h"

#include <math.h>
#include <string.h>

#include "merge/rowsettle.h"
#include "util/clones.h"

/* Bins of 1/32 of an octave, from the largest key down, each one for its lowest key and
 * one for the others: differences of 16-bit floats are few, and most of them are such
 * keys. What is 2^-15 of the largest shares one; zeros, often the most, have some by
 * their places in the row, as equal ones go by index. */
#define BIN_SHIFT 18u
#define BINS 1024u
#define ZERO_SLICES 16u
#define PARTS 4u
#define WAYS 16u
#define RUN (BINS / WAYS) /* even */
#define BIN_REST ((1U << BIN_SHIFT) - 1)
#define MOST_COUNTED ((size_t)UINT16_MAX) /* of a row; longer ones are sorted */
/* A count reads the row; a sort reads and writes it about so often. */
#define COUNTS_OF_A_SORT 64u

struct row {
    const uint32_t *keys;
    const uint32_t *draws;
    size_t n;
    const struct ww_row_odds *odds;
    uint32_t *open; /* elements whose draw leaves a doubt */
    size_t n_open;
    uint16_t *bin; /* [n]: the place of each one's, with room behind for a vector */
};

static double bound(const struct ww_row_odds *odds, double rank)
{
    return (odds->low + odds->step * rank) * 0x1p32;
}

static struct ww_row_limit limit_of(double bound)
{
    const double last = ceil(bound) - 1;
    return (struct ww_row_limit){last >= (double)UINT32_MAX ? UINT32_MAX
                                 : last > 0                 ? (uint32_t)last
                                                            : 0,
                                 last >= 0 ? UINT32_MAX : 0};
}

void ww_row_last(const struct ww_row_odds *odds, size_t n, uint32_t *last)
{
    for (size_t rank = 0; rank < n; rank++) {
        last[rank] = limit_of(bound(odds, (double)rank)).last;
    }
}

WW_CLONES static uint32_t largest(const uint32_t *keys, size_t n)
{
    uint32_t max = 0;
    for (size_t i = 0; i < n; i++) {
        max = keys[i] > max ? keys[i] : max;
    }
    return max;
}

/* The smaller keys of the row, and its equal ones before and after the place i. */
WW_CLONES static void count_keys(const uint32_t *keys, size_t n, size_t i,
                                 uint32_t *smaller, uint32_t *before, uint32_t *after)
{
    const uint32_t key = keys[i];
    uint32_t less = 0;
    uint32_t first = 0;
    uint32_t last = 0;

    for (size_t k = 0; k < i; k++) {
        less += keys[k] < key;
        first += keys[k] == key;
    }
    for (size_t k = i + 1; k < n; k++) {
        less += keys[k] < key;
        last += keys[k] == key;
    }
    *smaller = less;
    *before = first;
    *after = last;
}

/* The rank of an element where equal ones go by index. Keys are below 2^31. */
WW_CLONES static uint32_t rank_of(const uint32_t *keys, size_t n, size_t i)
{
    const int32_t key = (int32_t)keys[i];
    uint32_t larger = 0;
    uint32_t smaller = 0;

    for (size_t k = 0; k < i; k++) {
        larger += (int32_t)keys[k] > key;
    }
    for (size_t k = i + 1; k < n; k++) {
        smaller += (int32_t)keys[k] < key;
    }
    return (uint32_t)i - larger + smaller;
}

/* Does the draw of an element keep it at this rank? last: of the odds, or NULL. */
static inline bool keeps(const struct row *r, const uint32_t *last, size_t i,
                         uint32_t rank)
{
    return last ? r->draws[i] <= last[rank] : (double)r->draws[i] < bound(r->odds, rank);
}

static void decide_by_count(const struct row *r, size_t i, uint8_t *keep)
{
    uint32_t smaller;
    uint32_t before;
    uint32_t after;

    if (!r->odds->shared) {
        keep[i] = keeps(r, r->odds->last, i, rank_of(r->keys, r->n, i));
        return;
    }
    count_keys(r->keys, r->n, i, &smaller, &before, &after);
    const double rank = (double)smaller + (double)(before + after) / 2;
    keep[i] = (double)r->draws[i] < bound(r->odds, rank);
}

static void decide_by_sort(const struct row *r, void *scratch, uint8_t *keep)
{
    double *rank = (double *)scratch + 2 * r->n;

    ww_row_rank(r->keys, r->n, r->odds->shared, scratch, rank);
    for (size_t k = 0; k < r->n_open; k++) {
        const uint32_t i = r->open[k];
        keep[i] = (double)r->draws[i] < bound(r->odds, rank[i]);
    }
}

/* Bins lie in WAYS runs of the same length, the n-th ones of all runs side by side, so
 * that what lies before is summed up in all runs at once. */
static uint32_t place_of(uint32_t bin)
{
    return bin % RUN * WAYS + bin / RUN;
}

/* Is it the place of a bin of one key? */
static bool is_exact(uint32_t place)
{
    return place / WAYS % 2 == 0;
}

/* slices: 2^16 times how many slices of the zeros there are for each place in the row. */
WW_CLONES static void find_bins(const uint32_t *restrict keys, size_t n, int32_t lowest,
                                uint32_t slices, uint16_t *restrict bin)
{
    uint32_t slice = 0;

    for (size_t i = 0; i < n; i++) {
        const int32_t at = (int32_t)(keys[i] >> BIN_SHIFT) - lowest;
        const uint32_t rest = at > 0 ? keys[i] & BIN_REST : keys[i];
        const uint32_t up = (at > 0 ? (uint32_t)at : 0) + ZERO_SLICES - 1;
        const uint32_t other = 2 * up + (rest != 0);
        const uint32_t zero = slice >> 16 << 1;
        bin[i] = (uint16_t)place_of(keys[i] ? other : zero);
        slice += slices;
    }
}

typedef uint16_t ways __attribute__((vector_size(2 * WAYS), aligned(2), may_alias));
typedef uint64_t quads __attribute__((vector_size(2 * WAYS), may_alias));
typedef uint32_t pairs __attribute__((vector_size(4 * WAYS), may_alias));

struct bins {
    ways counts[PARTS][RUN]; /* of every PARTS-th element: a count seldom waits for the
                                one before */
    pairs range[RUN];        /* ranks: its first | the first behind it << 16 */
};

WW_CLONES static void count_bins(const uint16_t *bin, size_t n, struct bins *bins)
{
    uint16_t *const counts = (uint16_t *)(void *)bins->counts;
    size_t i = 0;

    for (size_t r = 0; r < PARTS * RUN; r++) {
        ((ways *)counts)[r] = (ways){0};
    }
    for (; i + PARTS <= n; i += PARTS) {
        uint64_t four;
        memcpy(&four, bin + i, sizeof(four));
        counts[four & 0xffff]++;
        counts[BINS + (four >> 16 & 0xffff)]++;
        counts[2 * BINS + (four >> 32 & 0xffff)]++;
        counts[3 * BINS + (four >> 48)]++;
    }
    for (; i < n; i++) {
        counts[bin[i]]++;
    }
}

/* Within the runs first, then between them. */
WW_CLONES static void find_ranges(struct bins *bins)
{
    ways(*c)[RUN] = bins->counts;
    ways sums = {0};
    ways before = {0};

    for (size_t r = 0; r < RUN; r++) {
        const ways here = c[0][r] + c[1][r] + c[2][r] + c[3][r];
        c[0][r] = sums;
        sums += here;
        c[1][r] = sums;
    }
    for (unsigned w = 1; w < WAYS; w++) {
        before[w] = (uint16_t)(before[w - 1] + sums[w - 1]);
    }
    for (size_t r = 0; r < RUN; r++) {
        bins->range[r] = __builtin_convertvector(c[0][r] + before, pairs) |
                         __builtin_convertvector(c[1][r] + before, pairs) << 16;
    }
}

static uint32_t range_of(const struct bins *bins, uint32_t place)
{
    return ((const uint32_t *)(const void *)bins->range)[place];
}

/* What the first and the last rank of its bin decide alike is decided; the others stay
 * open. Which it is cannot be guessed ahead, so both are asked. */
static inline void decide_open(struct row *row, const struct bins *bins,
                               const uint32_t *last, uint8_t *restrict keep)
{
    const struct row r = *row; /* a copy: bytes written to keep may not change it */
    size_t left = 0;

    for (size_t k = 0; k < r.n_open; k++) {
        const uint32_t i = r.open[k];
        const uint32_t range = range_of(bins, r.bin[i]);
        const bool kept = keeps(&r, last, i, range & 0xffff);
        keep[i] = kept;
        r.open[left] = i;
        left += kept != keeps(&r, last, i, (range >> 16) - 1);
    }
    row->n_open = left;
}

/* How many of places [from, to) are this one. Whole vectors are read, up to one more. */
WW_CLONES static uint32_t count_equal(const uint16_t *bin, size_t from, size_t to,
                                      uint16_t which)
{
    const ways index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const ways *at = (const ways *)(const void *)(bin + from);
    const ways wanted = which - (ways){0};
    ways sums = {0};

    for (; from + WAYS <= to; from += WAYS) {
        sums -= (ways)(*at++ == wanted);
    }
    if (from < to) {
        sums -= (ways)(*at == wanted) & (ways)(index < (uint16_t)(to - from));
    }
    const quads fours = (quads)sums;
    return (uint32_t)((fours[0] + fours[1] + fours[2] + fours[3]) *
                          UINT64_C(0x0001000100010001) >>
                      48);
}

/* Where equal ones go by index the rank in a bin of one key is how many of it come
 * before. They are counted from where the last one asked for ended: few bins are asked
 * for, the longest ones most often. */
static inline void decide_exact(struct row *r, struct bins *bins, const uint32_t *last,
                                uint8_t *keep)
{
    uint32_t *const seen = (uint32_t *)(void *)bins->counts; /* how many | up to << 16 */
    size_t left = 0;

    for (size_t k = 0; k < r->n_open; k++) {
        seen[r->bin[r->open[k]]] = 0;
    }
    for (size_t k = 0; k < r->n_open; k++) {
        const uint32_t i = r->open[k];
        const uint16_t bin = r->bin[i];
        if (is_exact(bin)) {
            const uint32_t before =
                (seen[bin] & 0xffff) + count_equal(r->bin, seen[bin] >> 16, i, bin);
            seen[bin] = before | i << 16;
            keep[i] = keeps(r, last, i, (range_of(bins, bin) & 0xffff) + before);
        } else {
            r->open[left++] = i;
        }
    }
    r->n_open = left;
}

static inline void decide_in(struct row *r, struct bins *bins, const uint32_t *last,
                             uint8_t *keep)
{
    decide_open(r, bins, last, keep);
    if (!r->odds->shared) {
        decide_exact(r, bins, last, keep);
    }
}

static void decide_by_bins(struct row *r, uint8_t *keep)
{
    const uint32_t top = largest(r->keys, r->n) >> BIN_SHIFT;
    const uint32_t most = BINS / 2 - ZERO_SLICES;
    const uint32_t lowest = top > most ? top - most : 0;
    const uint32_t slices = r->odds->shared ? 0 : (ZERO_SLICES << 16) / (uint32_t)r->n;
    struct bins bins;

    find_bins(r->keys, r->n, (int32_t)lowest, slices, r->bin);
    count_bins(r->bin, r->n, &bins);
    find_ranges(&bins);
    if (r->odds->last) {
        decide_in(r, &bins, r->odds->last, keep);
    } else {
        decide_in(r, &bins, NULL, keep);
    }
}

void ww_row_keep(const uint32_t *keys, const uint32_t *draws, size_t n,
                 const struct ww_row_odds *odds, void *scratch, uint8_t *keep)
{
    const double ends[2] = {bound(odds, 0), bound(odds, n > 0 ? (double)(n - 1) : 0)};
    const bool grows = ends[0] <= ends[1];
    struct row r = {.keys = keys, .draws = draws, .n = n, .odds = odds};

    r.open = (uint32_t *)((uint8_t *)scratch + WW_ROW_RANK_SCRATCH(n) +
                          2 * n * sizeof(uint32_t));
    r.n_open = ww_row_settle(draws, n, limit_of(ends[!grows]), limit_of(ends[grows]),
                             scratch, keep, r.open);
    r.bin = (uint16_t *)scratch + 4 * n; /* room that a sort takes later */
    if (r.n_open > 0 && n <= MOST_COUNTED) {
        decide_by_bins(&r, keep);
    }
    if (r.n_open > COUNTS_OF_A_SORT) {
        decide_by_sort(&r, scratch, keep);
        return;
    }
    for (size_t k = 0; k < r.n_open; k++) {
        decide_by_count(&r, r.open[k], keep);
    }
}
