/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tile is read in chunks of half a MiB for all inputs together, a chunk is handed to
 * the method in blocks of 256 or 1024 elements or of whole rows, so that bytes stay in a
 * cache and the doubles of all inputs in the nearest one. NaN and infinity are looked for
 * in the stored bytes, where the test is an integer compare, before any arithmetic can
 * hide or spread them.
 */
#include "merge/walk_work.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "merge/changes.h"
#include "merge/moved.h"
#include "merge/walk_stored.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define ALIGN 64u
#define AT_ONCE 128u

/* Hands out ranges of the one block of memory; a first round without memory measures. */
struct carve {
    uint8_t *base;
    uint64_t at;
};

static void *take(struct carve *c, uint64_t n)
{
    void *p = c->base ? c->base + c->at : NULL;
    c->at += ww_round_up(ww_max_u64(n, 1), ALIGN);
    return p;
}

static uint64_t lay_out(struct ww_walk *w, const struct ww_merge_item *item, bool reads,
                        uint8_t *memory)
{
    struct carve c = {memory, 0};
    const struct ww_merge_job *job = &item->job;
    uint64_t block = job->max_block * sizeof(double);
    uint64_t chunk = ww_min_u64(item->n_chunk, ww_max_u64(job->n, 1));

    for (uint32_t i = 0; i < job->n_x; i++) {
        w->x[i] = take(&c, block);
    }
    w->base = take(&c, block);
    w->out = take(&c, block);
    for (uint32_t i = 0; i < item->n_in && reads; i++) {
        w->bytes[i] = take(&c, chunk * ww_walk_size(item->in[i]->dtype));
    }
    w->local = take(&c, job->local_bytes);
    w->acc = take(&c, job->acc_bytes);
    w->scratch = take(&c, job->scratch_bytes);
    return c.at;
}

uint64_t ww_walk_bytes(const struct ww_merge_item *item, bool reads)
{
    struct ww_walk measure;
    return lay_out(&measure, item, reads, NULL) + sizeof(struct ww_walk);
}

enum ww_err ww_walk_new(const struct ww_merge_item *item, bool reads,
                        struct ww_walk **out, struct ww_error *err)
{
    struct ww_walk *w = ww_calloc(1, sizeof(*w));
    *out = NULL;
    if (!w) {
        return ww_merge_no_memory(&item->job, err);
    }
    w->item = item;
    w->memory = ww_alloc_aligned(ALIGN, ww_walk_bytes(item, reads));
    if (!w->memory) {
        ww_free(w);
        return ww_merge_no_memory(&item->job, err);
    }
    (void)lay_out(w, item, reads, w->memory);
    *out = w;
    return WW_OK;
}

void ww_walk_free(struct ww_walk *walk)
{
    if (walk) {
        ww_free(walk->memory);
        ww_free(walk);
    }
}

void *ww_walk_acc(const struct ww_walk *walk)
{
    return walk->acc;
}

/* Values that the dtype of the recipe does not hold: a selection might leave them out, so
 * that some seeds would find them and others not. */
static enum ww_err check_held(const struct ww_merge_item *item, uint32_t i,
                              const uint8_t *bytes, uint64_t n, struct ww_error *err)
{
    const struct ww_merge_source *s = item->in[i];
    const enum ww_dtype compute = ww_walk_compute(item, i);
    uint64_t bad = 0;

    for (uint64_t at = 0; at < n && !ww_walk_holds(compute, s->dtype); at += AT_ONCE) {
        const size_t m = (size_t)ww_min_u64(AT_ONCE, n - at);
        double x[AT_ONCE];
        uint8_t narrow[AT_ONCE * sizeof(double)];
        ww_to_double(s->dtype, bytes + at * ww_walk_size(s->dtype), x, m);
        ww_from_double(compute, x, narrow, m);
        bad += ww_count_nonfinite(compute, narrow, m);
    }
    return bad == 0
               ? WW_OK
               : WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.200s': %" PRIu64 " values of '%.200s' are too "
                         "large for %s, the dtype of the recipe",
                         item->job.tensor->name, bad,
                         item->job.plan->inputs[s->input].name, ww_dtype_name(compute));
}

/* An infinite number that stands alone and is copied (build_copied.c). */
static bool is_limit(const struct ww_merge_item *item, enum ww_dtype dtype,
                     const uint8_t *bytes)
{
    const struct ww_method_ops *ops = item->job.ops;
    double x = 0;

    if (item->job.n != 1 || !ops->copies || !ops->copies(&item->job)) {
        return false;
    }
    ww_to_double(dtype, bytes, &x, 1);
    return isinf(x);
}

static enum ww_err check_finite(const struct ww_merge_item *item, uint32_t i,
                                const uint8_t *bytes, uint64_t n, struct ww_error *err)
{
    const struct ww_merge_source *s = item->in[i];
    uint64_t bad = ww_count_nonfinite(s->dtype, bytes, n);
    if (bad && is_limit(item, s->dtype, bytes)) {
        return WW_OK;
    }
    if (bad) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%.200s': %" PRIu64 " values of '%.200s' are NaN or "
                       "infinite and would spread",
                       item->job.tensor->name, bad,
                       item->job.plan->inputs[s->input].name);
    }
    return check_held(item, i, bytes, n, err);
}

static enum ww_err check_inputs(const struct ww_merge_item *item,
                                const uint8_t *const *in, uint64_t n,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t i = 0; i < item->n_in && !rc; i++) {
        rc = check_finite(item, i, in[i], n, err);
    }
    return rc;
}

/* A sum that cancels is +0 whatever the signs were. Among locked models a 0 must turn
 * with its element, so it takes the sign of the base, or of the first model. */
static void sign_zeros(const struct ww_merge_block *b)
{
    const double *like = b->base ? b->base : b->x[0];
    for (size_t i = 0; i < b->n; i++) {
        b->out[i] = b->out[i] == 0 ? copysign(0, like[i]) : b->out[i];
    }
}

/* What a walk does with a block: scan of a pass, or the output. */
struct goal {
    bool scan;
    unsigned pass;
    uint8_t *out;
    struct ww_walk_stored stored; /* the short way */
};

/* What is known of a chunk: its inputs are finite, and what was made of them. */
struct seen {
    bool inputs;
    bool result;
};

/* One block by way of doubles. */
static enum ww_err long_way(struct ww_walk *w, const uint8_t *const *in, uint64_t at,
                            struct ww_merge_block *b, struct ww_changes *noted,
                            const struct goal *goal, struct ww_error *err)
{
    const struct ww_merge_job *job = &w->item->job;
    const enum ww_dtype dtype = job->tensor->dtype;
    const uint32_t *keys[WW_WALK_IN];

    b->keys = job->narrow ? keys : NULL;
    if (goal->scan && job->narrow) {
        ww_walk_load_keys(w, in, at, b->n, keys);
    } else {
        ww_walk_load(w, in, at, b->n);
    }
    if (goal->scan) {
        job->ops->scan(job, goal->pass, b, w->acc);
        return WW_OK;
    }
    if (noted) {
        ww_changes_before(noted, job, b);
    }
    enum ww_err rc = job->ops->block(job, b, err);
    if (rc) {
        return rc;
    }
    if (noted) {
        ww_changes_after(noted, job, b);
    }
    if (job->plan->moved) {
        ww_moved_note(job->plan->moved, job, b);
    }
    if (job->plan->order_free) {
        sign_zeros(b);
    }
    ww_from_double(dtype, w->out, goal->out + at * ww_walk_size(dtype), b->n);
    return WW_OK;
}

static bool short_way(struct ww_walk *w, const uint8_t *const *in, uint64_t at,
                      const struct ww_merge_block *b, const struct goal *goal)
{
    const struct ww_merge_item *item = w->item;
    const size_t size = ww_walk_size(item->job.tensor->dtype);
    const uint8_t *from[WW_WALK_IN + 1];

    for (uint32_t i = 0; i < item->n_in; i++) {
        from[i] = in[i] + at * size;
    }
    return ww_walk_stored_block(&goal->stored, b, from,
                                goal->scan ? w->acc : goal->out + at * size);
}

static enum ww_err blocks(struct ww_walk *w, const uint8_t *const *in, uint64_t first,
                          uint64_t n, uint64_t tile, const struct goal *goal,
                          struct seen *seen, struct ww_error *err)
{
    const struct ww_merge_job *job = &w->item->job;
    struct ww_merge_block b = {
        .tile = tile,
        .x = w->x,
        .base = job->tensor->base ? w->base : NULL,
        .out = w->out,
        .local = w->local,
        .scratch = w->scratch,
    };
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n && !rc; at += b.n) {
        b.first = first + at;
        b.n = ww_min_u64(job->max_block, n - at);
        struct ww_changes *noted =
            !goal->scan && job->plan->changes && ww_changes_wants(job, &b)
                ? job->plan->changes
                : NULL;
        const bool asked = noted || (!goal->scan && ww_moved_asks(job->plan->moved));
        if (goal->stored.usable && !asked && short_way(w, in, at, &b, goal)) {
            continue;
        }
        if (!seen->inputs) {
            rc = check_inputs(w->item, in, n, err);
            seen->inputs = true;
        }
        seen->result = false;
        rc = rc ? rc : long_way(w, in, at, &b, noted, goal, err);
    }
    return rc;
}

static enum ww_err check_result(const struct ww_merge_item *item,
                                const uint8_t *const *in, const uint8_t *out, uint64_t n,
                                struct ww_error *err)
{
    const enum ww_dtype dtype = item->job.tensor->dtype;

    return ww_count_nonfinite(dtype, out, n) == 0 ||
                   is_limit(item, item->in[0]->dtype, in[0])
               ? WW_OK
               : WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.200s': the result is NaN or infinite in %s; use "
                         "smaller weights or a wider dtype",
                         item->job.tensor->name, ww_dtype_name(dtype));
}

/* Bytes of source 0 that would come back as they are: nothing is rounded, and nobody
 * looks at the numbers on the way. mergekit's sum begins with +0, which takes a sign. */
static bool is_copy(const struct ww_merge_job *job)
{
    const struct ww_merge_tensor *t = job->tensor;
    return job->ops->copies && job->ops->copies(job) && !job->plan->peer &&
           !job->plan->changes && !job->plan->moved && t->sources[0].dtype == t->dtype &&
           ww_walk_holds(t->compute, t->dtype);
}

/* One chunk: bytes given, or read; then checked, then walked over. On the short way what
 * is not finite shows when it was summed. */
static enum ww_err chunk(struct ww_walk *w, const uint8_t *const *given, uint64_t first,
                         uint64_t n, uint64_t tile, const struct goal *goal,
                         struct ww_error *err)
{
    const struct ww_merge_item *item = w->item;
    const uint8_t *in[WW_WALK_IN + 1];
    uint64_t skip = first - tile * item->job.tile_elements;
    struct seen seen = {.inputs = given && item->finite};

    for (uint32_t i = 0; i < item->n_in; i++) {
        enum ww_err rc = WW_OK;
        if (given) {
            in[i] = given[i] + skip * ww_walk_size(item->in[i]->dtype);
        } else if (item->lent) {
            in[i] = item->lent[i] + first * ww_walk_size(item->in[i]->dtype);
        } else {
            in[i] = w->bytes[i];
            rc = ww_walk_read(item, i, first, n, w->bytes[i], err);
        }
        if (!rc && !seen.inputs && !goal->stored.usable) {
            rc = check_finite(item, i, in[i], n, err);
        }
        if (rc) {
            return rc;
        }
    }
    if (goal->out && is_copy(&item->job)) {
        memcpy(goal->out, in[0], n * ww_walk_size(item->job.tensor->dtype));
        return WW_OK;
    }
    seen.inputs = seen.inputs || !goal->stored.usable;
    seen.result = goal->stored.usable;
    enum ww_err rc = blocks(w, in, first, n, tile, goal, &seen, err);
    return rc || !goal->out || seen.result ? rc
                                           : check_result(item, in, goal->out, n, err);
}

/* What a sample sees of a tile: the parts of spots that lie in it. */
static enum ww_err spots(struct ww_walk *w, uint64_t tile, const struct goal *goal,
                         uint64_t first, uint64_t end, struct ww_error *err)
{
    const struct ww_merge_job *job = &w->item->job;
    const uint64_t most = ww_min_u64(job->spot_elements, w->item->n_chunk);
    enum ww_err rc = WW_OK;

    const uint64_t behind = first - ww_min_u64(first, job->spot_first);

    for (uint64_t at =
             job->spot_first + ww_div_up(behind, job->spot_stride) * job->spot_stride;
         at < end && !rc; at += job->spot_stride) {
        rc = chunk(w, NULL, at, ww_min_u64(most, end - at), tile, goal, err);
    }
    return rc;
}

static enum ww_err tile_walk(struct ww_walk *w, const uint8_t *const *given,
                             uint64_t tile, struct goal goal, struct ww_error *err)
{
    const struct ww_merge_item *item = w->item;
    const struct ww_merge_job *job = &item->job;
    size_t size = ww_walk_size(job->tensor->dtype);
    uint64_t first = tile * job->tile_elements;
    uint64_t end = ww_min_u64(job->n, first + job->tile_elements);
    const uint64_t step = item->n_chunk;

    memset(w->local, 0, job->local_bytes);
    if (goal.scan) {
        memset(w->acc, 0, job->acc_bytes);
    }
    if (goal.scan || !is_copy(job)) {
        ww_walk_stored_begin(&goal.stored, item, goal.scan, goal.pass);
    }
    if (goal.scan && job->spot_stride) {
        return spots(w, tile, &goal, first, end, err);
    }
    for (uint64_t at = first; at < end; at += step) {
        uint64_t n = ww_min_u64(step, end - at);
        enum ww_err rc = chunk(w, given, at, n, tile, &goal, err);
        if (rc) {
            return rc;
        }
        goal.out = goal.out ? goal.out + n * size : NULL;
    }
    return WW_OK;
}

enum ww_err ww_walk_scan(struct ww_walk *walk, unsigned pass, uint64_t tile,
                         struct ww_error *err)
{
    struct goal goal = {.scan = true, .pass = pass};
    return tile_walk(walk, NULL, tile, goal, err);
}

enum ww_err ww_walk_write(struct ww_walk *walk, const uint8_t *const *in, uint64_t tile,
                          uint8_t *out, struct ww_error *err)
{
    struct goal goal = {.out = out};

    return tile_walk(walk, in, tile, goal, err);
}
