/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of a chunk, for each other and for chunk.c. */
#ifndef WW_RMM_CHUNK_FORMS_H
#define WW_RMM_CHUNK_FORMS_H

#include "codec/rans_lanes.h"
#include "rmm/chunk.h"
#include "rmm/chunk_adaptive.h"

/* Numbers that are decoded at a time: what passes between the steps stays near. */
#define WW_CHUNK_BLOCK ((size_t)2048)
#define WW_CHUNK_SMALL 4096
#define WW_CHUNK_TALLIES 4

struct ww_chunk_room {
    struct ww_lanes_lead folded_leads[WW_LANES_SYMBOLS]; /* see chunk_folded.h */
    struct ww_lanes_lead byte_leads[WW_LANES_SYMBOLS];   /* see chunk_split.c */
    uint8_t small[WW_CHUNK_SMALL];                       /* symbols of folded numbers */
    struct ww_lanes_spread spread;
    bool has_hints; /* see ww_chunk_room_hints */
    uint16_t hints[WW_ADAPTIVE_MOST];
    bool may_adapt;             /* see ww_chunk_room_adapt */
    unsigned mode;              /* of the chunk that is decoded, 0: tables */
    struct ww_sha_rest *beside; /* see ww_chunk_room_beside */
    struct ww_adaptive adaptive;
    struct ww_text text;
    struct ww_lanes_slots slots[WW_CHUNK_CONTEXTS]; /* of the tables that were read */
    struct ww_rans_table tables[WW_CHUNK_CONTEXTS];
    float scales[WW_CHUNK_MAX_RANK];
    uint32_t block[WW_CHUNK_BLOCK];
    uint8_t block_contexts[WW_CHUNK_BLOCK];
    uint16_t block_latents[WW_CHUNK_BLOCK];
    uint8_t *recast; /* WW_CHUNK_BYTES: predictions of the form narrow */
    /* For coding only, taken when first needed. */
    uint32_t *folded; /* as many numbers as a chunk can have, as the next two */
    uint8_t *contexts;
    uint8_t *symbols;
    uint8_t *words;  /* WW_CHUNK_WORDS */
    uint8_t *narrow; /* WW_CHUNK_BYTES: numbers of that form */
    uint32_t tally[WW_CHUNK_TALLIES][WW_CHUNK_CONTEXTS][WW_LANES_SYMBOLS];
    uint64_t counts[WW_CHUNK_CONTEXTS][WW_RANS_MAX_SYMBOLS];
    struct ww_rans_push push[WW_CHUNK_CONTEXTS][WW_LANES_SYMBOLS];
    struct ww_buf first; /* candidates */
    struct ww_buf second;
    struct ww_buf third;
};

/* Bytes of the words of a chunk: a symbol of twelve bits and raw ones (1 of one byte, 13
 * of two, 29 of four) take less than twice the number. */
#define WW_CHUNK_WORDS (2 * WW_CHUNK_BYTES)

/** What room->folded and room->contexts hold after that as form adaptive, in the shortest
 *  of its modes. */
enum ww_err ww_chunk_order_adaptive(struct ww_chunk_room *room, struct ww_chunk_type type,
                                    const uint8_t *prediction, size_t n,
                                    struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_chunk_order_encode(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
bool ww_chunk_order_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n) WW_MUST_USE;
/** Tables of n numbers by their predictions' exponents, and the largest of those. */
uint32_t ww_chunk_order_largest(struct ww_chunk_type type, const uint8_t *prediction,
                                size_t n);
void ww_chunk_order_contexts(struct ww_chunk_type type, uint32_t largest,
                             const uint8_t *prediction, size_t n, uint8_t *contexts);
/** Without the prediction, as the form few. */
enum ww_err ww_chunk_split_encode(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
bool ww_chunk_split_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, uint8_t *out,
                           size_t n) WW_MUST_USE;
/** What the symbols of the form split stand for. */
void ww_split_leads(struct ww_lanes_lead leads[WW_LANES_SYMBOLS]);

/** prediction NULL: form own, else klt. */
bool ww_chunk_own_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                         const uint8_t *coded, size_t len, const uint8_t *prediction,
                         uint8_t *out, size_t n) WW_MUST_USE;

bool ww_chunk_dense_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n) WW_MUST_USE;

/** Are there few enough different numbers, and what would their form cost? */
bool ww_chunk_is_few(const struct ww_chunk_plain *plain, size_t *coded);
/** Only where there are. */
enum ww_err ww_chunk_few_encode(const struct ww_chunk_plain *plain, struct ww_buf *out,
                                struct ww_error *err) WW_MUST_USE;
bool ww_chunk_few_decode(struct ww_chunk_type type, const uint8_t *coded, size_t len,
                         uint8_t *out, size_t n) WW_MUST_USE;

/** Are the numbers of a chunk of F32 or F16 all those of a narrower dtype? Then out has
 * the form narrow. */
enum ww_err ww_chunk_narrow_encode(struct ww_chunk_room *room,
                                   const struct ww_chunk_plain *plain, bool *is,
                                   struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
bool ww_chunk_narrow_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                            const uint8_t *coded, size_t len, const uint8_t *prediction,
                            uint8_t *out, size_t n) WW_MUST_USE;

/** As ww_chunk_encode, but not as narrow. */
enum ww_err ww_chunk_encode_as_is(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;

/** Make the buffers that coding needs, once. */
enum ww_err ww_chunk_room_ready(struct ww_chunk_room *room,
                                struct ww_error *err) WW_MUST_USE;

#endif
