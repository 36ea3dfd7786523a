/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WUDI's gradient flow after a time t, by products alone and so with the same bits on
 * every machine, which no eigensolver gives. With C and D as in spectral_swudi.c
 *     tau(t) = tau_0 E + D S,   E = exp(-t C),   S = integral of exp(-u C) from 0 to t.
 * Both come from a short series for the time h = t / 2^k, h trace(C) < 1/2, and k
 * doublings
 *     S <- S + E S,   E <- E E.
 * Where the stack A of all tau_i / |tau_i| has fewer rows than columns the same holds
 * with P = A A^T in the place of C and A applied last, because A exp(-t A^T A) = exp(-t
 * P) A.
 */
#include <math.h>
#include <string.h>

#include "la/exact.h"
#include "merge/spectral.h"
#include "util/alloc.h"

#define TERMS 8 /* of the series: reaches 1e-14 at 1/2 */

/* Rows times side = columns of the stack: everything lives in one of the two. */
struct flow {
    size_t m;
    size_t n;
    size_t side;
    double *a;     /* the stack, side x n, or NULL when side is n */
    double *c;     /* side x side */
    double *start; /* m x side */
    double *pull;  /* m x side: D */
    double *e;
    double *s;
    double *power;
    double *work;
};

static void transpose(size_t m, size_t n, const double *a, double *t)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            t[j * m + i] = a[i * n + j];
        }
    }
}

static void multiply(size_t m, size_t n, size_t k, const double *a, const double *b,
                     int add, double *c)
{
    ww_exact_gemm(m, n, k, a, k, b, n, add, c, n);
}

static enum ww_err flow_new(const struct ww_merge_job *job, const struct ww_spectral *s,
                            struct flow *f, struct ww_error *err)
{
    const bool rows = s->m * s->n_tau < s->n;
    *f = (struct flow){.m = s->m, .n = s->n, .side = rows ? s->m * s->n_tau : s->n};
    f->a = rows ? ww_spectral_new(f->side, f->n) : NULL;
    f->c = ww_spectral_new(f->side, f->side);
    f->start = ww_spectral_new(f->m, f->side);
    f->pull = ww_spectral_new(f->m, f->side);
    f->e = ww_spectral_new(f->side, f->side);
    f->s = ww_spectral_new(f->side, f->side);
    f->power = ww_spectral_new(f->side, f->side);
    f->work = ww_spectral_new(f->side, f->side > f->n ? f->side : f->n);
    const bool made = f->c && f->start && f->pull && f->e && f->s && f->power &&
                      f->work && (f->a || !rows);
    return made ? WW_OK : ww_merge_no_memory(job, err);
}

static void flow_release(struct flow *f)
{
    double *const all[] = {f->a, f->c, f->start, f->pull, f->e, f->s, f->power, f->work};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ww_free(all[i]);
    }
}

/* C and D of all sources, columns by columns. */
static enum ww_err set_columns(const struct ww_merge_job *job,
                               const struct ww_spectral *s, double factor, struct flow *f,
                               struct ww_error *err)
{
    const size_t each = s->m * s->n;
    double *flipped = ww_spectral_new(s->n, s->m);
    if (!flipped) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        const double energy = ww_spectral_energy(s->tau[i], each);
        transpose(s->m, s->n, s->tau[i], flipped);
        for (size_t k = 0; k < each; k++) {
            flipped[k] = flipped[k] / energy;
        }
        multiply(s->n, s->n, s->m, flipped, s->tau[i], 0, f->work);
        for (size_t k = 0; k < s->n * s->n; k++) {
            f->c[k] += f->work[k];
        }
        multiply(s->m, s->n, s->n, s->tau[i], f->work, 1, f->pull);
    }
    ww_spectral_sum(s, factor, f->start);
    ww_free(flipped);
    return WW_OK;
}

/* The same with P for C: the start is factor |tau_i| times the unit of each block, D is
 * |tau_i| P_ii. */
static enum ww_err set_rows(const struct ww_merge_job *job, const struct ww_spectral *s,
                            double factor, struct flow *f, struct ww_error *err)
{
    const size_t each = s->m * s->n;
    double *flipped = ww_spectral_new(f->n, f->side);
    if (!flipped) {
        return ww_merge_no_memory(job, err);
    }
    for (uint32_t i = 0; i < s->n_tau; i++) {
        const double norm = sqrt(ww_spectral_energy(s->tau[i], each));
        for (size_t k = 0; k < each; k++) {
            f->a[i * each + k] = s->tau[i][k] / norm;
        }
    }
    transpose(f->side, f->n, f->a, flipped);
    multiply(f->side, f->side, f->n, f->a, flipped, 0, f->c);
    ww_free(flipped);
    for (uint32_t i = 0; i < s->n_tau; i++) {
        const double norm = sqrt(ww_spectral_energy(s->tau[i], each));
        const size_t at = i * s->m;
        for (size_t row = 0; row < s->m; row++) {
            f->start[row * f->side + at + row] = factor * norm;
            for (size_t col = 0; col < s->m; col++) {
                f->pull[row * f->side + at + col] =
                    norm * f->c[(at + row) * f->side + at + col];
            }
        }
    }
    return WW_OK;
}

/* E and S for the time h; power holds (-h C)^j. */
static void series(struct flow *f, double h)
{
    const size_t square = f->side * f->side;
    double term = 1.0;
    for (size_t i = 0; i < square; i++) {
        const double unit = i % (f->side + 1) == 0 ? 1.0 : 0.0;
        f->c[i] = -h * f->c[i];
        f->power[i] = unit;
        f->e[i] = unit;
        f->s[i] = h * unit;
    }
    for (int j = 1; j <= TERMS; j++) {
        multiply(f->side, f->side, f->side, f->power, f->c, 0, f->work);
        memcpy(f->power, f->work, square * sizeof(double));
        term = term / j;
        for (size_t i = 0; i < square; i++) {
            f->e[i] += term * f->power[i];
            f->s[i] += h * (term / (j + 1)) * f->power[i];
        }
    }
}

static void double_time(struct flow *f)
{
    const size_t square = f->side * f->side;
    multiply(f->side, f->side, f->side, f->e, f->s, 0, f->work);
    for (size_t i = 0; i < square; i++) {
        f->s[i] += f->work[i];
    }
    multiply(f->side, f->side, f->side, f->e, f->e, 0, f->work);
    memcpy(f->e, f->work, square * sizeof(double));
}

static void run(struct flow *f, double time, double *merged)
{
    double trace = 0.0;
    double h = time;
    unsigned doublings = 0;
    for (size_t i = 0; i < f->side; i++) {
        trace += f->c[i * (f->side + 1)];
    }
    while (!(h * trace < 0.5)) {
        h = 0.5 * h;
        doublings++;
    }
    series(f, h);
    while (doublings-- > 0) {
        double_time(f);
    }
    double *end = f->a ? f->work : merged;
    multiply(f->m, f->side, f->side, f->start, f->e, 0, end);
    multiply(f->m, f->side, f->side, f->pull, f->s, 1, end);
    if (f->a) {
        multiply(f->m, f->n, f->side, end, f->a, 0, merged);
    }
}

static enum ww_err flow_solve(const struct ww_merge_job *job, struct ww_spectral *s,
                              struct ww_error *err)
{
    const double factor = ww_merge_param(job, "start_sum") != 0.0 ? 1.0 : 1.0 / s->n_tau;
    struct flow f = {0};
    enum ww_err rc = flow_new(job, s, &f, err);
    if (rc) {
        goto out;
    }
    rc = f.a ? set_rows(job, s, factor, &f, err) : set_columns(job, s, factor, &f, err);
    if (rc) {
        goto out;
    }
    run(&f, ww_merge_param(job, "steps"), s->merged);
out:
    flow_release(&f);
    return rc;
}

static enum ww_err flow_open(struct ww_merge_job *job, bool *scan, struct ww_error *err)
{
    return ww_spectral_open(job, flow_solve, scan, err);
}

const struct ww_method_ops ww_merge_wudi_flow = WW_SPECTRAL_OPS(flow_open);
