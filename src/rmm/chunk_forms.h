/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of a chunk, for each other and for chunk.c. */
#ifndef WW_RMM_CHUNK_FORMS_H
#define WW_RMM_CHUNK_FORMS_H

#include "rmm/chunk.h"

/* What a symbol of a folded number begins with, and its raw bits: see chunk_folded.h. */
struct ww_folded_lead {
    uint8_t bits;
    uint8_t n_raw;
};

struct ww_chunk_room {
    struct ww_folded_lead leads[WW_RANS_SLOT_SYMBOLS];
    uint8_t symbols[4096];                         /* of small folded numbers */
    struct ww_rans_slots slots[WW_CHUNK_CONTEXTS]; /* of the tables that were read */
    struct ww_rans_table tables[WW_CHUNK_CONTEXTS];
    uint64_t counts[WW_CHUNK_CONTEXTS][WW_RANS_MAX_SYMBOLS];
    float scales[WW_CHUNK_MAX_RANK];
    /* For coding only, taken when first needed. */
    uint32_t *folded;
    uint8_t *contexts;
    uint8_t *words; /* WW_CHUNK_WORDS of each lane */
    struct ww_rans_push push[WW_CHUNK_CONTEXTS][WW_RANS_MAX_SYMBOLS];
    struct ww_rans_step *steps; /* of one lane */
    uint16_t *scratch;
    struct ww_buf first; /* candidates */
    struct ww_buf second;
};

/* Steps that one number may take: a symbol, and 30 raw bits. */
#define WW_CHUNK_MAX_STEPS 4
/* Bytes of the words of a lane: a number of two bytes takes three steps, one of four
 * bytes four. */
#define WW_CHUNK_WORDS ((WW_CHUNK_BYTES / 2 / WW_CHUNK_LANES + 1) * 6)

/** Numbers of a lane, and the first of them. */
static inline size_t ww_chunk_lane(size_t n, unsigned lane, size_t *first)
{
    const size_t each = n / WW_CHUNK_LANES;
    const size_t more = n % WW_CHUNK_LANES;

    *first = each * lane + (lane < more ? lane : more);
    return each + (lane < more);
}

enum ww_err ww_chunk_order_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const uint8_t *bytes, const uint8_t *prediction,
                                  size_t n, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
bool ww_chunk_order_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n) WW_MUST_USE;
enum ww_err ww_chunk_split_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const uint8_t *bytes, size_t n, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
bool ww_chunk_split_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, uint8_t *out,
                           size_t n) WW_MUST_USE;

bool ww_chunk_own_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                         const uint8_t *coded, size_t len, uint8_t *out,
                         size_t n) WW_MUST_USE;

/** Are there few enough different numbers, and what would their form cost? */
bool ww_chunk_is_few(struct ww_chunk_type type, const uint8_t *bytes, size_t n,
                     size_t *coded);
/** Only where there are. */
enum ww_err ww_chunk_few_encode(struct ww_chunk_type type, const uint8_t *bytes, size_t n,
                                struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
bool ww_chunk_few_decode(struct ww_chunk_type type, const uint8_t *coded, size_t len,
                         uint8_t *out, size_t n) WW_MUST_USE;

/** Make the buffers that coding needs, once. */
enum ww_err ww_chunk_room_ready(struct ww_chunk_room *room,
                                struct ww_error *err) WW_MUST_USE;

/** Append room for the lanes' lengths; *at is where. */
enum ww_err ww_chunk_lengths_add(struct ww_buf *out, size_t *at,
                                 struct ww_error *err) WW_MUST_USE;
/** Append a lane's message of room->steps and note its length. */
enum ww_err ww_chunk_lane_add(struct ww_chunk_room *room, size_t n_steps, unsigned lane,
                              size_t lengths_at, struct ww_buf *out,
                              struct ww_error *err) WW_MUST_USE;
/** Begin the lanes whose lengths stand at bytes; *used is the end of the last one. */
bool ww_chunk_lanes_begin(struct ww_rans_in lanes[WW_CHUNK_LANES], const uint8_t *bytes,
                          size_t len, size_t *used) WW_MUST_USE;
bool ww_chunk_lanes_done(const struct ww_rans_in lanes[WW_CHUNK_LANES]) WW_MUST_USE;

#endif
