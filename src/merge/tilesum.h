/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over a whole tensor that do not depend on who adds first. */
#ifndef WW_MERGE_TILESUM_H
#define WW_MERGE_TILESUM_H

#include "merge/kernel.h"

/** A row of n_sums doubles for each tile, added up as a tree when all are there. */
struct ww_tilesum {
    double *slots; /* [n_tiles][n_sums], own */
    size_t n_sums;
};

/** WW_E_LIMIT beyond 64 MiB; sets job->acc_bytes. */
enum ww_err ww_tilesum_init(struct ww_tilesum *sums, struct ww_merge_job *job,
                            size_t n_sums, struct ww_error *err) WW_MUST_USE;
void ww_tilesum_release(struct ww_tilesum *sums);
void ww_tilesum_fold(struct ww_tilesum *sums, uint64_t tile, const double *acc);
/** The totals, [n_sums], in the slots of tile 0; all zero for an empty tensor. */
const double *ww_tilesum_total(struct ww_tilesum *sums, uint64_t n_tiles);

/** Upper triangle with diagonal of x xT, row by row, added to acc. */
void ww_gram_add(double *const *x, uint32_t n_x, size_t n, double *acc);
#define WW_GRAM_SUMS(n) ((size_t)(n) * ((size_t)(n) + 1) / 2)

/**
 * An exact sum of magnitudes: a whole number of units for each float exponent, in four
 * lanes so that equal exponents in a row do not wait for each other. Magnitudes are
 * rounded to float first; room for 2^38 of them. Those that are whole numbers of 2^-32
 * may be counted by it instead: what the sum is does not depend on which are.
 */
#define WW_MAGSUM_LANES 4
#define WW_MAGSUM_BINS 256
struct ww_magsum {
    uint64_t bins[WW_MAGSUM_LANES][WW_MAGSUM_BINS];
    uint64_t whole[2]; /* of 2^-32: the low digits first */
};
#define WW_MAGSUM_WHOLE_BITS 32
/** n times 2^-32 more. */
void ww_magsum_add_whole(struct ww_magsum *sum, uint64_t n);
void ww_magsum_add(struct ww_magsum *sum, const double *x, size_t n);
/** Each value to sums[which], 0 or 1. */
void ww_magsum_add_split(struct ww_magsum sums[2], const double *x, const uint8_t *which,
                         size_t n);
/** The same by keys, the bits of magnitudes as floats. */
void ww_magsum_add_keys(struct ww_magsum sums[2], const uint32_t *keys,
                        const uint8_t *which, size_t n);
void ww_magsum_merge(struct ww_magsum *to, const struct ww_magsum *from);
/** The exact sum, rounded once. */
double ww_magsum_value(const struct ww_magsum *sum);

#endif
