/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Pools: one distribution from several models' answers, with weights fitted to answers
 * that are known. Everything here is offline; what the models said was asked once.
 *
 * Numbers come from + - * / sqrt in one order and functions of our own: the same data
 * give the same weights on every machine. Sources: Genest and Zidek 1986 (linear and
 * log-linear pools), Mavromatis et al. 2024, arXiv 2404.11531 (weights from what has been
 * said so far).
 */
#ifndef WW_EVO_POOL_H
#define WW_EVO_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_POOL_MAX_MEMBERS 64
/** Log-probabilities below are this: servers send zero as the lowest float or -9999. */
#define WW_POOL_FLOOR (-100.0)
/** Prior of a member without weight. */
#define WW_POOL_OUT (-1e6)

/** One position of an answer. Arrays are [k], natural logarithms. */
struct ww_pool_position {
    const double *gold;     /* log-probability of the right token, by member */
    const double *entropy;  /* of the member's distribution, nats; NULL: not known */
    const double *surprise; /* -log-probability of the answer so far, its sum */
    const double
        *prefix;   /* mean surprise per token of prompt and answer so far; or NULL */
    uint32_t item; /* answers are drawn anew whole */
    double weight; /* usually 1 */
};

struct ww_pool_data {
    uint32_t k; /* members */
    size_t n;
    const struct ww_pool_position *at; /* [n] */
};

/** What weights depend on: w_i = softmax_i(b_i - a[0] S_i - a[1] H_i - a[2] M_i). */
enum { WW_POOL_SURPRISE, WW_POOL_ENTROPY, WW_POOL_PREFIX, WW_POOL_FEATURES };

struct ww_pool_linear {
    uint32_t k;
    double prior[WW_POOL_MAX_MEMBERS]; /* b, in nats */
    double a[WW_POOL_FEATURES];        /* 0: static weights */
};

/** Mean bits per position of a member alone, or of a rule; fixed order. */
double ww_pool_member_bits(const struct ww_pool_data *data, uint32_t member);
double ww_pool_linear_bits(const struct ww_pool_data *data,
                           const struct ww_pool_linear *rule);
/** Weights at a position, [k], summing to 1. */
void ww_pool_linear_weights(const struct ww_pool_linear *rule,
                            const struct ww_pool_position *at, double *w);

void ww_pool_uniform(uint32_t k, struct ww_pool_linear *rule);

/** Static weights by expectation maximisation: the optimum of a convex problem. The
 * result is within gap bits of it (certificate: largest mean responsibility ratio). */
enum ww_err ww_pool_fit_static(const struct ww_pool_data *data, double gap,
                               struct ww_pool_linear *rule, unsigned *iterations,
                               struct ww_error *err) WW_MUST_USE;

/** Prior and the features in use, by CMA-ES from the static optimum, penalised towards it
 *  by ridge * (sum of squares). evaluations: in, at most; out, made (all offline). */
enum ww_err ww_pool_fit_adaptive_all(const struct ww_pool_data *data,
                                     const bool use[WW_POOL_FEATURES], double ridge,
                                     uint64_t seed, struct ww_pool_linear *rule,
                                     uint64_t *evaluations,
                                     struct ww_error *err) WW_MUST_USE;

/** The same; where there are members that the answers do not miss, the others are fitted
 *  again without them, with as many evaluations, and those get a low prior, at least
 *  WW_POOL_OUT. */
enum ww_err ww_pool_fit_adaptive(const struct ww_pool_data *data,
                                 const bool use[WW_POOL_FEATURES], double ridge,
                                 uint64_t seed, struct ww_pool_linear *rule,
                                 uint64_t *evaluations, struct ww_error *err) WW_MUST_USE;

#endif
