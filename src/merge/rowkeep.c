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

#include "merge/mask.h"
#include "util/clones.h"
#include "util/num.h"

/* Bins of 1/32 of an octave, from the largest key down, each one for its lowest key and
 * one for the others: differences of 16-bit floats are few, and most of them are such
 * keys. What is 2^-32 of the largest shares two, one for 0. */
#define BIN_SHIFT 18u
#define BINS 1024u
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
    uint16_t *bin;    /* [n] */
    uint16_t *before; /* [n]: elements of the same bin before this one */
};

static double bound(const struct ww_row_odds *odds, double rank)
{
    return (odds->low + odds->step * rank) * 0x1p32;
}

/* Draws are whole numbers: below a bound is up to the last whole number before it. */
struct limit {
    uint32_t last;
    uint32_t any; /* 0 or all bits: is there such a number? */
};

static struct limit limit_of(double bound)
{
    const double last = ceil(bound) - 1;
    return (struct limit){last >= (double)UINT32_MAX ? UINT32_MAX
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

/* Draws up to the first limit are kept, those up to the second one are in doubt. */
WW_CLONES static void settle(const uint32_t *restrict draws, size_t n, struct limit below,
                             struct limit above, uint8_t *restrict keep,
                             uint8_t *restrict doubt)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t kept = draws[i] <= below.last ? below.any : 0;
        const uint32_t either = draws[i] <= above.last ? above.any : 0;
        keep[i] = (uint8_t)(kept & 1);
        doubt[i] = (uint8_t)(either & ~kept & 1);
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

WW_CLONES static void find_bins(const uint32_t *restrict keys, size_t n, int32_t lowest,
                                uint16_t *restrict bin)
{
    for (size_t i = 0; i < n; i++) {
        const int32_t at = (int32_t)(keys[i] >> BIN_SHIFT) - lowest;
        const uint32_t rest = at > 0 ? keys[i] & BIN_REST : keys[i];
        const int32_t up = at > 0 ? at : 0;
        bin[i] = (uint16_t)(2 * up + (rest != 0));
    }
}

/* Counted in two halves, so that a count seldom waits for the one before. */
struct bins {
    uint16_t starts[2 * BINS + 1]; /* in ranks, and the end */
    uint16_t first[2 * BINS];      /* of the first half of the row */
};

/* Elements of its bin before each one, in its half of the row. */
static void count_bins(const struct row *r, struct bins *bins)
{
    const size_t half = r->n / 2;
    const uint16_t *restrict bin = r->bin;
    uint16_t *restrict before = r->before;
    uint16_t *restrict first = bins->first;
    uint16_t *restrict second = bins->starts;

    memset(bins, 0, sizeof(*bins));
    for (size_t i = 0; i < half; i++) {
        const size_t k = half + i;
        const uint16_t a = first[bin[i]];
        const uint16_t b = second[bin[k]];
        before[i] = a;
        before[k] = b;
        first[bin[i]] = (uint16_t)(a + 1);
        second[bin[k]] = (uint16_t)(b + 1);
    }
    if (r->n % 2) {
        const size_t k = r->n - 1;
        before[k] = second[bin[k]]++;
    }
}

/* Empty bins above the lowest may be left as they are, as nobody asks for them. Four at a
 * time, so that a step seldom waits for the one before; a step too far meets the lowest
 * two, which are set last. */
static void find_starts(size_t n, struct bins *bins)
{
    uint16_t *starts = bins->starts;
    const uint16_t *first = bins->first;
    const uint32_t zeros = (uint32_t)first[0] + starts[0]; /* many, where changes are 0 */
    const uint32_t low = zeros + first[1] + starts[1];
    uint32_t above = (uint32_t)n;

    starts[2 * BINS] = (uint16_t)above;
    for (uint32_t b = 2 * BINS; above > low; b -= 4) {
        const uint32_t one = (uint32_t)first[b - 1] + starts[b - 1];
        const uint32_t two = one + first[b - 2] + starts[b - 2];
        const uint32_t three = two + first[b - 3] + starts[b - 3];
        const uint32_t four = three + first[b - 4] + starts[b - 4];
        starts[b - 1] = (uint16_t)(above - one);
        starts[b - 2] = (uint16_t)(above - two);
        starts[b - 3] = (uint16_t)(above - three);
        above -= four;
        starts[b - 4] = (uint16_t)above;
    }
    starts[2] = (uint16_t)low;
    starts[1] = (uint16_t)zeros;
    starts[0] = 0;
}

/* What the bin of an element decides is decided, what it leaves stays open. Where equal
 * ones go by index, a bin of one key leaves nothing. Which kind a bin is cannot be
 * guessed ahead, so both answers are made and one is taken. */
static inline void decide_open(struct row *row, const struct bins *bins,
                               const uint32_t *last, uint8_t *restrict keep)
{
    const struct row r = *row; /* a copy: bytes written to keep may not change it */
    const uint32_t half = (uint32_t)(r.n / 2);
    const uint32_t by_index = r.odds->shared ? 0 : UINT32_MAX;
    size_t left = 0;

    for (size_t k = 0; k < r.n_open; k++) {
        const uint32_t i = r.open[k];
        const uint32_t bin = r.bin[i];
        const uint32_t exact = ((bin & 1) - 1) & by_index;
        const uint32_t second = 0 - (uint32_t)(i >= half);
        const uint32_t ahead = (bins->first[bin] & second) + r.before[i];
        const uint32_t low = bins->starts[bin] + (ahead & exact);
        const uint32_t end = (uint32_t)bins->starts[bin + 1] - 1;
        const bool kept = keeps(&r, last, i, low);
        keep[i] = kept;
        r.open[left] = i;
        left += kept != keeps(&r, last, i, (low & exact) | (end & ~exact));
    }
    row->n_open = left;
}

static void decide_by_bins(struct row *r, uint8_t *keep)
{
    const uint32_t top = largest(r->keys, r->n) >> BIN_SHIFT;
    const uint32_t lowest = top >= BINS ? top - (BINS - 1) : 0;
    struct bins bins;

    find_bins(r->keys, r->n, (int32_t)lowest, r->bin);
    count_bins(r, &bins);
    find_starts(r->n, &bins);
    if (r->odds->last) {
        decide_open(r, &bins, r->odds->last, keep);
    } else {
        decide_open(r, &bins, NULL, keep);
    }
}

void ww_row_keep(const uint32_t *keys, const uint32_t *draws, size_t n,
                 const struct ww_row_odds *odds, void *scratch, uint8_t *keep)
{
    const double ends[2] = {bound(odds, 0), bound(odds, n > 0 ? (double)(n - 1) : 0)};
    const bool grows = ends[0] <= ends[1];
    uint8_t *doubt = scratch;
    struct row r = {.keys = keys, .draws = draws, .n = n, .odds = odds};

    r.open = (uint32_t *)((uint8_t *)scratch + WW_ROW_RANK_SCRATCH(n) +
                          2 * n * sizeof(uint32_t));
    settle(draws, n, limit_of(ends[!grows]), limit_of(ends[grows]), keep, doubt);
    r.n_open = ww_mask_places(doubt, n, r.open);
    r.bin = (uint16_t *)scratch + 4 * n; /* room that a sort takes later */
    r.before = r.bin + n;
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
