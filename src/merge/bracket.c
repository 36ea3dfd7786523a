/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample is short spots all over the tensor, or all of a small one, in any order; its
 * histogram over the top bits of keys brackets each cut, with a margin for a sample. How
 * many of the equal ones at the cut lie before a tile is known from the bins that each
 * tile filled: those are kept, as a list, while there are few.
 */
#include "merge/bracket.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "merge/pick.h"
#include "merge/stored_pick.h"
#include "util/alloc.h"
#include "util/num.h"

#define SAMPLE_SHIFT 16u
#define SAMPLE_BINS ((size_t)1 << (31 - SAMPLE_SHIFT))
#define SPOTS ((uint64_t)1024)
#define SPOT_ELEMENTS ((uint64_t)64)
#define SMALL (2 * SPOTS * SPOT_ELEMENTS) /* elements: all of it is the sample */
#define SORTED ((uint64_t)512) /* elements: sorted sooner than bins are cleared */
#define MARGIN 0.03 /* of all, times sqrt(p (1 - p)), as a sample's share p varies */
#define MOST_KEY 0x7fffffffU
#define BINS_BITS 12u
#define BINS ((size_t)1 << BINS_BITS)
#define STEP ((size_t)256)
#define MOST_FILLED ((size_t)1 << 20) /* of a cut: 8 MiB */
#define MOST_STORED 8u                /* cuts, for changes as they are stored */
#define NO_KEY UINT32_MAX
#define TRIED 64u /* keys of a sample: is one of them common? */
#define OFTEN 6u  /* among those */

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
    uint32_t common; /* a key that many have, if there is one: it is counted by itself */
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
    uint32_t *sample; /* [n_vectors][capacity] of keys */
    uint64_t capacity;
    atomic_uint_fast64_t *filled; /* [n_vectors] */
    uint32_t n_vectors;
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
    ww_free(b->filled);
    ww_free(b);
}

/* A spot in so many elements, and not always of the same columns. */
static uint64_t stride_of(const struct ww_merge_job *job, uint64_t n)
{
    const uint64_t stride = ww_div_up(n, SPOTS);

    if (job->n_cols < 2 || job->n_cols >= stride) {
        return stride;
    }
    return stride - stride % job->n_cols + job->n_cols * 5 / 8;
}

static bool make_sample(struct ww_bracket *b, struct ww_merge_job *job)
{
    const struct ww_select *select = b->select;

    b->of_all = select->n <= SMALL;
    for (uint32_t c = 0; c < select->n_cuts; c++) {
        b->n_vectors = select->cuts[c].vector >= b->n_vectors ? select->cuts[c].vector + 1
                                                              : b->n_vectors;
    }
    job->spot_stride = b->of_all ? 0 : stride_of(job, select->n);
    job->spot_first = 0;
    job->spot_elements = SPOT_ELEMENTS;
    b->capacity =
        b->of_all ? select->n : (select->n / job->spot_stride + 1) * SPOT_ELEMENTS;
    b->sample = ww_calloc(b->n_vectors * b->capacity + 1, sizeof(*b->sample));
    b->filled = ww_calloc(b->n_vectors + (size_t)1, sizeof(*b->filled));
    return b->sample && b->filled;
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
    b->ranges = ww_calloc(select->n_cuts, sizeof(*b->ranges));
    if (!b->ranges || !make_sample(b, job)) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t c = 0; c < select->n_cuts; c++) {
        ww_cut_ends(&select->cuts[c], select->n);
        b->ranges[c].done = select->cuts[c].done;
    }
    job->narrow = true;
    job->acc_bytes = 0;
    return WW_OK;
}

static void add(const struct range *r, uint32_t key, uint32_t count, struct tile_cut *acc)
{
    struct bin *bin = &acc->bins[(key - r->low) >> r->shift];

    bin->count += count;
    bin->ones |= key;
    bin->zeros |= ~key;
}

static void scan_range(const struct range *r, const uint32_t *keys, size_t n,
                       struct tile_cut *acc)
{
    uint32_t in[STEP + WW_PICK_SLACK];

    for (size_t at = 0; at < n; at += STEP) {
        const size_t m = ww_pick(keys + at, ww_min_u64(STEP, n - at), r->low,
                                 r->high - r->low, in, &acc->larger);
        for (size_t i = 0; i < m; i++) {
            add(r, in[i], 1, acc);
        }
    }
}

static void add_picked(const struct range *r, const struct ww_stored_picked *picked,
                       struct tile_cut *acc)
{
    acc->larger += picked->larger;
    for (size_t i = 0; i < picked->n; i++) {
        add(r, picked->keys[i], 1, acc);
    }
    if (picked->common > 0) {
        add(r, r->common, (uint32_t)picked->common, acc);
    }
}

/* Cuts of one vector follow each other, two at most. */
static uint32_t brackets_of(const struct ww_bracket *b, uint32_t vector,
                            struct ww_stored_bracket out[2], uint32_t cuts[2])
{
    uint32_t n = 0;

    for (uint32_t c = 0; c < b->select->n_cuts && n < 2; c++) {
        const struct range *r = &b->ranges[c];
        if (b->select->cuts[c].vector == vector && !r->done) {
            cuts[n] = c;
            out[n++] = (struct ww_stored_bracket){r->low, r->high - r->low, r->common};
        }
    }
    return n;
}

static void add_to_sample(const struct ww_bracket *b, uint32_t vector,
                          const uint32_t *keys, uint64_t n)
{
    const uint64_t at = atomic_fetch_add(&b->filled[vector], n);

    if (at < b->capacity) {
        memcpy(b->sample + vector * b->capacity + at, keys,
               ww_min_u64(n, b->capacity - at) * sizeof(*keys));
    }
}

void ww_bracket_scan(const struct ww_bracket *b, uint32_t vector, const uint32_t *keys,
                     size_t n, void *acc)
{
    if (b->sampling && vector < b->n_vectors) {
        add_to_sample(b, vector, keys, n);
    }
    for (uint32_t c = 0; c < b->select->n_cuts && !b->sampling; c++) {
        if (b->select->cuts[c].vector == vector && !b->ranges[c].done) {
            scan_range(&b->ranges[c], keys, n, (struct tile_cut *)acc + c);
        }
    }
}

bool ww_bracket_scan_stored(const struct ww_bracket *b, const uint8_t *const *x,
                            uint32_t n_x, const uint8_t *base, size_t n, void *acc)
{
    struct ww_stored_picked picked[MOST_STORED];
    uint32_t cuts[MOST_STORED];
    struct ww_stored_bracket brackets[2];
    uint32_t n_picked = 0;

    if (b->sampling || n > WW_STORED_PICK_MOST || b->select->n_cuts > MOST_STORED) {
        return false;
    }
    for (uint32_t v = 0; v < n_x; v++) {
        const uint32_t found = brackets_of(b, v, brackets, cuts + n_picked);
        if (!ww_stored_pick(x[v], base, n, brackets, found, picked + n_picked)) {
            return false;
        }
        n_picked += found;
    }
    for (uint32_t i = 0; i < n_picked; i++) {
        add_picked(&b->ranges[cuts[i]], &picked[i], (struct tile_cut *)acc + cuts[i]);
    }
    return true;
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

    for (uint32_t c = 0; c < b->select->n_cuts && !b->sampling; c++) {
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

/* The key of most of those that are tried, out of a sample's in the bracket: differences
 * of 16-bit floats are few, and a cut lies among equal ones. */
static uint32_t common_key(const struct range *r, const uint32_t *keys, uint64_t n)
{
    uint32_t tried[TRIED];
    uint32_t n_tried = 0;
    uint32_t best = NO_KEY;
    uint32_t most = OFTEN - 1;

    for (uint64_t i = 0; i < n && n_tried < TRIED; i += 7) {
        tried[n_tried] = keys[i];
        n_tried += keys[i] - r->low <= r->high - r->low;
    }
    for (uint32_t i = 0; i < n_tried; i++) {
        uint32_t alike = 0;
        for (uint32_t k = 0; k < n_tried; k++) {
            alike += tried[k] == tried[i];
        }
        best = alike > most ? tried[i] : best;
        most = alike > most ? alike : most;
    }
    return best;
}

/* bins: room for SAMPLE_BINS. */
static void bracket_from_sample(const struct ww_bracket *b, uint32_t c, uint64_t *bins)
{
    const struct ww_cut *cut = &b->select->cuts[c];
    const uint32_t *keys = b->sample + cut->vector * b->capacity;
    const uint64_t n = ww_min_u64(atomic_load(&b->filled[cut->vector]), b->capacity);
    struct range *r = &b->ranges[c];

    memset(bins, 0, SAMPLE_BINS * sizeof(*bins));
    for (uint64_t i = 0; i < n; i++) {
        bins[keys[i] >> SAMPLE_SHIFT]++;
    }
    const double share = (double)cut->rank / (double)b->select->n;
    const double rank = share * (double)n;
    const double margin = b->of_all ? 0 : MARGIN * sqrt(share * (1 - share)) * (double)n;
    r->low = sample_bin(bins, rank + margin) << SAMPLE_SHIFT;
    r->high = rank - margin <= 0 ? MOST_KEY
                                 : sample_bin(bins, rank - margin) << SAMPLE_SHIFT |
                                       ((1U << SAMPLE_SHIFT) - 1);
    if (rank + margin >= (double)n && !b->of_all) {
        r->low = 0;
    }
    r->common = common_key(r, keys, n);
    set_shift(r);
}

static int descending(const void *x, const void *y)
{
    const uint32_t a = *(const uint32_t *)x;
    const uint32_t b = *(const uint32_t *)y;

    return (a < b) - (a > b);
}

/* Models have thousands of tensors of few elements, for which histograms are long: those
 * are put into order, and nobody asks where equal ones lie in a single tile. */
static void cuts_from_order(struct ww_bracket *b)
{
    const uint64_t n = b->select->n;

    for (uint32_t v = 0; v < b->n_vectors; v++) {
        qsort(b->sample + v * b->capacity, n, sizeof(*b->sample), descending);
    }
    for (uint32_t c = 0; c < b->select->n_cuts; c++) {
        struct ww_cut *cut = &b->select->cuts[c];
        const uint32_t *keys = b->sample + cut->vector * b->capacity;
        if (b->ranges[c].done) {
            continue;
        }
        cut->prefix = keys[cut->rank - 1];
        for (uint64_t i = 0; i < n; i++) {
            cut->larger += keys[i] > cut->prefix;
            cut->equal += keys[i] == cut->prefix;
        }
        ww_cut_settle(cut);
        b->ranges[c].done = true;
    }
    ww_free(b->sample);
    b->sample = NULL;
    b->sampling = false;
}

static bool brackets_from_sample(struct ww_bracket *b)
{
    uint64_t *bins = NULL;

    if (b->of_all && b->n_tiles < 2 && b->select->n <= SORTED) {
        cuts_from_order(b);
        return true;
    }
    bins = ww_calloc(SAMPLE_BINS, sizeof(*bins));

    for (uint32_t c = 0; bins && c < b->select->n_cuts; c++) {
        if (!b->ranges[c].done) {
            bracket_from_sample(b, c, bins);
        }
    }
    b->sampling = !bins;
    ww_free(bins);
    ww_free(b->sample);
    b->sample = NULL;
    return !b->sampling;
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

static void next_range(struct range *r, uint32_t low, uint32_t high)
{
    r->low = low;
    r->high = high;
    r->common = low == high ? low : NO_KEY;
    r->larger = 0;
    r->scattered = false;
    release(r);
    set_shift(r);
}

/* A pass over a bracket is done: the cut, a narrower bracket, or the next one. */
static enum ww_err narrow(struct ww_bracket *b, uint32_t c, struct ww_merge_job *job,
                          struct ww_error *err)
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
    if (cut->rank <= r->larger || !found) { /* the sample misled */
        next_range(r, found ? r->high + 1 : 0, found ? MOST_KEY : r->low - 1);
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
    if (one_key) {
        next_range(r, (uint32_t)cut->prefix, (uint32_t)cut->prefix);
    } else {
        next_range(r, first, (uint32_t)ww_min_u64(r->high, first + (1U << r->shift) - 1));
    }
    return rc;
}

enum ww_err ww_bracket_scanned(struct ww_bracket *b, struct ww_merge_job *job,
                               bool *again, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *again = false;
    if (b->no_memory || (b->sampling && !brackets_from_sample(b))) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t c = 0; c < b->select->n_cuts && !rc; c++) {
        if (!b->ranges[c].done && b->ranges[c].counts) {
            rc = narrow(b, c, job, err);
        }
        *again = *again || !b->ranges[c].done;
    }
    job->spot_stride = 0;
    job->acc_bytes = b->select->n_cuts * sizeof(struct tile_cut);
    if (!*again) {
        job->narrow = false;
        job->acc_bytes = 0;
    }
    return rc;
}
