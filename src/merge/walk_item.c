/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor before it is walked over: its inputs in one line, blocks and chunks. */
#include <string.h>

#include "merge/walk_work.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define BLOCK 1024u
#define SMALL_BLOCK 256u
#define CHUNK_BYTES ((uint64_t)512 << 10)

static uint64_t bytes_of_element(const struct ww_merge_item *item)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < item->n_in; i++) {
        sum += ww_walk_size(item->in[i]->dtype);
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

/* Rounding the difference of two floats to double and then to float is rounding it to
 * float: 53 bits are more than twice 24 and two. */
static void set_narrow(struct ww_merge_item *item)
{
    const struct ww_merge_tensor *t = item->job.tensor;

    item->job.can_narrow = item->job.ops->deltas && t->base && !item->job.plan->peer;
    for (uint32_t i = 0; i < item->n_in; i++) {
        item->job.can_narrow = item->job.can_narrow &&
                               item->in[i]->dtype != WW_DTYPE_F64 &&
                               ww_walk_holds(t->compute, item->in[i]->dtype);
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
    WW_INVARIANT(t->n_sources * (t->method->stats == WW_STATS_SHAPE ? 2 : 1) <
                 WW_WALK_IN);
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
