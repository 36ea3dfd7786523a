/* SPDX-License-Identifier: Apache-2.0 */
/* Normal equations by Cholesky: they are small, and the ridge keeps them well posed. */
#include "evo/surrogate.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"

#define MAX_TERMS 325 /* of 24 variables */
#define RIDGE 1e-6    /* for each point */

size_t ww_surrogate_terms(uint32_t d)
{
    return (size_t)(d + 1) * (d + 2) / 2;
}

static void terms_of(const double *u, uint32_t d, double *t)
{
    *t++ = 1;
    for (uint32_t i = 0; i < d; i++) {
        *t++ = u[i];
    }
    for (uint32_t i = 0; i < d; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            *t++ = u[i] * u[j];
        }
    }
}

struct normal {
    size_t p, n;
    double *l; /* [p][p], lower factor */
    double *b; /* [p] */
};

static void add_points(struct normal *e, const double *u, const double *y, size_t n,
                       uint32_t d)
{
    double t[MAX_TERMS];
    for (size_t k = 0; k < n; k++) {
        if (isnan(y[k])) {
            continue;
        }
        e->n++;
        terms_of(u + k * d, d, t);
        for (size_t i = 0; i < e->p; i++) {
            e->b[i] += t[i] * y[k];
            for (size_t j = 0; j <= i; j++) {
                e->l[i * e->p + j] += t[i] * t[j];
            }
        }
    }
}

static enum ww_err factor(struct normal *e, struct ww_error *err)
{
    double *l = e->l;
    const size_t p = e->p;
    for (size_t i = 0; i < p; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = l[i * p + j] + (i == j ? RIDGE * (double)e->n : 0);
            for (size_t c = 0; c < j; c++) {
                sum -= l[i * p + c] * l[j * p + c];
            }
            if (i == j && !(sum > 0)) {
                return WW_FAIL(err, WW_E_NONFINITE,
                               "the points are too alike, or their scores too large, for "
                               "a quadratic fit");
            }
            l[i * p + j] = i == j ? sqrt(sum) : sum / l[j * p + j];
        }
    }
    return WW_OK;
}

/* L z = x in place. */
static void forward(const struct normal *e, double *x)
{
    for (size_t i = 0; i < e->p; i++) {
        for (size_t c = 0; c < i; c++) {
            x[i] -= e->l[i * e->p + c] * x[c];
        }
        x[i] /= e->l[i * e->p + i];
    }
}

static void backward(const struct normal *e, double *x)
{
    for (size_t i = e->p; i-- > 0;) {
        for (size_t c = i + 1; c < e->p; c++) {
            x[i] -= e->l[c * e->p + i] * x[c];
        }
        x[i] /= e->l[i * e->p + i];
    }
}

/* A point left out moves its residual by 1 / (1 - leverage) (Allen 1974). */
static double share_told(const struct normal *e, const struct ww_surrogate *s,
                         const double *u, const double *y, size_t n)
{
    double t[MAX_TERMS];
    double mean = 0;
    double all = 0;
    double left = 0;
    for (size_t k = 0; k < n; k++) {
        mean += isnan(y[k]) ? 0 : y[k] / (double)e->n;
    }
    for (size_t k = 0; k < n; k++) {
        double leverage = 0;
        if (isnan(y[k])) {
            continue;
        }
        terms_of(u + k * s->d, s->d, t);
        forward(e, t);
        for (size_t i = 0; i < e->p; i++) {
            leverage += t[i] * t[i];
        }
        const double rest = y[k] - ww_surrogate_value(s, u + k * s->d);
        const double out = rest / (leverage < 0.999999 ? 1 - leverage : 1e-6);
        left += out * out;
        all += (y[k] - mean) * (y[k] - mean);
    }
    return all > 0 ? 1 - left / all : 0;
}

enum ww_err ww_surrogate_fit(const double *u, const double *y, size_t n, uint32_t d,
                             struct ww_surrogate *out, struct ww_error *err)
{
    struct normal e = {.p = ww_surrogate_terms(d)};
    *out = (struct ww_surrogate){.d = d};
    if (d == 0 || d > WW_SURROGATE_MAX_VARIABLES) {
        return WW_FAIL(err, WW_E_USAGE, "a surrogate has 1 to %u numbers, not %u",
                       WW_SURROGATE_MAX_VARIABLES, d);
    }
    e.l = ww_calloc(e.p, e.p * sizeof(*e.l));
    e.b = ww_calloc(e.p, sizeof(*e.b));
    enum ww_err rc = e.l && e.b ? WW_OK : WW_FAIL_MEMORY(err, "a surrogate");
    if (rc) {
        goto out;
    }
    add_points(&e, u, y, n, d);
    if (e.n < e.p) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "%zu points have scores, but a quadratic of %u numbers takes %zu",
                     e.n, d, e.p);
        goto out;
    }
    rc = factor(&e, err);
    if (rc) {
        goto out;
    }
    forward(&e, e.b);
    backward(&e, e.b);
    out->weight = e.b;
    e.b = NULL;
    out->told = share_told(&e, out, u, y, n);
out:
    ww_free(e.l);
    ww_free(e.b);
    return rc;
}

double ww_surrogate_value(const struct ww_surrogate *surrogate, const double *u)
{
    double t[MAX_TERMS];
    double sum = 0;
    terms_of(u, surrogate->d, t);
    for (size_t i = 0; i < ww_surrogate_terms(surrogate->d); i++) {
        sum += surrogate->weight[i] * t[i];
    }
    return sum;
}

void ww_surrogate_release(struct ww_surrogate *surrogate)
{
    ww_free(surrogate->weight);
    surrogate->weight = NULL;
}
