/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tensors that are their base's plus a product of low rank, rounded: what a merged
 * adapter is. Factors are kept as integers with scales (form own), so they are the same
 * numbers everywhere, and what the base and they say is the prediction of the tensor:
 *
 *   d = sum over k, ascending, of b_ik a_kj     products and sums in fp32, not fused
 *   p = base + d                                sum: one in fp32, rounded to the dtype
 *   p = base + (d rounded to the dtype)         product: the same with d rounded first
 *
 * Roundings are to nearest even; a p that is no number counts as 0. Tensors of fp32 have
 * one rounding either way, and are sums.
 */
#ifndef WW_RMM_RANK_H
#define WW_RMM_RANK_H

#include "rmm/chunk.h"
#include "rmm/table.h"

#define WW_RANK_MOST 256u

struct ww_rank {
    struct ww_pack_rank shape; /* as the table has it */
    uint64_t columns;
    enum ww_dtype dtype;
    float *b; /* rows x rank */
    float *a; /* rank x columns */
};

/** Are there predictions of this kind for numbers of the dtype? */
bool ww_rank_dtype(enum ww_dtype dtype);
/** Room for the factors. */
enum ww_err ww_rank_init(struct ww_rank *rank, const struct ww_pack_rank *shape,
                         uint64_t columns, enum ww_dtype dtype,
                         struct ww_error *err) WW_MUST_USE;
void ww_rank_release(struct ww_rank *rank);

/** Turn n bytes of the base, from byte `at` of its tensor, into the prediction. from may
 *  be out. */
void ww_rank_predict(const struct ww_rank *rank, uint64_t at, const uint8_t *from,
                     uint8_t *out, size_t n);

/** How near the product is to where the prediction would be another number, of n bytes of
 *  the base as above: sign, exponent and first bit of the mantissa of the distance, in
 *  fp32, twice; plus one when that number is the one below. The distance is |t - d|, t
 * the middle between p and its neighbour, minus the base. For `product` in BF16 t becomes
 * the middle between the two numbers of BF16 around it; where it is one, between it and
 * the one above for the neighbour above an even p or below an odd one, else the one
 * below. The last hint where the distance is no number. Types of two bytes; false for
 * others. hints: one for each number. */
#define WW_RANK_HINTS 512u
bool ww_rank_hints(const struct ww_rank *rank, uint64_t at, const uint8_t *from,
                   uint16_t *hints, size_t n);

/** Bytes of the factors in fp32, which are cut into chunks as parts are. */
uint64_t ww_rank_b_bytes(const struct ww_pack_rank *shape);
uint64_t ww_rank_a_bytes(const struct ww_pack_rank *shape, uint64_t columns);

#endif
