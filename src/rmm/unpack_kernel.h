/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of a member as a kernel of the executor: a chunk is a row. */
#ifndef WW_RMM_UNPACK_KERNEL_H
#define WW_RMM_UNPACK_KERNEL_H

#include <pthread.h>

#include "rmm/unmerge.h"
#include "rmm/chunk.h"
#include "rmm/rank.h"
#include "rmm/shared.h"
#include "rmm/pack_file.h"
#include "stream/stream.h"

/** Working memory of one thread. */
struct ww_unpack_room {
    struct ww_chunk_room *chunk;
    uint8_t *coded;      /* WW_CHUNK_MAX_CODED */
    uint8_t *mixed;      /* WW_CHUNK_BYTES */
    uint8_t *with_rank;  /* the same */
    uint8_t *chain[2];   /* the same; NULL until a parent is read */
    struct ww_rank rank; /* factors of the part with some that was read last, */
    const struct ww_pack_table_part *rank_of; /* which is this one; or NULL */
    struct ww_shared shared; /* the same of the part that was made of a basis last */
    const struct ww_pack_table_part *shared_of;
    struct ww_unpack_room *next;
};

/** Rooms that no thread uses at the moment. */
struct ww_unpack_rooms {
    pthread_mutex_t lock;
    struct ww_unpack_room *free;
};
enum ww_err ww_unpack_rooms_take(struct ww_unpack_rooms *rooms,
                                 struct ww_unpack_room **out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_unpack_rooms_give(struct ww_unpack_rooms *rooms, struct ww_unpack_room *room);
void ww_unpack_rooms_init(struct ww_unpack_rooms *rooms);
void ww_unpack_rooms_release(struct ww_unpack_rooms *rooms);

/** Read, check and decode one chunk of a part to its bytes. prediction: as many of the
 * base or of the parent, NULL for none; factors of the part, where it has some, are read
 * into the room and stay there. WW_E_TAMPERED when coded bytes have another digest. */
enum ww_err ww_unpack_chunk(const struct ww_pack_view *view,
                            const struct ww_pack_table_part *part, uint64_t chunk,
                            const uint8_t *prediction, struct ww_unpack_room *room,
                            uint8_t *out, struct ww_error *err) WW_MUST_USE;

/** The first chunk of a file whose coded bytes have another digest than the table says:
 *  WW_E_TAMPERED; WW_OK when there is none. */
enum ww_err ww_unpack_find_altered(const struct ww_pack_view *view, uint32_t file,
                                   struct ww_unpack_rooms *rooms,
                                   struct ww_error *err) WW_MUST_USE;

/** Parameters of the kernel: rows are the part's chunks from `first` on. */
struct ww_unpack_piece {
    const struct ww_pack_view *view;
    const struct ww_pack_table_part *part;
    struct ww_unpack_rooms *rooms;
    const struct ww_unmerge *unmerge; /* with more than one source of rows */
    uint64_t first;
};
extern const struct ww_kernel ww_unpack_kernel;

#endif
