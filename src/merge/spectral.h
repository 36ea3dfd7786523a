/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Methods that look at a matrix as a whole: its singular vectors, its Gram matrices.
 *
 * The differences of all sources from the base are collected by one pass, then a method
 * makes one merged difference of them; out = base + lambda * merged. What is no matrix,
 * and tables of words (embeddings, output heads), get the mean of the differences.
 * Memory: 8 bytes for each element of each source and of the result, and what the method
 * takes; one tensor at a time. Products run on one thread, so that the bytes do not
 * depend on how many there are.
 */
#ifndef WW_MERGE_SPECTRAL_H
#define WW_MERGE_SPECTRAL_H

#include "merge/kernel.h"

struct ww_spectral;

/** Make s->merged of s->tau, which it may overwrite. */
typedef enum ww_err (*ww_spectral_fn)(const struct ww_merge_job *job,
                                      struct ww_spectral *s, struct ww_error *err);

struct ww_spectral {
    ww_spectral_fn solve;
    size_t m; /* rows, what the layer gives */
    size_t n; /* columns, what it takes */
    uint32_t n_tau;
    double **tau;   /* [n_tau] of m x n, times their weights; NULL for a mean */
    double *merged; /* m x n */
    double *weight;
    double lambda;
    bool across;   /* the file has them n x m */
    bool rest_sum; /* what is no matrix gets the sum, not the mean */
};

/** The operations of a method but its open, which calls ww_spectral_open with its solve.
 */
#define WW_SPECTRAL_WHOLE(open_function, whole_model)                                    \
    {                                                                                    \
        .deltas = true, .open = (open_function), .scan = ww_spectral_scan,               \
        .fold = ww_spectral_fold, .scanned = ww_spectral_scanned,                        \
        .block = ww_spectral_block, .close = ww_spectral_close, .whole = (whole_model)   \
    }
#define WW_SPECTRAL_OPS(open_function) WW_SPECTRAL_WHOLE(open_function, NULL)

enum ww_err ww_spectral_open(struct ww_merge_job *job, ww_spectral_fn solve, bool *scan,
                             struct ww_error *err) WW_MUST_USE;
void ww_spectral_scan(const struct ww_merge_job *job, unsigned pass,
                      const struct ww_merge_block *block, void *acc);
void ww_spectral_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                      const void *acc);
enum ww_err ww_spectral_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                                struct ww_error *err);
enum ww_err ww_spectral_block(const struct ww_merge_job *job,
                              const struct ww_merge_block *block, struct ww_error *err);
void ww_spectral_close(struct ww_merge_job *job);

/** Thin singular value decomposition of a copy. */
struct ww_svd {
    size_t r;
    double *u;  /* m x r */
    double *s;  /* r, descending */
    double *vt; /* r x n */
};

enum ww_err ww_svd_of(const struct ww_merge_job *job, size_t m, size_t n, const double *a,
                      struct ww_svd *svd, struct ww_error *err) WW_MUST_USE;
void ww_svd_release(struct ww_svd *svd);

/** n doubles, zeroed; NULL when memory is out or n is more than can be. */
double *ww_spectral_new(size_t rows, size_t cols);
/** sum = factor * sum over the sources. */
void ww_spectral_sum(const struct ww_spectral *s, double factor, double *sum);
/** Squares of the norms of the sources, at least 1e-12: what WUDI divides by. */
double ww_spectral_energy(const double *tau, size_t n);

/** What Adam (arXiv 1412.6980) remembers, and the gradient of the step at hand. */
struct ww_moments {
    double *first;
    double *second;
    double *gradient;
};
void ww_spectral_adam(size_t n, const struct ww_moments *moments, double rate,
                      unsigned step, double *x);

extern const struct ww_method_ops ww_merge_opcm;
extern const struct ww_method_ops ww_merge_doge;
extern const struct ww_method_ops ww_merge_regmean;
extern const struct ww_method_ops ww_merge_tsv_m;
extern const struct ww_method_ops ww_merge_iso_c;
extern const struct ww_method_ops ww_merge_iso_cts;
extern const struct ww_method_ops ww_merge_swudi;
extern const struct ww_method_ops ww_merge_aswudi;
extern const struct ww_method_ops ww_merge_wudi;
extern const struct ww_method_ops ww_merge_wudi_flow;
extern const struct ww_method_ops ww_merge_optmerge;
extern const struct ww_method_ops ww_merge_svc;
extern const struct ww_method_ops ww_merge_knots;
extern const struct ww_method_ops ww_merge_core_space;

#endif
