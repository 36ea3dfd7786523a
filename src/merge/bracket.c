/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many of the equal ones at the cut lie before a tile is known from the bins that
 * each tile filled: those are kept, as a list, while there are few.
 */
#include "merge/bracket.h"

#include "merge/key_sample.h"
#include "merge/pick.h"
#include "merge/stored_pick.h"
#include "util/alloc.h"
#include "util/num.h"

#define BINS_BITS 12u
#define BINS ((size_t)1 << BINS_BITS)
#define STEP ((size_t)256)
#define MOST_FILLED ((size_t)1 << 20) /* of a cut: 8 MiB */
#define MOST_STORED 8u                /* cuts, for changes as they are stored */

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
    struct ww_key_sample sample;
    uint64_t n_tiles;
    bool sampling;
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
    ww_key_sample_release(&b->sample);
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
    b->ranges = ww_calloc(select->n_cuts, sizeof(*b->ranges));
    if (!b->ranges || !ww_key_sample_init(&b->sample, select, job)) {
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

void ww_bracket_scan(const struct ww_bracket *b, uint32_t vector, const uint32_t *keys,
                     size_t n, void *acc)
{
    if (b->sampling) {
        ww_key_sample_add(&b->sample, vector, keys, n);
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

/* Of few elements cuts are told by their order, and nobody asks where equal ones lie in a
 * single tile. */
static bool brackets_from_sample(struct ww_bracket *b)
{
    struct ww_key_sample *sample = &b->sample;
    const bool ordered = b->n_tiles < 2 && ww_key_sample_order(sample);
    bool done = true;

    for (uint32_t c = 0; done && c < b->select->n_cuts; c++) {
        struct ww_cut *cut = &b->select->cuts[c];
        struct range *r = &b->ranges[c];
        if (!r->done && ordered) {
            ww_key_sample_cut(sample, cut);
            r->done = true;
        } else if (!r->done) {
            done = ww_key_sample_bracket(sample, cut, &r->low, &r->high, &r->common);
            set_shift(r);
        }
    }
    b->sampling = !done;
    ww_key_sample_release(sample);
    return done;
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
    r->common = low == high ? low : WW_KEY_NONE;
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
        next_range(r, found ? r->high + 1 : 0, found ? WW_KEY_MOST : r->low - 1);
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
