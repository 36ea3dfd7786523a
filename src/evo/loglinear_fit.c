/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Newton's method on a convex loss of few variables. Non-negative weights by projection:
 * a weight at 0 whose gradient pushes it below stays out of the step (Bertsekas, 1982).
 */
#include <math.h>
#include <string.h>

#include "evo/loglinear.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MAX_STEPS 200
#define DONE 1e-9
#define SUFFICIENT 1e-4

struct newton {
    const struct ww_pool_union *u;
    size_t n;
    uint32_t k;
    bool non_negative;
    double ridge;
    double *g, *h, *step, *next; /* [k], [k][k], [k], [k] */
};

static double loss_at(const struct newton *f, const double *w, double *g, double *h)
{
    double loss = ww_pool_loglinear_loss(f->u, f->n, w, g, h);
    for (uint32_t i = 0; i < f->k; i++) {
        double off = w[i] - 1.0 / f->k;
        loss += f->ridge * off * off;
        if (g) {
            g[i] += 2 * f->ridge * off;
            h[i * f->k + i] += 2 * f->ridge;
        }
    }
    return loss;
}

static bool held(const struct newton *f, const double *w, uint32_t i)
{
    return f->non_negative && w[i] <= 0 && f->g[i] > 0;
}

/* step = -H^-1 g over the free variables, by Cholesky with a growing diagonal. */
static bool solve(struct newton *f, const double *w, double damping, double *l)
{
    const uint32_t k = f->k;
    for (uint32_t i = 0; i < k; i++) {
        const bool out_i = held(f, w, i);
        for (uint32_t j = 0; j <= i; j++) {
            double sum = out_i || held(f, w, j) ? (i == j) : f->h[i * k + j];
            sum += i == j && !out_i ? damping : 0;
            for (uint32_t c = 0; c < j; c++) {
                sum -= l[i * k + c] * l[j * k + c];
            }
            if (i == j && !(sum > 0)) {
                return false;
            }
            l[i * k + j] = i == j ? sqrt(sum) : sum / l[j * k + j];
        }
    }
    for (uint32_t i = 0; i < k; i++) {
        double sum = held(f, w, i) ? 0 : -f->g[i];
        for (uint32_t c = 0; c < i; c++) {
            sum -= l[i * k + c] * f->step[c];
        }
        f->step[i] = sum / l[i * k + i];
    }
    for (uint32_t i = k; i-- > 0;) {
        double sum = f->step[i];
        for (uint32_t c = i + 1; c < k; c++) {
            sum -= l[c * k + i] * f->step[c];
        }
        f->step[i] = sum / l[i * k + i];
    }
    return true;
}

/* Half the step until the loss falls enough; the loss reached, or the old one. */
static double descend(struct newton *f, double *w, double loss)
{
    for (double t = 1; t > 0x1p-40; t /= 2) {
        double promised = 0;
        for (uint32_t i = 0; i < f->k; i++) {
            double to = w[i] + t * f->step[i];
            f->next[i] = f->non_negative && to < 0 ? 0 : to;
            promised += f->g[i] * (f->next[i] - w[i]);
        }
        double there = loss_at(f, f->next, NULL, NULL);
        if (there <= loss + SUFFICIENT * promised) {
            memcpy(w, f->next, f->k * sizeof(*w));
            return there;
        }
    }
    return loss;
}

static enum ww_err minimise(struct newton *f, double *l, double *w, unsigned *iterations,
                            struct ww_error *err)
{
    for (*iterations = 0; *iterations < MAX_STEPS; ++*iterations) {
        double loss = loss_at(f, w, f->g, f->h);
        double left = 0;
        double damping = 1e-12;
        if (!isfinite(loss)) {
            return WW_FAIL(err, WW_E_NONFINITE, "a pool's loss is not finite");
        }
        while (!solve(f, w, damping, l)) {
            damping *= 100;
        }
        for (uint32_t i = 0; i < f->k; i++) {
            left -= f->g[i] * f->step[i];
        }
        if (left / 2 <= DONE) { /* the quadratic's distance to its minimum */
            return WW_OK;
        }
        if (!(descend(f, w, loss) < loss)) {
            return WW_OK; /* rounding */
        }
    }
    return WW_FAIL(err, WW_E_INTERNAL, "a convex fit has not converged in %d steps",
                   MAX_STEPS);
}

enum ww_err ww_pool_fit_loglinear(const struct ww_pool_union *u, size_t n, uint32_t k,
                                  bool non_negative, double ridge, double *w,
                                  unsigned *iterations, struct ww_error *err)
{
    if (n == 0 || k == 0 || k > WW_POOL_MAX_MEMBERS) {
        return WW_FAIL(err, WW_E_USAGE, "a pool needs answers and 1 to %d members",
                       WW_POOL_MAX_MEMBERS);
    }
    struct newton f = {
        .u = u, .n = n, .k = k, .non_negative = non_negative, .ridge = ridge};
    double *room = ww_calloc(3 * (size_t)k + 2 * (size_t)k * k, sizeof(*room));
    if (!room) {
        return WW_FAIL_MEMORY(err, "a pool");
    }
    f.g = room;
    f.step = room + k;
    f.next = room + 2 * (size_t)k;
    f.h = room + 3 * (size_t)k;
    for (uint32_t i = 0; i < k; i++) {
        w[i] = 1.0 / k;
    }
    enum ww_err rc = minimise(&f, f.h + (size_t)k * k, w, iterations, err);
    ww_free(room);
    return rc;
}
