/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of each source, and the passes that find it out: the cuts of a selection
 * by magnitude, then the sums of magnitudes before and after.
 */
#include <string.h>

#include "merge/sparse.h"
#include "merge/mask.h"
#include "merge/peer.h"
#include "merge/stored_sums.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/num.h"

#define NO_MASS 1e-7 /* a sum of magnitudes below it rescales nothing */
#define MOST_KEPT_BYTES ((uint64_t)64 << 20)

size_t ww_sparse_room_bytes(const struct ww_merge_job *job)
{
    return job->max_block *
           (sizeof(uint64_t) * 3 + WW_ROW_KEEP_SCRATCH(1) + sizeof(uint32_t) + 2);
}

struct ww_sparse_room ww_sparse_room(const struct ww_merge_job *job, void *scratch)
{
    struct ww_sparse_room r;
    size_t n = job->max_block;
    r.keys = scratch;
    r.hashes = r.keys + n;
    r.numbers = (double *)(r.hashes + n);
    r.rows = (uint8_t *)(r.numbers + n);
    r.draws = (uint32_t *)(r.rows + WW_ROW_KEEP_SCRATCH(n));
    r.keep = (uint8_t *)(r.draws + n);
    r.outlier = r.keep + n;
    return r;
}

bool ww_sparse_by_content(const struct ww_merge_job *job)
{
    const struct ww_sparse *f = job->state;
    return job->plan->order_free &&
           (f->keep == WW_KEEP_RANDOM || f->keep == WW_KEEP_RANKED);
}

struct ww_row_odds ww_sparse_odds(const struct ww_merge_job *job,
                                  const struct ww_sparse_source *s)
{
    return (struct ww_row_odds){
        .low = s->density - s->extra,
        .step = 2 * s->extra / (double)(job->n_cols - 1),
        .shared = job->plan->order_free,
        .last = s->last,
    };
}

enum ww_err ww_sparse_start_sums(struct ww_merge_job *job, struct ww_error *err)
{
    struct ww_sparse *f = job->state;
    const uint64_t bytes = ww_div_up(job->n, 8);

    f->summing = true;
    f->sums = ww_calloc(2 * (size_t)job->n_sources, sizeof(*f->sums));
    job->acc_bytes = 2 * job->n_sources * sizeof(*f->sums);
    job->narrow = job->can_narrow && !f->wide && !ww_sparse_by_content(job);
    if (f->sums && job->tile_elements % 8 == 0 && job->max_block % 8 == 0 &&
        bytes <= MOST_KEPT_BYTES / job->n_sources) {
        f->kept_bytes = bytes;
        f->kept = ww_calloc(job->n_sources, bytes);
    }
    return f->sums && (f->kept || !f->kept_bytes) ? WW_OK : ww_merge_no_memory(job, err);
}

uint8_t *ww_sparse_kept_bits(const struct ww_sparse *f, const struct ww_merge_block *b,
                             uint32_t source)
{
    return f->kept + source * f->kept_bytes + b->first / 8;
}

WW_CLONES static void at_most(const uint32_t *restrict draws, uint32_t last, size_t n,
                              uint8_t *restrict keep)
{
    for (size_t i = 0; i < n; i++) {
        keep[i] = draws[i] <= last;
    }
}

/* Draws are whole numbers: below is up to the last whole number before it; 0 < density
 * < 1.
 */
static uint32_t last_draw(const struct ww_sparse_source *s)
{
    const double below = s->density * 0x1p32;
    const uint32_t whole = (uint32_t)below;
    return whole - (whole == below);
}

static void draw(const struct ww_merge_job *job, const struct ww_merge_block *b,
                 uint32_t source, const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;

    ww_mask_draw(f->key, source, b->first, b->n, job->plan->order_free ? r->hashes : NULL,
                 r->draws);
}

static void keep_random(const struct ww_merge_job *job, const struct ww_merge_block *b,
                        uint32_t source, const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;

    draw(job, b, source, r);
    at_most(r->draws, last_draw(&f->sources[source]), b->n, r->keep);
}

/* The larger the magnitude within its row, the likelier it is kept. */
static void keep_ranked(const struct ww_merge_job *job, const struct ww_merge_block *b,
                        uint32_t source, const uint32_t *keys,
                        const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;
    const struct ww_sparse_source *s = &f->sources[source];
    const struct ww_row_odds odds = ww_sparse_odds(job, s);

    draw(job, b, source, r);
    for (size_t row = 0; row < b->n; row += job->n_cols) {
        ww_row_keep(keys + row, r->draws + row, job->n_cols, &odds, r->rows,
                    r->keep + row);
    }
}

/* above[i]: is the element above a cut? */
static void keep_above(const struct ww_merge_job *job, const struct ww_merge_block *b,
                       uint32_t source, uint32_t cut, uint64_t *keys, uint8_t *above)
{
    const struct ww_sparse *f = job->state;
    const struct ww_cut *c = &f->select.cuts[cut];
    uint64_t *seen = (uint64_t *)b->local + cut;

    if (job->narrow) {
        for (size_t i = 0; i < b->n; i++) {
            keys[i] = b->keys[source][i];
        }
        ww_select_above(c, b->tile, keys, b->n, seen, above);
        return;
    }
    if (!f->wide) {
        ww_select_above_float(c, b->tile, b->x[source], b->n, keys, seen, above);
        return;
    }
    ww_key_magnitudes(b->x[source], b->n, true, keys);
    ww_select_above(c, b->tile, keys, b->n, seen, above);
}

WW_CLONES static void leave_out(const uint8_t *restrict outlier, size_t n,
                                uint8_t *restrict keep)
{
    for (size_t i = 0; i < n; i++) {
        keep[i] = outlier[i] ? 0 : keep[i];
    }
}

void ww_sparse_select(const struct ww_merge_job *job, const struct ww_merge_block *b,
                      uint32_t source, const struct ww_sparse_room *r)
{
    const struct ww_sparse *f = job->state;
    const struct ww_sparse_source *s = &f->sources[source];

    if (s->density >= 1 || s->density <= 0) {
        memset(r->keep, s->density >= 1, b->n);
        return;
    }
    if (f->keep == WW_KEEP_RANDOM) {
        keep_random(job, b, source, r);
        return;
    }
    if (f->keep == WW_KEEP_RANKED) {
        uint32_t *keys = (uint32_t *)r->keys;
        if (!job->narrow) {
            ww_key_magnitudes32(b->x[source], b->n, keys);
        }
        keep_ranked(job, b, source, job->narrow ? b->keys[source] : keys, r);
        return;
    }
    keep_above(job, b, source, s->top, r->keys, r->keep);
    if (s->outlier != WW_SPARSE_NO_CUT) {
        keep_above(job, b, source, s->outlier, r->keys, r->outlier);
        leave_out(r->outlier, b->n, r->keep);
    }
}

void ww_sparse_scan(const struct ww_merge_job *job, unsigned pass,
                    const struct ww_merge_block *b, void *acc)
{
    const struct ww_sparse *f = job->state;
    struct ww_sparse_room r = ww_sparse_room(job, b->scratch);
    struct ww_magsum *sums = acc;
    (void)pass;

    if (f->summing && ww_sparse_by_content(job)) {
        ww_mask_hash(job, b, r.hashes);
    }
    for (uint32_t s = 0; s < job->n_sources; s++) {
        if (job->narrow && !f->summing) {
            ww_bracket_scan(f->bracket, s, b->keys[s], b->n, acc);
            continue;
        }
        if (!f->summing) {
            ww_key_magnitudes(b->x[s], b->n, f->wide, r.keys);
            ww_select_scan(&f->select, s, r.keys, b->n, acc);
            continue;
        }
        ww_sparse_select(job, b, s, &r);
        if (f->kept) {
            ww_mask_pack(r.keep, b->n, ww_sparse_kept_bits(f, b, s));
        }
        if (job->narrow) {
            ww_magsum_add_keys(&sums[2 * s], b->keys[s], r.keep, b->n);
        } else {
            ww_magsum_add_split(&sums[2 * s], b->x[s], r.keep, b->n);
        }
    }
}

/* The bits of what is kept of a source, in the pass of sums by place. */
static void select_stored(const struct ww_merge_job *job, const struct ww_merge_block *b,
                          uint32_t source, const uint8_t *x, const uint8_t *base,
                          const struct ww_sparse_room *r, uint8_t *bits)
{
    const struct ww_sparse *f = job->state;
    const struct ww_sparse_source *s = &f->sources[source];
    uint32_t *keys = (uint32_t *)r->keys;

    if (s->density >= 1 || s->density <= 0) {
        memset(bits, s->density >= 1 ? 0xff : 0, ww_div_up(b->n, 8));
        return;
    }
    if (f->keep == WW_KEEP_RANDOM) {
        if (!ww_mask_draw_bits(f->key, source, b->first, b->n, last_draw(s), bits)) {
            draw(job, b, source, r);
            ww_stored_drawn(r->draws, last_draw(s), b->n, bits);
        }
        return;
    }
    ww_stored_keys(x, base, b->n, keys);
    keep_ranked(job, b, source, keys, r);
    ww_mask_pack(r->keep, b->n, bits);
}

static bool sum_stored(const struct ww_merge_job *job, const struct ww_merge_block *b,
                       const uint8_t *const *x, const uint8_t *base,
                       struct ww_magsum *sums)
{
    const struct ww_sparse *f = job->state;
    const struct ww_sparse_room r = ww_sparse_room(job, b->scratch);
    bool finite = ww_stored_finite(base, b->n);

    for (uint32_t s = 0; s < job->n_sources && finite; s++) {
        finite = ww_stored_finite(x[s], b->n);
    }
    for (uint32_t s = 0; s < job->n_sources && finite; s++) {
        uint8_t *bits = f->kept ? ww_sparse_kept_bits(f, b, s) : r.outlier;
        select_stored(job, b, s, x[s], base, &r, bits);
        ww_stored_magsum(&sums[2 * s], x[s], base, b->n, bits);
    }
    return finite;
}

bool ww_sparse_scan_stored(const struct ww_merge_job *job, unsigned pass,
                           const struct ww_merge_block *b, const uint8_t *const *x,
                           const uint8_t *base, void *acc)
{
    const struct ww_sparse *f = job->state;
    const bool by_cuts = f->keep == WW_KEEP_TOP || f->keep == WW_KEEP_MIDDLE;
    (void)pass;

    if (!job->narrow || (f->summing && by_cuts)) {
        return false;
    }
    return f->summing
               ? sum_stored(job, b, x, base, acc)
               : ww_bracket_scan_stored(f->bracket, x, job->n_sources, base, b->n, acc);
}

void ww_sparse_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                    const void *acc)
{
    struct ww_sparse *f = job->state;
    const struct ww_magsum *sums = acc;
    (void)pass;

    if (job->narrow && !f->summing) {
        ww_bracket_fold(f->bracket, tile, acc);
        return;
    }
    if (!f->summing) {
        ww_select_fold(&f->select, tile, acc);
        return;
    }
    for (uint32_t i = 0; i < job->n_sources; i++) {
        ww_magsum_merge(&f->sums[2 * i], &sums[2 * i]); /* what goes */
        ww_magsum_merge(&f->sums[2 * i], &sums[2 * i + 1]);
        ww_magsum_merge(&f->sums[2 * i + 1], &sums[2 * i + 1]);
    }
}

enum ww_err ww_sparse_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                              struct ww_error *err)
{
    struct ww_sparse *f = job->state;
    enum ww_err rc = WW_OK;
    (void)pass;

    if (!f->summing) {
        rc = job->narrow ? ww_bracket_scanned(f->bracket, job, again, err)
                         : ww_select_scanned(&f->select, job, again, err);
        if (!rc && !*again && f->rescale) {
            *again = true;
            rc = ww_sparse_start_sums(job, err);
        }
        return rc;
    }
    *again = false;
    job->narrow = false;
    for (uint32_t s = 0; s < job->n_sources; s++) {
        double all = ww_magsum_value(&f->sums[2 * s]);
        double kept = ww_magsum_value(&f->sums[2 * s + 1]);
        if (job->plan->peer) {
            all = ww_peer_value(job->tensor->compute, all);
            kept = ww_peer_value(job->tensor->compute, kept);
        }
        f->sources[s].factor = all < NO_MASS || kept < NO_MASS ? 1 : all / kept;
        if (job->plan->peer) {
            f->sources[s].factor =
                ww_peer_value(job->tensor->compute, f->sources[s].factor);
        }
    }
    return WW_OK;
}
