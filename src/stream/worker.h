/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker thread owns. */
#ifndef WW_STREAM_WORKER_H
#define WW_STREAM_WORKER_H

#include <stdint.h>

#include "crypto/sha.h"
#include "crypto/sha_blocks.h"

struct ww_engine;

/* A message being hashed: a job of an output file, a tree leaf, a load of an input. */
struct ww_lane {
    struct ww_file *file; /* exactly one of file, part, feed; none: idle */
    struct ww_part *part;
    struct ww_feed *feed; /* of a digest, or of tensors' roots */
    struct ww_job *job;   /* of file and part */
    struct ww_load *load; /* of feed */
    uint64_t leaf;
    size_t next_part; /* of a file's job: crossing leaves still to do */
    bool tail;
    struct ww_sha *sha; /* the run at hand */
    const uint8_t *p;
    uint64_t n;
    struct ww_sha own; /* for leaves */
};

struct ww_worker {
    struct ww_engine *engine;
    const uint8_t **pointers; /* WW_TILE_POINTERS rows of a tile */
    uint8_t *scratch;         /* a tile that cannot be made in place */
    uint64_t scratch_bytes;
    struct ww_lane lanes[WW_SHA_AT_ONCE];
};

struct ww_writer {
    struct ww_engine *engine;
    uint8_t *scratch; /* WW_SINK_SCRATCH bytes, to compare with what lies there */
};

enum ww_err ww_worker_init(struct ww_worker *w, bool fast_sha,
                           struct ww_error *err) WW_MUST_USE;
void ww_worker_release(struct ww_worker *w);

#endif
