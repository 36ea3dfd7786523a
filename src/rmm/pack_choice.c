/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits decide, and bits that were counted: chunks that lie evenly over the part are coded
 * by the exact forms both ways. That is the order of the two within an error too, where
 * what is coded is the same differences, rounded.
 */
#include "rmm/pack_choice.h"

#include "rmm/parent.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define MOST_CHUNKS 4

/* Bytes of a chunk that is coded with its prediction, or without one. */
static enum ww_err count(const struct ww_pack_choice *x, struct ww_chunk_room *coder,
                         bool predicted, size_t n, struct ww_buf *coded, uint64_t *bytes,
                         struct ww_error *err)
{
    const struct ww_chunk_plain plain = {x->job->type, x->job->bytes,
                                         predicted ? x->job->prediction : NULL, n};
    enum ww_err rc = WW_OK;

    ww_buf_clear(coded);
    rc = ww_chunk_encode(coder, &plain, coded, err);
    *bytes += coded->len;
    return rc;
}

static enum ww_err count_base(const struct ww_pack_choice *x, struct ww_chunk_room *coder,
                              uint64_t at, size_t n, struct ww_buf *coded,
                              uint64_t *bytes, struct ww_error *err)
{
    const struct ww_pack_job *job = x->job;
    enum ww_err rc = WW_OK;

    if (job->base.fd >= 0) {
        rc = ww_base_read(&job->base, job->dtype, at, job->prediction, n, err);
        ww_chunk_room_hints(coder, !rc && x->rank ? &x->rank->rank : NULL, at,
                            job->prediction, n);
        if (!rc && x->rank) {
            ww_rank_predict(&x->rank->rank, at, job->prediction, job->prediction, n);
        }
    }
    return rc ? rc : count(x, coder, job->base.fd >= 0, n, coded, bytes, err);
}

static enum ww_err count_parent(const struct ww_pack_choice *x,
                                struct ww_chunk_room *coder, uint64_t chunk, size_t n,
                                struct ww_buf *coded, uint64_t *bytes,
                                struct ww_error *err)
{
    const struct ww_pack_job *job = x->job;
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = ww_unpack_rooms_take(job->rooms, &room, err);

    if (!rc) {
        rc = ww_parent_read(job->parent, x->parent_part, chunk, room, job->prediction,
                            err);
        ww_unpack_rooms_give(job->rooms, room);
    }
    ww_chunk_room_hints(coder, NULL, 0, NULL, 0);
    return rc ? rc : count(x, coder, true, n, coded, bytes, err);
}

static uint64_t bytes_of_rank(const struct ww_rank_coded *rank)
{
    uint64_t n = 0;

    for (uint64_t i = 0; rank && i < rank->n; i++) {
        n += rank->chunks[i].len;
    }
    return n;
}

enum ww_err ww_pack_choose(const struct ww_pack_choice *x, struct ww_chunk_room *coder,
                           bool *parent, struct ww_error *err)
{
    const uint64_t n_chunks = ww_part_chunks(x->part_bytes);
    const uint64_t n_tries = ww_min_u64(n_chunks, MOST_CHUNKS);
    const struct ww_pack_job *job = x->job;
    uint64_t base_bytes = 0;
    uint64_t parent_bytes = 0;
    struct ww_buf coded;
    enum ww_err rc = WW_OK;

    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    for (uint64_t i = 0; i < n_tries && !rc; i++) {
        const uint64_t chunk = n_chunks * i / n_tries;
        const uint64_t at = chunk * WW_CHUNK_BYTES;
        const size_t n = (size_t)ww_min_u64(WW_CHUNK_BYTES, x->part_bytes - at);
        rc = ww_pread_full(job->fd, job->bytes, n, job->offset + at, job->name, err);
        if (!rc) {
            rc = count_base(x, coder, at, n, &coded, &base_bytes, err);
        }
        if (!rc) {
            rc = count_parent(x, coder, chunk, n, &coded, &parent_bytes, err);
        }
    }
    /* A product is paid for once, the chunks that were not looked at cost alike. */
    *parent = n_tries > 0 &&
              parent_bytes < base_bytes + bytes_of_rank(x->rank) * n_tries / n_chunks;
    ww_buf_release(&coded);
    return rc;
}
