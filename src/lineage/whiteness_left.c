/* SPDX-License-Identifier: Apache-2.0 */
/* A corner of a matrix: what shares leave over of it, weighed by rounding and noise so
 * that no element has most of it, and orthogonal to base and sources. */
#include "lineage/whiteness_work.h"

#include <math.h>
#include <string.h>

#include "lineage/corner.h"
#include "lineage/moments.h"
#include "model/convert.h"
#include "model/f8.h"

#define EVEN 0.25 /* of the mean square, that the smallest elements are weighed by */

enum ww_err ww_whiteness_row(const struct ww_whiteness_corner *c, unsigned model,
                             size_t row, double *out, double *steps, struct ww_error *err)
{
    return ww_corner_row(c->w->ask->family, ww_whiteness_tensor(c->w, c->tensor, row),
                         model, ww_whiteness_is_stack(c->w, c->tensor) ? 0 : row, c->n,
                         c->r->bytes, out, steps, err);
}

/* Suspect less base into e, variances of rounding into weight; a pruned element's is
 * infinite. */
static enum ww_err read_difference(const struct ww_whiteness_corner *c,
                                   struct ww_error *err)
{
    const struct ww_family *family = c->w->ask->family;
    struct ww_whiteness_room *r = c->r;
    const size_t n = c->n;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < c->m && !rc; i++) {
        const enum ww_dtype grid =
            family->tensors[ww_whiteness_tensor(c->w, c->tensor, i)].grid;
        double *e = r->flip.e + i * n;
        double *base = r->base + i * n;
        memset(r->steps, 0, sizeof(r->steps));
        rc = ww_whiteness_row(c, WW_FAMILY_SUSPECT, i, e, r->steps, err);
        rc = rc ? rc : ww_whiteness_row(c, WW_FAMILY_BASE, i, base, r->x, err);
        for (size_t j = 0; j < n && !rc; j++) {
            const double step =
                r->steps[j] > 0 ? r->steps[j] : ldexp(1, ww_moments_step(e[j], grid));
            const bool pruned =
                ww_moments_pruned(e[j], base[j], family->disguise.read != NULL);
            r->weight[i * n + j] = pruned ? HUGE_VAL : step * step / 12;
            e[j] -= base[j];
        }
    }
    return rc;
}

enum ww_err ww_whiteness_source(const struct ww_whiteness_corner *c, unsigned source,
                                double *out, struct ww_error *err)
{
    const size_t n = c->n;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < c->m && !rc; i++) {
        rc = ww_whiteness_row(c, WW_FAMILY_SOURCES + source, i, out + i * n, c->r->steps,
                              err);
        for (size_t j = 0; j < n && !rc; j++) {
            out[i * n + j] -= c->r->base[i * n + j];
        }
    }
    return rc;
}

/* From variances to weights: noise beyond rounding is as long everywhere. Returns which
 * part of the squares is beyond. */
static double weigh(struct ww_whiteness_room *r, size_t n)
{
    double squares = 0;
    double rounding = 0;
    size_t finite = 0;

    for (size_t i = 0; i < n; i++) {
        if (r->weight[i] < WW_STEP_LOST) {
            squares += r->flip.e[i] * r->flip.e[i];
            rounding += r->weight[i];
            finite++;
        }
    }
    squares /= finite ? (double)finite : 1;
    rounding /= finite ? (double)finite : 1;
    const double noise = fmax(EVEN * squares, squares - rounding);
    for (size_t i = 0; i < n; i++) {
        const double variance = r->weight[i] + noise;
        r->weight[i] =
            r->weight[i] < WW_STEP_LOST && variance > 0 ? 1 / sqrt(variance) : 0;
    }
    return squares > rounding ? 1 - rounding / squares : 0;
}

double ww_whiteness_times(double *x, const double *weight, size_t n)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++) {
        x[i] *= weight[i];
        squares += x[i] * x[i];
    }
    return squares;
}

static double weighed(const double *x, const double *weight, size_t n)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++) {
        squares += (x[i] * weight[i]) * (x[i] * weight[i]);
    }
    return squares;
}

double ww_whiteness_product(const double *x, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

void ww_whiteness_take_off(const double *taken, unsigned k, size_t n, double *x)
{
    for (unsigned t = 0; t < k; t++) {
        const double *by = taken + t * n;
        const double product = ww_whiteness_product(by, x, n);
        for (size_t i = 0; i < n; i++) {
            x[i] -= product * by[i];
        }
    }
}

/* e, what the blend leaves of the difference g, to what the rounded blend leaves. */
static void round_blend(const struct ww_whiteness_corner *c)
{
    const struct ww_family *family = c->w->ask->family;
    struct ww_whiteness_room *r = c->r;
    const size_t n = c->n;

    for (size_t i = 0; i < c->m; i++) {
        const enum ww_dtype grid =
            family->tensors[ww_whiteness_tensor(c->w, c->tensor, i)].grid;
        double *e = r->flip.e + i * n;
        const double *base = r->base + i * n;
        const double *g = r->g + i * n;
        for (size_t j = 0; j < n; j++) {
            r->x[j] = base[j] + (g[j] - e[j]);
        }
        ww_from_double(grid, r->x, r->bytes, n);
        ww_to_double(grid, r->bytes, r->x, n);
        for (size_t j = 0; j < n; j++) {
            e[j] = g[j] - (r->x[j] - base[j]);
        }
    }
}

/* e, to what lies outside of the cells of rounded values. What a quantiser leaves follows
 * rows and long elements, since its steps do, and hides what is shorter than they are. */
static void step_outside(struct ww_whiteness_room *r, size_t n)
{
    double *e = r->flip.e;

    for (size_t i = 0; i < n; i++) {
        const double half = sqrt(3 * r->weight[i]); /* weight: step^2 / 12 */
        e[i] = half < fabs(e[i]) ? copysign(fabs(e[i]) - half, e[i]) : 0;
    }
}

enum ww_err ww_whiteness_leave_over(const struct ww_whiteness_corner *c, unsigned *k,
                                    struct ww_error *err)
{
    const struct ww_whitening *w = c->w;
    struct ww_whiteness_room *r = c->r;
    const uint32_t tensor = c->tensor;
    const size_t all = c->m * c->n;
    double *e = r->flip.e;
    enum ww_err rc = read_difference(c, err);

    *k = 0;
    memcpy(r->g, e, all * sizeof(*e));
    for (unsigned i = 0; i < w->n_sources && !rc; i++) {
        double *x = r->taken + *k * all;
        if (ww_whiteness_is_stack(w, tensor) ? !ww_whiteness_takes_part(w, i)
                                             : ww_whiteness_shares(w, tensor)[i] == 0) {
            continue;
        }
        rc = ww_whiteness_source(c, i, x, err);
        for (size_t at = 0; at < all && !rc; at++) {
            e[at] -=
                ww_whiteness_shares(w, ww_whiteness_tensor(w, tensor, at / c->n))[i] *
                x[at];
        }
        ++*k;
    }
    if (rc) {
        return rc;
    }
    const bool rounded =
        w->ask->rounded || ww_whiteness_is_stack(w, tensor); /* gains move by few steps */
    if (w->ask->outside) {
        if (rounded) {
            round_blend(c);
        }
        step_outside(r, all);
    }
    const double beyond = weigh(r, all);
    w->found[tensor].noise = beyond * weighed(e, r->weight, all);
    if (rounded && !w->ask->outside) {
        round_blend(c);
    }
    w->found[tensor].difference = ww_whiteness_times(r->g, r->weight, all);
    (void)ww_whiteness_times(e, r->weight, all);
    for (unsigned i = 0; i < *k; i++) {
        (void)ww_whiteness_times(r->taken + i * all, r->weight, all);
    }
    memcpy(r->taken + *k * all, r->base, all * sizeof(*e));
    (void)ww_whiteness_times(r->taken + *k * all, r->weight, all);
    ww_corner_orthonormalise(r->taken, ++*k, all);
    ww_whiteness_take_off(r->taken, *k, all, e);
    return WW_OK;
}
