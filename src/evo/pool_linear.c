/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear pools. The static optimum by EM: every round multiplies a weight by the mean
 * share of the pool's probability that its member gives, which never worsens the fit;
 * when no such mean exceeds 1 + g, the loss is within g of the least possible. The
 * adaptive rule's few numbers are searched by CMA-ES, starting there.
 */
#include "evo/pool.h"

#include <math.h>
#include <string.h>

#include "evo/cma.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LN2 0x1.62e42fefa39efp-1
#define LEAST_WEIGHT 1e-12
#define MAX_ROUNDS 20000

static double clamped(double l)
{
    return l > WW_POOL_FLOOR ? l : WW_POOL_FLOOR;
}

void ww_pool_uniform(uint32_t k, struct ww_pool_linear *rule)
{
    memset(rule, 0, sizeof(*rule));
    rule->k = k;
}

static const double *feature(const struct ww_pool_position *at, unsigned f)
{
    return f == WW_POOL_SURPRISE  ? at->surprise
           : f == WW_POOL_ENTROPY ? at->entropy
                                  : at->prefix;
}

/* exp(v) scaled to sum to 1, in place */
static void softmax(double *v, uint32_t k)
{
    double most = v[0];
    double sum = 0;
    for (uint32_t i = 1; i < k; i++) {
        most = v[i] > most ? v[i] : most;
    }
    for (uint32_t i = 0; i < k; i++) {
        v[i] = ww_fix_exp(v[i] - most);
        sum += v[i];
    }
    for (uint32_t i = 0; i < k; i++) {
        v[i] /= sum;
    }
}

void ww_pool_linear_weights(const struct ww_pool_linear *rule,
                            const struct ww_pool_position *at, double *w)
{
    memcpy(w, rule->prior, rule->k * sizeof(*w));
    for (unsigned f = 0; f < WW_POOL_FEATURES; f++) {
        const double *x = rule->a[f] != 0 ? feature(at, f) : NULL;
        for (uint32_t i = 0; x && i < rule->k; i++) {
            w[i] -= rule->a[f] * x[i];
        }
    }
    softmax(w, rule->k);
}

double ww_pool_member_bits(const struct ww_pool_data *data, uint32_t member)
{
    double sum = 0;
    double weight = 0;
    for (size_t t = 0; t < data->n; t++) {
        sum -= data->at[t].weight * clamped(data->at[t].gold[member]);
        weight += data->at[t].weight;
    }
    return weight > 0 ? sum / weight / LN2 : 0;
}

/* Natural logarithm of what the pool gives the right token. */
static double pooled(const struct ww_pool_position *at, const double *w, uint32_t k)
{
    double most = WW_POOL_FLOOR;
    double sum = 0;
    for (uint32_t i = 0; i < k; i++) {
        most = at->gold[i] > most ? at->gold[i] : most;
    }
    for (uint32_t i = 0; i < k; i++) {
        sum += w[i] * ww_fix_exp(clamped(at->gold[i]) - most);
    }
    return sum > 0 ? clamped(most + ww_fix_log(sum)) : WW_POOL_FLOOR;
}

double ww_pool_linear_bits(const struct ww_pool_data *data,
                           const struct ww_pool_linear *rule)
{
    double w[WW_POOL_MAX_MEMBERS];
    double sum = 0;
    double weight = 0;
    for (size_t t = 0; t < data->n; t++) {
        ww_pool_linear_weights(rule, &data->at[t], w);
        sum -= data->at[t].weight * pooled(&data->at[t], w, data->k);
        weight += data->at[t].weight;
    }
    return weight > 0 ? sum / weight / LN2 : 0;
}

static enum ww_err check(const struct ww_pool_data *data, struct ww_error *err)
{
    if (data->k == 0 || data->k > WW_POOL_MAX_MEMBERS) {
        return WW_FAIL(err, WW_E_LIMIT, "a pool has 1 to %d members, found %u",
                       WW_POOL_MAX_MEMBERS, data->k);
    }
    if (data->n == 0) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a pool needs at least one answer to fit its weights");
    }
    for (size_t t = 0; t < data->n; t++) {
        for (uint32_t i = 0; i < data->k; i++) {
            if (isnan(data->at[t].gold[i]) || data->at[t].gold[i] > 0.01) {
                return WW_FAIL(
                    err, WW_E_NONFINITE,
                    "position %zu of a pool has no log-probability of member %u", t, i);
            }
        }
    }
    return WW_OK;
}

/* mean[i] becomes the mean of p_i / p over positions. */
static void ratios(const struct ww_pool_data *data, const double *p, const double *w,
                   double *mean)
{
    double total = 0;
    memset(mean, 0, data->k * sizeof(*mean));
    for (size_t t = 0; t < data->n; t++) {
        const double *at = p + t * data->k;
        double sum = 0;
        for (uint32_t i = 0; i < data->k; i++) {
            sum += w[i] * at[i];
        }
        for (uint32_t i = 0; i < data->k; i++) {
            mean[i] += data->at[t].weight * at[i] / sum;
        }
        total += data->at[t].weight;
    }
    for (uint32_t i = 0; i < data->k; i++) {
        mean[i] /= total;
    }
}

/* Probabilities relative to the best member of each position. */
static double *relative(const struct ww_pool_data *data)
{
    double *p = ww_calloc(data->n * data->k, sizeof(*p));
    for (size_t t = 0; p && t < data->n; t++) {
        const double *gold = data->at[t].gold;
        double most = WW_POOL_FLOOR;
        for (uint32_t i = 0; i < data->k; i++) {
            most = gold[i] > most ? gold[i] : most;
        }
        for (uint32_t i = 0; i < data->k; i++) {
            p[t * data->k + i] = ww_fix_exp(clamped(gold[i]) - most);
        }
    }
    return p;
}

enum ww_err ww_pool_fit_static(const struct ww_pool_data *data, double gap,
                               struct ww_pool_linear *rule, unsigned *iterations,
                               struct ww_error *err)
{
    double w[WW_POOL_MAX_MEMBERS];
    double mean[WW_POOL_MAX_MEMBERS];
    enum ww_err rc = check(data, err);
    if (rc) {
        return rc;
    }
    double *p = relative(data);
    if (!p) {
        return WW_FAIL_MEMORY(err, "a pool of %zu positions", data->n);
    }
    for (uint32_t i = 0; i < data->k; i++) {
        w[i] = 1.0 / data->k;
    }
    unsigned round = 0;
    for (; round < MAX_ROUNDS; round++) {
        double most = 0;
        ratios(data, p, w, mean);
        for (uint32_t i = 0; i < data->k; i++) {
            most = mean[i] > most ? mean[i] : most;
        }
        if (most - 1 <= gap * LN2) {
            break;
        }
        for (uint32_t i = 0; i < data->k; i++) {
            w[i] *= mean[i];
            w[i] = w[i] > LEAST_WEIGHT ? w[i] : LEAST_WEIGHT;
        }
    }
    ww_free(p);
    ww_pool_uniform(data->k, rule);
    for (uint32_t i = 0; i < data->k; i++) {
        rule->prior[i] = ww_fix_log(w[i]);
    }
    *iterations = round;
    return WW_OK;
}
