/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The executor reads the base and writes the files; the coded chunks, which are of any
 * length, the kernel reads itself. Of whole files the digest of the file decides, which
 * is taken anyway and is what the manifest commits to; digests of coded chunks then say
 * which chunk it was that did not come back. A chunk that is read alone is checked before
 * it is decoded.
 */
#include "rmm/unpack_kernel.h"

#include <string.h>

#include "model/recode.h"
#include "rmm/base_read.h"
#include "rmm/parent.h"
#include "rmm/rank_code.h"
#include "rmm/shared_load.h"
#include "util/alloc.h"
#include "util/fail.h"

void ww_unpack_rooms_init(struct ww_unpack_rooms *rooms)
{
    pthread_mutex_init(&rooms->lock, NULL);
    rooms->free = NULL;
}

static void room_free(struct ww_unpack_room *room)
{
    if (room) {
        ww_chunk_room_free(room->chunk);
        ww_free(room->coded);
        ww_free(room->mixed);
        ww_free(room->with_rank);
        ww_free(room->chain[0]);
        ww_free(room->chain[1]);
        ww_rank_release(&room->rank);
        ww_shared_release(&room->shared);
        ww_free(room);
    }
}

void ww_unpack_rooms_release(struct ww_unpack_rooms *rooms)
{
    while (rooms->free) {
        struct ww_unpack_room *room = rooms->free;
        rooms->free = room->next;
        room_free(room);
    }
    pthread_mutex_destroy(&rooms->lock);
}

enum ww_err ww_unpack_rooms_take(struct ww_unpack_rooms *rooms,
                                 struct ww_unpack_room **out, struct ww_error *err)
{
    struct ww_unpack_room *room = NULL;

    pthread_mutex_lock(&rooms->lock);
    room = rooms->free;
    if (room) {
        rooms->free = room->next;
    }
    pthread_mutex_unlock(&rooms->lock);
    *out = room;
    if (room) {
        return WW_OK;
    }
    room = ww_calloc(1, sizeof(*room));
    if (room) {
        room->coded = ww_calloc(1, WW_CHUNK_MAX_CODED);
        room->mixed = ww_calloc(1, WW_CHUNK_BYTES);
        room->with_rank = ww_calloc(1, WW_CHUNK_BYTES);
    }
    if (!room || !room->coded || !room->mixed || !room->with_rank ||
        ww_chunk_room_new(&room->chunk, NULL)) {
        room_free(room);
        return WW_FAIL_MEMORY(err, "decoding");
    }
    *out = room;
    return WW_OK;
}

void ww_unpack_rooms_give(struct ww_unpack_rooms *rooms, struct ww_unpack_room *room)
{
    pthread_mutex_lock(&rooms->lock);
    room->next = rooms->free;
    rooms->free = room;
    pthread_mutex_unlock(&rooms->lock);
}

static const char *part_name(const struct ww_pack_table_part *part)
{
    return part->tensor ? part->tensor : "(no tensor)";
}

static enum ww_err check_digest(const struct ww_pack_view *view,
                                const struct ww_pack_table_part *part, uint64_t chunk,
                                const uint8_t *coded, struct ww_error *err)
{
    const struct ww_pack_table_chunk *c = &view->table.chunks[part->first_chunk + chunk];
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(coded, c->len, digest);
    if (memcmp(digest, c->sha256, sizeof(digest)) == 0) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_TAMPERED,
                   "member '%s': chunk %llu of tensor '%s' is not what its table says",
                   view->member->name, (unsigned long long)chunk + 1, part_name(part));
}

/* Why a chunk does not decode. */
static enum ww_err explain(const struct ww_pack_view *view,
                           const struct ww_pack_table_part *part, uint64_t chunk,
                           const uint8_t *coded, struct ww_error *err)
{
    const enum ww_err rc = check_digest(view, part, chunk, coded, err);

    if (rc) {
        return rc;
    }
    const struct ww_parent *parent = part->chained ? view->table.parent : NULL;
    if (parent && !ww_parent_needs_base(parent, part->parent_part)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "member '%s': chunk %llu of tensor '%s' does not decode on what "
                       "its parent '%s' has there: it was made with another one",
                       view->member->name, (unsigned long long)chunk + 1, part_name(part),
                       parent->view.member->name);
    }
    return part->predicted || part->chained
               ? WW_FAIL(err, WW_E_UNRELATED,
                         "member '%s': chunk %llu of tensor '%s' does not decode: the "
                         "base is not the one that the package was made with",
                         view->member->name, (unsigned long long)chunk + 1,
                         part_name(part))
               : WW_FAIL(err, WW_E_MALFORMED,
                         "member '%s': chunk %llu of tensor '%s' does not decode",
                         view->member->name, (unsigned long long)chunk + 1,
                         part_name(part));
}

/* What predicts a chunk of a part with factors: the base's bytes and their product. */
static const uint8_t *with_rank(const struct ww_rank *rank, uint64_t chunk,
                                const uint8_t *base, struct ww_unpack_room *room,
                                size_t n)
{
    const uint64_t at = chunk * WW_CHUNK_BYTES;

    rank = base ? rank : NULL;
    ww_chunk_room_hints(room->chunk, rank, at, base, n);
    if (!rank) {
        return base;
    }
    ww_rank_predict(rank, at, base, room->with_rank, n);
    return room->with_rank;
}

static enum ww_err decode_chunk(const struct ww_pack_view *view,
                                const struct ww_pack_table_part *part, uint64_t chunk,
                                const uint8_t *prediction, struct ww_unpack_room *room,
                                uint8_t *out, struct ww_error *err)
{
    const struct ww_pack_table_chunk *c = &view->table.chunks[part->first_chunk + chunk];

    if (view->member->old && ww_chunk_goes_back(room->coded, c->len)) {
        return WW_FAIL(
            err, WW_E_MALFORMED,
            "member '%s' has a text that is coded as in no package of version 2",
            view->member->name);
    }
    return ww_chunk_decode(room->chunk, ww_chunk_type_of(part->dtype), room->coded,
                           c->len, prediction, out, ww_part_chunk_bytes(part, chunk))
               ? WW_OK
               : explain(view, part, chunk, room->coded, err);
}

static enum ww_err read_chunk(const struct ww_pack_view *view,
                              const struct ww_pack_table_part *part, uint64_t chunk,
                              struct ww_unpack_room *room, struct ww_error *err)
{
    const struct ww_pack_table_chunk *c = &view->table.chunks[part->first_chunk + chunk];

    return ww_section_read(&view->section, c->at, room->coded, c->len, err);
}

/* The factors of a part, or NULL. Its chunks are read one after the other and share them.
 */
static enum ww_err load_rank(const struct ww_pack_view *view,
                             const struct ww_pack_table_part *part,
                             struct ww_unpack_room *room, const struct ww_rank **out,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (part->rank.rank == 0) {
        return WW_OK;
    }
    if (room->rank_of != part) {
        ww_rank_release(&room->rank);
        rc = ww_rank_load(view, part, room, &room->rank, err);
        room->rank_of = rc ? NULL : part;
    }
    *out = rc ? NULL : &room->rank;
    return rc;
}

enum ww_err ww_unpack_chunk(const struct ww_pack_view *view,
                            const struct ww_pack_table_part *part, uint64_t chunk,
                            const uint8_t *prediction, struct ww_unpack_room *room,
                            uint8_t *out, struct ww_error *err)
{
    const struct ww_rank *rank = NULL;
    enum ww_err rc = load_rank(view, part, room, &rank, err);

    if (!rc) {
        rc = read_chunk(view, part, chunk, room, err);
    }
    if (!rc) {
        rc = check_digest(view, part, chunk, room->coded, err);
    }
    if (rc) {
        return rc;
    }
    prediction =
        with_rank(rank, chunk, prediction, room, ww_part_chunk_bytes(part, chunk));
    return decode_chunk(view, part, chunk, prediction, room, out, err);
}

enum ww_err ww_unpack_find_altered(const struct ww_pack_view *view, uint32_t file,
                                   struct ww_unpack_rooms *rooms, struct ww_error *err)
{
    const struct ww_pack_table_file *f = &view->table.files[file];
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = ww_unpack_rooms_take(rooms, &room, err);

    if (rc) {
        return rc;
    }
    for (uint32_t p = 0; p < f->n_parts && !rc; p++) {
        const struct ww_pack_table_part *part = &view->table.parts[f->first_part + p];
        for (uint64_t c = 0; c < part->n_chunks && !rc; c++) {
            rc = read_chunk(view, part, c, room, err);
            if (!rc) {
                rc = check_digest(view, part, c, room->coded, err);
            }
        }
    }
    ww_unpack_rooms_give(rooms, room);
    return rc;
}

/* A piece while it is made: with the factors of its part, or what that shares, once for
 * all threads. */
struct open_piece {
    const struct ww_unpack_piece *piece;
    struct ww_rank rank;
    struct ww_shared shared;
};

static enum ww_err load_numbers(struct open_piece *at, struct ww_error *err)
{
    const struct ww_unpack_piece *piece = at->piece;
    const bool shares = piece->part->shared.codec != WW_SHARED_NONE;
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = WW_OK;

    if (piece->part->rank.rank == 0 && !shares) {
        return WW_OK;
    }
    rc = ww_unpack_rooms_take(piece->rooms, &room, err);
    if (rc) {
        return rc;
    }
    rc = shares ? ww_shared_load(piece->view, piece->part, room, &at->shared, err)
                : ww_rank_load(piece->view, piece->part, room, &at->rank, err);
    ww_unpack_rooms_give(piece->rooms, room);
    return rc;
}

static enum ww_err kernel_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                               uint64_t n_tiles, void **state, const uint32_t **row_map,
                               struct ww_error *err)
{
    struct open_piece *at = ww_calloc(1, sizeof(*at));
    enum ww_err rc = WW_OK;

    (void)n_rows;
    (void)row_bytes;
    (void)n_tiles;
    *row_map = NULL;
    *state = NULL;
    if (!at) {
        return WW_FAIL_MEMORY(err, "decoding");
    }
    at->piece = params;
    rc = load_numbers(at, err);
    if (rc) {
        ww_free(at);
        return rc;
    }
    *state = at;
    return WW_OK;
}

/* The base's row, or what it says with the others' rows, or what the parent has there;
 * NULL: no prediction. */
static enum ww_err predict(const struct open_piece *at, const struct ww_tile *tile,
                           uint64_t row, struct ww_unpack_room *room, const uint8_t **out,
                           struct ww_error *err)
{
    const struct ww_unpack_piece *piece = at->piece;
    const uint64_t chunk = piece->first + tile->first_row + row;
    const uint8_t *rows[WW_MAX_SOURCES];

    if (at->shared.basis) {
        ww_shared_predict(&at->shared, chunk * WW_CHUNK_BYTES, room->mixed,
                          (size_t)tile->row_bytes);
        *out = room->mixed;
        return WW_OK;
    }
    if (piece->part->chained) {
        *out = room->mixed;
        return ww_parent_read(piece->view->table.parent, piece->part->parent_part, chunk,
                              room, room->mixed, err);
    }
    for (uint32_t s = 0; s < tile->n_sources; s++) {
        rows[s] = tile->rows[s][row];
    }
    if (ww_base_changes(piece->part)) {
        ww_recode(piece->part->base_dtype, piece->part->dtype, rows[0], room->mixed,
                  (size_t)tile->row_bytes / ww_chunk_type_of(piece->part->dtype).width);
        *out = room->mixed;
        return WW_OK;
    }
    if (tile->n_sources < 2) {
        *out = tile->n_sources ? rows[0] : NULL;
        return WW_OK;
    }
    ww_unmerge_mix(piece->unmerge, piece->part->dtype, rows, room->mixed,
                   (size_t)tile->row_bytes);
    *out = room->mixed;
    return WW_OK;
}

/* Of a file whose digest is taken: see above. */
static enum ww_err restore_row(const struct open_piece *at, const struct ww_tile *tile,
                               uint64_t row, struct ww_unpack_room *room,
                               struct ww_error *err)
{
    const struct ww_unpack_piece *piece = at->piece;
    const uint64_t chunk = piece->first + tile->first_row + row;
    const uint8_t *prediction = NULL;
    enum ww_err rc = predict(at, tile, row, room, &prediction, err);

    if (!rc) {
        rc = read_chunk(piece->view, piece->part, chunk, room, err);
    }
    if (rc) {
        return rc;
    }
    prediction = with_rank(at->rank.b ? &at->rank : NULL, chunk, prediction, room,
                           (size_t)tile->row_bytes);
    return decode_chunk(piece->view, piece->part, chunk, prediction, room,
                        tile->out + row * tile->row_bytes, err);
}

static enum ww_err kernel_run(void *state, const struct ww_tile *tile,
                              struct ww_error *err)
{
    const struct open_piece *at = state;
    struct ww_unpack_rooms *rooms = at->piece->rooms;
    struct ww_unpack_room *room = NULL;
    enum ww_err rc = ww_unpack_rooms_take(rooms, &room, err);

    if (rc) {
        return rc;
    }
    ww_chunk_room_beside(room->chunk, tile->beside);
    for (uint64_t i = 0; i < tile->n_rows && !rc; i++) {
        rc = restore_row(at, tile, i, room, err);
    }
    ww_chunk_room_beside(room->chunk, NULL);
    ww_unpack_rooms_give(rooms, room);
    return rc;
}

static enum ww_err kernel_close(void *state, bool complete, struct ww_error *err)
{
    struct open_piece *at = state;

    (void)complete;
    (void)err;
    ww_rank_release(&at->rank);
    ww_shared_release(&at->shared);
    ww_free(at);
    return WW_OK;
}

const struct ww_kernel ww_unpack_kernel = {"unpack", kernel_open, kernel_run,
                                           kernel_close};
