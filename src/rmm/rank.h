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

/** Bytes of the factors in fp32, which are cut into chunks as parts are. */
uint64_t ww_rank_b_bytes(const struct ww_pack_rank *shape);
uint64_t ww_rank_a_bytes(const struct ww_pack_rank *shape, uint64_t columns);

#endif
