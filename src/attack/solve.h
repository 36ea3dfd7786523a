/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Small solves of the gauge fix, on Gram matrices that the streaming pass has summed up.
 *
 * Everything here is double precision, matrices are row-major d x d, and no call touches
 * a file or a model. Formulas: the joint fix and the published one-sided solver (AGA,
 * arXiv 2606.30360); docs/attack.md derives them.
 */
#ifndef WW_ATTACK_SOLVE_H
#define WW_ATTACK_SOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

/** F(T) = |T Q' - Q0|^2 + |T^-T K' - K0|^2, as Gram matrices:
 *  gq = sum Q' Q'^T, cq = sum Q0 Q'^T, gk = sum K' K'^T, ck = sum K0 K'^T,
 *  n0 = sum |Q0|^2 + |K0|^2. Values and outputs are the same problem (V for Q, O^T for
 * K). */
struct ww_gl_problem {
    size_t d;
    const double *gq;
    const double *cq;
    const double *gk;
    const double *ck;
    double n0;
};

struct ww_gl_report {
    double objective; /* F at the solution, relative to n0 */
    unsigned steps;
    bool converged;
};

/** Minimise over GL(d): damped Gauss-Newton on the group, a Sylvester equation per step.
 *  t and t_inv: d x d, one the inverse of the other. WW_E_UNSUPPORTED when a Gram matrix
 * is singular, so that nothing can be aligned. */
enum ww_err ww_solve_gl(const struct ww_gl_problem *problem, double *t, double *t_inv,
                        struct ww_gl_report *report, struct ww_error *err) WW_MUST_USE;

/** The same over O(d): polar factor of cq + ck. */
enum ww_err ww_solve_orthogonal(const struct ww_gl_problem *problem, double *t,
                                struct ww_error *err) WW_MUST_USE;

/** The one-sided solver: t = c (g + ridge I)^-1. */
enum ww_err ww_solve_one_sided(size_t d, const double *g, const double *c, double ridge,
                               double *t, struct ww_error *err) WW_MUST_USE;

/** One rotary pair as complex rows: alpha = sum |q'|^2, beta = |k'|^2, cq = sum <q0, q'>,
 *  ck = <k0, k'> with <x, y> = sum conj(x) y. Unknown t = r e^(i psi): q_att = t q',
 *  k_att = k' / conj(t). unit: r = 1. Never fails: with nothing to go by t is 1. */
struct ww_pair_problem {
    double alpha;
    double beta;
    double cq_re, cq_im;
    double ck_re, ck_im;
    bool unit;
};
void ww_solve_pair(const struct ww_pair_problem *problem, double *re, double *im);

/** One neuron: t minimises |t u' - u0|^2 + |w' / t^power - w0|^2. alpha = |u'|^2, beta =
 * |w'|^2, cu = <u0, u'>, cw = <w0, w'>. power 1: gated up row and down column, or ReLU;
 * 2: squared ReLU. positive: the sign must stay (ReLU). */
struct ww_neuron_problem {
    double alpha;
    double beta;
    double cu;
    double cw;
    int power;
    bool positive;
    double own_u; /* the anchor's squared norms, where a side may have been spoilt by */
    double own_w; /* rounding; 0: both sides are believed */
};
double ww_solve_neuron(const struct ww_neuron_problem *problem);

/** Assign each of n rows a column of its own that maximises the sum of score (row-major
 *  n x n, n up to 8192): mutual best pairs first, an exact assignment for the rest.
 *  match[row] = column. */
enum ww_err ww_assign(size_t n, const double *score, uint32_t *match,
                      struct ww_error *err) WW_MUST_USE;

#endif
