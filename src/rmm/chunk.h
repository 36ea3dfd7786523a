/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Chunks: at most 2 MiB of one tensor or file, coded on their own. Integers, and of own,
 * klt and dense single IEEE operations, so the bytes are the same everywhere.
 *
 *   u8 form
 *   0 stored     the bytes
 *   1 same       those of the prediction
 *   2 order      differences to the prediction, by its exponents
 *   3 split      a byte with the exponent coded, the others as they are
 *   4 own        integers times a scale for each latent index
 *   5 few        up to 16 different numbers, and which each is
 *   6 dense      integers as levels, on top of the prediction
 *   7 klt        own, on top of the prediction
 *   16 adaptive  one of these without tables
 *   17 narrow    numbers of a shorter type, coded as that
 *
 * docs/formats/chunk.md has what follows the form, by the bit.
 */
#ifndef WW_RMM_CHUNK_H
#define WW_RMM_CHUNK_H

#include "codec/rans.h"
#include "weightward/model.h"

#define WW_CHUNK_BYTES ((size_t)2 << 20)
#define WW_CHUNK_CONTEXTS 16
/* The longest coded chunk: stored is never longer, and it is always tried. */
#define WW_CHUNK_MAX_CODED (WW_CHUNK_BYTES + 1)

enum ww_chunk_form {
    WW_CHUNK_STORED,
    WW_CHUNK_SAME,
    WW_CHUNK_ORDER,
    WW_CHUNK_SPLIT,
    WW_CHUNK_OWN,
    WW_CHUNK_FEW,
    WW_CHUNK_DENSE,
    WW_CHUNK_KLT,
    WW_CHUNK_FORMS,
    WW_CHUNK_ADAPTIVE = 16,
    WW_CHUNK_NARROW
};
/** The form of a coded chunk; of an adaptive or a narrow one that which it is a form of.
 */
enum ww_chunk_form ww_chunk_form_of(const uint8_t *coded, size_t len);

/** A text that is coded by what came before in it, which packages know since version 3.
 */
bool ww_chunk_goes_back(const uint8_t *coded, size_t len);

/** What coding needs to know of a dtype. */
struct ww_chunk_type {
    unsigned width;          /* bytes of a number: 1, 2, 4 or 8 */
    unsigned exponent_shift; /* of its exponent field */
    uint32_t exponent_mask;  /* 0: no form order */
};
struct ww_chunk_type ww_chunk_type_of(enum ww_dtype dtype);

/** A chunk before it is coded. */
struct ww_chunk_plain {
    struct ww_chunk_type type;
    const uint8_t *bytes;
    const uint8_t *prediction; /* n bytes, or NULL */
    size_t n;                  /* a multiple of the width, at most WW_CHUNK_BYTES */
};

/** Working memory of one thread, about 18 MiB once it was used for coding. */
struct ww_chunk_room;
enum ww_err ww_chunk_room_new(struct ww_chunk_room **out,
                              struct ww_error *err) WW_MUST_USE;
void ww_chunk_room_free(struct ww_chunk_room *room);
/** Chunks of few numbers are coded as form adaptive from now on, where that is shorter.
 *  It takes longer than tables do, and what is read again often is better without. */
void ww_chunk_room_adapt(struct ww_chunk_room *room);
struct ww_sha_rest;
/** Bytes of a message that decoding of the next chunks may hash on the way, as many as it
 *  has use for; NULL: none. A borrow until it is called again. */
void ww_chunk_room_beside(struct ww_chunk_room *room, struct ww_sha_rest *beside);
struct ww_rank;
/** Hints about the numbers of the next chunks, from the n bytes of the base, from byte
 *  `at` of the tensor on, that the product is added to; rank NULL: none. */
void ww_chunk_room_hints(struct ww_chunk_room *room, const struct ww_rank *rank,
                         uint64_t at, const uint8_t *base, size_t n);

/** How integers become numbers: see form own. */
struct ww_chunk_scales {
    unsigned axis; /* 0: a latent index is a row, 1: a column */
    uint32_t rank;
    uint64_t row; /* numbers in a row; axis 1: not looked at */
    uint64_t first;
    const float *scales;    /* rank of them, finite */
    const uint8_t *classes; /* rank of them */
    bool near;              /* form klt: on top of the prediction */
};
#define WW_CHUNK_MAX_RANK 4096

/** Append n integers of -32767 to 32767 as the form own or klt. */
enum ww_err ww_chunk_own_encode(struct ww_chunk_room *room, const int16_t *integers,
                                size_t n, const struct ww_chunk_scales *scales,
                                struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** The dtype of a type that has an exponent. */
enum ww_dtype ww_chunk_own_dtype(struct ww_chunk_type type);
/** The number that an integer and a scale stand for, at out. */
void ww_chunk_own_number(struct ww_chunk_type type, int32_t integer, float scale,
                         uint8_t *out);

/** The same of form klt, on top of a number; out may be that. */
void ww_chunk_near_number(struct ww_chunk_type type, int32_t integer, float scale,
                          const uint8_t *near, uint8_t *out);

/** How integers become changes of a prediction: see form dense. */
#define WW_CHUNK_LEVELS 8
#define WW_CHUNK_MOST 65535
struct ww_chunk_levels {
    unsigned n; /* 1 to WW_CHUNK_LEVELS */
    float step; /* also the width of a cell */
    float levels[WW_CHUNK_LEVELS];
};
/** Append finite numbers with a prediction as the form dense, or as same. */
enum ww_err ww_chunk_dense_encode(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain,
                                  const struct ww_chunk_levels *levels,
                                  struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** The integer of a change, and the change of an integer. */
int32_t ww_chunk_dense_cell(const struct ww_chunk_levels *levels, double change);
double ww_chunk_dense_level(const struct ww_chunk_levels *levels, int32_t q);

/** Append the coded chunk, in the shortest of the exact forms. */
enum ww_err ww_chunk_encode(struct ww_chunk_room *room,
                            const struct ww_chunk_plain *plain, struct ww_buf *out,
                            struct ww_error *err) WW_MUST_USE;

/** Decode len bytes to exactly n. False unless they are what an encoder writes for n
 *  bytes of this type; safe for any bytes. */
bool ww_chunk_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                     const uint8_t *coded, size_t len, const uint8_t *prediction,
                     uint8_t *out, size_t n) WW_MUST_USE;

#endif
