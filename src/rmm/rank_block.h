/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a tensor and of its base as numbers: for the files that look for a product. */
#ifndef WW_RMM_RANK_BLOCK_H
#define WW_RMM_RANK_BLOCK_H

#include "rmm/rank_find.h"

/** Some rows, d columns of them. */
struct ww_rank_block {
    enum ww_dtype dtype;
    size_t width; /* bytes of a number */
    size_t room;  /* rows */
    size_t d;
    uint8_t *tune;
    uint8_t *base;
    float *delta; /* tensor minus base */
    float *half;  /* of the distance to the tensor's neighbours: rounding is within it */
    bool finite;
};

enum ww_err ww_rank_block_init(struct ww_rank_block *block, enum ww_dtype dtype,
                               size_t room, size_t d, struct ww_error *err) WW_MUST_USE;
void ww_rank_block_release(struct ww_rank_block *block);

/** n rows from `row` to place i on: block->d numbers from a column on, and of several
 *  rows all columns. Not counted as numbers yet. */
enum ww_err ww_rank_block_read(struct ww_rank_block *block, const struct ww_rank_pair *p,
                               size_t row, size_t column, size_t i, size_t n,
                               struct ww_error *err) WW_MUST_USE;
/** delta and half of the first n rows. */
void ww_rank_block_widen(struct ww_rank_block *block, size_t n);

/** Bits that form order needs for the rows when they are predicted so: entropy, tables
 *  left out. */
double ww_rank_bits(enum ww_dtype dtype, const uint8_t *bytes, const uint8_t *prediction,
                    const uint8_t *base, size_t n_numbers);

#endif
