/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of which inputs a job needs. Ranges that follow each other in an input
 * become one load, so that many small tensors are one read. Rows picked by a map come
 *   - from the tensor held in memory (the usual case),
 *   - from one range, when the map stays near (rows move inside a head),
 *   - else gathered: each wanted row once, in file order.
 */
#include <stdlib.h>
#include <string.h>

#include "stream/engine.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct ww_job *ww_job_new(struct ww_engine *e)
{
    struct ww_job *job = ww_calloc(1, sizeof(*job));
    if (job) {
        job->output = WW_NONE;
        pthread_mutex_lock(&e->lock);
        ww_list_push(&e->all_jobs, &job->all_node, job);
        e->jobs_open++;
        pthread_mutex_unlock(&e->lock);
    }
    return job;
}

/* The lock is held, or no thread is left. */
void ww_job_free(struct ww_engine *e, struct ww_job *job)
{
    ww_list_remove(&job->stage_node);
    ww_list_remove(&job->leaf_node);
    ww_list_remove(&job->seal_node);
    ww_list_remove(&job->hash_node);
    ww_list_remove(&job->all_node);
    e->jobs_open--;
    e->jobs_admitted -= job->admitted ? 1 : 0;
    ww_arena_give(e->arena, job->buf);
    for (size_t i = 0; i < job->n_parts; i++) {
        ww_free(job->parts[i].slots);
        ww_free(job->parts[i].sources);
    }
    ww_free(job->parts);
    ww_free(job->loads);
    ww_free(job);
}

struct ww_load *ww_load_new(struct ww_engine *e, uint32_t input, uint64_t offset,
                            uint64_t n_bytes)
{
    struct ww_load *load = ww_calloc(1, sizeof(*load));
    if (load) {
        load->input = input;
        load->offset = offset;
        load->n_bytes = n_bytes;
        pthread_mutex_lock(&e->lock);
        ww_list_push(&e->all_loads, &load->all_node, load);
        pthread_mutex_unlock(&e->lock);
    }
    return load;
}

/* The lock is held, or no thread is left. */
void ww_load_free(struct ww_engine *e, struct ww_load *load)
{
    ww_list_remove(&load->read_node);
    ww_list_remove(&load->feed_node);
    ww_list_remove(&load->walk_node);
    ww_list_remove(&load->all_node);
    ww_arena_give(e->arena, load->buf);
    ww_free(load->rows);
    ww_free(load);
}

enum ww_err ww_job_add_load(struct ww_engine *e, struct ww_job *job, struct ww_load *load,
                            struct ww_error *err)
{
    if (job->n_loads == job->load_capacity) {
        size_t capacity = job->load_capacity ? 2 * job->load_capacity : 8;
        void *grown = ww_realloc_array(job->loads, capacity, sizeof(struct ww_load *));
        if (!grown) {
            return WW_FAIL_MEMORY(err, "a job of the executor");
        }
        job->loads = grown;
        job->load_capacity = capacity;
    }
    job->loads[job->n_loads] = load;
    job->n_loads++;
    pthread_mutex_lock(&e->lock);
    load->refs++;
    pthread_mutex_unlock(&e->lock);
    return WW_OK;
}

static struct ww_part *add_part(struct ww_job *job)
{
    if (job->n_parts == job->part_capacity) {
        size_t capacity = job->part_capacity ? 2 * job->part_capacity : 8;
        void *grown = ww_realloc_array(job->parts, capacity, sizeof(struct ww_part));
        if (!grown) {
            return NULL;
        }
        job->parts = grown;
        job->part_capacity = capacity;
    }
    struct ww_part *part = &job->parts[job->n_parts];
    memset(part, 0, sizeof(*part));
    job->n_parts++;
    return part;
}

/* A load of the job that ends where the range begins; whole sources stay as they are. */
static struct ww_load *extendable(const struct ww_job *job, uint32_t input,
                                  uint64_t offset)
{
    for (size_t i = job->n_loads; i-- > 0;) {
        struct ww_load *load = job->loads[i];
        if (load->input == input && !load->in_memory && !load->rows && !load->whole &&
            load->offset + load->n_bytes == offset) {
            return load;
        }
    }
    return NULL;
}

static enum ww_err need_range(struct ww_engine *e, struct ww_job *job, uint32_t input,
                              uint64_t offset, uint64_t n_bytes,
                              struct ww_part_source *source, struct ww_error *err)
{
    struct ww_load *load = extendable(job, input, offset);
    if (load) {
        source->load = load;
        source->at = load->n_bytes;
        load->n_bytes += n_bytes;
        return WW_OK;
    }
    load = ww_load_new(e, input, offset, n_bytes);
    if (!load) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    source->load = load;
    source->at = 0;
    return ww_job_add_load(e, job, load, err);
}

/* Bytes that the plan holds count as read for the digest of the file they came from. */
static enum ww_err need_memory(struct ww_engine *e, struct ww_job *job,
                               const struct ww_part *part, struct ww_error *err)
{
    const struct ww_piece *piece = part->live->piece;
    if (piece->n_sources == 0) {
        return WW_OK;
    }
    struct ww_load *load =
        ww_load_new(e, piece->sources[0].input,
                    piece->sources[0].offset + part->piece_offset, part->n_bytes);
    if (!load) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    load->in_memory = true;
    load->ready = true;
    load->data = piece->n_bytes ? piece->bytes + part->piece_offset : NULL;
    return ww_job_add_load(e, job, load, err);
}

static int by_row(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The rows that the part's map names, sorted, each once. */
static uint32_t *wanted_rows(const struct ww_part *part, size_t *n)
{
    uint32_t *rows = ww_calloc(part->n_rows, sizeof(*rows));
    *n = 0;
    if (!rows) {
        return NULL;
    }
    memcpy(rows, part->live->row_map + part->first_row, part->n_rows * sizeof(*rows));
    qsort(rows, part->n_rows, sizeof(*rows), by_row);
    for (uint64_t i = 0; i < part->n_rows; i++) {
        if (*n == 0 || rows[*n - 1] != rows[i]) {
            rows[*n] = rows[i];
            (*n)++;
        }
    }
    return rows;
}

static size_t slot_of(const uint32_t *rows, size_t n, uint32_t row)
{
    const uint32_t *at = bsearch(&row, rows, n, sizeof(*rows), by_row);
    WW_INVARIANT(at != NULL);
    return (size_t)(at - rows);
}

static enum ww_err need_gather(struct ww_engine *e, struct ww_job *job,
                               struct ww_part *part, struct ww_error *err)
{
    const struct ww_piece *piece = part->live->piece;
    size_t n = 0;

    part->slots = ww_calloc(part->n_rows, sizeof(*part->slots));
    if (!part->slots) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    for (uint32_t s = 0; s < piece->n_sources; s++) {
        uint32_t *rows = wanted_rows(part, &n);
        struct ww_load *load =
            rows ? ww_load_new(e, piece->sources[s].input, piece->sources[s].offset,
                               n * piece->row_bytes)
                 : NULL;
        if (!load) {
            ww_free(rows);
            return WW_FAIL_MEMORY(err, "a job of the executor");
        }
        load->rows = rows;
        load->n_rows = n;
        load->row_bytes = piece->row_bytes;
        part->sources[s].load = load;
        enum ww_err rc = ww_job_add_load(e, job, load, err);
        if (rc) {
            return rc;
        }
        for (uint64_t i = 0; s == 0 && i < part->n_rows; i++) {
            uint32_t row = part->live->row_map[part->first_row + i];
            part->slots[i] = (uint32_t)slot_of(rows, n, row);
        }
    }
    return WW_OK;
}

/* First and count of source rows that a part's map reaches. */
static void span(const struct ww_part *part, uint64_t *first, uint64_t *n)
{
    const uint32_t *map = part->live->row_map;
    uint64_t low = part->first_row;
    uint64_t high = part->first_row + part->n_rows - 1;

    if (map) {
        low = UINT32_MAX;
        high = 0;
        for (uint64_t i = 0; i < part->n_rows; i++) {
            low = ww_min_u64(low, map[part->first_row + i]);
            high = ww_max_u64(high, map[part->first_row + i]);
        }
    }
    *first = low;
    *n = high - low + 1;
}

static enum ww_err need_sources(struct ww_engine *e, struct ww_job *job,
                                struct ww_part *part, struct ww_error *err)
{
    const struct ww_live *live = part->live;
    const struct ww_piece *piece = live->piece;
    uint64_t first = 0;
    uint64_t n = 0;

    part->sources = ww_calloc(piece->n_sources, sizeof(*part->sources));
    if (!part->sources) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    for (uint32_t s = 0; s < live->n_whole; s++) {
        part->sources[s].load = live->whole[s];
        enum ww_err rc = ww_job_add_load(e, job, live->whole[s], err);
        if (rc) {
            return rc;
        }
    }
    if (live->n_whole) {
        return WW_OK;
    }
    if (part->n_rows == 0) {
        return WW_OK;
    }
    span(part, &first, &n);
    if (n > part->n_rows + part->n_rows / 4) {
        return need_gather(e, job, part, err);
    }
    part->base_row = first;
    for (uint32_t s = 0; s < piece->n_sources; s++) {
        enum ww_err rc =
            need_range(e, job, piece->sources[s].input,
                       piece->sources[s].offset + first * live->source_row_bytes,
                       n * live->source_row_bytes, &part->sources[s], err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

/* Leaves whose bytes all lie in this part (an empty tensor has one, empty), and the bytes
 * of leaves that cross its ends. */
static void set_leaves(struct ww_part *part)
{
    uint64_t begin = part->piece_offset;
    uint64_t end = begin + part->n_bytes;
    bool last = end == part->live->piece->n_bytes;

    if (part->live->n_leaves == 0) {
        return;
    }
    part->next_leaf = ww_div_up(begin, WW_TREE_CHUNK);
    part->end_leaf = last ? part->live->n_leaves : end / WW_TREE_CHUNK;
    part->end_leaf = ww_max_u64(part->end_leaf, part->next_leaf);
    uint64_t begun = part->next_leaf * WW_TREE_CHUNK; /* where the first whole one is */
    part->head = ww_min_u64(begun, end) - begin;
    part->head_ends = part->head > 0 && (begun <= end || last);
    if (!last && end >= begun) {
        part->tail = end % WW_TREE_CHUNK;
    }
}

enum ww_err ww_job_add_part(struct ww_engine *e, struct ww_job *job, struct ww_live *live,
                            uint64_t first_tile, uint64_t n_tiles, struct ww_error *err)
{
    struct ww_part *part = add_part(job);
    if (!part) {
        return WW_FAIL_MEMORY(err, "a job of the executor");
    }
    part->live = live;
    part->next_tile = first_tile;
    part->end_tile = first_tile + n_tiles;
    part->first_row = first_tile * live->tile_rows;
    part->n_rows = ww_min_u64(live->n_rows - part->first_row, n_tiles * live->tile_rows);
    part->piece_offset = part->first_row * live->row_bytes;
    part->n_bytes = part->n_rows * live->row_bytes;
    part->out_at = job->n_bytes;
    set_leaves(part);
    job->n_bytes += part->n_bytes;
    job->tiles_left += n_tiles;
    job->leaves_left += part->end_leaf - part->next_leaf;
    return live->piece->kind == WW_PIECE_BYTES ? need_memory(e, job, part, err)
                                               : need_sources(e, job, part, err);
}
