/* SPDX-License-Identifier: Apache-2.0 */
/* The constants of the tutorial's table 1; separable form after Ros and Hansen, 2008. */
#include <math.h>

#include "evo/cma_int.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Sum over the first n weights, and (sum)^2 / sum of squares. */
static double effective(const double *w, uint32_t n, double *sum)
{
    double squares = 0;
    *sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        *sum += w[i];
        squares += w[i] * w[i];
    }
    return squares > 0 ? *sum * *sum / squares : 0;
}

static void learning_rates(struct ww_cma_rates *r, double n, bool diagonal)
{
    const double mu = r->mu_eff;
    double root = sqrt((mu - 1) / (n + 1)) - 1;

    r->c_sigma = (mu + 2) / (n + mu + 5);
    r->d_sigma = 1 + 2 * (root > 0 ? root : 0) + r->c_sigma;
    r->c_c = (4 + mu / n) / (n + 4 + 2 * mu / n);
    r->c_1 = 2 / ((n + 1.3) * (n + 1.3) + mu);
    r->c_mu = 2 * (0.25 + mu + 1 / mu - 2) / ((n + 2) * (n + 2) + mu);
    if (diagonal) {
        r->c_1 *= (n + 2) / 3;
        r->c_mu *= (n + 2) / 3;
    }
    r->c_1 = smaller(r->c_1, 0.5);
    r->c_mu = smaller(r->c_mu, 1 - r->c_1);
    r->chi = sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n * n));
}

enum ww_err ww_cma_rates_make(struct ww_cma_rates *r, uint32_t n, uint32_t lambda,
                              bool diagonal, struct ww_error *err)
{
    double *w = ww_calloc(lambda, sizeof(*w));
    if (!w) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    ww_free(r->weights);
    r->weights = w;
    r->lambda = lambda;
    r->mu = lambda / 2;
    for (uint32_t i = 0; i < lambda; i++) {
        w[i] = ww_fix_log(((double)lambda + 1) / 2) - ww_fix_log((double)i + 1);
    }
    double plus, minus;
    r->mu_eff = effective(w, r->mu, &plus);
    double mu_minus = effective(w + r->mu, lambda - r->mu, &minus);
    learning_rates(r, n, diagonal);

    double least = smaller(1 + r->c_1 / r->c_mu, 1 + 2 * mu_minus / (r->mu_eff + 2));
    least = smaller(least, (1 - r->c_1 - r->c_mu) / (n * r->c_mu));
    for (uint32_t i = 0; i < lambda; i++) {
        w[i] = i < r->mu ? w[i] / plus : w[i] * (minus < 0 ? least / -minus : 0);
    }
    return WW_OK;
}
