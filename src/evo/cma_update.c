/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One generation's move: mean, evolution paths, covariance, step size. Sums run over
 * candidates in rank order and variables in index order.
 */
#include <math.h>
#include <string.h>

#include "evo/cma_int.h"
#include "la/exact_eigen.h"
#include "la/fixmath.h"

/* A covariance with a condition above this is started anew. */
#define WORST_CONDITION 1e14

/* out = C^(-1/2) y */
static void whiten(const struct ww_cma *cma, const double *y, double *out)
{
    const uint32_t n = cma->n;
    if (cma->diagonal) {
        for (uint32_t i = 0; i < n; i++) {
            out[i] = y[i] / cma->d[i];
        }
        return;
    }
    memset(out, 0, n * sizeof(*out));
    for (uint32_t j = 0; j < n; j++) {
        double along = 0;
        for (uint32_t i = 0; i < n; i++) {
            along += cma->b[i * n + j] * y[i];
        }
        along /= cma->d[j];
        for (uint32_t i = 0; i < n; i++) {
            out[i] += cma->b[i * n + j] * along;
        }
    }
}

static double square(const double *v, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += v[i] * v[i];
    }
    return sum;
}

/* c += times v v^T, its diagonal alone in the separable form */
static void add_outer(struct ww_cma *cma, double times, const double *v)
{
    const uint32_t n = cma->n;
    if (cma->diagonal) {
        for (uint32_t i = 0; i < n; i++) {
            cma->c[i] += times * v[i] * v[i];
        }
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            double add = times * v[i] * v[j];
            cma->c[i * n + j] += add;
            if (j != i) {
                cma->c[j * n + i] += add;
            }
        }
    }
}

static void move_path_c(struct ww_cma *cma, const double *step, bool h)
{
    const struct ww_cma_rates *r = &cma->rates;
    const double b = h ? sqrt(r->c_c * (2 - r->c_c) * r->mu_eff) : 0;

    for (uint32_t i = 0; i < cma->n; i++) {
        cma->p_c[i] = (1 - r->c_c) * cma->p_c[i] + b * step[i];
    }
}

/* Does the path of steps have a length that a new direction would not stall? */
static bool not_stalled(const struct ww_cma *cma, double length)
{
    const struct ww_cma_rates *r = &cma->rates;
    double left =
        1 - ww_fix_exp(2 * (double)(cma->generation + 1) * ww_fix_log(1 - r->c_sigma));
    return length / sqrt(left) / r->chi < 1.4 + 2 / ((double)cma->n + 1);
}

static void move_covariance(struct ww_cma *cma, bool h, double *white)
{
    const struct ww_cma_rates *r = &cma->rates;
    const size_t cells = cma->diagonal ? cma->n : (size_t)cma->n * cma->n;
    double sum = 0;
    for (uint32_t k = 0; k < r->lambda; k++) {
        sum += r->weights[k];
    }
    double lost = h ? 0 : r->c_c * (2 - r->c_c);
    double keep = 1 - r->c_1 - r->c_mu * sum + r->c_1 * lost;
    for (size_t i = 0; i < cells; i++) {
        cma->c[i] *= keep;
    }
    add_outer(cma, r->c_1, cma->p_c);
    for (uint32_t k = 0; k < r->lambda; k++) {
        const double *y = cma->y + (size_t)cma->order[k] * cma->n;
        double w = r->weights[k];
        if (w < 0) { /* as long as a step of the distribution, whatever its length */
            whiten(cma, y, white);
            double length = square(white, cma->n);
            w = length > 0 ? w * (double)cma->n / length : 0;
        }
        if (w != 0) {
            add_outer(cma, r->c_mu * w, y);
        }
    }
}

void ww_cma_update(struct ww_cma *cma)
{
    const struct ww_cma_rates *r = &cma->rates;
    const uint32_t n = cma->n;
    double *step = cma->work;
    double *white = cma->work + n;

    memset(step, 0, n * sizeof(*step));
    for (uint32_t k = 0; k < r->mu; k++) {
        const double *y = cma->y + (size_t)cma->order[k] * n;
        for (uint32_t i = 0; i < n; i++) {
            step[i] += r->weights[k] * y[i];
        }
    }
    whiten(cma, step, white);
    const double a = sqrt(r->c_sigma * (2 - r->c_sigma) * r->mu_eff);
    for (uint32_t i = 0; i < n; i++) {
        cma->mean[i] += cma->sigma * step[i];
        cma->p_sigma[i] = (1 - r->c_sigma) * cma->p_sigma[i] + a * white[i];
    }
    double length = sqrt(square(cma->p_sigma, n));
    bool h = not_stalled(cma, length);
    move_path_c(cma, step, h);
    move_covariance(cma, h, white);
    double change = r->c_sigma / r->d_sigma * (length / r->chi - 1);
    cma->sigma *= ww_fix_exp(change < 1 ? change : 1);
}

bool ww_cma_decompose(struct ww_cma *cma)
{
    const uint32_t n = cma->n;
    double low = (double)INFINITY;
    double high = 0;
    if (cma->diagonal) {
        memcpy(cma->d, cma->c, n * sizeof(*cma->d));
    } else {
        double *copy = cma->work + 2 * (size_t)n;
        memcpy(copy, cma->c, (size_t)n * n * sizeof(*copy));
        if (!ww_exact_eigen(copy, n, cma->d, cma->b)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        low = cma->d[i] < low ? cma->d[i] : low;
        high = cma->d[i] > high ? cma->d[i] : high;
        cma->d[i] = sqrt(cma->d[i]);
    }
    return low > 0 && high <= low * WORST_CONDITION;
}
