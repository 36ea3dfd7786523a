/* SPDX-License-Identifier: Apache-2.0 */
/* Two histograms for floats, four for doubles, and a count of ties where they matter. Of
 * few elements small histograms of half as many bits are read twice as often: clearing
 * and adding up large ones would take longer than all else. */
#include "merge/select.h"

#include <string.h>

#include "util/alloc.h"
#include "util/clones.h"
#include "util/num.h"

#define DIGIT_BITS 16u
#define FEW_DIGIT_BITS 8u
#define FEW ((uint64_t)4096) /* elements */

static size_t bins_of(const struct ww_select *s)
{
    return (size_t)1 << s->digit_bits;
}

enum ww_err ww_select_init(struct ww_select *s, struct ww_merge_job *job, uint32_t n_cuts,
                           uint64_t n, bool wide, struct ww_error *err)
{
    memset(s, 0, sizeof(*s));
    s->n_cuts = n_cuts;
    s->n = n;
    s->bits = wide ? 64 : 32;
    s->digit_bits = n <= FEW ? FEW_DIGIT_BITS : DIGIT_BITS;
    s->cuts = ww_calloc(n_cuts, sizeof(*s->cuts));
    s->zeros = ww_calloc(n_cuts, sizeof(*s->zeros));
    if (!s->cuts || !s->zeros) {
        return ww_merge_no_memory(job, err);
    }
    job->acc_bytes = ww_select_acc_bytes(s);
    return WW_OK;
}

/* Counts of a tile; the last one of each cut is that of zeros. */
size_t ww_select_acc_bytes(const struct ww_select *s)
{
    return s->n_cuts * (bins_of(s) + 1) * sizeof(uint32_t);
}

void ww_select_release(struct ww_select *s)
{
    for (uint32_t c = 0; s->cuts && c < s->n_cuts; c++) {
        ww_free(s->cuts[c].before);
    }
    ww_free(s->cuts);
    ww_free(s->sums);
    ww_free(s->zeros);
    memset(s, 0, sizeof(*s));
}

/* Bit i: is one of the group's keys below this prefix? Few are. */
#define GROUP 8u
#define GROUPS 64u
WW_CLONES static uint64_t groups_below(const uint64_t *keys, size_t n_groups,
                                       unsigned shift, uint64_t prefix)
{
    uint64_t found = 0;
    for (size_t g = 0; g < n_groups; g++) {
        uint64_t any = 0;
        for (size_t i = 0; i < GROUP; i++) {
            any |= keys[g * GROUP + i] >> shift == prefix;
        }
        found |= any << g;
    }
    return found;
}

/* The next digit of keys that begin with the prefix. */
static void count_below(const struct ww_select *s, const uint64_t *keys, size_t n,
                        unsigned shift, uint64_t prefix, uint32_t *bins)
{
    const uint64_t mask = bins_of(s) - 1;

    for (size_t i = 0; i < n; i++) {
        if (keys[i] >> shift >> s->digit_bits == prefix) {
            bins[keys[i] >> shift & mask]++;
        }
    }
}

static void count_digits(const struct ww_select *s, const struct ww_cut *cut,
                         const uint64_t *keys, size_t n, uint32_t *bins)
{
    unsigned shift = s->bits - s->digit_bits * (s->level + 1);

    if (s->level == 0) {
        for (size_t i = 0; i < n; i++) {
            bins[keys[i] >> shift]++;
        }
        bins[bins_of(s)] += ww_keys_equal(keys, n, 0);
        return;
    }
    for (size_t at = 0; at < n;) {
        const size_t n_groups = ww_min_u64(GROUPS, (n - at) / GROUP);
        uint64_t found =
            groups_below(keys + at, n_groups, shift + s->digit_bits, cut->prefix);
        for (; found; found &= found - 1) {
            const size_t group = at + (size_t)__builtin_ctzll(found) * GROUP;
            count_below(s, keys + group, GROUP, shift, cut->prefix, bins);
        }
        at += n_groups * GROUP;
        if (n_groups < GROUPS) {
            count_below(s, keys + at, n - at, shift, cut->prefix, bins);
            break;
        }
    }
}

/* In the first pass cuts of one vector have one histogram: that of the first of them. */
static uint32_t counted_as(const struct ww_select *s, uint32_t c)
{
    uint32_t first = 0;
    while (s->level == 0 && s->cuts[first].vector != s->cuts[c].vector) {
        first++;
    }
    return s->level == 0 ? first : c;
}

void ww_select_scan(const struct ww_select *s, uint32_t vector, const uint64_t *keys,
                    size_t n, void *acc)
{
    uint32_t *counts = acc;

    for (uint32_t c = 0; c < s->n_cuts; c++) {
        const struct ww_cut *cut = &s->cuts[c];
        if (cut->vector != vector) {
            continue;
        }
        if (!s->counting && counted_as(s, c) != c) {
            continue;
        }
        if (!s->counting) {
            count_digits(s, cut, keys, n, counts + c * (bins_of(s) + 1));
            continue;
        }
        counts[c] += ww_keys_equal(keys, n, cut->key);
    }
}

/* Sums are made at the first fold: a method that is only asked about its parameters never
 * needs them. Returns with nothing done when memory is out; scanned tells. */
void ww_select_fold(struct ww_select *s, uint64_t tile, const void *acc)
{
    const size_t n_bins = bins_of(s);
    const uint32_t *counts = acc;

    for (uint32_t c = 0; c < s->n_cuts && s->counting; c++) {
        if (s->cuts[c].before) {
            s->cuts[c].before[tile + 1] = counts[c];
        }
    }
    if (s->counting) {
        return;
    }
    if (!s->sums) {
        s->sums = ww_calloc(s->n_cuts, n_bins * sizeof(*s->sums));
    }
    for (uint32_t c = 0; s->sums && c < s->n_cuts; c++) {
        const uint32_t *from = counts + c * (n_bins + 1);
        uint64_t *to = s->sums + c * n_bins;
        for (size_t b = 0; b < n_bins; b++) {
            to[b] += from[b];
        }
        s->zeros[c] +=
            s->level == 0 ? counts[counted_as(s, c) * (n_bins + 1) + n_bins] : 0;
    }
}

/* The bin in which the element of this rank lies, from the largest down. */
static void descend(const struct ww_select *s, struct ww_cut *cut, const uint64_t *bins)
{
    uint64_t rank = cut->rank - cut->larger;
    size_t b = bins_of(s) - 1;

    while (b > 0 && bins[b] < rank) {
        rank -= bins[b];
        cut->larger += bins[b];
        b--;
    }
    cut->prefix = cut->prefix << s->digit_bits | b;
    cut->equal = bins[b];
}

/* Nothing or all above: no key is needed, but for one that decides the same. A rank of n
 * still finds the smallest key, for methods that ask for a value. */
void ww_cut_ends(struct ww_cut *cut, uint64_t n)
{
    if (cut->rank == 0 || cut->rank > n || n == 0) {
        cut->done = true;
        cut->key = cut->rank == 0 ? UINT64_MAX : 0;
        cut->take = cut->rank == 0 ? 0 : UINT64_MAX;
    }
}

void ww_cut_settle(struct ww_cut *cut)
{
    cut->key = cut->prefix;
    cut->take = cut->rank - cut->larger;
    cut->done = true;
    if (cut->all_ties || cut->take >= cut->equal) {
        cut->take = UINT64_MAX;
    } else if (cut->no_ties) {
        cut->take = 0;
    }
}

bool ww_cut_splits(const struct ww_cut *cut)
{
    return cut->take != 0 && cut->take != UINT64_MAX;
}

/* Does some cut split elements that are equal? Then their places are counted. */
static enum ww_err start_counting(struct ww_select *s, struct ww_merge_job *job,
                                  bool *again, struct ww_error *err)
{
    *again = false;
    for (uint32_t c = 0; c < s->n_cuts; c++) {
        struct ww_cut *cut = &s->cuts[c];
        if (!ww_cut_splits(cut) || job->n_tiles < 2) {
            continue;
        }
        cut->before = ww_calloc(job->n_tiles + 1, sizeof(*cut->before));
        if (!cut->before) {
            return ww_merge_no_memory(job, err);
        }
        *again = true;
    }
    s->counting = *again;
    job->acc_bytes = *again ? s->n_cuts * sizeof(uint32_t) : 0;
    return WW_OK;
}

static void sum_ties(struct ww_select *s, uint64_t n_tiles)
{
    for (uint32_t c = 0; c < s->n_cuts; c++) {
        uint64_t *before = s->cuts[c].before;
        for (uint64_t t = 0; before && t < n_tiles; t++) {
            before[t + 1] += before[t];
        }
    }
}

enum ww_err ww_select_scanned(struct ww_select *s, struct ww_merge_job *job, bool *again,
                              struct ww_error *err)
{
    *again = false;
    if (s->counting) {
        sum_ties(s, job->n_tiles);
        s->counting = false;
        job->acc_bytes = 0;
        return WW_OK;
    }
    if (!s->sums && job->n_tiles > 0) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t c = 0; c < s->n_cuts; c++) {
        struct ww_cut *cut = &s->cuts[c];
        ww_cut_ends(cut, s->n);
        if (!cut->done) {
            descend(s, cut, s->sums + counted_as(s, c) * bins_of(s));
        }
        *again = *again || !cut->done;
    }
    s->level++;
    if (*again && s->level * s->digit_bits < s->bits) {
        memset(s->sums, 0, s->n_cuts * bins_of(s) * sizeof(*s->sums));
        return WW_OK;
    }
    ww_free(s->sums);
    s->sums = NULL;
    for (uint32_t c = 0; c < s->n_cuts; c++) {
        if (!s->cuts[c].done) {
            ww_cut_settle(&s->cuts[c]);
        }
    }
    return start_counting(s, job, again, err);
}
