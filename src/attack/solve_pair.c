/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rotary pair: the only matrices that commute with its rotation are complex numbers,
 * so the joint fix has one unknown t = r e^(i psi) and
 *     F = alpha r^2 + beta / r^2 - 2 Re(e^(i psi) (r cq + ck / r)) + const.
 * The phase is known for a given r; what is left is one variable u = ln r, by a guarded
 * Newton iteration (the stationary points are the roots of a polynomial of degree six in
 * r^2, so there is no simpler form).
 */
#include "attack/descend.h"
#include "attack/solve.h"

#include <complex.h>
#include <math.h>

#ifndef CMPLX /* glibc has it for GCC alone */
#define CMPLX(re, im) __builtin_complex((double)(re), (double)(im))
#endif
#define SHORT_STEP 1e-12

struct curve {
    double alpha;
    double beta;
    double q2;    /* |cq|^2 */
    double k2;    /* |ck|^2 */
    double cross; /* 2 Re(cq conj(ck)) */
};

static struct ww_descent_value at(const void *problem, double u)
{
    const struct curve *c = problem;
    const double up = exp(2.0 * u);
    const double down = exp(-2.0 * u);
    const double s = fmax(c->q2 * up + c->cross + c->k2 * down, 0.0);
    const double root = sqrt(s);
    const double s1 = 2.0 * (c->q2 * up - c->k2 * down);
    const double s2 = 4.0 * (c->q2 * up + c->k2 * down);
    struct ww_descent_value v = {
        .f = c->alpha * up + c->beta * down - 2.0 * root,
        .scale = c->alpha * up + c->beta * down,
        .slope = 2.0 * (c->alpha * up - c->beta * down),
        .bend = 4.0 * (c->alpha * up + c->beta * down),
    };
    if (root > 0.0) {
        v.slope -= s1 / root;
        v.bend -= s2 / root - s1 * s1 / (2.0 * s * root);
    }
    return v;
}

/* F can have two valleys when cq and ck pull in opposite directions: the start that is
 * exact without displacement, the least squares of each side alone and the balance of
 * both sizes are all followed, and the lowest end wins. */
static double best_radius(const struct curve *c)
{
    const double starts[4] = {
        0.25 * log(c->q2 / c->k2 * (c->beta / c->alpha) * (c->beta / c->alpha)),
        0.5 * log(c->q2 / c->alpha / c->alpha),
        -0.5 * log(c->k2 / c->beta / c->beta),
        0.25 * log(c->beta / c->alpha),
    };
    double best = 0.0;
    double lowest = HUGE_VAL;
    for (int i = 0; i < 4; i++) {
        if (!isfinite(starts[i])) {
            continue;
        }
        const double u = ww_descend(at, c, starts[i], SHORT_STEP);
        const double f = at(c, u).f;
        if (f < lowest) {
            lowest = f;
            best = u;
        }
    }
    return best;
}

void ww_solve_pair(const struct ww_pair_problem *problem, double *re, double *im)
{
    const double complex cq = CMPLX(problem->cq_re, problem->cq_im);
    const double complex ck = CMPLX(problem->ck_re, problem->ck_im);
    double r = 1.0;
    *re = 1.0;
    *im = 0.0;
    if (!problem->unit && problem->alpha > 0.0 && problem->beta > 0.0) {
        const struct curve curve = {
            .alpha = problem->alpha,
            .beta = problem->beta,
            .q2 = problem->cq_re * problem->cq_re + problem->cq_im * problem->cq_im,
            .k2 = problem->ck_re * problem->ck_re + problem->ck_im * problem->ck_im,
            .cross = 2.0 * creal(cq * conj(ck)),
        };
        if (curve.q2 > 0.0 || curve.k2 > 0.0) {
            r = exp(best_radius(&curve));
        }
    }
    const double complex pull = r * cq + ck / r;
    const double size = cabs(pull);
    if (!(size > 0.0) || !isfinite(size) || !isfinite(r)) {
        return;
    }
    *re = r * creal(pull) / size;
    *im = -r * cimag(pull) / size;
}
