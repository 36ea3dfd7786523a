/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of a piece are what the executor cuts tiles from. A method that looks at rows gets
 * the tensor's own; all others get the longest run up to 65536 elements that divides the
 * tensor, so that tensors with short rows are not cut into crumbs.
 */
#include <string.h>

#include "merge/earlier.h"
#include "merge/engine.h"
#include "stream/pieces.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define MAX_UNIT 65536u
#define MAX_VECTOR ((uint64_t)1 << 20) /* a prime count up to here is one row */

static uint64_t unit_of(const struct ww_merge_item *item)
{
    const struct ww_merge_job *job = &item->job;
    uint64_t unit = ww_min_u64(job->n, MAX_UNIT);

    if (item->by_rows) {
        return job->n_cols;
    }
    while (unit > 1 && job->n % unit != 0) {
        unit--;
    }
    return unit < 64 && job->n <= MAX_VECTOR ? job->n : unit;
}

/* The executor hands out bytes where all inputs are as wide as the output. */
static bool must_read(const struct ww_merge_item *item)
{
    unsigned bits = ww_dtype_bits(item->job.tensor->dtype);
    for (uint32_t i = 0; i < item->n_in; i++) {
        if (item->in[i]->rows || ww_dtype_bits(item->in[i]->dtype) != bits) {
            return true;
        }
    }
    return false;
}

/* Do passes look at the inputs when the piece is opened, and at nothing else then? */
static bool looks_first(const struct ww_merge_piece *piece)
{
    const struct ww_method *method = piece->item.job.tensor->method;
    return method->ops->scan && !piece->reads && !method->within_tolerance;
}

static enum ww_err plan_piece(struct ww_merge_engine *e, uint32_t tensor,
                              struct ww_piece *piece, struct ww_error *err)
{
    struct ww_merge_piece *mine = &e->pieces[tensor];
    enum ww_err rc = ww_merge_item_init(&mine->item, e->plan, tensor, err);
    if (rc) {
        return rc;
    }
    struct ww_merge_item *item = &mine->item;
    const struct ww_merge_tensor *t = item->job.tensor;
    uint64_t size = ww_dtype_bits(t->dtype) / 8;
    uint64_t unit = unit_of(item);
    bool computed = ww_dtype_is_plain_float(t->dtype);

    mine->engine = e;
    mine->reads = must_read(item);
    mine->sources = ww_calloc(item->n_in, sizeof(*mine->sources));
    if (!mine->sources) {
        return WW_FAIL_MEMORY(err, "a merge plan");
    }
    for (uint32_t i = 0; i < item->n_in; i++) {
        mine->sources[i] =
            (struct ww_piece_source){e->opened[item->in[i]->input], item->in[i]->offset};
    }
    *piece = (struct ww_piece){
        .kind = WW_PIECE_KERNEL,
        .n_bytes = item->job.n * size,
        .n_sources = mine->reads ? 0 : item->n_in,
        .sources = mine->sources,
        .n_rows = unit ? item->job.n / unit : 0,
        .row_bytes = unit * size,
        .kernel = computed ? &ww_merge_kernel : &ww_merge_copy_kernel,
        .lend = computed && looks_first(mine) ? ww_merge_lend : NULL,
        .params = mine,
        .tree_index = e->rank[tensor],
    };
    ww_merge_item_tiles(item, ww_piece_tile_rows(piece) * unit);
    return ww_merge_digest(e->plan, tensor, piece->params_digest, err);
}

static enum ww_err plan_file(struct ww_merge_engine *e, uint32_t f, struct ww_piece *next,
                             struct ww_error *err)
{
    const struct ww_merge_file *file = &e->plan->files[f];
    struct ww_output *output = &e->stream.outputs[f];

    output->path = file->name;
    output->pieces = next;
    output->n_pieces = file->n_tensors + 1;
    next[0] = (struct ww_piece){
        .kind = WW_PIECE_BYTES,
        .n_bytes = file->header_bytes,
        .bytes = file->header,
        .tree_index = WW_NONE,
    };
    output->size_bytes = file->header_bytes;
    if (file->copied_sha256) {
        e->copies[f] = (struct ww_piece_source){file->copied, 0};
        output->size_bytes = e->plan->inputs[file->copied].size_bytes;
        next[0] = ww_piece_copy(output->size_bytes, &e->copies[f]);
    }
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        enum ww_err rc = plan_piece(e, file->first_tensor + i, &next[1 + i], err);
        if (rc) {
            return rc;
        }
        output->size_bytes += next[1 + i].n_bytes;
    }
    return WW_OK;
}

static void describe(const struct ww_merge_tensor *t, struct ww_tensor *to)
{
    to->name = t->name;
    to->dtype = t->dtype;
    to->rank = t->rank;
    to->n_elements = 1;
    for (unsigned a = 0; a < t->rank; a++) {
        to->shape[a] = t->shape[a];
        to->n_elements *= t->shape[a];
    }
    to->n_bytes = to->n_elements * (ww_dtype_bits(t->dtype) / 8);
}

static enum ww_err plan_tree(struct ww_merge_engine *e, struct ww_error *err)
{
    uint32_t n = e->plan->n_tensors;
    e->tensors = ww_calloc(n, sizeof(*e->tensors));
    e->stream.tree = ww_calloc(n, sizeof(*e->stream.tree));
    if (!e->tensors || !e->stream.tree) {
        return WW_FAIL_MEMORY(err, "a merge plan");
    }
    for (uint32_t t = 0; t < n; t++) {
        describe(&e->plan->tensors[t], &e->tensors[t]);
    }
    const struct ww_model model = {.tensors = e->tensors, .n_tensors = n};
    enum ww_err rc = ww_tree_order(&model, &e->order, &e->rank, err);
    for (uint32_t k = 0; k < n && !rc; k++) {
        e->stream.tree[k] = (struct ww_tree_slot){&e->tensors[e->order[k]], k};
    }
    e->stream.n_tree = n;
    return rc;
}

/* A locked file is an input twice: as it lies there, for its digest, and open, for the
 * pieces. */
static enum ww_err plan_inputs(struct ww_merge_engine *e, struct ww_error *err)
{
    const struct ww_merge_plan *plan = e->plan;
    const size_t most = 2 * (size_t)plan->n_inputs;

    e->stream.inputs = ww_calloc(most, sizeof(*e->stream.inputs));
    e->opened = ww_calloc(plan->n_inputs, sizeof(*e->opened));
    e->readers = ww_calloc(most, sizeof(*e->readers));
    e->trees = ww_calloc(most, sizeof(*e->trees));
    if (!e->stream.inputs || !e->opened || !e->readers || !e->trees) {
        return WW_FAIL_MEMORY(err, "a merge plan");
    }
    e->stream.readers = e->readers;
    e->stream.input_trees = e->trees;
    e->stream.n_inputs = plan->n_inputs;
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        const struct ww_merge_input *in = &plan->inputs[i];
        e->stream.inputs[i] =
            (struct ww_input){in->name, in->fd, in->size_bytes, in->want_sha256};
        e->trees[i] = in->tree;
        e->opened[i] = i;
        if (in->reader && in->fd < 0) {
            e->readers[i] = in->reader;
        } else if (in->reader) {
            e->opened[i] = e->stream.n_inputs++;
            e->stream.inputs[e->opened[i]] =
                (struct ww_input){in->name, -1, in->size_bytes, false};
            e->readers[e->opened[i]] = in->reader;
        }
    }
    return WW_OK;
}

enum ww_err ww_merge_engine_plan(struct ww_merge_engine *e, struct ww_error *err)
{
    const struct ww_merge_plan *plan = e->plan;
    size_t n_pieces = (size_t)plan->n_tensors + plan->n_files;
    struct ww_piece *next = NULL;
    enum ww_err rc = plan_inputs(e, err);

    if (rc) {
        return rc;
    }
    e->stream.title = "merge";
    e->stream.n_outputs = plan->n_files;
    e->stream.outputs = ww_calloc(plan->n_files, sizeof(*e->stream.outputs));
    e->pieces = ww_calloc(plan->n_tensors, sizeof(*e->pieces));
    e->all_pieces = next = ww_calloc(n_pieces, sizeof(*e->all_pieces));
    e->copies = ww_calloc(plan->n_files, sizeof(*e->copies));
    if (!e->stream.outputs || !e->pieces || !e->all_pieces || !e->copies) {
        return WW_FAIL_MEMORY(err, "a merge plan");
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        e->stream.buffered =
            e->stream.buffered || plan->tensors[t].method->ops->scan != NULL;
    }
    rc = plan_tree(e, err);
    for (uint32_t f = 0; f < plan->n_files && !rc; f++) {
        rc = plan_file(e, f, next, err);
        next += plan->files[f].n_tensors + 1;
    }
    return rc;
}

void ww_merge_engine_release(struct ww_merge_engine *e)
{
    for (uint32_t t = 0; e->pieces && t < e->plan->n_tensors; t++) {
        ww_free(e->pieces[t].sources);
        ww_merge_item_release(&e->pieces[t].item);
    }
    ww_free(e->pieces);
    ww_free(e->all_pieces);
    ww_free(e->copies);
    ww_free(e->stream.inputs);
    ww_free(e->opened);
    ww_free(e->readers);
    ww_free(e->trees);
    ww_free(e->stream.outputs);
    ww_free(e->stream.tree);
    ww_free(e->tensors);
    ww_free(e->order);
    ww_free(e->rank);
}

static void add_doubles(struct ww_sha256 *h, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, &v[i], sizeof(bits));
        ww_sha256_u64le(h, bits);
    }
}

static void add_source(struct ww_sha256 *h, const struct ww_merge_plan *plan,
                       const struct ww_merge_tensor *t, const struct ww_merge_source *s)
{
    const uint8_t *lock_id = s->input == WW_NONE ? NULL : plan->inputs[s->input].lock_id;

    ww_sha256_u64le(h, s->input);
    ww_sha256_u64le(h, s->offset);
    ww_sha256_u64le(h, s->dtype);
    ww_sha256_u64le(h, s->rows != NULL);
    for (uint64_t i = 0; s->rows && t->rank && i < t->shape[0]; i++) {
        ww_sha256_u64le(h, s->rows[i]);
    }
    if (lock_id) {
        ww_sha256_update(h, lock_id, WW_SHA256_BYTES);
    }
    ww_sha256_u64le(h, s->params != NULL);
    if (s->params) {
        for (size_t p = 0; p < t->method->n_params; p++) {
            if (t->method->params[p].scope == WW_PARAM_SOURCE) {
                add_doubles(h, &s->params[p], 1);
            }
        }
    }
}

enum ww_err ww_merge_digest(const struct ww_merge_plan *plan, uint32_t tensor,
                            uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_merge_tensor *t = &plan->tensors[tensor];
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    ww_sha256_update(h, t->name, strlen(t->name) + 1);
    ww_sha256_update(h, t->method->name, strlen(t->method->name) + 1);
    ww_sha256_u64le(h, t->dtype);
    ww_sha256_u64le(h, t->compute);
    ww_sha256_u64le(h, t->seed);
    ww_sha256_u64le(h, (uint64_t)plan->peer << 2 | (uint64_t)plan->paper << 1 |
                           (uint64_t)plan->order_free);
    ww_sha256_u64le(h, t->rank);
    for (unsigned a = 0; a < t->rank; a++) {
        ww_sha256_u64le(h, t->shape[a]);
    }
    for (size_t p = 0; p < t->method->n_params; p++) {
        if (t->method->params[p].scope == WW_PARAM_TENSOR) {
            add_doubles(h, &t->params[p], 1);
        }
    }
    ww_sha256_u64le(h, t->n_sources);
    for (uint32_t s = 0; s < t->n_sources; s++) {
        add_source(h, plan, t, &t->sources[s]);
    }
    ww_sha256_u64le(h, t->stats != NULL);
    for (uint32_t s = 0; t->stats && s < t->n_sources; s++) {
        add_source(h, plan, t, &t->stats[s]);
    }
    if (plan->earlier) {
        const double numbers[] = {plan->earlier->mean_norm, plan->earlier->scale};
        ww_sha256_u64le(h, plan->earlier->tasks);
        add_doubles(h, numbers, WW_LEN(numbers));
    }
    ww_sha256_u64le(h, t->base != NULL);
    if (t->base) {
        add_source(h, plan, t, t->base);
    }
    ww_sha256_final(h, out);
    ww_sha256_free(h);
    return WW_OK;
}
