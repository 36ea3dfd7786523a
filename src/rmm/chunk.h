/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Chunks: at most 2 MiB of one tensor or file, coded on their own, integers only.
 *
 *   u8 form
 *   0 stored   the bytes
 *   1 same     nothing: the bytes are those of the prediction
 *   2 order    u8 largest exponent field of the prediction
 *              | 16 tables, each as codec/rans.h has it or one zero byte for none
 *              | message
 *   3 split    one table | width - 1 bytes of each number | message
 *   4 own      u8 axis | u32 rank | u64 row | u64 first number | rank scales, each the
 *              bits of a fp32 | rank classes, each u8 below 16 | 16 tables | message
 *   5 few      u8 k | k numbers | for each number of the chunk its place among them
 *   6 dense    u8 largest exponent field of the prediction | u8 1: one table, 0: tables
 *              as in order | u8 k | k levels and the step, each the bits of a fp32
 *              | 16 tables | message
 *   7 klt      as own
 *   17 narrow   u8 dtype (0: bf16, 1: fp16) | a chunk of that, of as many numbers, which
 *              is not narrow itself
 *   16 adaptive  u8 mode | u8 form, one of these | what it has | message
 *        order    u8 largest exponent field of the prediction | of mode 8: u16 edge
 *        split    nothing
 *        own, klt u8 axis | u16 rank | rank scales | rank sizes, each u8 below 64
 *        dense    u8 largest exponent field | u8 1 or 0 | u8 k | k levels and the step
 *
 * A message is one of codec/rans_lanes.h, and takes the rest of the chunk: 32 lanes for
 * 4096 numbers or more, else 4.
 *
 * order: numbers as ordered integers, the difference to the prediction folded to u; the
 * table of a number is min(15, largest exponent - exponent of the prediction). u below 16
 * is a symbol of its own, else the place of its highest bit with the two bits below it is
 * the symbol, 16 for 16, and the other bits are raw.
 *
 * own: a number is an integer times the scale of its latent index, one product in fp32,
 * and rounded once, to nearest even, to the type (bf16, fp16, fp32). With p = first +
 * place in the chunk, the index is p / row for axis 0 and p % rank for axis 1. The
 * integer is folded (0, -1, 1, -2 ... to 0, 1, 2, 3 ...) and coded as u is, with 17 bits,
 * by the table of its index's class. klt: the same, the product added to the
 * prediction's number in fp32 before it is rounded; integer 0 is the prediction's bits.
 *
 * dense: integers as in own, by the tables of order or all by the first one; integer q is
 * a change of level |q|, or beyond k of the last level and step for each more, with the
 * sign of q, in fp64; it is added to the prediction in fp64 and the sum is rounded once
 * to the type. 0 is the prediction's bits.
 *
 * few: the 1 to 16 different numbers, ascending by their bits, each of which occurs; a
 * place has 0 bits for one number, 1 for two, 2 for up to four, else 4, low bits of a
 * byte first, zeros behind the last.
 *
 * narrow: numbers of fp32 that are all numbers of that dtype too, or of fp16 that are all
 * of bf16 (model/recode.h): they become what they were, and the prediction is rounded to
 * it. Not where few could be.
 *
 * split: number rotated left by one bit, so that the sign is last; its highest byte is
 * the symbol (254 and 255 are symbol 254 and one raw bit), the lower bytes are stored as
 * they are.
 *
 * adaptive: for chunks of 65536 numbers or fewer, where it is shorter by a 64th or more.
 * The message is one of codec/adaptive.h and takes the rest. mode: 1, and of order and
 * dense 2 (each context is four, by the numbers before), of order 4 (all of one context)
 * or 8 alone (contexts are those of hints), of own and klt 16 always, of split 32. A
 * number is the difference or integer v: for sizes from 0 on, whether |v| has more bits
 * than that; then, but for 0, its sign (1: negative), the two bits below the highest by
 * what is known of that size and of the one before, and the others raw, eight at a time,
 * high ones first. By the numbers before: e, at first 0, becomes floor((3 e + 16 min(|v|,
 * 15)) / 4); below 3, 10, 24 or beyond. own, klt: the chunk is the whole factor from its
 * first number on, row is numbers / rank; of size s of its index a number asks set s % 2,
 * about sizes moved by 17 - floor(s / 2), which are bounded by 0 and 33. hints: with h =
 * hint / 2, rounded down, (rmm/rank.h) the context is h + 14 - edge, bounded by 0 and 15;
 * of odd hints -v is the difference. split: bytes of a type of one byte, each from its
 * highest bit on, by the byte before (0 for the first) and its own bits before. Of split
 * also 32: before byte i, where i is 4 or more, h is the four bytes before it as u32,
 * times 2654435761 modulo 2^32, shifted right by 16; where no place is followed and one
 * is kept for h that has the same four bytes before it, that one is followed from now on,
 * with a length of 0; i is kept for h. Where a place is followed a bit says, by
 * min(length, 15), whether byte i is the one at that place: then no more is said of it,
 * and place and length become one more; else no place is followed.
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
/** Append n bytes of finite numbers as the form dense, or as same. */
enum ww_err ww_chunk_dense_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const struct ww_chunk_levels *levels,
                                  const uint8_t *bytes, const uint8_t *prediction,
                                  size_t n, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
/** The integer of a change, and the change of an integer. */
int32_t ww_chunk_dense_cell(const struct ww_chunk_levels *levels, double change);
double ww_chunk_dense_level(const struct ww_chunk_levels *levels, int32_t q);

/** Append the coded chunk, in the shortest of the exact forms. prediction (n bytes) may
 * be NULL; n is a multiple of the width and at most WW_CHUNK_BYTES. */
enum ww_err ww_chunk_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                            const uint8_t *bytes, const uint8_t *prediction, size_t n,
                            struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** Decode len bytes to exactly n. False unless they are what an encoder writes for n
 *  bytes of this type; safe for any bytes. */
bool ww_chunk_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                     const uint8_t *coded, size_t len, const uint8_t *prediction,
                     uint8_t *out, size_t n) WW_MUST_USE;

#endif
