/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which thread codes a chunk decides nothing: a chunk's bytes depend on its input alone,
 * and the calling thread writes them in order.
 */
#include "rmm/pack_batch.h"

#include <string.h>

#include "crypto/sha_blocks.h"
#include "model/recode.h"
#include "rmm/pack_beside.h"
#include "rmm/dense.h"
#include "rmm/parent.h"
#include "stream/cpus.h"
#include "stream/stream.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define JOBS_PER_THREAD 2

struct hand {
    struct ww_pack_crew *crew;
    struct ww_pack_batch *batch;
    unsigned index;
};

static enum ww_err batch_init(struct ww_pack_batch *batch, unsigned n,
                              struct ww_error *err)
{
    batch->jobs = ww_calloc(n, sizeof(*batch->jobs));
    if (!batch->jobs) {
        return WW_FAIL_MEMORY(err, "coding");
    }
    batch->n_room = n;
    for (unsigned i = 0; i < n; i++) {
        struct ww_pack_job *job = &batch->jobs[i];
        ww_buf_init(&job->coded, WW_CHUNK_MAX_CODED);
        job->bytes = ww_alloc_pages(WW_CHUNK_BYTES);
        job->prediction = ww_alloc_pages(WW_CHUNK_BYTES);
        job->stored = ww_alloc_pages(WW_TREE_CHUNK);
        if (!job->bytes || !job->prediction || !job->stored) {
            return WW_FAIL_MEMORY(err, "coding");
        }
    }
    return WW_OK;
}

static void batch_release(struct ww_pack_batch *batch)
{
    for (unsigned i = 0; batch->jobs && i < batch->n_room; i++) {
        ww_buf_release(&batch->jobs[i].coded);
        ww_free(batch->jobs[i].bytes);
        ww_free(batch->jobs[i].prediction);
        ww_free(batch->jobs[i].stored);
    }
    ww_free(batch->jobs);
}

enum ww_err ww_pack_crew_new(const struct ww_run_options *run, struct ww_pack_crew **out,
                             struct ww_error *err)
{
    const uint64_t memory = run->memory_bytes ? run->memory_bytes : WW_DEFAULT_MEMORY;
    struct ww_pack_crew *crew = ww_calloc(1, sizeof(*crew));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!crew) {
        return WW_FAIL_MEMORY(err, "coding");
    }
    crew->n_threads = (unsigned)ww_max_u64(
        1, ww_min_u64(ww_threads_wanted(run), memory / WW_PACK_THREAD_BYTES));
    for (unsigned i = 0; i < crew->n_threads && !rc; i++) {
        rc = ww_chunk_room_new(&crew->rooms[i], err);
        if (!rc) {
            ww_chunk_room_adapt(crew->rooms[i]);
            rc = ww_sha256_new(&crew->shas[i], err);
        }
        for (unsigned k = 0; k < 2 && !rc; k++) {
            rc = ww_sha_init(&crew->leaves[i][k], ww_sha_fast(), err);
        }
    }
    for (unsigned b = 0; b < WW_LEN(crew->batches) && !rc; b++) {
        rc = batch_init(&crew->batches[b], crew->n_threads * JOBS_PER_THREAD, err);
    }
    if (rc) {
        ww_pack_crew_free(crew);
        return rc;
    }
    *out = crew;
    return WW_OK;
}

void ww_pack_crew_free(struct ww_pack_crew *crew)
{
    if (!crew) {
        return;
    }
    for (unsigned i = 0; i < WW_PACK_MAX_THREADS; i++) {
        ww_chunk_room_free(crew->rooms[i]);
        ww_sha256_free(crew->shas[i]);
        ww_sha_release(&crew->leaves[i][0]);
        ww_sha_release(&crew->leaves[i][1]);
    }
    for (unsigned b = 0; b < WW_LEN(crew->batches); b++) {
        batch_release(&crew->batches[b]);
    }
    ww_free(crew);
}

/* A whole chunk is two leaves, which are hashed side by side. */
static void hash_two(struct ww_sha *two, struct ww_pack_job *job)
{
    uint8_t(*const leaf)[WW_SHA256_BYTES] = &job->leaves[job->base_at / WW_TREE_CHUNK];
    uint8_t prefix[WW_TREE_PREFIX];

    for (size_t i = 0; i < 2; i++) {
        ww_tree_leaf_prefix(job->base_rank, job->base_at + i * WW_TREE_CHUNK, prefix);
        ww_sha_reset(&two[i]);
        ww_sha_update(&two[i], prefix, sizeof(prefix));
    }
    ww_sha_update_2(&two[0], job->prediction, &two[1], job->prediction + WW_TREE_CHUNK,
                    WW_TREE_CHUNK);
    ww_sha_final(&two[0], leaf[0]);
    ww_sha_final(&two[1], leaf[1]);
}

static void hash_leaves(struct ww_sha256 *sha, struct ww_sha *two,
                        struct ww_pack_job *job)
{
    _Static_assert(WW_CHUNK_BYTES == 2 * WW_TREE_CHUNK, "a chunk is two leaves");
    if (job->n == WW_CHUNK_BYTES) {
        hash_two(two, job);
        return;
    }
    for (size_t at = 0; at < job->n; at += WW_TREE_CHUNK) {
        const uint64_t offset = job->base_at + at;
        ww_tree_leaf(sha, job->base_rank, offset, job->prediction + at,
                     (size_t)ww_min_u64(WW_TREE_CHUNK, job->n - at),
                     job->leaves[offset / WW_TREE_CHUNK]);
    }
}

/* The base's bytes, and leaves of them. */
static enum ww_err read_base(struct ww_sha256 *sha, struct ww_sha *two,
                             struct ww_pack_job *job)
{
    const struct ww_base_from *from = &job->base;
    const enum ww_err rc =
        ww_pread_full(from->fd, job->prediction, job->n, from->offset + job->base_at,
                      from->name, &job->err);

    if (!rc && job->leaves) {
        hash_leaves(sha, two, job);
    }
    return rc;
}

/* The same of a base of another dtype, leaf by leaf. */
static enum ww_err read_changed(struct ww_sha256 *sha, struct ww_pack_job *job)
{
    const struct ww_base_from *from = &job->base;
    const size_t width = job->type.width;
    const size_t from_width = ww_chunk_type_of(from->dtype).width;
    const uint64_t first = job->base_at / width;
    enum ww_err rc = WW_OK;

    for (size_t at = 0, count = 0; at < job->n && !rc; at += count * width) {
        const uint64_t offset = (first + at / width) * from_width;
        count = (size_t)ww_min_u64(WW_TREE_CHUNK / from_width, (job->n - at) / width);
        rc = ww_pread_full(from->fd, job->stored, count * from_width,
                           from->offset + offset, from->name, &job->err);
        if (!rc && job->leaves) {
            ww_tree_leaf(sha, job->base_rank, offset, job->stored, count * from_width,
                         job->leaves[offset / WW_TREE_CHUNK]);
        }
        if (!rc) {
            ww_recode(from->dtype, job->dtype, job->stored, job->prediction + at, count);
        }
    }
    return rc;
}

static bool is_predicted(const struct ww_pack_job *job)
{
    return job->base.fd >= 0 || job->parent || job->shared;
}

static enum ww_err code_exactly(struct ww_chunk_room *room, struct ww_pack_job *job,
                                struct ww_buf *out)
{
    const struct ww_chunk_plain plain = {
        job->type, job->bytes, is_predicted(job) ? job->prediction : NULL, job->n};

    return ww_chunk_encode(room, &plain, out, &job->err);
}

/* Where half of the bits are wanted back, all of them may cost no more. */
static enum ww_err code_levels(struct ww_chunk_room *room, struct ww_pack_job *job)
{
    const struct ww_chunk_plain plain = {job->type, job->bytes, job->prediction, job->n};
    struct ww_buf exact;
    enum ww_err rc =
        ww_chunk_dense_encode(room, &plain, job->levels, &job->coded, &job->err);

    if (rc ? rc != WW_E_LIMIT : job->coded.len < job->n / 2) {
        return rc;
    }
    ww_buf_init(&exact, WW_CHUNK_MAX_CODED);
    const bool too_long = rc != WW_OK;
    rc = code_exactly(room, job, &exact);
    if (!rc && (too_long || exact.len <= job->coded.len)) {
        const struct ww_dense_input in = {.dtype = ww_chunk_own_dtype(job->type),
                                          .weights = job->bytes,
                                          .base = job->prediction,
                                          .n = job->n / job->type.width};
        struct ww_dense_sums sums = {0};
        ww_dense_measure(&in, job->levels, &sums);
        job->exact2 = sums.error2;
        ww_buf_clear(&job->coded);
        rc = ww_buf_add(&job->coded, exact.data, exact.len, &job->err);
        job->levels = NULL;
    }
    ww_buf_release(&exact);
    return rc;
}

static enum ww_err read_parent(struct ww_pack_job *job)
{
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = ww_unpack_rooms_take(job->rooms, &room, &job->err);

    if (!rc) {
        rc = ww_parent_read(job->parent, job->parent_part, job->chunk, room,
                            job->prediction, &job->err);
        ww_unpack_rooms_give(job->rooms, room);
    }
    return rc;
}

static void predict_shared(struct ww_pack_job *job)
{
    if (job->shared) {
        ww_shared_predict(job->shared, job->chunk * WW_CHUNK_BYTES, job->prediction,
                          job->n);
    }
}

/* The bytes of the file, or of what is told as it. */
static enum ww_err read_bytes(struct ww_pack_job *job)
{
    predict_shared(job);
    if (job->loose) {
        memcpy(job->bytes, job->prediction, job->n);
        return WW_OK;
    }
    return ww_pread_full(job->fd, job->bytes, job->n, job->offset, job->name, &job->err);
}

static enum ww_err code_bytes(struct ww_chunk_room *room, struct ww_sha256 *sha,
                              struct ww_sha *two, struct ww_pack_job *job)
{
    const bool same = job->base.dtype == job->dtype;
    enum ww_err rc = read_bytes(job);

    if (!rc && job->base.fd >= 0) {
        rc = same ? read_base(sha, two, job) : read_changed(sha, job);
    }
    if (!rc && job->parent) {
        rc = read_parent(job);
    }
    if (!rc && job->base.fd >= 0 && same) {
        rc = ww_unmerge_read(job->unmerge, job->base_tensor, job->base_at,
                             job->prediction, job->n, &job->err);
    }
    if (rc) {
        return rc;
    }
    ww_chunk_room_hints(room, job->rank, job->base_at, job->prediction, job->n);
    if (job->rank) {
        ww_rank_predict(job->rank, job->base_at, job->prediction, job->prediction,
                        job->n);
    }
    return job->levels ? code_levels(room, job) : code_exactly(room, job, &job->coded);
}

static enum ww_err code_integers(struct ww_chunk_room *room, struct ww_pack_job *job)
{
    const enum ww_err rc = job->parent ? read_parent(job) : WW_OK;

    predict_shared(job);
    return rc ? rc
              : ww_chunk_own_encode(room, job->integers, job->n / job->type.width,
                                    &job->scales, &job->coded, &job->err);
}

/* The bytes of the file that comes back are those that a decoder gives. */
static enum ww_err decode_again(struct ww_chunk_room *room, struct ww_pack_job *job)
{
    if (job->coded.len > WW_CHUNK_MAX_CODED ||
        !ww_chunk_decode(room, job->type, job->coded.data, job->coded.len,
                         job->levels || job->parent || job->shared ? job->prediction
                                                                   : NULL,
                         job->bytes, job->n)) {
        return WW_FAIL(&job->err, WW_E_INTERNAL, "'%s': a chunk does not decode",
                       job->name);
    }
    return WW_OK;
}

static enum ww_err do_job(struct ww_chunk_room *room, struct ww_sha256 *sha,
                          struct ww_sha *two, struct ww_pack_job *job)
{
    enum ww_err rc = WW_OK;

    ww_buf_clear(&job->coded);
    job->exact2 = 0;
    ww_error_clear(&job->err); /* the job before it may have got over one */
    if (job->ready) {
        return ww_beside_read(job->beside, job->ready, job->source, job->chunk,
                              &job->coded, &job->err);
    }
    rc = job->integers ? code_integers(room, job) : code_bytes(room, sha, two, job);
    if (!rc && (job->integers || job->levels)) {
        rc = decode_again(room, job);
    }
    return rc;
}

static void work_on(struct ww_pack_crew *crew, struct ww_pack_batch *batch,
                    unsigned index)
{
    for (;;) {
        const unsigned i = atomic_fetch_add(&batch->next, 1);
        if (i >= batch->n) {
            return;
        }
        batch->jobs[i].rc = do_job(crew->rooms[index], crew->shas[index],
                                   crew->leaves[index], &batch->jobs[i]);
    }
}

static void *work(void *payload)
{
    struct hand *hand = payload;

    work_on(hand->crew, hand->batch, hand->index);
    ww_free(hand);
    return NULL;
}

void ww_pack_crew_start(struct ww_pack_crew *crew, struct ww_pack_batch *batch)
{
    unsigned n_started = 0;

    atomic_store(&batch->next, 0);
    for (unsigned i = 0; i < crew->n_threads; i++) {
        struct hand *hand = i < batch->n ? ww_calloc(1, sizeof(*hand)) : NULL;
        crew->started[i] = false;
        if (hand) {
            *hand = (struct hand){crew, batch, i};
            crew->started[i] = pthread_create(&crew->threads[i], NULL, work, hand) == 0;
            if (!crew->started[i]) {
                ww_free(hand);
            }
        }
        n_started += crew->started[i];
    }
    if (n_started == 0) {
        /* Threads that cannot start cost time only. */
        work_on(crew, batch, 0);
    }
}

void ww_pack_crew_join(struct ww_pack_crew *crew)
{
    for (unsigned i = 0; i < crew->n_threads; i++) {
        if (crew->started[i]) {
            pthread_join(crew->threads[i], NULL);
            crew->started[i] = false;
        }
    }
}
