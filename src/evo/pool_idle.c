/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members that a fit does not need. A search has to find a low weight for each of them,
 * and the more there are the less well it finds the others'; so those are left out whose
 * number is worth less than one nat of the answers that are fitted (Akaike 1974), and the
 * others are fitted again, as if the pool had never had them. Few answers may not have
 * asked for what a member knows, so it stays where it can be heard once the others are
 * surprised: as high as the fitted answers do not feel it.
 */
#include <string.h>

#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LN2 0x1.62e42fefa39efp-1
#define WORTH 1.0 /* nats */
#define FELT 0.1  /* nats */

static const double low[] = {8, 16, 32, 64}; /* below the highest prior */

/* The pool without some of its members. */
struct rest {
    struct ww_pool_data data;
    struct ww_pool_position *at;
    double *room; /* [n][4][k] */
    uint32_t member[WW_POOL_MAX_MEMBERS];
};

/* How many answers' tokens the weights are worth (Kish 1965): their number when they are
 * equal. Nats are counted in these, so that the unit of weights does not matter. */
static double effective_number(const struct ww_pool_data *data)
{
    double sum = 0;
    double squares = 0;
    for (size_t t = 0; t < data->n; t++) {
        sum += data->at[t].weight;
        squares += data->at[t].weight * data->at[t].weight;
    }
    return squares > 0 ? sum * sum / squares : 0;
}

/* The one that is missed least becomes WW_POOL_OUT, if that costs little. */
static bool leave_one_out(const struct ww_pool_data *data, double weight,
                          struct ww_pool_linear *rule)
{
    const double nats = weight * LN2;
    const double now = ww_pool_linear_bits(data, rule) * nats;
    double least = WORTH;
    uint32_t idle = data->k;
    uint32_t left = 0;
    for (uint32_t i = 0; i < data->k; i++) {
        const double prior = rule->prior[i];
        if (prior == WW_POOL_OUT) {
            continue;
        }
        left++;
        rule->prior[i] = WW_POOL_OUT;
        const double costs = ww_pool_linear_bits(data, rule) * nats - now;
        rule->prior[i] = prior;
        idle = costs < least ? i : idle;
        least = costs < least ? costs : least;
    }
    if (idle == data->k || left < 2) {
        return false;
    }
    rule->prior[idle] = WW_POOL_OUT;
    return true;
}

static const double *copied(double **room, const struct rest *r, const double *from)
{
    double *to = *room;
    if (!from) {
        return NULL;
    }
    for (uint32_t i = 0; i < r->data.k; i++) {
        to[i] = from[r->member[i]];
    }
    *room += r->data.k;
    return to;
}

static enum ww_err make_rest(const struct ww_pool_data *data,
                             const struct ww_pool_linear *rule, struct rest *r,
                             struct ww_error *err)
{
    for (uint32_t i = 0; i < data->k; i++) {
        if (rule->prior[i] != WW_POOL_OUT) {
            r->member[r->data.k++] = i;
        }
    }
    r->at = ww_calloc(data->n, sizeof(*r->at));
    r->room = ww_calloc(data->n, 4 * r->data.k * sizeof(*r->room));
    if (!r->at || !r->room) {
        return WW_FAIL_MEMORY(err, "a pool of %zu positions", data->n);
    }
    double *room = r->room;
    for (size_t t = 0; t < data->n; t++) {
        const struct ww_pool_position *from = &data->at[t];
        r->at[t] = *from;
        r->at[t].gold = copied(&room, r, from->gold);
        r->at[t].entropy = copied(&room, r, from->entropy);
        r->at[t].surprise = copied(&room, r, from->surprise);
        r->at[t].prefix = copied(&room, r, from->prefix);
    }
    r->data.n = data->n;
    r->data.at = r->at;
    return WW_OK;
}

/* The rule of the rest as one of the whole pool. */
static void put_back(const struct rest *r, const struct ww_pool_linear *of_rest,
                     struct ww_pool_linear *rule)
{
    memcpy(rule->a, of_rest->a, sizeof(rule->a));
    for (uint32_t i = 0; i < r->data.k; i++) {
        rule->prior[r->member[i]] = of_rest->prior[i];
    }
}

static void stay_low(const struct ww_pool_data *data, double weight,
                     struct ww_pool_linear *rule)
{
    const double nats = weight * LN2;
    double now = ww_pool_linear_bits(data, rule) * nats;
    double most = rule->prior[0];
    for (uint32_t i = 1; i < data->k; i++) {
        most = rule->prior[i] > most ? rule->prior[i] : most;
    }
    for (uint32_t i = 0; i < data->k; i++) {
        const bool idle = rule->prior[i] == WW_POOL_OUT;
        for (size_t l = 0; idle && l < WW_LEN(low); l++) {
            rule->prior[i] = most - low[l];
            const double with = ww_pool_linear_bits(data, rule) * nats;
            if (with - now < FELT) {
                now = with;
                break;
            }
            rule->prior[i] = WW_POOL_OUT;
        }
    }
}

enum ww_err ww_pool_fit_adaptive(const struct ww_pool_data *data,
                                 const bool use[WW_POOL_FEATURES], double ridge,
                                 uint64_t seed, struct ww_pool_linear *rule,
                                 uint64_t *evaluations, struct ww_error *err)
{
    const double weight = effective_number(data);
    struct rest rest = {0};
    struct ww_pool_linear again;
    uint64_t more = *evaluations;
    bool idle = false;
    enum ww_err rc =
        ww_pool_fit_adaptive_all(data, use, ridge, seed, rule, evaluations, err);
    while (!rc && leave_one_out(data, weight, rule)) {
        idle = true;
    }
    if (rc || !idle) {
        return rc;
    }
    rc = make_rest(data, rule, &rest, err);
    rc = rc ? rc
            : ww_pool_fit_adaptive_all(&rest.data, use, ridge, seed, &again, &more, err);
    if (!rc) {
        put_back(&rest, &again, rule);
        stay_low(data, weight, rule);
        *evaluations += more;
    }
    ww_free(rest.at);
    ww_free(rest.room);
    return rc;
}
