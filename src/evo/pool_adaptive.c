/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that follow the answer: the member that was least surprised by what has been
 * said so far, and that is surest of what comes next, gets more. The sum of the surprise
 * counts, not its mean: a mean over the prompt dilutes what little the answer has shown.
 */
#include <math.h>
#include <string.h>

#include "evo/cma.h"
#include "evo/pool.h"
#include "util/fail.h"

#define MAX_VARIABLES (WW_POOL_MAX_MEMBERS + WW_POOL_FEATURES)
#define LEAST_PRIOR (-8.0) /* where the search begins for members of weight 0 */

struct fit {
    const struct ww_pool_data *data;
    const bool *use;
    double ridge;
    struct ww_pool_linear from; /* the static optimum */
};

/* Variables: priors of all members but the first, then one for each feature in use; the
 * feature's factor is its square, as less surprise never speaks against a member. */
static uint32_t rule_of(const struct fit *fit, const double *x,
                        struct ww_pool_linear *rule)
{
    uint32_t at = 0;
    *rule = fit->from;
    for (uint32_t i = 1; i < fit->data->k; i++) {
        rule->prior[i] = x[at++];
    }
    for (unsigned f = 0; f < WW_POOL_FEATURES; f++) {
        if (fit->use[f]) {
            rule->a[f] = x[at] * x[at];
            at++;
        }
    }
    return at;
}

static double loss(const struct fit *fit, const double *x)
{
    struct ww_pool_linear rule;
    uint32_t n = rule_of(fit, x, &rule);
    double penalty = 0;
    for (uint32_t i = 0; i < n; i++) {
        double from = i + 1 < fit->data->k ? fit->from.prior[i + 1] : 0;
        penalty += (x[i] - from) * (x[i] - from);
    }
    return ww_pool_linear_bits(fit->data, &rule) + fit->ridge * penalty;
}

static enum ww_err has_features(const struct fit *fit, struct ww_error *err)
{
    static const char *const names[WW_POOL_FEATURES] = {"surprise", "entropy", "prefix"};
    for (size_t t = 0; t < fit->data->n; t++) {
        const struct ww_pool_position *at = &fit->data->at[t];
        const double *x[WW_POOL_FEATURES] = {at->surprise, at->entropy, at->prefix};
        for (unsigned f = 0; f < WW_POOL_FEATURES; f++) {
            bool good = !fit->use[f] || x[f];
            for (uint32_t i = 0; fit->use[f] && good && i < fit->data->k; i++) {
                good = isfinite(x[f][i]);
            }
            if (!good) {
                return WW_FAIL(err, WW_E_NONFINITE, "position %zu of a pool has no %s", t,
                               names[f]);
            }
        }
    }
    return WW_OK;
}

static enum ww_err search(const struct fit *fit, struct ww_cma *cma, uint32_t n,
                          uint64_t most, uint64_t *made, struct ww_error *err)
{
    double values[256];
    *made = 0;
    if (ww_cma_lambda(cma) > sizeof(values) / sizeof(values[0])) {
        return WW_FAIL(err, WW_E_INTERNAL,
                       "a population of a pool's search is too large");
    }
    while (!ww_cma_stopped(cma) && *made + ww_cma_lambda(cma) <= most) {
        const double *x = ww_cma_ask(cma);
        const uint32_t lambda = ww_cma_lambda(cma);
        for (uint32_t i = 0; i < lambda; i++) {
            values[i] = loss(fit, x + (size_t)i * n);
        }
        *made += lambda;
        ww_cma_tell(cma, values);
    }
    return WW_OK;
}

/* Only differences of priors matter: the first one becomes 0. Members that the static
 * optimum leaves out begin low, but not out of reach. */
static void relative_priors(struct ww_pool_linear *rule)
{
    double most = rule->prior[0];
    for (uint32_t i = 1; i < rule->k; i++) {
        most = rule->prior[i] > most ? rule->prior[i] : most;
    }
    for (uint32_t i = 0; i < rule->k; i++) {
        double below = rule->prior[i] - most;
        rule->prior[i] = below > LEAST_PRIOR ? below : LEAST_PRIOR;
    }
    for (uint32_t i = rule->k; i-- > 0;) {
        rule->prior[i] -= rule->prior[0];
    }
}

enum ww_err ww_pool_fit_adaptive_all(const struct ww_pool_data *data,
                                     const bool use[WW_POOL_FEATURES], double ridge,
                                     uint64_t seed, struct ww_pool_linear *rule,
                                     uint64_t *evaluations, struct ww_error *err)
{
    struct fit fit = {.data = data, .use = use, .ridge = ridge};
    double start[MAX_VARIABLES];
    struct ww_cma *cma = NULL;
    unsigned rounds;
    uint32_t n = 0;

    enum ww_err rc = ww_pool_fit_static(data, 1e-3, &fit.from, &rounds, err);
    if (!rc) {
        rc = has_features(&fit, err);
    }
    if (rc) {
        return rc;
    }
    relative_priors(&fit.from);
    for (uint32_t i = 1; i < data->k; i++) {
        start[n++] = fit.from.prior[i];
    }
    for (unsigned f = 0; f < WW_POOL_FEATURES; f++) {
        if (use[f]) {
            start[n++] = 0.7; /* a factor of one half */
        }
    }
    if (n == 0) { /* one member, nothing to fit */
        *rule = fit.from;
        *evaluations = 0;
        return WW_OK;
    }
    const struct ww_cma_options o = {.n = n, .start = start, .sigma = 0.5, .seed = seed};
    rc = ww_cma_new(&o, &cma, err);
    if (rc) {
        return rc;
    }
    uint64_t made = 0;
    rc = search(&fit, cma, n, *evaluations, &made, err);
    *evaluations = made;
    if (!rc) {
        double value;
        const double *best = ww_cma_best(cma, &value);
        *rule = fit.from;
        if (best && value < ww_pool_linear_bits(data, &fit.from)) {
            (void)rule_of(&fit, best, rule);
        }
    }
    ww_cma_free(cma);
    return rc;
}
