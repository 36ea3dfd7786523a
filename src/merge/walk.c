/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tile is read in chunks of half a MiB for all inputs together, a chunk is handed to
 * the method in blocks of 256 or 1024 elements or of whole rows, so that bytes stay in a
 * cache and the doubles of all inputs in the nearest one. NaN and infinity are looked for
 * in the stored bytes, where the test is an integer compare, before any arithmetic can
 * hide or spread them.
 */
#include "merge/walk.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "merge/changes.h"
#include "merge/moved.h"
#include "merge/peer.h"
#include "merge/walk_stored.h"
#include "merge/weighted.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"
#include "util/float_bits.h"
#include "util/fs.h"
#include "util/num.h"

#define BLOCK 1024u
#define SMALL_BLOCK 256u
#define CHUNK_BYTES ((uint64_t)512 << 10)
#define ALIGN 64u
#define MAX_IN 64u

struct ww_walk {
    const struct ww_merge_item *item;
    double *x[MAX_IN];
    double *base;
    double *out;
    uint8_t *bytes[MAX_IN + 1];
    uint8_t *local;
    uint8_t *acc;
    uint8_t *scratch;
    uint8_t *memory;
};

static size_t size_of(enum ww_dtype dtype)
{
    return ww_dtype_bits(dtype) / 8;
}

static uint64_t bytes_of_element(const struct ww_merge_item *item)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < item->n_in; i++) {
        sum += size_of(item->in[i]->dtype);
    }
    return sum;
}

static void line_up(struct ww_merge_item *item)
{
    const struct ww_merge_tensor *t = item->job.tensor;
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_sources; i++) {
        item->in[n++] = &t->sources[i];
    }
    const bool walked = t->stats && t->method->stats == WW_STATS_SHAPE;
    for (uint32_t i = 0; walked && i < t->n_sources; i++) {
        item->in[n++] = &t->stats[i];
    }
    item->job.n_x = n;
    if (t->base) {
        item->in[n++] = t->base;
    }
    item->n_in = n;
}

static void set_shape(struct ww_merge_item *item)
{
    const struct ww_merge_tensor *t = item->job.tensor;
    struct ww_merge_job *job = &item->job;

    job->n = 1;
    for (unsigned a = 0; a < t->rank; a++) {
        job->n *= t->shape[a]; /* checked by ww_merge_check */
    }
    job->n_cols = t->rank ? t->shape[t->rank - 1] : 1;
    job->n_rows = job->n_cols ? job->n / job->n_cols : 0;
    item->axis_elements = t->rank && t->shape[0] ? job->n / t->shape[0] : 1;
    item->job.max_block = job->ops->small ? SMALL_BLOCK : BLOCK;
    if (job->ops->wants_rows && job->ops->wants_rows(job) && job->n_cols) {
        item->by_rows = true;
        item->job.max_block = job->n_cols * ww_max_u64(1, BLOCK / job->n_cols);
    }
    job->max_block = ww_min_u64(job->max_block, ww_max_u64(job->n, 1));
    uint64_t chunk = CHUNK_BYTES / ww_max_u64(1, bytes_of_element(item));
    item->n_chunk = item->job.max_block * ww_max_u64(1, chunk / item->job.max_block);
}

/* Does the dtype that the plan computes in hold every value of a stored one? */
static bool holds(enum ww_dtype compute, enum ww_dtype dtype)
{
    return compute == dtype || compute == WW_DTYPE_F64 ||
           (compute == WW_DTYPE_F32 && dtype != WW_DTYPE_F64);
}

/* Rounding the difference of two floats to double and then to float is rounding it to
 * float: 53 bits are more than twice 24 and two. */
static void set_narrow(struct ww_merge_item *item)
{
    const struct ww_merge_tensor *t = item->job.tensor;

    item->job.can_narrow = item->job.ops->deltas && t->base && !item->job.plan->peer;
    for (uint32_t i = 0; i < item->n_in; i++) {
        item->job.can_narrow = item->job.can_narrow &&
                               item->in[i]->dtype != WW_DTYPE_F64 &&
                               holds(t->compute, item->in[i]->dtype);
    }
}

enum ww_err ww_merge_item_init(struct ww_merge_item *item,
                               const struct ww_merge_plan *plan, uint32_t tensor,
                               struct ww_error *err)
{
    const struct ww_merge_tensor *t = &plan->tensors[tensor];

    memset(item, 0, sizeof(*item));
    item->job.plan = plan;
    item->job.tensor = t;
    item->job.ops = t->method->ops;
    item->job.index = tensor;
    item->job.n_sources = t->n_sources;
    WW_INVARIANT(t->n_sources * (t->method->stats == WW_STATS_SHAPE ? 2 : 1) < MAX_IN);
    item->in = ww_calloc(2 * (size_t)t->n_sources + 1, sizeof(struct ww_merge_source *));
    if (!item->in) {
        return ww_merge_no_memory(&item->job, err);
    }
    line_up(item);
    set_shape(item);
    set_narrow(item);
    return WW_OK;
}

void ww_merge_item_release(struct ww_merge_item *item)
{
    ww_free(item->in);
    item->in = NULL;
}

void ww_merge_item_tiles(struct ww_merge_item *item, uint64_t tile_elements)
{
    item->job.tile_elements = tile_elements;
    item->job.n_tiles = tile_elements ? ww_div_up(item->job.n, tile_elements) : 0;
}

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
        w->bytes[i] = take(&c, chunk * size_of(item->in[i]->dtype));
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

/* Elements [first, first + n) of an input whose rows are picked by a map. Runs of rows
 * that follow each other in the file are one read. */
static enum ww_err read_mapped(const struct ww_merge_item *item,
                               const struct ww_merge_source *s, uint64_t first,
                               uint64_t n, uint8_t *to, struct ww_error *err)
{
    uint64_t row_elements = item->axis_elements;
    size_t size = size_of(s->dtype);

    for (uint64_t at = first; at < first + n;) {
        uint64_t row = at / row_elements;
        uint64_t in_row = at % row_elements;
        uint64_t run = row_elements - in_row;
        while (s->rows[row] != WW_NONE && run < first + n - at &&
               s->rows[(at + run) / row_elements] ==
                   s->rows[row] + (at + run) / row_elements - row) {
            run += row_elements;
        }
        run = ww_min_u64(run, first + n - at);
        if (s->rows[row] == WW_NONE) {
            memset(to, 0, run * size);
        } else {
            uint64_t element = s->rows[row] * row_elements + in_row;
            enum ww_err rc = ww_merge_input_read(item->job.plan, s->input, to, run * size,
                                                 s->offset + element * size, err);
            if (rc) {
                return rc;
            }
        }
        to += run * size;
        at += run;
    }
    return WW_OK;
}

static enum ww_err read_input(const struct ww_merge_item *item, uint32_t i,
                              uint64_t first, uint64_t n, uint8_t *to,
                              struct ww_error *err)
{
    const struct ww_merge_source *s = item->in[i];
    size_t size = size_of(s->dtype);

    if (s->rows) {
        return read_mapped(item, s, first, n, to, err);
    }
    return ww_merge_input_read(item->job.plan, s->input, to, n * size,
                               s->offset + first * size, err);
}

static enum ww_err check_finite(const struct ww_merge_item *item, uint32_t i,
                                const uint8_t *bytes, uint64_t n, struct ww_error *err)
{
    const struct ww_merge_source *s = item->in[i];
    uint64_t bad = ww_count_nonfinite(s->dtype, bytes, n);
    if (bad) {
        return WW_FAIL(err, WW_E_NONFINITE,
                       "tensor '%.200s': %" PRIu64 " values of '%.200s' are NaN or "
                       "infinite and would spread",
                       item->job.tensor->name, bad,
                       item->job.plan->inputs[s->input].name);
    }
    return WW_OK;
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

static void widen(enum ww_dtype dtype, enum ww_dtype compute, const uint8_t *bytes,
                  double *x, size_t n)
{
    ww_to_double(dtype, bytes, x, n);
    for (size_t i = 0; !holds(compute, dtype) && i < n; i++) {
        uint8_t narrow[sizeof(double)];
        ww_from_double(compute, &x[i], narrow, 1);
        ww_to_double(compute, narrow, &x[i], 1);
    }
}

WW_CLONES static void keys_of(const float *restrict x, const float *restrict base,
                              size_t n, uint32_t *restrict keys)
{
    for (size_t i = 0; i < n; i++) {
        const float d = x[i] - base[i];
        uint32_t bits;
        memcpy(&bits, &d, sizeof(bits));
        keys[i] = bits & 0x7fffffff;
    }
}

static inline float bf16_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof(half));
    return ww_float_of_bf16(half);
}

WW_CLONES static void keys_of_bf16(const uint8_t *restrict x,
                                   const uint8_t *restrict base, size_t n,
                                   uint32_t *restrict keys)
{
    for (size_t i = 0; i < n; i++) {
        const float d = bf16_at(x + 2 * i) - bf16_at(base + 2 * i);
        uint32_t bits;
        memcpy(&bits, &d, sizeof(bits));
        keys[i] = bits & 0x7fffffff;
    }
}

/* The same room, for half as wide numbers. */
static void load_keys(struct ww_walk *w, const uint8_t *const *in, uint64_t at, size_t n,
                      const uint32_t **keys)
{
    const struct ww_merge_item *item = w->item;
    const uint32_t last = item->n_in - 1;
    const enum ww_dtype of_base = item->in[last]->dtype;
    const uint8_t *stored = in[last] + at * size_of(of_base);
    float *base = (float *)(void *)w->base;
    float *x = (float *)(void *)w->out;
    bool widened = false;

    for (uint32_t i = 0; i < item->job.n_sources; i++) {
        const enum ww_dtype dtype = item->in[i]->dtype;
        uint32_t *to = (uint32_t *)(void *)w->x[i];
        keys[i] = to;
        if (dtype == WW_DTYPE_BF16 && of_base == WW_DTYPE_BF16) {
            keys_of_bf16(in[i] + at * size_of(dtype), stored, n, to);
            continue;
        }
        if (!widened) {
            ww_to_float(of_base, stored, base, n);
            widened = true;
        }
        ww_to_float(dtype, in[i] + at * size_of(dtype), x, n);
        keys_of(x, base, n, to);
    }
}

WW_CLONES static void change_of_bf16(const uint8_t *restrict x,
                                     const double *restrict base, size_t n,
                                     double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (double)bf16_at(x + 2 * i) - base[i];
    }
}

/* An input less the base, which is there already. */
static void load_change(struct ww_walk *w, uint32_t i, const uint8_t *bytes, size_t n)
{
    const struct ww_merge_tensor *t = w->item->job.tensor;
    const enum ww_dtype dtype = w->item->in[i]->dtype;

    if (dtype == WW_DTYPE_BF16 && holds(t->compute, dtype)) {
        change_of_bf16(bytes, w->base, n, w->x[i]);
    } else {
        widen(dtype, t->compute, bytes, w->x[i], n);
        ww_weighted_delta(w->x[i], w->base, n);
    }
    if (w->item->job.plan->peer) {
        ww_peer_round(t->compute, w->x[i], n);
    }
}

/* The base, which is last, comes first: changes are from it. */
static void load_block(struct ww_walk *w, const uint8_t *const *in, uint64_t at, size_t n)
{
    const struct ww_merge_item *item = w->item;
    const struct ww_merge_tensor *t = item->job.tensor;

    for (uint32_t i = item->n_in; i-- > 0;) {
        const bool is_base = t->base && i == item->n_in - 1;
        const enum ww_dtype dtype = item->in[i]->dtype;
        const uint8_t *bytes = in[i] + at * size_of(dtype);
        if (i < t->n_sources && t->base && item->job.ops->deltas) {
            load_change(w, i, bytes, n);
        } else {
            widen(dtype, t->compute, bytes, is_base ? w->base : w->x[i], n);
        }
    }
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
    const uint32_t *keys[MAX_IN];

    b->keys = job->narrow ? keys : NULL;
    if (goal->scan && job->narrow) {
        load_keys(w, in, at, b->n, keys);
    } else {
        load_block(w, in, at, b->n);
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
    ww_from_double(dtype, w->out, goal->out + at * size_of(dtype), b->n);
    return WW_OK;
}

static bool short_way(struct ww_walk *w, const uint8_t *const *in, uint64_t at,
                      const struct ww_merge_block *b, const struct goal *goal)
{
    const struct ww_merge_item *item = w->item;
    const size_t size = size_of(item->job.tensor->dtype);
    const uint8_t *from[MAX_IN + 1];

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

static enum ww_err check_result(const struct ww_merge_item *item, const uint8_t *out,
                                uint64_t n, struct ww_error *err)
{
    const enum ww_dtype dtype = item->job.tensor->dtype;

    return ww_count_nonfinite(dtype, out, n) == 0
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
           holds(t->compute, t->dtype);
}

/* One chunk: bytes given, or read; then checked, then walked over. On the short way what
 * is not finite shows when it was summed. */
static enum ww_err chunk(struct ww_walk *w, const uint8_t *const *given, uint64_t first,
                         uint64_t n, uint64_t tile, const struct goal *goal,
                         struct ww_error *err)
{
    const struct ww_merge_item *item = w->item;
    const uint8_t *in[MAX_IN + 1];
    uint64_t skip = first - tile * item->job.tile_elements;
    struct seen seen = {.inputs = given && item->finite};

    for (uint32_t i = 0; i < item->n_in; i++) {
        enum ww_err rc = WW_OK;
        if (given) {
            in[i] = given[i] + skip * size_of(item->in[i]->dtype);
        } else if (item->lent) {
            in[i] = item->lent[i] + first * size_of(item->in[i]->dtype);
        } else {
            in[i] = w->bytes[i];
            rc = read_input(item, i, first, n, w->bytes[i], err);
        }
        if (!rc && !seen.inputs && !goal->stored.usable) {
            rc = check_finite(item, i, in[i], n, err);
        }
        if (rc) {
            return rc;
        }
    }
    if (goal->out && is_copy(&item->job)) {
        memcpy(goal->out, in[0], n * size_of(item->job.tensor->dtype));
        return WW_OK;
    }
    seen.inputs = seen.inputs || !goal->stored.usable;
    seen.result = goal->stored.usable;
    enum ww_err rc = blocks(w, in, first, n, tile, goal, &seen, err);
    return rc || !goal->out || seen.result ? rc : check_result(item, goal->out, n, err);
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
    size_t size = size_of(job->tensor->dtype);
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
