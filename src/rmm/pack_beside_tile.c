/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tiles come from many threads, nearly in order. A chunk that lies in one tile is coded
 * where it lies; one that several tiles share is put together, and coded by the thread
 * that brings its last bytes. A thread holds one tile, so few chunks are ever open; where
 * there would be more than have room, the tensor is left to be read again afterwards.
 */
#include <string.h>

#include "rmm/pack_beside.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

size_t ww_beside_open_bytes(const struct ww_pack_beside *beside)
{
    return 2 * beside->n_wanted * WW_CHUNK_BYTES;
}

/* Bytes of a source in a tile. */
static const uint8_t *source_bytes(const struct ww_pack_beside *b,
                                   const struct ww_merge_seen *seen, size_t place)
{
    for (uint32_t i = 0; i < seen->n_in; i++) {
        if (seen->inputs[i]->model == b->of[place].model) {
            return seen->in[i];
        }
    }
    return NULL;
}

/* n bytes of a member's prediction, from byte `from` of the tile. */
static void predict(const struct ww_pack_beside *b, const struct ww_merge_seen *seen,
                    size_t member, uint64_t from, size_t n, uint8_t *out)
{
    const struct ww_unmerge *mix = &b->mixes[member];
    const uint8_t *rows[1 + WW_PACK_MAX_OTHERS];

    rows[0] = seen->out + from;
    for (size_t i = 0; i < mix->n; i++) {
        rows[1 + i] = source_bytes(b, seen, b->rows[member][i]) + from;
    }
    ww_unmerge_mix(mix, b->tensors[seen->tensor].dtype, rows, out, n);
}

static struct ww_beside_room *take_room(struct ww_pack_beside *b)
{
    struct ww_beside_room *room = NULL;

    pthread_mutex_lock(&b->lock);
    while (!room) {
        for (unsigned i = 0; i < b->n_rooms && !room; i++) {
            room = b->rooms[i].taken ? NULL : &b->rooms[i];
        }
        if (!room) {
            pthread_cond_wait(&b->given, &b->lock);
        }
    }
    room->taken = true;
    pthread_mutex_unlock(&b->lock);
    return room;
}

static void give_room(struct ww_pack_beside *b, struct ww_beside_room *room)
{
    pthread_mutex_lock(&b->lock);
    room->taken = false;
    pthread_cond_signal(&b->given);
    pthread_mutex_unlock(&b->lock);
}

static enum ww_err code(struct ww_pack_beside *b, struct ww_beside_room *room,
                        const struct ww_chunk_plain *plain, struct ww_beside_tensor *t,
                        struct ww_beside_chunk *to, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_buf_clear(&room->coded);
    ww_chunk_room_hints(room->room, NULL, 0, plain->prediction, plain->n);
    rc = ww_chunk_encode(room->room, plain, &room->coded, err);
    if (rc) {
        return rc;
    }
    const uint64_t at = atomic_fetch_add(&b->at, room->coded.len);
    rc = ww_pwrite_full(b->fd, room->coded.data, room->coded.len, at, b->package, err);
    if (!rc) {
        *to = (struct ww_beside_chunk){at, (uint32_t)room->coded.len};
        atomic_fetch_sub(&t->missing, 1);
    }
    return rc;
}

static struct ww_beside_chunk *chunks_of(const struct ww_pack_beside *b,
                                         const struct ww_beside_tensor *t, uint64_t chunk)
{
    return &t->chunks[chunk * b->n_wanted];
}

static size_t chunk_bytes(const struct ww_beside_tensor *t, uint64_t chunk)
{
    return (size_t)ww_min_u64(WW_CHUNK_BYTES, t->n_bytes - chunk * WW_CHUNK_BYTES);
}

/* All of the chunk lies in the tile. */
static enum ww_err code_in_tile(struct ww_pack_beside *b,
                                const struct ww_merge_seen *seen, uint64_t chunk,
                                uint64_t from, struct ww_error *err)
{
    struct ww_beside_tensor *t = &b->tensors[seen->tensor];
    struct ww_beside_room *room = take_room(b);
    const size_t n = chunk_bytes(t, chunk);
    const struct ww_chunk_plain plain = {ww_chunk_type_of(t->dtype), room->bytes,
                                         room->prediction, n};
    enum ww_err rc = WW_OK;

    for (size_t m = 0; m < b->n_wanted && !rc; m++) {
        predict(b, seen, m, from, n, room->prediction);
        memcpy(room->bytes, source_bytes(b, seen, m) + from, n);
        rc = code(b, room, &plain, t, &chunks_of(b, t, chunk)[m], err);
    }
    give_room(b, room);
    return rc;
}

static enum ww_err code_open(struct ww_pack_beside *b, const struct ww_beside_open *open,
                             struct ww_error *err)
{
    struct ww_beside_tensor *t = &b->tensors[open->tensor];
    struct ww_beside_room *room = take_room(b);
    const size_t n = chunk_bytes(t, open->chunk);
    enum ww_err rc = WW_OK;

    for (size_t m = 0; m < b->n_wanted && !rc; m++) {
        const uint8_t *bytes = open->bytes + 2 * m * WW_CHUNK_BYTES;
        const struct ww_chunk_plain plain = {ww_chunk_type_of(t->dtype), bytes,
                                             bytes + WW_CHUNK_BYTES, n};
        rc = code(b, room, &plain, t, &chunks_of(b, t, open->chunk)[m], err);
    }
    give_room(b, room);
    return rc;
}

/* Under the lock. NULL: no room for one more. */
static struct ww_beside_open *open_chunk(struct ww_pack_beside *b, uint32_t tensor,
                                         uint64_t chunk)
{
    struct ww_beside_open *open = b->open;

    while (open && (open->tensor != tensor || open->chunk != chunk)) {
        open = open->next;
    }
    if (open || b->n_open == b->most_open) {
        return open;
    }
    open = ww_calloc(1, sizeof(*open));
    if (open) {
        open->bytes = ww_alloc_pages(ww_beside_open_bytes(b));
    }
    if (!open || !open->bytes) {
        ww_free(open);
        return NULL;
    }
    open->tensor = tensor;
    open->chunk = (uint32_t)chunk;
    open->left = chunk_bytes(&b->tensors[tensor], chunk);
    open->next = b->open;
    b->open = open;
    b->n_open++;
    return open;
}

/* These bytes are there; true: they were the last, and the chunk is the caller's. */
static bool fill(struct ww_pack_beside *b, struct ww_beside_open *open, size_t n)
{
    struct ww_beside_open **at = &b->open;
    bool last = false;

    pthread_mutex_lock(&b->lock);
    open->left -= n;
    last = open->left == 0;
    while (last && *at != open) {
        at = &(*at)->next;
    }
    if (last) {
        *at = open->next;
        b->n_open--;
    }
    pthread_mutex_unlock(&b->lock);
    return last;
}

/* n bytes of the tile, which are bytes `inside` and on of the chunk. */
static enum ww_err put_together(struct ww_pack_beside *b,
                                const struct ww_merge_seen *seen, uint64_t chunk,
                                uint64_t from, uint64_t inside, size_t n,
                                struct ww_error *err)
{
    struct ww_beside_open *open = NULL;
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&b->lock);
    open = open_chunk(b, seen->tensor, chunk);
    pthread_mutex_unlock(&b->lock);
    if (!open) {
        return WW_OK; /* the tensor keeps missing it */
    }
    for (size_t m = 0; m < b->n_wanted; m++) {
        uint8_t *bytes = open->bytes + 2 * m * WW_CHUNK_BYTES + inside;
        memcpy(bytes, source_bytes(b, seen, m) + from, n);
        predict(b, seen, m, from, n, bytes + WW_CHUNK_BYTES);
    }
    if (fill(b, open, n)) {
        rc = code_open(b, open, err);
        ww_free(open->bytes);
        ww_free(open);
    }
    return rc;
}

enum ww_err ww_beside_tile(void *payload, const struct ww_merge_seen *seen,
                           struct ww_error *err)
{
    struct ww_pack_beside *b = payload;
    const struct ww_beside_tensor *t = b->is ? &b->tensors[seen->tensor] : NULL;
    const uint64_t end = seen->at + seen->n;
    enum ww_err rc = WW_OK;

    for (uint64_t at = seen->at; t && t->is && at < end && !rc;) {
        const uint64_t chunk = at / WW_CHUNK_BYTES;
        const uint64_t begin = chunk * WW_CHUNK_BYTES;
        const size_t n = (size_t)ww_min_u64(end, begin + chunk_bytes(t, chunk)) - at;
        rc = n == chunk_bytes(t, chunk)
                 ? code_in_tile(b, seen, chunk, at - seen->at, err)
                 : put_together(b, seen, chunk, at - seen->at, at - begin, n, err);
        at += n;
    }
    return rc;
}
