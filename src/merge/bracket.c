/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample is sixteen spots of the tensor, or all of a small one; its histogram over
 * the top bits of keys brackets each cut, with a margin for a sample. How many of the
 * equal ones at the cut lie before a tile is known from the bins that each tile filled:
 * those are kept, as a list, while there are few.
 */
#include "merge/bracket.h"

#include <string.h>

#include "util/alloc.h"
#include "util/clones.h"
#include "util/num.h"

#define SAMPLE_SHIFT 16u
#define SAMPLE_BINS ((size_t)1 << (31 - SAMPLE_SHIFT))
#define SPOTS 16u
#define SPOT_ELEMENTS ((uint64_t)16384)
#define SMALL ((uint64_t)1 << 21) /* elements: all of it is the sample */
#define MARGIN 0.04
#define MOST_KEY 0x7fffffffU
#define BINS_BITS 12u
#define BINS ((size_t)1 << BINS_BITS)
#define GROUP ((size_t)8)
#define STEP (32 * GROUP)
#define MOST_FILLED ((size_t)1 << 20) /* of a cut: 8 MiB */

/* of all keys in it: how many, bits that are 1 in one of them, bits that are 0 in one */
struct bin {
    uint32_t count;
    uint32_t ones;
    uint32_t zeros;
};

struct tile_cut {
    uint64_t larger;
    struct bin bins[BINS];
};

struct filled {
    uint32_t bin;
    uint32_t count;
};

struct run {
    size_t at;
    size_t n;
};

/* Of one cut: keys from low to high are looked at. */
struct range {
    uint32_t low;
    uint32_t high;
    unsigned shift;
    bool done;
    bool scattered; /* too many filled bins to keep */
    uint64_t larger;
    uint64_t *counts; /* [BINS], over all tiles */
    struct bin *bins; /* [BINS] */
    struct filled *filled;
    size_t n_filled;
    size_t capacity;
    struct run *runs; /* [n_tiles] of filled */
};

struct ww_bracket {
    struct ww_select *select;
    struct range *ranges;
    uint64_t *sample; /* [n_cuts][SAMPLE_BINS] */
    uint64_t n_tiles;
    bool sampling;
    bool of_all; /* the sample is the whole tensor */
    bool no_memory;
};

static void set_shift(struct range *r)
{
    r->shift = 0;
    while ((r->high - r->low) >> r->shift >= BINS) {
        r->shift++;
    }
}

static void release(struct range *r)
{
    ww_free(r->counts);
    ww_free(r->bins);
    ww_free(r->filled);
    ww_free(r->runs);
    r->counts = NULL;
    r->bins = NULL;
    r->filled = NULL;
    r->runs = NULL;
    r->n_filled = 0;
    r->capacity = 0;
}

void ww_bracket_free(struct ww_bracket *b)
{
    if (!b) {
        return;
    }
    for (uint32_t c = 0; b->ranges && c < b->select->n_cuts; c++) {
        release(&b->ranges[c]);
    }
    ww_free(b->ranges);
    ww_free(b->sample);
    ww_free(b);
}

enum ww_err ww_bracket_new(struct ww_select *select, struct ww_merge_job *job,
                           struct ww_bracket **out, struct ww_error *err)
{
    struct ww_bracket *b = ww_calloc(1, sizeof(*b));

    *out = b;
    if (!b) {
        return ww_merge_no_memory(job, err);
    }
    b->select = select;
    b->n_tiles = job->n_tiles;
    b->sampling = true;
    b->of_all = select->n <= SMALL;
    b->ranges = ww_calloc(select->n_cuts, sizeof(*b->ranges));
    if (!b->ranges) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t c = 0; c < select->n_cuts; c++) {
        ww_cut_ends(&select->cuts[c], select->n);
        b->ranges[c].done = select->cuts[c].done;
    }
    job->narrow = true;
    job->spot_stride = b->of_all ? 0 : ww_div_up(select->n, SPOTS);
    job->spot_elements = SPOT_ELEMENTS;
    job->acc_bytes = select->n_cuts * SAMPLE_BINS * sizeof(uint32_t);
    return WW_OK;
}

WW_CLONES static uint32_t count_larger(const uint32_t *keys, size_t n, uint32_t high)
{
    uint32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += (int32_t)keys[i] > (int32_t)high; /* both below 2^31 */
    }
    return count;
}

/* Bit i: is one of the group's keys in the bracket? */
WW_CLONES static uint32_t groups_within(const uint32_t *keys, size_t n_groups,
                                        uint32_t low, uint32_t span)
{
    uint32_t found = 0;
    for (size_t g = 0; g < n_groups; g++) {
        uint32_t any = 0;
        for (size_t i = 0; i < GROUP; i++) {
            any |= keys[g * GROUP + i] - low <= span;
        }
        found |= any << g;
    }
    return found;
}

/* Those in the bracket, without a branch that would be taken at random. */
static size_t pick(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                   uint32_t *to)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        to[m] = keys[i];
        m += keys[i] - low <= span;
    }
    return m;
}

/* The same of at most STEP keys, groups that have none passed over. */
static size_t gather(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                     uint32_t *to)
{
    const size_t n_groups = n / GROUP;
    uint32_t found = groups_within(keys, n_groups, low, span);
    size_t m = 0;

    for (; found; found &= found - 1) {
        m += pick(keys + (size_t)__builtin_ctz(found) * GROUP, GROUP, low, span, to + m);
    }
    return m + pick(keys + n_groups * GROUP, n - n_groups * GROUP, low, span, to + m);
}

static void scan_range(const struct range *r, const uint32_t *keys, size_t n,
                       struct tile_cut *acc)
{
    uint32_t in[STEP + 1];

    for (size_t at = 0; at < n; at += STEP) {
        const size_t step = ww_min_u64(STEP, n - at);
        const size_t m = gather(keys + at, step, r->low, r->high - r->low, in);
        for (size_t i = 0; i < m; i++) {
            struct bin *bin = &acc->bins[(in[i] - r->low) >> r->shift];
            bin->count++;
            bin->ones |= in[i];
            bin->zeros |= ~in[i];
        }
    }
    acc->larger += count_larger(keys, n, r->high);
}

void ww_bracket_scan(const struct ww_bracket *b, uint32_t vector, const uint32_t *keys,
                     size_t n, void *acc)
{
    for (uint32_t c = 0; c < b->select->n_cuts; c++) {
        if (b->select->cuts[c].vector != vector || b->ranges[c].done) {
            continue;
        }
        if (!b->sampling) {
            scan_range(&b->ranges[c], keys, n, (struct tile_cut *)acc + c);
            continue;
        }
        uint32_t *bins = (uint32_t *)acc + c * SAMPLE_BINS;
        for (size_t i = 0; i < n; i++) {
            bins[keys[i] >> SAMPLE_SHIFT]++;
        }
    }
}

static void fold_sample(struct ww_bracket *b, const uint32_t *counts)
{
    const size_t n = b->select->n_cuts * SAMPLE_BINS;

    if (!b->sample && !b->no_memory) {
        b->sample = ww_calloc(n, sizeof(*b->sample));
        b->no_memory = !b->sample;
    }
    for (size_t i = 0; b->sample && i < n; i++) {
        b->sample[i] += counts[i];
    }
}

static bool make_room(struct ww_bracket *b, struct range *r)
{
    if (!r->counts && !b->no_memory) {
        r->counts = ww_calloc(BINS, sizeof(*r->counts));
        r->bins = ww_calloc(BINS, sizeof(*r->bins));
        r->runs = ww_calloc(b->n_tiles + 1, sizeof(*r->runs));
        b->no_memory = b->no_memory || !r->counts || !r->bins || !r->runs;
    }
    return !b->no_memory;
}

static void keep_filled(struct range *r, uint64_t tile, const struct bin *bins,
                        size_t n_filled)
{
    if (r->n_filled + n_filled > MOST_FILLED) {
        r->scattered = true;
        return;
    }
    if (r->n_filled + n_filled > r->capacity) {
        const size_t capacity = 2 * (r->n_filled + n_filled);
        struct filled *grown = ww_realloc_array(r->filled, capacity, sizeof(*grown));
        r->scattered = !grown; /* a pass more, then */
        if (!grown) {
            return;
        }
        r->filled = grown;
        r->capacity = capacity;
    }
    r->runs[tile] = (struct run){r->n_filled, n_filled};
    for (uint32_t i = 0; i < BINS; i++) {
        if (bins[i].count) {
            r->filled[r->n_filled++] = (struct filled){i, bins[i].count};
        }
    }
}

static void fold_range(struct ww_bracket *b, struct range *r, uint64_t tile,
                       const struct tile_cut *acc)
{
    size_t n_filled = 0;

    if (!make_room(b, r)) {
        return;
    }
    r->larger += acc->larger;
    for (size_t i = 0; i < BINS; i++) {
        n_filled += acc->bins[i].count != 0;
        r->counts[i] += acc->bins[i].count;
        r->bins[i].ones |= acc->bins[i].ones;
        r->bins[i].zeros |= acc->bins[i].zeros;
    }
    if (!r->scattered) {
        keep_filled(r, tile, acc->bins, n_filled);
    }
}

void ww_bracket_fold(struct ww_bracket *b, uint64_t tile, const void *acc)
{
    const struct tile_cut *cuts = acc;

    if (b->sampling) {
        fold_sample(b, acc);
        return;
    }
    for (uint32_t c = 0; c < b->select->n_cuts; c++) {
        if (!b->ranges[c].done) {
            fold_range(b, &b->ranges[c], tile, &cuts[c]);
        }
    }
}

/* The bin of the sample in which the element of this rank lies; 0 past the end. */
static uint32_t sample_bin(const uint64_t *bins, double rank)
{
    double seen = 0;
    for (uint32_t i = SAMPLE_BINS; i-- > 0;) {
        seen += (double)bins[i];
        if (seen >= rank) {
            return i;
        }
    }
    return 0;
}

static void bracket_from_sample(const struct ww_bracket *b, uint32_t c)
{
    const uint64_t *bins = b->sample + c * SAMPLE_BINS;
    struct range *r = &b->ranges[c];
    double n = 0;

    for (size_t i = 0; i < SAMPLE_BINS; i++) {
        n += (double)bins[i];
    }
    const double rank = (double)b->select->cuts[c].rank / (double)b->select->n * n;
    const double margin = b->of_all ? 0 : MARGIN * n;
    r->low = sample_bin(bins, rank + margin) << SAMPLE_SHIFT;
    r->high = rank - margin <= 0 ? MOST_KEY
                                 : sample_bin(bins, rank - margin) << SAMPLE_SHIFT |
                                       ((1U << SAMPLE_SHIFT) - 1);
    if (rank + margin >= n && !b->of_all) {
        r->low = 0;
    }
    set_shift(r);
}

/* How many equal ones lie before each tile. */
static enum ww_err count_before(const struct ww_bracket *b, const struct range *r,
                                uint32_t bin, struct ww_merge_job *job,
                                struct ww_cut *cut, struct ww_error *err)
{
    cut->before = ww_calloc(b->n_tiles + 1, sizeof(*cut->before));
    if (!cut->before) {
        return ww_merge_no_memory(job, err);
    }
    for (uint64_t t = 0; t < b->n_tiles; t++) {
        uint64_t here = 0;
        for (size_t i = 0; i < r->runs[t].n; i++) {
            const struct filled *f = &r->filled[r->runs[t].at + i];
            here += f->bin == bin ? f->count : 0;
        }
        cut->before[t + 1] = cut->before[t] + here;
    }
    return WW_OK;
}

/* A pass over a bracket is done: the cut, or a narrower bracket. */
static enum ww_err narrow(struct ww_bracket *b, uint32_t c, struct ww_merge_job *job,
                          bool *missed, struct ww_error *err)
{
    struct range *r = &b->ranges[c];
    struct ww_cut *cut = &b->select->cuts[c];
    uint64_t larger = r->larger;
    uint32_t bin = BINS;
    bool found = false;
    enum ww_err rc = WW_OK;

    while (!found && bin > 0) {
        bin--;
        found = larger + r->counts[bin] >= cut->rank;
        larger += found ? 0 : r->counts[bin];
    }
    *missed = cut->rank <= r->larger || !found;
    if (*missed) {
        return WW_OK;
    }
    const uint32_t first = r->low + (bin << r->shift);
    const struct bin *keys = &r->bins[bin];
    const bool one_key = (keys->ones & keys->zeros) == 0;
    if (one_key) {
        cut->larger = larger;
        cut->equal = r->counts[bin];
        cut->prefix = keys->ones;
        ww_cut_settle(cut);
        r->done = !ww_cut_splits(cut) || b->n_tiles < 2;
        if (!r->done && !r->scattered) {
            rc = count_before(b, r, bin, job, cut, err);
            r->done = true;
        }
    }
    r->high = one_key ? keys->ones
                      : (uint32_t)ww_min_u64(r->high, first + (1U << r->shift) - 1);
    r->low = one_key ? keys->ones : first;
    r->larger = 0;
    r->scattered = false;
    release(r);
    set_shift(r);
    return rc;
}

/* As if nothing had been found. */
static void forget(struct ww_bracket *b)
{
    for (uint32_t c = 0; c < b->select->n_cuts; c++) {
        struct ww_cut *cut = &b->select->cuts[c];
        ww_free(cut->before);
        *cut = (struct ww_cut){.vector = cut->vector,
                               .rank = cut->rank,
                               .all_ties = cut->all_ties,
                               .no_ties = cut->no_ties};
    }
}

enum ww_err ww_bracket_scanned(struct ww_bracket *b, struct ww_merge_job *job,
                               bool *again, bool *missed, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *again = false;
    *missed = false;
    if (b->no_memory) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t c = 0; c < b->select->n_cuts && !*missed && !rc; c++) {
        if (b->ranges[c].done) {
            continue;
        }
        if (b->sampling) {
            bracket_from_sample(b, c);
        } else {
            rc = narrow(b, c, job, missed, err);
        }
        *again = *again || !b->ranges[c].done;
    }
    ww_free(b->sample);
    b->sample = NULL;
    b->sampling = false;
    job->spot_stride = 0;
    job->acc_bytes = b->select->n_cuts * sizeof(struct tile_cut);
    if (*missed) {
        forget(b);
        *again = false;
    }
    if (!*again) {
        job->narrow = false;
        job->acc_bytes = 0;
    }
    return rc;
}
