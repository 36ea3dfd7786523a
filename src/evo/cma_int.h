/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a search. */
#ifndef WW_EVO_CMA_INT_H
#define WW_EVO_CMA_INT_H

#include "evo/cma.h"

/* Names as in the tutorial. */
struct ww_cma_rates {
    uint32_t lambda;
    uint32_t mu;
    double *weights; /* [lambda], best first, the worse half negative */
    double mu_eff;
    double c_sigma, d_sigma, c_c, c_1, c_mu;
    double chi; /* expected length of a normal vector */
};

struct ww_cma {
    uint32_t n;
    bool diagonal;
    double sigma_start;
    uint64_t seed;
    uint32_t restart, restarts;
    double *start, *low, *high; /* low, high: NULL when unbounded */

    struct ww_cma_rates rates;
    double sigma;
    double *mean, *p_sigma, *p_c;
    double *c;                 /* [n][n], or [n] when diagonal */
    double *b;                 /* [n][n] eigenvectors as columns; unused when diagonal */
    double *d;                 /* [n] square roots of the eigenvalues */
    double *y;                 /* [lambda][n], steps before sigma */
    double *x;                 /* [lambda][n], in the box */
    double *work;              /* [2 n], then [n][n] */
    uint32_t *order;           /* [lambda] */
    uint64_t generation;       /* of this run */
    uint64_t eigen_generation; /* when b and d were made */
    bool asked;

    double *best; /* [n] */
    double best_value;
    bool has_best;
    double *history; /* best value of generations, a ring of n_history */
    uint32_t n_history;
    const char *stopped;
};

/** Constants for n variables and a population. WW_E_NOMEM. */
enum ww_err ww_cma_rates_make(struct ww_cma_rates *rates, uint32_t n, uint32_t lambda,
                              bool diagonal, struct ww_error *err) WW_MUST_USE;

/** Move the distribution by the ranked candidates (order). */
void ww_cma_update(struct ww_cma *cma);

/** b and d from c; false when c is no longer positive. */
bool ww_cma_decompose(struct ww_cma *cma);

#endif
