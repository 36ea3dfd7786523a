/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks being read and coded by threads while the ones before them are written. */
#ifndef WW_RMM_PACK_BATCH_H
#define WW_RMM_PACK_BATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "crypto/sha.h"
#include "rmm/base_read.h"
#include "rmm/unmerge.h"
#include "rmm/chunk.h"
#include "rmm/rank.h"
#include "rmm/shared.h"
#include "weightward/run.h"

#define WW_PACK_MAX_THREADS 16
/* Of one thread: working memory, and four chunks with prediction and coded bytes. */
#define WW_PACK_THREAD_BYTES ((uint64_t)48 << 20)

struct ww_parent;
struct ww_unpack_rooms;
struct ww_pack_beside;
struct ww_beside_tensor;

struct ww_pack_job {
    int fd;
    const char *name; /* for error texts */
    uint64_t offset;
    size_t n;
    struct ww_chunk_type type;
    enum ww_dtype dtype;
    struct ww_base_from base;            /* fd -1: it does not predict */
    const struct ww_unmerge *unmerge;    /* n 0: the base as it is */
    const struct ww_tensor *base_tensor; /* with a prediction */
    uint64_t base_rank;                  /* for leaves of the base's tensor tree, */
    uint64_t base_at;                    /* bytes of the part before the chunk */
    uint8_t (*leaves)[WW_SHA256_BYTES];  /* NULL: not wanted */
    const struct ww_rank *rank;          /* part of the prediction, or NULL */
    const struct ww_parent *parent;      /* predicts instead of the base; or NULL */
    uint32_t parent_part;
    struct ww_unpack_rooms *rooms;  /* to decode it in */
    const struct ww_shared *shared; /* predicts instead of both; or NULL */
    bool loose;                     /* and is what comes back */
    const int16_t *integers;        /* form own, instead of the bytes; or NULL */
    struct ww_chunk_scales scales;
    const struct ww_chunk_levels *levels; /* form dense, of the bytes; or NULL */
    double exact2; /* what those would have been off, squared, where all is kept */
    const struct ww_pack_beside *beside;  /* has the chunk coded, */
    const struct ww_beside_tensor *ready; /* of this tensor, */
    size_t source;                        /* of this source; ready NULL: it has not */
    /* Whose chunk it is: for the one who writes. */
    uint32_t file;
    uint32_t part;
    uint64_t chunk;
    /* What comes of it. */
    uint8_t *bytes;
    uint8_t *prediction;
    uint8_t *stored; /* what the base has, of another dtype: WW_TREE_CHUNK */
    struct ww_buf coded;
    enum ww_err rc;
    struct ww_error err;
};

struct ww_pack_batch {
    struct ww_pack_job *jobs;
    unsigned n_room;
    unsigned n; /* in this round */
    atomic_uint next;
};

struct ww_pack_crew {
    unsigned n_threads;
    struct ww_chunk_room *rooms[WW_PACK_MAX_THREADS];
    struct ww_sha256 *shas[WW_PACK_MAX_THREADS];
    struct ww_sha leaves[WW_PACK_MAX_THREADS][2];
    pthread_t threads[WW_PACK_MAX_THREADS];
    bool started[WW_PACK_MAX_THREADS];
    struct ww_pack_batch batches[2]; /* one is coded while the other is written */
};

/** As many threads as the options allow, within their memory. */
enum ww_err ww_pack_crew_new(const struct ww_run_options *run, struct ww_pack_crew **out,
                             struct ww_error *err) WW_MUST_USE;
void ww_pack_crew_free(struct ww_pack_crew *crew);
/** Start coding a batch; join before the next one is started. */
void ww_pack_crew_start(struct ww_pack_crew *crew, struct ww_pack_batch *batch);
void ww_pack_crew_join(struct ww_pack_crew *crew);

#endif
