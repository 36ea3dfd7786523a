/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spherical interpolation, the Karcher mean (arXiv 2603.04972), Model Stock (arXiv
 * 2403.19522) and the geometric median all give sum c_i x_i, and the c_i need the inner
 * products G_ij = <x_i, x_j> alone: one pass for G, one to combine, whatever the method
 * iterates. Thresholds and special cases are those of mergekit 0.1.5.
 */
#include "merge/gramcoef.h"

#include <math.h>

#include "la/fixmath.h"

/* Sine of the angle, or length of a sum of directions, below which rounding decides the
 * direction: of models that are stored in 32 bits, and of these inner products. */
#define OPPOSITE 1e-6

static double gram_at(const struct ww_gram *g, uint32_t i, uint32_t j)
{
    uint32_t a = i < j ? i : j;
    uint32_t b = i < j ? j : i;
    return g->upper[(uint64_t)a * g->n - (uint64_t)a * (a + 1) / 2 + b];
}

static double norm(const struct ww_gram *g, uint32_t i)
{
    return sqrt(gram_at(g, i, i));
}

static double clamp(double v) /* of a cosine */
{
    return v < -1 ? -1 : v > 1 ? 1 : v;
}

static void arc(double d, double t, double *c)
{
    double omega = ww_fix_acos(d);
    double s = ww_fix_sin(omega);
    c[0] = ww_fix_sin((1 - t) * omega) / s;
    c[1] = ww_fix_sin(t * omega) / s;
}

static void line(double t, double *c)
{
    c[0] = 1 - t;
    c[1] = t;
}

void ww_coef_slerp(const struct ww_gram *g, double t, double *c)
{
    double a = norm(g, 0);
    double b = norm(g, 1);
    a = a > 1e-8 ? a : 1;
    b = b > 1e-8 ? b : 1;
    double d = clamp(gram_at(g, 0, 1) / (a * b));
    if (d > 0.9995 || d < -0.9995) {
        line(t, c);
        return;
    }
    arc(d, t, c);
}

void ww_coef_nuslerp(const struct ww_gram *g, double t, double *c)
{
    double a = norm(g, 0);
    double b = norm(g, 1);
    a = a > 1e-7 ? a : 1e-7;
    b = b > 1e-7 ? b : 1e-7;
    double d = clamp(gram_at(g, 0, 1) / (a * b));
    if (1 - d * d <= OPPOSITE * OPPOSITE) {
        line(t, c);
        return;
    }
    arc(d, t, c);
}

/* vT G u */
static double form(const struct ww_gram *g, const double *v, const double *u)
{
    double sum = 0;
    for (uint32_t i = 0; i < g->n; i++) {
        for (uint32_t j = 0; j < g->n; j++) {
            sum += v[i] * u[j] * gram_at(g, i, j);
        }
    }
    return sum;
}

static bool all_are_zero(const struct ww_gram *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (norm(g, i) > 0) {
            return false;
        }
    }
    return true;
}

bool ww_coef_multislerp(const struct ww_gram *g, const double *w, double eps, double *c)
{
    double v[WW_GRAM_MAX];
    double length = 0;
    double all = 0; /* of the sum where nothing cancels */

    for (uint32_t i = 0; i < g->n; i++) {
        v[i] = w[i] / (norm(g, i) + eps);
        length += w[i] * norm(g, i);
        all += fabs(v[i]) * norm(g, i);
    }
    double q = form(g, v, v);
    q = q > 0 ? sqrt(q) : 0;
    if (q < eps || q < OPPOSITE * all) {
        for (uint32_t i = 0; i < g->n; i++) {
            c[i] = w[i];
        }
        return g->n <= 2 || all_are_zero(g);
    }
    /* The step in the tangent space is zero and counts as eps long. */
    length *= ww_fix_cos(eps);
    for (uint32_t i = 0; i < g->n; i++) {
        c[i] = length * v[i] / q;
    }
    return true;
}

/* The Karcher mean in the span of unit vectors u_i with inner products h. */
struct karcher {
    uint32_t n;
    double h[WW_GRAM_MAX][WW_GRAM_MAX];
    double a[WW_GRAM_MAX];
};

static double karcher_length(const struct karcher *k, const double *v)
{
    double sum = 0;
    for (uint32_t i = 0; i < k->n; i++) {
        for (uint32_t j = 0; j < k->n; j++) {
            sum += v[i] * k->h[i][j] * v[j];
        }
    }
    return sum > 0 ? sqrt(sum) : 0;
}

static void karcher_start(const struct karcher *k, double tol, double *c)
{
    double length = karcher_length(k, k->a);
    for (uint32_t i = 0; i < k->n; i++) {
        c[i] = length < tol ? (i == 0) : k->a[i] / length;
    }
}

/* One step along the mean of the directions to all points; false when there. */
static bool karcher_step(const struct karcher *k, double tol, double *c)
{
    double u[WW_GRAM_MAX];
    double along = 0;

    for (uint32_t i = 0; i < k->n; i++) {
        double d = 0;
        for (uint32_t j = 0; j < k->n; j++) {
            d += k->h[i][j] * c[j];
        }
        d = clamp(d);
        double theta = ww_fix_acos(d);
        u[i] = theta < tol ? 0 : k->a[i] * theta / ww_fix_sin(theta);
        along += u[i] * d;
    }
    for (uint32_t i = 0; i < k->n; i++) {
        u[i] -= along * c[i];
    }
    double t = karcher_length(k, u);
    if (t < tol) {
        return false;
    }
    for (uint32_t i = 0; i < k->n; i++) {
        c[i] = ww_fix_cos(t) * c[i] + ww_fix_sin(t) / t * u[i];
    }
    double length = karcher_length(k, c);
    for (uint32_t i = 0; i < k->n; i++) {
        c[i] /= length;
    }
    return true;
}

void ww_coef_karcher(const struct ww_gram *g, uint32_t max_iter, double tol, double *c)
{
    struct karcher k = {0};
    uint32_t kept[WW_GRAM_MAX];
    double unit[WW_GRAM_MAX];
    double scale = 0;

    for (uint32_t i = 0; i < g->n; i++) {
        c[i] = 0;
        scale += norm(g, i) / (double)g->n;
        if (norm(g, i) > tol) {
            kept[k.n++] = i;
        }
    }
    for (uint32_t i = 0; i < k.n; i++) {
        k.a[i] = 1 / (double)k.n;
        for (uint32_t j = 0; j < k.n; j++) {
            k.h[i][j] =
                gram_at(g, kept[i], kept[j]) / (norm(g, kept[i]) * norm(g, kept[j]));
        }
    }
    if (k.n == 0) {
        return;
    }
    karcher_start(&k, tol, unit);
    for (uint32_t i = 0; i < max_iter && karcher_step(&k, tol, unit); i++) {
    }
    for (uint32_t i = 0; i < k.n; i++) {
        c[kept[i]] = scale * unit[i] / norm(g, kept[i]);
    }
}

void ww_coef_model_stock(const struct ww_gram *g, double *c)
{
    double n = (double)g->n;
    double sum = 0;
    double pairs = 0;

    for (uint32_t i = 0; i < g->n; i++) {
        for (uint32_t j = i + 1; j < g->n; j++) {
            double product = norm(g, i) * norm(g, j);
            product = product > 1e-6 ? product : 1e-6;
            sum += clamp(gram_at(g, i, j) / product);
            pairs += 1;
        }
    }
    double s = sum / pairs;
    double d = 1 + (n - 1) * s;
    double t = d < 1e-6 && d > -1e-6 ? 0 : n * s / d;
    for (uint32_t i = 0; i < g->n; i++) {
        c[i] = t / n;
    }
}

void ww_coef_median(const struct ww_gram *g, uint32_t max_iter, double eps, double *c)
{
    double next[WW_GRAM_MAX];

    for (uint32_t i = 0; i < g->n; i++) {
        c[i] = 1 / (double)g->n;
    }
    for (uint32_t round = 0; round < max_iter; round++) {
        double all = form(g, c, c);
        double sum = 0;
        for (uint32_t i = 0; i < g->n; i++) {
            double cross = 0;
            for (uint32_t j = 0; j < g->n; j++) {
                cross += c[j] * gram_at(g, i, j);
            }
            double d = gram_at(g, i, i) - 2 * cross + all;
            d = d > 0 ? sqrt(d) : 0;
            next[i] = 1 / (d > eps ? d : eps);
            sum += next[i];
        }
        for (uint32_t i = 0; i < g->n; i++) {
            c[i] = next[i] / sum;
        }
    }
}
