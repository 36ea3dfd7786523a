/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sample is spots at equal distances over the elements of all tensors, as if they
 * were one vector. Between neighbours of one spot values are alike, so the margin around
 * a rank is some times what independent draws would ask for.
 */
#include "merge/quantile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/pick.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define FULL_VECTORS 8u /* of more of them fewer spots, so that memory stays bounded */
#define DEVIATIONS 8.0
#define LEAST_MARGIN 32.0
#define BINS_BITS 12u
#define BINS ((size_t)1 << BINS_BITS)
#define STEP ((size_t)256)
#define EXPECTED 2.5                  /* margins: keys in a bracket, and a quarter more */
#define MOST_KEPT ((uint64_t)1 << 23) /* keys of all cuts: 64 MiB */

/* Of all keys in it: bits that are 1 in one of them, bits that are 0 in one. */
struct ww_quantile_bin {
    uint64_t count;
    uint64_t ones;
    uint64_t zeros;
};

/* Of all tiles, in any order; n may be more than there is room for. */
struct ww_quantile_kept {
    atomic_uint_fast64_t n;
    uint64_t capacity;
    uint64_t keys[];
};

struct tile_cut {
    uint64_t larger;
    struct ww_quantile_bin bins[BINS];
};

enum ww_err ww_quantiles_init(struct ww_quantiles *q, struct ww_merge_job *job,
                              uint32_t n_vectors, uint32_t n_cuts, uint64_t n,
                              struct ww_error *err)
{
    const uint64_t spots =
        WW_QUANTILE_SPOTS / ww_div_up(ww_max_u64(n_vectors, 1), FULL_VECTORS);

    memset(q, 0, sizeof(*q));
    q->n_vectors = n_vectors;
    q->n_cuts = n_cuts;
    q->n = n;
    q->highest = UINT64_MAX;
    q->most_kept = MOST_KEPT;
    q->sampling = true;
    q->capacity = ww_max_u64(1, ww_min_u64(n, spots * WW_QUANTILE_SPOT));
    q->stride = n <= q->capacity ? 0 : ww_div_up(n, spots);
    q->cuts = ww_calloc(n_cuts, sizeof(*q->cuts));
    q->filled = ww_calloc(n_vectors, sizeof(*q->filled));
    q->sample = ww_calloc(n_vectors * q->capacity, sizeof(*q->sample));
    return q->cuts && q->filled && q->sample ? WW_OK : ww_merge_no_memory(job, err);
}

void ww_quantiles_release(struct ww_quantiles *q)
{
    for (uint32_t c = 0; q->cuts && c < q->n_cuts; c++) {
        ww_free(q->cuts[c].bins);
        ww_free(q->cuts[c].kept);
    }
    ww_free(q->cuts);
    ww_free(q->filled);
    ww_free(q->sample);
    memset(q, 0, sizeof(*q));
}

void ww_quantiles_open(struct ww_quantiles *q, struct ww_merge_job *job)
{
    job->acc_bytes = q->sampling ? 0 : q->n_cuts * sizeof(struct tile_cut);
    job->spot_stride = q->sampling ? q->stride : 0;
    job->spot_elements = WW_QUANTILE_SPOT;
    job->spot_first = 0;
    if (job->spot_stride && q->seen % q->stride) {
        job->spot_first = q->stride - q->seen % q->stride;
    }
    q->seen += job->n;
}

/* The order of the sample does not matter. NULL when it is full. */
static uint64_t *take_room(struct ww_quantiles *q, uint32_t vector, size_t *n)
{
    const uint64_t at = atomic_fetch_add(&q->filled[vector], *n);
    *n = at < q->capacity ? (size_t)ww_min_u64(*n, q->capacity - at) : 0;
    return q->sample + vector * q->capacity + ww_min_u64(at, q->capacity);
}

void ww_quantiles_sample(struct ww_quantiles *q, uint32_t vector, const uint64_t *keys,
                         size_t n)
{
    uint64_t *to = take_room(q, vector, &n);
    memcpy(to, keys, n * sizeof(*to));
}

void ww_quantiles_sample32(struct ww_quantiles *q, uint32_t vector, const uint32_t *keys,
                           size_t n)
{
    uint64_t *to = take_room(q, vector, &n);
    for (size_t i = 0; i < n; i++) {
        to[i] = keys[i];
    }
}

static void to_bin(const struct ww_quantile *cut, uint64_t key, struct tile_cut *acc)
{
    struct ww_quantile_bin *bin = &acc->bins[(key - cut->low) >> cut->shift];
    bin->count++;
    bin->ones |= key;
    bin->zeros |= ~key;
}

static void keep(const struct ww_quantile *cut, const uint64_t *keys, size_t n)
{
    struct ww_quantile_kept *kept = cut->kept;

    if (kept && n > 0) {
        const uint64_t at = atomic_fetch_add(&kept->n, n);
        if (at + n <= kept->capacity) {
            memcpy(kept->keys + at, keys, n * sizeof(*keys));
        }
    }
}

void ww_quantiles_scan(const struct ww_quantiles *q, uint32_t c, const uint64_t *keys,
                       size_t n, void *acc)
{
    const struct ww_quantile *cut = &q->cuts[c];
    struct tile_cut *to = (struct tile_cut *)acc + c;
    uint64_t in[WW_QUANTILE_STEP + 1];
    size_t m = 0;

    WW_INVARIANT(n <= WW_QUANTILE_STEP);
    for (size_t i = 0; i < n; i++) {
        in[m] = keys[i];
        m += keys[i] - cut->low <= cut->high - cut->low;
        to->larger += keys[i] > cut->high;
    }
    for (size_t i = 0; i < m; i++) {
        to_bin(cut, in[i], to);
    }
    keep(cut, in, m);
}

void ww_quantiles_larger(uint32_t c, uint64_t count, void *acc)
{
    ((struct tile_cut *)acc + c)->larger += count;
}

void ww_quantiles_scan32(const struct ww_quantiles *q, uint32_t c, const uint32_t *keys,
                         size_t n, void *acc)
{
    const struct ww_quantile *cut = &q->cuts[c];
    const uint32_t low = (uint32_t)cut->low;
    const uint32_t span = (uint32_t)cut->high - low;
    struct tile_cut *to = (struct tile_cut *)acc + c;
    uint32_t in[STEP + WW_PICK_SLACK];
    uint64_t wide[STEP];

    for (size_t at = 0; at < n; at += STEP) {
        const size_t m =
            ww_pick(keys + at, ww_min_u64(STEP, n - at), low, span, in, &to->larger);
        for (size_t i = 0; i < m; i++) {
            wide[i] = in[i];
            to_bin(cut, in[i], to);
        }
        keep(cut, wide, m);
    }
}

void ww_quantiles_fold(struct ww_quantiles *q, const void *acc)
{
    for (uint32_t c = 0; c < q->n_cuts && !q->sampling; c++) {
        const struct tile_cut *from = (const struct tile_cut *)acc + c;
        struct ww_quantile *cut = &q->cuts[c];
        if (cut->done) {
            continue;
        }
        if (!cut->bins) {
            cut->bins = ww_calloc(BINS, sizeof(*cut->bins));
            q->no_memory = q->no_memory || !cut->bins;
        }
        cut->larger += from->larger;
        for (size_t b = 0; cut->bins && b < BINS; b++) {
            cut->bins[b].count += from->bins[b].count;
            cut->bins[b].ones |= from->bins[b].ones;
            cut->bins[b].zeros |= from->bins[b].zeros;
        }
    }
}

static int descending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static void set_bracket(struct ww_quantile *cut, uint64_t low, uint64_t high)
{
    cut->low = low;
    cut->high = high;
    cut->larger = 0;
    cut->expected = UINT64_MAX;
    cut->shift = 0;
    while ((high - low) >> cut->shift >= BINS) {
        cut->shift++;
    }
    ww_free(cut->bins);
    ww_free(cut->kept);
    cut->bins = NULL;
    cut->kept = NULL;
}

/* Room for n keys of the bracket. Memory that is out costs a pass. */
static void start_keeping(struct ww_quantile *cut, uint64_t n)
{
    cut->kept = ww_calloc(1, sizeof(*cut->kept) + n * sizeof(cut->kept->keys[0]));
    if (cut->kept) {
        cut->kept->capacity = n;
    }
}

/* keys: the sample, from the largest. */
static void from_sample(const struct ww_quantiles *q, const uint64_t *keys, uint64_t n,
                        struct ww_quantile *cut)
{
    const double share = (double)cut->rank / (double)q->n;
    const double at = share * (double)n;
    const double margin =
        LEAST_MARGIN + DEVIATIONS * sqrt((double)n * share * (1 - share));
    const double first = at - margin;
    const double last = at + margin;

    if (q->stride == 0) {
        cut->key = keys[cut->rank - 1];
        cut->done = true;
        return;
    }
    set_bracket(cut, last < (double)n ? keys[(size_t)last] : q->lowest,
                first > 0 ? keys[(size_t)first] : q->highest);
    cut->expected = (uint64_t)(EXPECTED * margin / (double)n * (double)q->n);
}

/* Keys are kept for as many cuts as there is memory for, those of few keys first. */
static void share_room(const struct ww_quantiles *q)
{
    uint64_t left = q->most_kept;
    struct ww_quantile *next = NULL;

    do {
        next = NULL;
        for (uint32_t c = 0; c < q->n_cuts; c++) {
            struct ww_quantile *cut = &q->cuts[c];
            const bool waits = !cut->done && !cut->kept && cut->expected <= left;
            next = waits && (!next || cut->expected < next->expected) ? cut : next;
        }
        if (next) {
            left -= next->expected;
            start_keeping(next, next->expected);
            next->expected = UINT64_MAX;
        }
    } while (next);
}

/* The key of a rank among the kept ones from first to last, if all of them are there. */
static bool among_kept(struct ww_quantile *cut, uint64_t rank, uint64_t first,
                       uint64_t last, uint64_t *key)
{
    struct ww_quantile_kept *kept = cut->kept;
    const uint64_t n = kept ? atomic_load(&kept->n) : 0;
    uint64_t m = 0;

    if (n > 0 && n <= kept->capacity) {
        for (uint64_t i = 0; i < n; i++) {
            if (kept->keys[i] >= first && kept->keys[i] <= last) {
                kept->keys[m++] = kept->keys[i];
            }
        }
        qsort(kept->keys, m, sizeof(*kept->keys), descending);
    }
    *key = rank <= m ? kept->keys[rank - 1] : 0;
    return rank <= m;
}

static void end_sample(struct ww_quantiles *q)
{
    for (uint32_t v = 0; v < q->n_vectors; v++) {
        uint64_t *keys = q->sample + v * q->capacity;
        const uint64_t n = ww_min_u64(atomic_load(&q->filled[v]), q->capacity);
        qsort(keys, n, sizeof(*keys), descending);
        q->unordered =
            q->unordered || (n > 0 && (keys[0] > q->highest || keys[n - 1] < q->lowest));
        for (uint32_t c = 0; c < q->n_cuts; c++) {
            if (q->cuts[c].vector == v && n > 0) {
                from_sample(q, keys, n, &q->cuts[c]);
            }
        }
    }
    ww_free(q->sample);
    q->sample = NULL;
    share_room(q);
    q->sampling = false;
}

/* A pass over a bracket is done: the key, a narrower bracket, or the next one. */
static void narrow(struct ww_quantiles *q, struct ww_quantile *cut)
{
    uint64_t larger = cut->larger;
    size_t b = BINS;

    if (cut->rank <= larger) { /* the sample misled */
        q->unordered = q->unordered || cut->high >= q->highest;
        set_bracket(cut, cut->high + 1, q->highest);
        return;
    }
    while (b > 0 && larger + cut->bins[b - 1].count < cut->rank) {
        b--;
        larger += cut->bins[b].count;
    }
    if (b == 0) {
        q->unordered = q->unordered || cut->low <= q->lowest;
        set_bracket(cut, q->lowest, cut->low - 1);
        return;
    }
    const struct ww_quantile_bin *bin = &cut->bins[b - 1];
    const uint64_t first = cut->low + ((uint64_t)(b - 1) << cut->shift);
    const uint64_t width = ((uint64_t)1 << cut->shift) - 1;
    const uint64_t count = bin->count;
    cut->done = (bin->ones & bin->zeros) == 0;
    cut->key = bin->ones;
    if (!cut->done) {
        cut->done = among_kept(cut, cut->rank - larger, first, first + width, &cut->key);
    }
    set_bracket(cut, first, first + ww_min_u64(width, cut->high - first));
    cut->expected = count;
}

enum ww_err ww_quantiles_passed(struct ww_quantiles *q, struct ww_merge_job *job,
                                bool *again, struct ww_error *err)
{
    *again = false;
    q->seen = 0;
    if (q->no_memory) {
        return ww_merge_no_memory(job, err);
    }
    if (q->sampling) {
        end_sample(q);
    } else {
        for (uint32_t c = 0; c < q->n_cuts; c++) {
            if (!q->cuts[c].done && q->cuts[c].bins) {
                narrow(q, &q->cuts[c]);
            }
        }
        share_room(q);
    }
    if (q->unordered) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "some weights are too large to compare over the whole model: a "
                       "difference or its size is not finite; merge by another method");
    }
    for (uint32_t c = 0; c < q->n_cuts; c++) {
        *again = *again || (!q->cuts[c].done && q->n > 0);
    }
    return WW_OK;
}
