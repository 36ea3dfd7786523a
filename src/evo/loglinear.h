/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Log-linear pools: p(v) ~ exp(sum of w_i l_i(v)), from lists that may be cut after the k
 * likeliest tokens. What a list does not show has a known mass; it is spread evenly over
 * the tokens not shown, each at most as likely as the last shown one, and the tokens
 * outside of all lists are one bucket, so that the pool still sums to 1.
 */
#ifndef WW_EVO_LOGLINEAR_H
#define WW_EVO_LOGLINEAR_H

#include "evo/pool.h"

/** What one member said at one position: tokens in any order, none twice. */
struct ww_pool_list {
    const uint32_t *token;
    const double *logprob; /* natural */
    uint32_t n;
};

struct ww_pool_choice {
    const struct ww_pool_list *lists; /* [k] */
    uint32_t gold;                    /* token; its log-probabilities are known even where
                                         no list shows it: */
    const double *gold_logprob;       /* [k], or NULL: as in the lists */
};

/** The tokens of all lists with every member's log-probability, and the rest as one row.
 */
struct ww_pool_union {
    uint32_t k;
    uint32_t n;        /* rows without the bucket */
    uint32_t *token;   /* [n], ascending */
    double *l;         /* [n + 1][k]; the last row is one token of the bucket */
    double log_others; /* log of the number of tokens in the bucket; -inf when empty */
    uint32_t gold;     /* row of the gold token; n when it lies in the bucket */
    bool gold_in_bucket;
    double weight; /* of the position in a loss; made as 1 */
};

/** What each token has that a list does not show: its share of the mass that is left, and
 *  no more than the least token shown. */
double ww_pool_unseen(const struct ww_pool_list *list, uint32_t vocabulary);

/** WW_E_MALFORMED for a token twice in a list, a list longer than the vocabulary, a
 *  log-probability above 0.01; WW_E_NONFINITE. A list of no token leaves all mass. */
enum ww_err ww_pool_union_make(const struct ww_pool_choice *choice, uint32_t k,
                               uint32_t vocabulary, struct ww_pool_union *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_pool_union_release(struct ww_pool_union *u);

/** Log-probabilities of the pool to out [n + 1] (the bucket's as a whole); returns the
 *  gold token's. */
double ww_pool_loglinear(const struct ww_pool_union *u, const double *w, double *out);

/** Mean loss in nats over positions by their weights, its gradient to g [k] and Hessian
 *  to h [k][k] where they are not NULL. */
double ww_pool_loglinear_loss(const struct ww_pool_union *u, size_t n, const double *w,
                              double *g, double *h);

/** Weights of the least loss: Newton with a line search; with non_negative, on the active
 *  set. Convex, so the answer is the optimum to within 1e-9 nats. ridge pulls to 1 / k.
 */
enum ww_err ww_pool_fit_loglinear(const struct ww_pool_union *u, size_t n, uint32_t k,
                                  bool non_negative, double ridge, double *w,
                                  unsigned *iterations, struct ww_error *err) WW_MUST_USE;

#endif
