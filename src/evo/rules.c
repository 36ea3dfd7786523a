/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of rules. Best-single and uniform are what every other one is measured
 * against; the adaptive one starts from the linear one's optimum and so cannot be worse
 * on the answers it is fitted to.
 */
#include "evo/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "la/fixmath.h"
#include "util/fail.h"
#include "util/str.h"

#define GAP 1e-4       /* bits from the optimum of static weights */
#define RIDGE 1e-4     /* bits per squared unit of the adaptive rule's numbers */
#define LOG_RIDGE 1e-4 /* nats per squared unit of a log-linear weight */
#define SIGNED_RIDGE 1e-3
#define EVALUATIONS 4000

typedef enum ww_err (*fit_fn)(const struct ww_pool_set *set,
                              const struct ww_rule_fit *options, struct ww_rule *rule,
                              struct ww_error *err);

static enum ww_err fit_single(const struct ww_pool_set *set,
                              const struct ww_rule_fit *options, struct ww_rule *rule,
                              struct ww_error *err)
{
    const struct ww_pool_data data = ww_pool_set_data(set);
    double least = INFINITY;
    (void)options;
    (void)err;
    for (uint32_t m = 0; m < set->k; m++) {
        double bits = ww_pool_member_bits(&data, m);
        if (bits < least) {
            least = bits;
            rule->member = m;
        }
    }
    return WW_OK;
}

static enum ww_err fit_uniform(const struct ww_pool_set *set,
                               const struct ww_rule_fit *options, struct ww_rule *rule,
                               struct ww_error *err)
{
    (void)options;
    (void)err;
    ww_pool_uniform(set->k, &rule->linear);
    return WW_OK;
}

static enum ww_err fit_linear(const struct ww_pool_set *set,
                              const struct ww_rule_fit *options, struct ww_rule *rule,
                              struct ww_error *err)
{
    const struct ww_pool_data data = ww_pool_set_data(set);
    unsigned rounds;
    (void)options;
    return ww_pool_fit_static(&data, GAP, &rule->linear, &rounds, err);
}

static enum ww_err fit_adaptive(const struct ww_pool_set *set,
                                const struct ww_rule_fit *options, struct ww_rule *rule,
                                struct ww_error *err)
{
    static const bool use[WW_POOL_FEATURES] = {
        [WW_POOL_SURPRISE] = true, [WW_POOL_ENTROPY] = true};
    const struct ww_pool_data data = ww_pool_set_data(set);
    uint64_t evaluations = options->evaluations ? options->evaluations : EVALUATIONS;
    return ww_pool_fit_adaptive(&data, use, RIDGE, options->seed, &rule->linear,
                                &evaluations, err);
}

static enum ww_err fit_loglinear(const struct ww_pool_set *set,
                                 const struct ww_rule_fit *options, struct ww_rule *rule,
                                 struct ww_error *err)
{
    unsigned rounds;
    (void)options;
    return ww_pool_fit_loglinear(set->known, set->n, set->k, true, LOG_RIDGE, rule->w,
                                 &rounds, err);
}

static enum ww_err fit_signed(const struct ww_pool_set *set,
                              const struct ww_rule_fit *options, struct ww_rule *rule,
                              struct ww_error *err)
{
    unsigned rounds;
    (void)options;
    return ww_pool_fit_loglinear(set->known, set->n, set->k, false, SIGNED_RIDGE, rule->w,
                                 &rounds, err);
}

static void apply_single(const struct ww_rule *rule, const struct ww_pool_position *at,
                         const struct ww_pool_union *u, double *out)
{
    (void)at;
    for (uint32_t i = 0; i <= u->n; i++) {
        out[i] = u->l[(size_t)i * u->k + rule->member];
    }
    out[u->n] += u->log_others;
}

static void apply_linear(const struct ww_rule *rule, const struct ww_pool_position *at,
                         const struct ww_pool_union *u, double *out)
{
    double w[WW_POOL_MAX_MEMBERS];
    ww_pool_linear_weights(&rule->linear, at, w);
    for (uint32_t i = 0; i <= u->n; i++) {
        const double *l = u->l + (size_t)i * u->k;
        double sum = 0;
        for (uint32_t m = 0; m < u->k; m++) {
            sum += w[m] * ww_fix_exp(l[m]);
        }
        out[i] = sum > 1e-300 ? ww_fix_log(sum) : WW_POOL_FLOOR;
    }
    out[u->n] += u->log_others;
}

static void apply_loglinear(const struct ww_rule *rule, const struct ww_pool_position *at,
                            const struct ww_pool_union *u, double *out)
{
    (void)at;
    (void)ww_pool_loglinear(u, rule->w, out);
}

static const struct {
    const char *name;
    bool on_request;
    fit_fn fit;
    void (*apply)(const struct ww_rule *rule, const struct ww_pool_position *at,
                  const struct ww_pool_union *u, double *out);
} rules[WW_RULE_COUNT] = {
    [WW_RULE_BEST_SINGLE] = {"best-single", false, fit_single, apply_single},
    [WW_RULE_UNIFORM] = {"uniform", false, fit_uniform, apply_linear},
    [WW_RULE_LINEAR] = {"linear", false, fit_linear, apply_linear},
    [WW_RULE_ADAPTIVE] = {"adaptive", false, fit_adaptive, apply_linear},
    [WW_RULE_LOGLINEAR] = {"loglinear", false, fit_loglinear, apply_loglinear},
    [WW_RULE_SIGNED] = {"signed", true, fit_signed, apply_loglinear},
};

const char *ww_rule_name(enum ww_rule_id id)
{
    return rules[id].name;
}

enum ww_err ww_rule_find(const char *name, enum ww_rule_id *out, struct ww_error *err)
{
    const char *names[WW_RULE_COUNT];
    char known[128] = "";
    for (unsigned i = 0; i < WW_RULE_COUNT; i++) {
        const size_t at = strlen(known);
        names[i] = rules[i].name;
        (void)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "", names[i]);
        if (strcmp(name, names[i]) == 0) {
            *out = (enum ww_rule_id)i;
            return WW_OK;
        }
    }
    const char *near = ww_str_nearest(name, names, WW_RULE_COUNT);
    return near
               ? WW_FAIL(err, WW_E_USAGE, "unknown rule '%s', did you mean '%s'", name,
                         near)
               : WW_FAIL(err, WW_E_USAGE, "unknown rule '%s'; known are %s", name, known);
}

bool ww_rule_on_request(enum ww_rule_id id)
{
    return rules[id].on_request;
}

bool ww_rule_is_linear(enum ww_rule_id id)
{
    return rules[id].apply == apply_linear;
}

enum ww_err ww_rule_fit(enum ww_rule_id id, const struct ww_pool_set *set,
                        const struct ww_rule_fit *options, struct ww_rule *rule,
                        struct ww_error *err)
{
    memset(rule, 0, sizeof(*rule));
    rule->id = id;
    rule->k = set->k;
    enum ww_err rc = rules[id].fit(set, options, rule, err);
    if (rc) {
        ww_error_context(err, "rule '%s'", rules[id].name);
    }
    return rc;
}

void ww_rule_apply(const struct ww_rule *rule, const struct ww_pool_position *at,
                   const struct ww_pool_union *u, double *out)
{
    rules[rule->id].apply(rule, at, u, out);
}

uint32_t ww_rule_choose(const struct ww_pool_union *u, const double *logp)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < u->n; i++) {
        best = logp[i] > logp[best] ? i : best;
    }
    return best;
}
