/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One neuron: its row is known up to a factor t and its column up to t^-power. With the
 * sign of t fixed and u = ln |t| the objective
 *     alpha t^2 - 2 cu t + beta / t^(2 power) - 2 cw / t^power
 * is smooth in one variable; stationary points are the roots of a polynomial (of degree
 * four for power 1), found here by a guarded Newton iteration from the starts that are
 * exact when the row or the column did not change.
 */
#include "attack/descend.h"
#include "attack/solve.h"

#include <math.h>

#define SHORT_STEP 1e-13
#define LIKE 0.8 /* squared cosine of a side that was not spoilt */

/* The objective for t = e^u > 0. */
static struct ww_descent_value at(const void *problem, double u)
{
    const struct ww_neuron_problem *p = problem;
    const double k = p->power;
    const double t = exp(u);
    const double back = exp(-k * u);
    const double rows = p->alpha * t * t;
    const double cols = p->beta * back * back;
    const double row_pull = p->cu * t;
    const double col_pull = p->cw * back;
    return (struct ww_descent_value){
        .f = rows + cols - 2.0 * row_pull - 2.0 * col_pull,
        .scale = rows + cols,
        .slope = 2.0 * (rows - k * cols - row_pull + k * col_pull),
        .bend = 4.0 * rows + 4.0 * k * k * cols - 2.0 * row_pull - 2.0 * k * k * col_pull,
    };
}

/* Lowest objective over t > 0. */
static double lowest(const struct ww_neuron_problem *p, double *u)
{
    const double k = p->power;
    const double starts[4] = {
        log(fabs(p->cu) / p->alpha),
        -log(fabs(p->cw) / p->beta) / k,
        log(fabs(p->cu) * p->beta / (p->alpha * fabs(p->cw))) / (1.0 + k),
        log(p->beta / p->alpha) / (2.0 + 2.0 * k),
    };
    double best = HUGE_VAL;
    *u = 0.0;
    for (int i = 0; i < 4; i++) {
        if (!isfinite(starts[i])) {
            continue;
        }
        const double end = ww_descend(at, p, starts[i], SHORT_STEP);
        const double f = at(p, end).f;
        if (f < best) {
            best = f;
            *u = end;
        }
    }
    return best;
}

/* Rounding in blocks leaves nothing of a column that is much shorter than those beside
 * it. When one side is like the anchor and the other one is not, the first tells. */
static double one_side(const struct ww_neuron_problem *p)
{
    const double like_u = p->alpha > 0 ? p->cu * p->cu / (p->alpha * p->own_u) : 0;
    const double like_w = p->beta > 0 ? p->cw * p->cw / (p->beta * p->own_w) : 0;

    if (like_u >= LIKE && like_w < LIKE) {
        return copysign(sqrt(p->own_u / p->alpha), p->positive ? 1 : p->cu);
    }
    if (like_w >= LIKE && like_u < LIKE) {
        return copysign(pow(p->own_w / p->beta, -0.5 / p->power),
                        p->positive || p->power % 2 == 0 ? 1 : p->cw);
    }
    return 0;
}

double ww_solve_neuron(const struct ww_neuron_problem *problem)
{
    double u = 0.0;
    if (problem->power >= 1 && problem->own_u > 0 && problem->own_w > 0) {
        const double alone = one_side(problem);
        if (alone < 0 || alone > 0) {
            return alone;
        }
    }
    if (!(problem->alpha > 0.0) || !(problem->beta > 0.0) || problem->power < 1) {
        return 1.0;
    }
    const double plus = lowest(problem, &u);
    double t = exp(u);
    if (!problem->positive) {
        struct ww_neuron_problem mirrored = *problem;
        mirrored.cu = -mirrored.cu;
        mirrored.cw = problem->power % 2 ? -mirrored.cw : mirrored.cw;
        if (lowest(&mirrored, &u) < plus) {
            t = -exp(u);
        }
    }
    return isfinite(t) && t != 0.0 ? t : 1.0;
}
