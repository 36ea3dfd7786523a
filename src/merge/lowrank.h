/* SPDX-License-Identifier: Apache-2.0 */
/* Truncated singular value decomposition of one matrix. */
#ifndef WW_MERGE_LOWRANK_H
#define WW_MERGE_LOWRANK_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_lowrank {
    size_t rank;
    float *b;    /* m x rank: U sqrt(S) */
    float *a;    /* rank x n: sqrt(S) V^T */
    double kept; /* share of the squared norm */
};

/**
 * d (m x n, row-major) by rank at most max_rank: with energy 0 max_rank itself (or less
 * when the matrix has less), else the smallest that keeps the share. Small matrices and
 * energies by a full decomposition, else by a randomised range with power steps (Halko,
 * Martinsson, Tropp, 2011). The random matrix is fixed. LAPACK: bits depend on the
 * machine.
 */
enum ww_err ww_lowrank_of(size_t m, size_t n, const float *d, size_t max_rank,
                          double energy, struct ww_lowrank *out,
                          struct ww_error *err) WW_MUST_USE;

/** A matrix that is read row by row. */
struct ww_lowrank_rows {
    size_t m;
    size_t n;
    double total; /* its squared norm */
    enum ww_err (*read)(void *payload, size_t first, size_t count, double *out,
                        struct ww_error *err);
    void *payload;
};
/** The same of a matrix that is read six times in blocks of rows: always by a randomised
 *  range, so energies are kept by the leading max_rank alone. Held are one block and a
 *  few factors of max_rank and twenty. */
enum ww_err ww_lowrank_streamed(const struct ww_lowrank_rows *rows, size_t max_rank,
                                double energy, struct ww_lowrank *out,
                                struct ww_error *err) WW_MUST_USE;
/** Bytes that ww_lowrank_of holds beside d. */
uint64_t ww_lowrank_bytes(size_t m, size_t n, size_t max_rank, double energy);
void ww_lowrank_release(struct ww_lowrank *lowrank);

#endif
