/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The joint fix over GL(d). With a = T Q', b = T^-T K' the move T <- (I + X) T changes a
 * by X a and b by -X^T b to first order, so the least squares problem for X has the
 * normal equations
 *     (b b^T) X + X (a a^T) = b R_K^T - R_Q a^T,      R_Q = a - Q0, R_K = b - K0,
 * a Sylvester equation with positive definite coefficients, solved by their two
 * eigensystems. All of it is formed from d x d Gram matrices. Steps are damped; near the
 * minimum the objective cannot resolve them any more, so the length of the step decides.
 * Several starts, because on an ill-conditioned head each of them can be a poor one;
 * all of them lead to the same minimum.
 */
#include "attack/solve.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MAX_STEPS 50
#define MAX_HALVINGS 30
#define SHORT_STEP 1e-11 /* of I + X: done */

/* One point of the group with what is known there. */
struct point {
    double *t;
    double *t_inv;
    double *a;   /* a a^T */
    double *b;   /* b b^T */
    double *rhs; /* right side of the Sylvester equation */
    double f;
    double noise; /* of f, by rounding: it is the difference of products this large */
};

struct fix {
    const struct ww_gl_problem *p;
    size_t d;
    struct point at;
    struct point next;
    double *x;
    double *work[3];
    double *l; /* eigenvalues of b b^T and of a a^T */
    double *m;
    double *block;
};

static enum ww_err fix_new(struct fix *fix, const struct ww_gl_problem *p,
                           struct ww_error *err)
{
    const size_t d = p->d;
    const size_t square = d * d;
    memset(fix, 0, sizeof(*fix));
    fix->p = p;
    fix->d = d;
    fix->block = ww_calloc(14 * square + 2 * d, sizeof(*fix->block));
    if (!fix->block) {
        return WW_FAIL_MEMORY(err, "the fix of a head of %zu", d);
    }
    double **slots[] = {&fix->at.t,    &fix->at.t_inv, &fix->at.a,       &fix->at.b,
                        &fix->at.rhs,  &fix->next.t,   &fix->next.t_inv, &fix->next.a,
                        &fix->next.b,  &fix->next.rhs, &fix->x,          &fix->work[0],
                        &fix->work[1], &fix->work[2]};
    for (size_t i = 0; i < WW_LEN(slots); i++) {
        *slots[i] = fix->block + i * square;
    }
    fix->l = fix->block + WW_LEN(slots) * square;
    fix->m = fix->l + d;
    return WW_OK;
}

static void mul(size_t d, enum ww_la_form fa, const double *a, enum ww_la_form fb,
                const double *b, double *c)
{
    ww_la_gemm(fa, fb, d, d, d, 1.0, a, d, b, d, 0.0, c, d);
}

static double trace(size_t d, const double *a)
{
    double sum = 0.0;
    for (size_t i = 0; i < d; i++) {
        sum += a[i * (d + 1)];
    }
    return sum;
}

/* Sum of squares. */
static double norm2(size_t d, const double *a)
{
    double sum = 0.0;
    for (size_t i = 0; i < d * d; i++) {
        sum += a[i] * a[i];
    }
    return sum;
}

static bool all_finite(size_t n, const double *a)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i])) {
            return false;
        }
    }
    return true;
}

/* Everything of point that follows from its t and t_inv. */
static void evaluate(struct fix *fix, struct point *at)
{
    const size_t d = fix->d;
    const struct ww_gl_problem *p = fix->p;
    double *w = fix->work[0];
    double *cq = fix->work[1];
    double *ck = fix->work[2];
    mul(d, WW_LA_PLAIN, at->t, WW_LA_PLAIN, p->gq, w);
    mul(d, WW_LA_PLAIN, w, WW_LA_TRANSPOSED, at->t, at->a);
    mul(d, WW_LA_PLAIN, p->cq, WW_LA_TRANSPOSED, at->t, cq);
    mul(d, WW_LA_TRANSPOSED, at->t_inv, WW_LA_PLAIN, p->gk, w);
    mul(d, WW_LA_PLAIN, w, WW_LA_PLAIN, at->t_inv, at->b);
    mul(d, WW_LA_TRANSPOSED, at->t_inv, WW_LA_TRANSPOSED, p->ck, ck);
    for (size_t i = 0; i < d * d; i++) {
        at->rhs[i] = (at->b[i] - ck[i]) - (at->a[i] - cq[i]);
    }
    const double squares = trace(d, at->a) + trace(d, at->b);
    at->f = squares - 2.0 * trace(d, cq) - 2.0 * trace(d, ck) + p->n0;
    at->noise = DBL_EPSILON * (squares + p->n0 + norm2(d, at->t) * sqrt(norm2(d, p->gq)) +
                               norm2(d, at->t_inv) * sqrt(norm2(d, p->gk)));
}

static void take(struct fix *fix)
{
    const struct point old = fix->at;
    fix->at = fix->next;
    fix->next = old;
}

/* t of next is set: is it invertible, and better than what is held? */
static void offer(struct fix *fix, bool first)
{
    const size_t d = fix->d;
    memcpy(fix->next.t_inv, fix->next.t, d * d * sizeof(double));
    if (!all_finite(d * d, fix->next.t) || ww_la_invert(d, fix->next.t_inv, NULL)) {
        return;
    }
    evaluate(fix, &fix->next);
    if (isfinite(fix->next.f) && (first || fix->next.f < fix->at.f)) {
        take(fix);
    }
}

/* Least squares on one side: c g^-1. */
static bool one_side(struct fix *fix, const double *c, const double *g, double *t)
{
    const size_t d = fix->d;
    memcpy(t, c, d * d * sizeof(double));
    memcpy(fix->work[0], g, d * d * sizeof(double));
    return ww_la_divide(d, d, t, fix->work[0], NULL) == WW_OK;
}

static enum ww_err start(struct fix *fix, struct ww_error *err)
{
    const struct ww_gl_problem *p = fix->p;
    const size_t d = fix->d;
    enum ww_err rc = ww_solve_orthogonal(p, fix->next.t, err);
    if (rc) {
        return rc;
    }
    offer(fix, true);
    if (one_side(fix, p->cq, p->gq, fix->next.t)) {
        offer(fix, false);
    }
    if (one_side(fix, p->ck, p->gk, fix->x) && !ww_la_invert(d, fix->x, NULL)) {
        for (size_t i = 0; i < d; i++) {
            for (size_t j = 0; j < d; j++) {
                fix->next.t[i * d + j] = fix->x[j * d + i];
            }
        }
        offer(fix, false);
    }
    return WW_OK;
}

/* b X + X a = rhs. */
static enum ww_err sylvester(struct fix *fix, struct ww_error *err)
{
    const size_t d = fix->d;
    double *u = fix->work[0]; /* rows are eigenvectors */
    double *v = fix->work[1];
    double *w = fix->work[2];
    enum ww_err rc = WW_OK;
    memcpy(u, fix->at.b, d * d * sizeof(double));
    memcpy(v, fix->at.a, d * d * sizeof(double));
    rc = ww_la_eigen(d, u, fix->l, err);
    if (rc) {
        return rc;
    }
    rc = ww_la_eigen(d, v, fix->m, err);
    if (rc) {
        return rc;
    }
    mul(d, WW_LA_PLAIN, u, WW_LA_PLAIN, fix->at.rhs, w);
    mul(d, WW_LA_PLAIN, w, WW_LA_TRANSPOSED, v, fix->x);
    const double least = DBL_EPSILON * (fix->l[d - 1] + fix->m[d - 1]);
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) {
            fix->x[i * d + j] /= fmax(fix->l[i] + fix->m[j], least);
        }
    }
    mul(d, WW_LA_TRANSPOSED, u, WW_LA_PLAIN, fix->x, w);
    mul(d, WW_LA_PLAIN, w, WW_LA_PLAIN, v, fix->x);
    return WW_OK;
}

/* A bound of the spectral norm: the geometric mean of the largest row and column sums. */
static double norm_bound(size_t d, const double *x)
{
    double rows = 0.0;
    double cols = 0.0;
    for (size_t i = 0; i < d; i++) {
        double row = 0.0;
        double col = 0.0;
        for (size_t j = 0; j < d; j++) {
            row += fabs(x[i * d + j]);
            col += fabs(x[j * d + i]);
        }
        rows = fmax(rows, row);
        cols = fmax(cols, col);
    }
    return sqrt(rows * cols);
}

/* next = (I + s X) at; false when it is no better beyond what rounding explains. */
static bool try_step(struct fix *fix, double s)
{
    const size_t d = fix->d;
    memcpy(fix->next.t, fix->at.t, d * d * sizeof(double));
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, d, d, d, s, fix->x, d, fix->at.t, d, 1.0,
               fix->next.t, d);
    memcpy(fix->next.t_inv, fix->next.t, d * d * sizeof(double));
    if (ww_la_invert(d, fix->next.t_inv, NULL)) {
        return false;
    }
    evaluate(fix, &fix->next);
    return fix->next.f <= fix->at.f + fix->at.noise;
}

/* By how much the full step would lower F: <X, right side>. */
static double promised(const struct fix *fix)
{
    double sum = 0.0;
    for (size_t i = 0; i < fix->d * fix->d; i++) {
        sum += fix->x[i] * fix->at.rhs[i];
    }
    return sum;
}

static enum ww_err iterate(struct fix *fix, struct ww_gl_report *report,
                           struct ww_error *err)
{
    double before = HUGE_VAL;
    while (report->steps < MAX_STEPS) {
        enum ww_err rc = sylvester(fix, err);
        if (rc) {
            return rc;
        }
        const double length = norm_bound(fix->d, fix->x);
        double s = length > 0.5 ? 0.5 / length : 1.0;
        unsigned halvings = 0;
        /* Rounding sets an end as well: a step that promises nothing and is no shorter
         * than the last one. */
        report->converged = length < SHORT_STEP ||
                            (length > 0.5 * before && promised(fix) < fix->at.noise);
        if (report->converged) {
            return WW_OK;
        }
        while (!try_step(fix, s)) {
            s *= 0.5;
            if (++halvings == MAX_HALVINGS) {
                return WW_OK;
            }
        }
        take(fix);
        report->steps++;
        before = length;
    }
    return WW_OK;
}

/* A direction that the head does not use at all cannot be aligned. */
static enum ww_err check_gram(struct fix *fix, const double *gram, const char *what,
                              struct ww_error *err)
{
    const size_t d = fix->d;
    memcpy(fix->work[0], gram, d * d * sizeof(double));
    enum ww_err rc = ww_la_eigen(d, fix->work[0], fix->l, err);
    if (rc) {
        return rc;
    }
    if (!(fix->l[0] > DBL_EPSILON * (double)d * fix->l[d - 1])) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "the %s of a head of %zu span fewer directions than that (eigenvalues "
            "%.3g to %.3g), so its matrix cannot be found",
            what, d, fix->l[0], fix->l[d - 1]);
    }
    return WW_OK;
}

static enum ww_err check_problem(const struct ww_gl_problem *p, struct ww_error *err)
{
    const size_t square = p->d * p->d;
    if (p->d == 0 || p->d > 65536) {
        return WW_FAIL(err, WW_E_LIMIT, "a head of %zu dimensions, expected 1 to 65536",
                       p->d);
    }
    if (!all_finite(square, p->gq) || !all_finite(square, p->cq) ||
        !all_finite(square, p->gk) || !all_finite(square, p->ck) || !isfinite(p->n0)) {
        return WW_FAIL(err, WW_E_NONFINITE, "NaN or infinity in the products of a head");
    }
    return WW_OK;
}

enum ww_err ww_solve_gl(const struct ww_gl_problem *problem, double *t, double *t_inv,
                        struct ww_gl_report *report, struct ww_error *err)
{
    struct fix fix = {0};
    enum ww_err rc = check_problem(problem, err);
    memset(report, 0, sizeof(*report));
    if (rc) {
        return rc;
    }
    rc = fix_new(&fix, problem, err);
    if (rc) {
        goto out;
    }
    rc = check_gram(&fix, problem->gq, "rows of one side", err);
    if (rc) {
        goto out;
    }
    rc = check_gram(&fix, problem->gk, "rows of the other side", err);
    if (rc) {
        goto out;
    }
    rc = start(&fix, err);
    if (rc) {
        goto out;
    }
    rc = iterate(&fix, report, err);
    if (rc) {
        goto out;
    }
    report->objective = problem->n0 > 0.0 ? fix.at.f / problem->n0 : 0.0;
    memcpy(t, fix.at.t, fix.d * fix.d * sizeof(double));
    memcpy(t_inv, fix.at.t_inv, fix.d * fix.d * sizeof(double));
out:
    ww_free(fix.block);
    return rc;
}

enum ww_err ww_solve_orthogonal(const struct ww_gl_problem *problem, double *t,
                                struct ww_error *err)
{
    enum ww_err rc = check_problem(problem, err);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < problem->d * problem->d; i++) {
        t[i] = problem->cq[i] + problem->ck[i];
    }
    return ww_la_polar(problem->d, problem->d, t, NULL, err);
}

enum ww_err ww_solve_one_sided(size_t d, const double *g, const double *c, double ridge,
                               double *t, struct ww_error *err)
{
    double *v = ww_calloc(2 * d * d + d, sizeof(*v));
    enum ww_err rc = WW_OK;
    if (!v) {
        return WW_FAIL_MEMORY(err, "a head of %zu", d);
    }
    double *projected = v + d * d;
    double *values = projected + d * d;
    if (!all_finite(d * d, g) || !all_finite(d * d, c)) {
        rc = WW_FAIL(err, WW_E_NONFINITE, "NaN or infinity in the products of a head");
        goto out;
    }
    memcpy(v, g, d * d * sizeof(double));
    rc = ww_la_eigen(d, v, values, err);
    if (rc) {
        goto out;
    }
    /* Least squares of smallest norm, as the published solver does it. */
    mul(d, WW_LA_PLAIN, c, WW_LA_TRANSPOSED, v, projected);
    const double least = d ? DBL_EPSILON * (double)d * (values[d - 1] + ridge) : 0.0;
    for (size_t i = 0; i < d; i++) {
        for (size_t j = 0; j < d; j++) {
            const double value = values[j] + ridge;
            projected[i * d + j] = value > least ? projected[i * d + j] / value : 0.0;
        }
    }
    mul(d, WW_LA_PLAIN, projected, WW_LA_PLAIN, v, t);
out:
    ww_free(v);
    return rc;
}
