/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging in a common frame, for differences of low rank (adapters): KnOTS (arXiv
 * 2410.19735) writes all sources side by side as U S [V_1 ... V_N] and merges the V_i;
 * Core Space (arXiv 2509.17786) rotates each source into the spans of all their columns
 * and rows and merges what is left there. A sum would not notice the frame, so both merge
 * by TIES: keep the largest entries of each, elect a sign, average those that agree.
 */
#include <string.h>

#include "la/la.h"
#include "merge/frame_ties.h"
#include "merge/spectral.h"
#include "util/alloc.h"

#define RANK_LIMIT 1e-10 /* of the largest singular value: below is rounding */

/* parts: one matrix of n entries per source, overwritten; the result is left in part 0.
 */
static enum ww_err ties(const struct ww_merge_job *job, double **parts, uint32_t n_parts,
                        size_t n, struct ww_error *err)
{
    struct ww_frame_part *all = ww_calloc(n_parts, sizeof(*all));
    enum ww_err rc = WW_OK;

    if (!all) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < n_parts; i++) {
        all[i] = (struct ww_frame_part){parts[i],
                                        ww_merge_source_param(job, i, "density"), 1.0};
    }
    rc = n > 0 ? ww_frame_ties(all, n_parts, n, err) : WW_OK;
    ww_free(all);
    return rc;
}

static size_t rank_of(const struct ww_svd *svd)
{
    size_t rank = 0;
    while (rank < svd->r && svd->s[rank] > RANK_LIMIT * svd->s[0]) {
        rank++;
    }
    return rank;
}

/* [tau_1 ... tau_N], m x N n. */
static void side_by_side(const struct ww_spectral *s, double *all)
{
    const size_t width = s->n * s->n_tau;
    for (uint32_t i = 0; i < s->n_tau; i++) {
        for (size_t row = 0; row < s->m; row++) {
            memcpy(all + row * width + i * s->n, s->tau[i] + row * s->n,
                   s->n * sizeof(double));
        }
    }
}

static enum ww_err svd_side_by_side(const struct ww_merge_job *job,
                                    const struct ww_spectral *s, struct ww_svd *svd,
                                    struct ww_error *err)
{
    double *all = ww_spectral_new(s->m, s->n * s->n_tau);
    if (!all) {
        return ww_merge_no_memory(job, err);
    }
    side_by_side(s, all);
    enum ww_err rc = ww_svd_of(job, s->m, s->n * s->n_tau, all, svd, err);
    ww_free(all);
    return rc;
}

static bool is_nothing(const double *tau, size_t n)
{
    size_t i = 0;
    while (i < n && tau[i] == 0) {
        i++;
    }
    return i == n;
}

/* V_i in the place of source i. One that changes nothing has none, and no vote: what the
 * decomposition leaves there is rounding, with signs. */
static void take_block(const struct ww_spectral *s, const struct ww_svd *svd, size_t rank,
                       uint32_t i)
{
    const size_t width = s->n * s->n_tau;

    if (is_nothing(s->tau[i], s->m * s->n)) {
        return;
    }
    for (size_t r = 0; r < rank; r++) {
        memcpy(s->tau[i] + r * s->n, svd->vt + r * width + i * s->n,
               s->n * sizeof(double));
    }
}

static enum ww_err knots_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                               struct ww_error *err)
{
    struct ww_svd svd = {0};
    enum ww_err rc = svd_side_by_side(job, s, &svd, err);
    if (rc) {
        return rc;
    }
    const size_t rank =
        rank_of(&svd); /* at most m, so a part fits where its source was */
    for (uint32_t i = 0; i < s->n_tau; i++) {
        take_block(s, &svd, rank, i);
    }
    rc = ties(job, s->tau, s->n_tau, rank * s->n, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < s->m * svd.r; i++) {
        svd.u[i] *= svd.s[i % svd.r];
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, rank, 1.0, svd.u, svd.r, s->tau[0],
               s->n, 0.0, s->merged, s->n);
out:
    ww_svd_release(&svd);
    return rc;
}

/* Rows of all sources below each other. */
static enum ww_err svd_stacked(const struct ww_merge_job *job,
                               const struct ww_spectral *s, struct ww_svd *svd,
                               struct ww_error *err)
{
    const size_t each = s->m * s->n;
    double *all = ww_spectral_new(s->m * s->n_tau, s->n);
    if (!all) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        memcpy(all + i * each, s->tau[i], each * sizeof(double));
    }
    enum ww_err rc = ww_svd_of(job, s->m * s->n_tau, s->n, all, svd, err);
    ww_free(all);
    return rc;
}

/* tau_i by left^T tau_i right^T, rows x cols, in its place; merged has room for a half.
 */
static void rotate(struct ww_spectral *s, uint32_t i, const struct ww_svd *left,
                   size_t rows, const struct ww_svd *right, size_t cols)
{
    ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, rows, s->n, s->m, 1.0, left->u, left->r,
               s->tau[i], s->n, 0.0, s->merged, s->n);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, rows, cols, s->n, 1.0, s->merged, s->n,
               right->vt, s->n, 0.0, s->tau[i], cols);
}

static enum ww_err core_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                              struct ww_error *err)
{
    struct ww_svd left = {0};
    struct ww_svd right = {0};
    double *half = NULL;
    enum ww_err rc = svd_side_by_side(job, s, &left, err);
    if (rc) {
        goto out;
    }
    rc = svd_stacked(job, s, &right, err);
    if (rc) {
        goto out;
    }
    const size_t rows = rank_of(&left);
    const size_t cols = rank_of(&right);
    for (uint32_t i = 0; i < s->n_tau; i++) {
        rotate(s, i, &left, rows, &right, cols);
    }
    rc = ties(job, s->tau, s->n_tau, rows * cols, err);
    if (rc) {
        goto out;
    }
    half = ww_spectral_new(s->m, cols);
    if (!half) {
        rc = ww_merge_no_memory(job, err);
        goto out;
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, cols, rows, 1.0, left.u, left.r, s->tau[0],
               cols, 0.0, half, cols);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, s->m, s->n, cols, 1.0, half, cols, right.vt,
               s->n, 0.0, s->merged, s->n);
out:
    ww_free(half);
    ww_svd_release(&left);
    ww_svd_release(&right);
    return rc;
}

static enum ww_err knots_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, knots_solve, scan, err);
}

static enum ww_err core_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, core_solve, scan, err);
}

const struct ww_method_ops ww_merge_knots = WW_SPECTRAL_OPS(knots_open);
const struct ww_method_ops ww_merge_core_space = WW_SPECTRAL_OPS(core_open);
