/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Rules: ways to one distribution from a pool's members, each fitted to answers that are
 * known. One table; what a rule is on disk and while it serves is the same numbers.
 */
#ifndef WW_EVO_RULES_H
#define WW_EVO_RULES_H

#include "evo/features.h"

enum ww_rule_id {
    WW_RULE_BEST_SINGLE,
    WW_RULE_UNIFORM,
    WW_RULE_LINEAR,
    WW_RULE_ADAPTIVE,
    WW_RULE_LOGLINEAR,
    WW_RULE_SIGNED,
    WW_RULE_COUNT
};

struct ww_rule {
    enum ww_rule_id id;
    uint32_t k;
    uint32_t member;               /* best-single */
    struct ww_pool_linear linear;  /* uniform, linear, adaptive */
    double w[WW_POOL_MAX_MEMBERS]; /* log-linear, signed; their sum is free */
};

struct ww_rule_fit {
    uint64_t seed;
    uint64_t evaluations; /* of the search of adaptive weights; 0: 4,000 */
};

/** Names as in recipes and options: "best-single", "uniform", "linear", "adaptive",
 *  "loglinear", "signed". */
const char *ww_rule_name(enum ww_rule_id id);
/** WW_E_USAGE with the nearest name. */
enum ww_err ww_rule_find(const char *name, enum ww_rule_id *out,
                         struct ww_error *err) WW_MUST_USE;
/** Tried only when asked for: it can harm where answers are few. */
bool ww_rule_on_request(enum ww_rule_id id);
/** Its numbers are a prior and factors of features (uniform, linear, adaptive). */
bool ww_rule_is_linear(enum ww_rule_id id);

enum ww_err ww_rule_fit(enum ww_rule_id id, const struct ww_pool_set *set,
                        const struct ww_rule_fit *options, struct ww_rule *rule,
                        struct ww_error *err) WW_MUST_USE;

/** Log-probabilities of the union's rows to out [n + 1], the bucket's as a whole. Reads
 *  the features of at alone, not its gold. */
void ww_rule_apply(const struct ww_rule *rule, const struct ww_pool_position *at,
                   const struct ww_pool_union *u, double *out);

/** The row that is chosen: the likeliest, the bucket never; of equal ones the lowest. */
uint32_t ww_rule_choose(const struct ww_pool_union *u, const double *logp);

#endif
