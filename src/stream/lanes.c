/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests, two to four messages at a time: a processor with SHA instructions hashes two
 * nearly as fast as one (see sha_x86.c), and there is always more than one to hash: the
 * source's file, the output's file, the leaves of the tree. A worker fills two lanes from
 * whatever waits, and more while there are tiles for the other workers; when a lane runs
 * dry it is filled again before the others go on, and when there is nothing to fill it
 * with, a last one rests while the worker makes tiles.
 *
 * Files and inputs are chains (the next job only after this one), leaves are free. The
 * leaves that cross from one job into the next follow their file's chain.
 */
#include "stream/engine.h"
#include "stream/tree.h"
#include "util/fail.h"
#include "util/num.h"

#define ALONE_STEP (WW_MIB / 2) /* then look for company */

static uint64_t rank_of(const struct ww_engine *e, const struct ww_part *part)
{
    return e->plan->tree[part->live->piece->tree_index].rank;
}

static bool idle(const struct ww_lane *lane)
{
    return !lane->file && !lane->part && !lane->feed;
}

static bool skip_done(struct ww_job *job)
{
    while (job->leaf_part < job->n_parts &&
           job->parts[job->leaf_part].next_leaf == job->parts[job->leaf_part].end_leaf) {
        job->leaf_part++;
    }
    return job->leaf_part < job->n_parts;
}

static bool take_leaf(struct ww_engine *e, struct ww_lane *lane)
{
    struct ww_job *job = ww_list_first(&e->leaves);
    if (!job || !skip_done(job)) {
        return false;
    }
    struct ww_part *part = &job->parts[job->leaf_part];
    lane->job = job;
    lane->part = part;
    lane->leaf = part->next_leaf++;
    if (!skip_done(job)) {
        ww_list_remove(&job->leaf_node);
    }
    return true;
}

static bool take_file(struct ww_engine *e, struct ww_lane *lane)
{
    lane->file = ww_list_pop(&e->hashes);
    if (!lane->file) {
        return false;
    }
    lane->job = ww_list_first(&lane->file->to_hash);
    lane->sha = &lane->file->sha;
    lane->p = lane->job->out;
    lane->n = lane->job->n_bytes;
    lane->next_part = 0;
    lane->tail = false;
    return true;
}

static bool take_feed(struct ww_engine *e, struct ww_lane *lane)
{
    lane->feed = ww_list_pop(&e->feeding);
    if (!lane->feed) {
        return false;
    }
    lane->load = ww_list_first(&lane->feed->line);
    lane->sha = &lane->feed->sha;
    lane->p = lane->load->data;
    lane->n = lane->load->n_bytes;
    if (lane->feed->walk) {
        lane->sha = &lane->feed->walk->leaf;
        lane->n = 0; /* the first run is found without the lock */
    }
    return true;
}

static bool take(struct ww_engine *e, struct ww_lane *lane)
{
    return take_file(e, lane) || take_feed(e, lane) || take_leaf(e, lane);
}

static void begin_leaf(const struct ww_engine *e, struct ww_sha *sha,
                       const struct ww_part *part, uint64_t offset)
{
    uint8_t prefix[WW_TREE_PREFIX];
    ww_tree_leaf_prefix(rank_of(e, part), offset, prefix);
    ww_sha_reset(sha);
    ww_sha_update(sha, prefix, sizeof(prefix));
}

/* The next run of a leaf of an input's tensor. */
static bool next_of_tree(struct ww_lane *lane)
{
    return ww_input_walk_next(lane->feed->walk, lane->load->data, lane->load->offset,
                              lane->load->n_bytes, &lane->p, &lane->n);
}

/* What follows the taking but needs no lock. */
static void begin(const struct ww_engine *e, struct ww_lane *lane)
{
    if (lane->feed && lane->feed->walk) {
        (void)next_of_tree(lane); /* without one the lane is dry at once */
        return;
    }
    if (!lane->part) {
        return;
    }
    const struct ww_part *part = lane->part;
    uint64_t offset = lane->leaf * WW_TREE_CHUNK;
    begin_leaf(e, &lane->own, part, offset);
    lane->sha = &lane->own;
    lane->p = lane->job->out + part->out_at + (offset - part->piece_offset);
    lane->n = ww_min_u64(WW_TREE_CHUNK, part->live->piece->n_bytes - offset);
}

/* The head of the part at hand was hashed: it may end a leaf. */
static void end_head(struct ww_lane *lane)
{
    const struct ww_part *part = &lane->job->parts[lane->next_part];
    if (part->head_ends) {
        ww_sha_final(lane->sha, part->live->leaves[part->piece_offset / WW_TREE_CHUNK]);
    }
}

/* The next run of bytes of a crossing leaf: per part its head, then its tail. Parts
 * without any must not be followed to their piece, which may have been closed by now. */
static bool next_crossing(const struct ww_engine *e, struct ww_lane *lane)
{
    const struct ww_job *job = lane->job;
    struct ww_sha *sha = &lane->file->leaf;

    if (lane->sha == sha && !lane->tail) {
        end_head(lane);
        lane->tail = true;
    } else if (lane->sha == sha) {
        lane->tail = false;
        lane->next_part++;
    }
    for (; lane->next_part < job->n_parts; lane->next_part++, lane->tail = false) {
        const struct ww_part *part = &job->parts[lane->next_part];
        const uint8_t *bytes = job->out + part->out_at;
        lane->sha = sha;
        if (!lane->tail && part->head > 0) {
            lane->p = bytes;
            lane->n = part->head;
            return true;
        }
        lane->tail = true;
        if (part->tail > 0) {
            begin_leaf(e, sha, part, part->piece_offset + part->n_bytes - part->tail);
            lane->p = bytes + (part->n_bytes - part->tail);
            lane->n = part->tail;
            return true;
        }
    }
    return false;
}

/* The bytes at hand are hashed: more of the same message, or its end. */
static bool go_on(struct ww_engine *e, struct ww_lane *lane)
{
    if (lane->file && next_crossing(e, lane)) {
        return true;
    }
    if (lane->feed && lane->feed->walk && next_of_tree(lane)) {
        return true;
    }
    if (lane->file && lane->job->last) {
        ww_sha_final(&lane->file->sha, e->result->output_sha256[lane->job->output]);
    }
    if (lane->part) {
        ww_sha_final(lane->sha, lane->part->live->leaves[lane->leaf]);
    }
    return false;
}

/* With the lock held. */
static void end(struct ww_engine *e, struct ww_lane *lane)
{
    if (lane->file) {
        ww_flow_hashed(e, lane->file, lane->job);
    } else if (lane->part) {
        ww_flow_leaf_done(e, lane->job, lane->part->live);
    } else {
        ww_flow_fed(e, lane->feed, lane->load);
    }
    lane->file = NULL;
    lane->part = NULL;
    lane->feed = NULL;
}

/* An idle lane has no bytes, and no place of them either. */
static void took(struct ww_lane *lane, uint64_t n)
{
    if (!idle(lane)) {
        lane->p += n;
        lane->n -= n;
    }
}

/* Hash in all lanes until one runs dry, or a little in the one that has something. */
static void hash_step(struct ww_worker *w)
{
    struct ww_sha *sha[WW_SHA_AT_ONCE];
    const uint8_t *p[WW_SHA_AT_ONCE];
    unsigned k = 0;
    uint64_t n = UINT64_MAX;

    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        const struct ww_lane *lane = &w->lanes[i];
        if (!idle(lane)) {
            sha[k] = lane->sha;
            p[k] = lane->p;
            n = ww_min_u64(n, lane->n);
            k++;
        }
    }
    n = k == 1 ? ww_min_u64(n, ALONE_STEP) : n;
    ww_sha_update_all(sha, p, k, n);
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        took(&w->lanes[i], n);
    }
}

static bool at_end(struct ww_engine *e, struct ww_lane *lane)
{
    while (lane->n == 0) {
        if (!go_on(e, lane)) {
            return true;
        }
    }
    return false;
}

/* Is there enough to go on with? Leaves seldom come alone, so they count as two. */
static bool worth_it(const struct ww_engine *e, const struct ww_worker *w, bool pair_only)
{
    unsigned n = ww_list_first(&e->leaves) ? 2 : 0;
    n += ww_list_first(&e->hashes) ? 1 : 0;
    n += ww_list_first(&e->feeding) ? 1 : 0;
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        n += idle(&w->lanes[i]) ? 0 : 1;
    }
    return n >= (pair_only ? 2 : 1);
}

/* Not worth another tile. */
#define LITTLE ((uint64_t)64 << 10)

struct ww_lane *ww_lanes_lend(struct ww_engine *e, struct ww_worker *w)
{
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        if (!idle(&w->lanes[i])) {
            return &w->lanes[i];
        }
    }
    return e->fast_sha && take_file(e, &w->lanes[0]) ? &w->lanes[0] : NULL;
}

bool ww_lanes_settle(struct ww_engine *e, struct ww_lane *lane)
{
    if (lane->n < LITTLE) {
        ww_sha_update(lane->sha, lane->p, lane->n);
        lane->p += lane->n;
        lane->n = 0;
    }
    return at_end(e, lane);
}

void ww_lanes_end(struct ww_engine *e, struct ww_lane *lane)
{
    end(e, lane);
}

/* Two messages for each worker; more of them in one while tiles wait for the others. */
static void fill(struct ww_engine *e, struct ww_worker *w, bool *is_new)
{
    const unsigned most = ww_list_first(&e->tiles) ? WW_SHA_AT_ONCE : 2;
    unsigned busy = 0;

    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        busy += idle(&w->lanes[i]) ? 0 : 1;
    }
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        is_new[i] = busy < most && idle(&w->lanes[i]) && take(e, &w->lanes[i]);
        busy += is_new[i] ? 1 : 0;
    }
}

bool ww_lanes_run(struct ww_engine *e, struct ww_worker *w, bool pair_only)
{
    bool is_new[WW_SHA_AT_ONCE];
    bool ended[WW_SHA_AT_ONCE];

    if (!worth_it(e, w, pair_only)) {
        return false;
    }
    fill(e, w, is_new);
    pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        if (is_new[i]) {
            begin(e, &w->lanes[i]);
        }
    }
    hash_step(w);
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        ended[i] = !idle(&w->lanes[i]) && at_end(e, &w->lanes[i]);
    }
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < WW_LEN(w->lanes); i++) {
        if (ended[i]) {
            end(e, &w->lanes[i]);
        }
    }
    return true;
}
