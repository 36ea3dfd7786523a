/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The union of cut lists, and the pool's value, gradient and Hessian: with p the pool,
 * gradient = E_p[l] - l(gold), Hessian = Cov_p(l). The bucket counts as its number of
 * tokens, all alike.
 */
#include "evo/loglinear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LEAST_MASS 1e-12

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double clamped(double l)
{
    return l > WW_POOL_FLOOR ? l : WW_POOL_FLOOR;
}

static enum ww_err check_list(const struct ww_pool_list *list, uint32_t vocabulary,
                              struct ww_error *err)
{
    if (list->n > vocabulary) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "a list of log-probabilities has %u tokens, expected at most %u",
                       list->n, vocabulary);
    }
    for (uint32_t i = 0; i < list->n; i++) {
        if (isnan(list->logprob[i])) {
            return WW_FAIL(err, WW_E_NONFINITE, "a log-probability is not a number");
        }
        if (list->logprob[i] > 0.01 || list->token[i] >= vocabulary) {
            return WW_FAIL(
                err, WW_E_MALFORMED,
                "token %u has log-probability %g, expected at most 0 and a token "
                "below %u",
                list->token[i], list->logprob[i], vocabulary);
        }
    }
    return WW_OK;
}

double ww_pool_unseen(const struct ww_pool_list *list, uint32_t vocabulary)
{
    double mass = 1;
    double least = 0;
    if (list->n == vocabulary) {
        return WW_POOL_FLOOR;
    }
    for (uint32_t i = 0; i < list->n; i++) {
        mass -= ww_fix_exp(clamped(list->logprob[i]));
        least = list->logprob[i] < least ? list->logprob[i] : least;
    }
    mass = mass > LEAST_MASS ? mass : LEAST_MASS;
    double even = ww_fix_log(mass / (vocabulary - list->n));
    return clamped(even < least ? even : least);
}

static uint32_t row_of(const struct ww_pool_union *u, uint32_t token)
{
    const uint32_t *found =
        u->n ? bsearch(&token, u->token, u->n, sizeof(token), by_number) : NULL;
    return found ? (uint32_t)(found - u->token) : u->n;
}

static enum ww_err fill(struct ww_pool_union *u, const struct ww_pool_choice *choice,
                        uint32_t vocabulary, struct ww_error *err)
{
    for (uint32_t m = 0; m < u->k; m++) {
        const struct ww_pool_list *list = &choice->lists[m];
        double rest = ww_pool_unseen(list, vocabulary);
        for (uint32_t i = 0; i <= u->n; i++) {
            u->l[(size_t)i * u->k + m] = rest;
        }
        for (uint32_t i = 0; i < list->n; i++) {
            double *at = &u->l[(size_t)row_of(u, list->token[i]) * u->k + m];
            *at = clamped(list->logprob[i]);
        }
    }
    u->gold = row_of(u, choice->gold);
    u->gold_in_bucket = u->gold == u->n;
    for (uint32_t m = 0; choice->gold_logprob && !u->gold_in_bucket && m < u->k; m++) {
        double l = choice->gold_logprob[m];
        if (isnan(l) || l > 0.01) {
            return WW_FAIL(err, WW_E_NONFINITE, "the right token has no log-probability");
        }
        u->l[(size_t)u->gold * u->k + m] = clamped(l);
    }
    return WW_OK;
}

static enum ww_err twice(const struct ww_pool_list *list, uint32_t *scratch,
                         struct ww_error *err)
{
    if (list->n == 0) {
        return WW_OK;
    }
    memcpy(scratch, list->token, list->n * sizeof(*scratch));
    qsort(scratch, list->n, sizeof(*scratch), by_number);
    for (uint32_t i = 1; i < list->n; i++) {
        if (scratch[i] == scratch[i - 1]) {
            return WW_FAIL(err, WW_E_MALFORMED, "token %u stands twice in one list",
                           scratch[i]);
        }
    }
    return WW_OK;
}

enum ww_err ww_pool_union_make(const struct ww_pool_choice *choice, uint32_t k,
                               uint32_t vocabulary, struct ww_pool_union *out,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    size_t total = 1; /* the right token, where its log-probabilities are known */
    memset(out, 0, sizeof(*out));
    for (uint32_t m = 0; !rc && m < k; m++) {
        rc = check_list(&choice->lists[m], vocabulary, err);
        total += choice->lists[m].n;
    }
    if (rc) {
        return rc;
    }
    out->k = k;
    out->weight = 1;
    out->token = ww_calloc(total, sizeof(*out->token));
    if (!out->token) {
        return WW_FAIL_MEMORY(err, "%zu log-probabilities", total);
    }
    size_t n = 0;
    for (uint32_t m = 0; !rc && m < k; m++) {
        rc = twice(&choice->lists[m], out->token + n, err);
        n += choice->lists[m].n;
    }
    if (!rc && choice->gold_logprob) {
        out->token[n++] = choice->gold;
    }
    if (!rc) {
        qsort(out->token, n, sizeof(*out->token), by_number);
        for (size_t i = 0; i < n; i++) {
            if (i == 0 || out->token[i] != out->token[out->n - 1]) {
                out->token[out->n++] = out->token[i];
            }
        }
        out->log_others =
            out->n < vocabulary ? ww_fix_log(vocabulary - out->n) : -(double)INFINITY;
        out->l = ww_calloc((size_t)(out->n + 1) * k, sizeof(*out->l));
        rc = out->l ? fill(out, choice, vocabulary, err) : WW_FAIL_MEMORY(err, "a pool");
    }
    if (rc) {
        ww_pool_union_release(out);
    }
    return rc;
}

void ww_pool_union_release(struct ww_pool_union *u)
{
    ww_free(u->token);
    ww_free(u->l);
    memset(u, 0, sizeof(*u));
}

static bool has_bucket(const struct ww_pool_union *u)
{
    return isfinite(u->log_others);
}

double ww_pool_loglinear(const struct ww_pool_union *u, const double *w, double *out)
{
    const uint32_t rows = u->n + has_bucket(u);
    double most = -(double)INFINITY;
    double sum = 0;
    for (uint32_t i = 0; i < rows; i++) {
        double s = i == u->n ? u->log_others : 0;
        for (uint32_t m = 0; m < u->k; m++) {
            s += w[m] * u->l[(size_t)i * u->k + m];
        }
        out[i] = s;
        most = s > most ? s : most;
    }
    for (uint32_t i = 0; i < rows; i++) {
        sum += ww_fix_exp(out[i] - most);
    }
    const double norm = most + ww_fix_log(sum);
    for (uint32_t i = 0; i < rows; i++) {
        out[i] -= norm;
    }
    if (!has_bucket(u)) {
        out[u->n] = -(double)INFINITY;
    }
    return u->gold_in_bucket ? out[u->n] - u->log_others : out[u->gold];
}

static void add_moments(const struct ww_pool_union *u, const double *logp, double *mean,
                        double *g, double *h)
{
    const uint32_t k = u->k;
    const uint32_t rows = u->n + has_bucket(u);
    memset(mean, 0, k * sizeof(*mean));
    for (uint32_t i = 0; i < rows; i++) {
        double p = ww_fix_exp(logp[i]);
        const double *l = u->l + (size_t)i * k;
        for (uint32_t a = 0; a < k; a++) {
            mean[a] += p * l[a];
            for (uint32_t b = 0; h && b <= a; b++) {
                h[a * k + b] += u->weight * (p * l[a] * l[b]);
            }
        }
    }
    for (uint32_t a = 0; a < k; a++) {
        g[a] += u->weight * (mean[a] - u->l[(size_t)u->gold * k + a]);
        for (uint32_t b = 0; h && b <= a; b++) {
            h[a * k + b] -= u->weight * (mean[a] * mean[b]);
        }
    }
}

double ww_pool_loglinear_loss(const struct ww_pool_union *u, size_t n, const double *w,
                              double *g, double *h)
{
    double mean[WW_POOL_MAX_MEMBERS];
    double loss = 0;
    double total = 0;
    const uint32_t k = n ? u[0].k : 0;
    if (g) {
        memset(g, 0, k * sizeof(*g));
    }
    if (h) {
        memset(h, 0, (size_t)k * k * sizeof(*h));
    }
    for (size_t t = 0; t < n; t++) {
        double few[512];
        double *logp = u[t].n < 512 ? few : ww_calloc(u[t].n + 1, sizeof(*logp));
        if (!logp) {
            return (double)NAN;
        }
        loss -= u[t].weight * ww_pool_loglinear(&u[t], w, logp);
        total += u[t].weight;
        if (g) {
            add_moments(&u[t], logp, mean, g, h);
        }
        if (logp != few) {
            ww_free(logp);
        }
    }
    total = total > 0 ? total : 1;
    for (uint32_t a = 0; a < k; a++) {
        if (g) {
            g[a] /= total;
        }
        for (uint32_t b = 0; h && b <= a; b++) {
            h[a * k + b] /= total;
            h[b * k + a] = h[a * k + b];
        }
    }
    return loss / total;
}
