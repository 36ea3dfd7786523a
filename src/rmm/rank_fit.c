/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternating least squares: with the row factor given, each row's coefficients follow
 * from that row, and with those the row factor follows from sums over all rows, so a pass
 * reads the tensor once in blocks. The first passes fit the difference itself. Later ones
 * use what is known better: a stored number says between which two values the sum lay
 * before it was rounded. There the fit moves only what lies outside of its interval, to
 * its nearer end and beyond (alternating projections, with longer steps, onto two sets
 * that the truth is in), which takes out most of the noise that rounding left in the
 * factors.
 */
#include "rmm/rank_fit.h"

#include <math.h>
#include <string.h>

#include "la/exact.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ROWS ((size_t)32)
#define PASSES 6 /* with intervals */
#define EDGE 1.1 /* times the largest singular value of noise */
/* Times the way to the interval: few numbers are outside of theirs, and rows would move
 * too little otherwise. Three times this diverges. */
#define STRIDE 4.0
#define NOTHING 1e-13

struct work {
    struct ww_rank_fit *fit;
    struct ww_rank_block block;
    double *at;      /* d x r: the row factor, transposed */
    double *back;    /* r x r: (A A^T)^-1 */
    double *sums;    /* r x d: sum of b^T z */
    double *gram;    /* r x r: sum of b^T b */
    double *product; /* rows x d */
    double *y;       /* rows x r */
    double *bt;      /* r x rows */
    double *square[4];
    double *values;
    uint64_t outside; /* numbers that the product did not explain */
};

static void work_release(struct work *w)
{
    double *const all[] = {w->at,        w->back,      w->sums,      w->gram,
                           w->product,   w->y,         w->bt,        w->square[0],
                           w->square[1], w->square[2], w->square[3], w->values};

    for (size_t i = 0; i < WW_LEN(all); i++) {
        ww_free(all[i]);
    }
    ww_rank_block_release(&w->block);
}

static enum ww_err work_init(struct work *w, struct ww_error *err)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;
    const struct {
        double **at;
        size_t n;
    } all[] = {{&w->at, d * r},        {&w->back, r * r},       {&w->sums, r * d},
               {&w->gram, r * r},      {&w->product, ROWS * d}, {&w->y, ROWS * r},
               {&w->bt, r * ROWS},     {&w->square[0], r * r},  {&w->square[1], r * r},
               {&w->square[2], r * r}, {&w->square[3], r * r},  {&w->values, r}};
    enum ww_err rc = ww_rank_block_init(&w->block, ROWS, d, err);

    for (size_t i = 0; i < WW_LEN(all) && !rc; i++) {
        *all[i].at = ww_calloc(all[i].n, sizeof(double));
        if (!*all[i].at) {
            rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for the factors of a tensor");
        }
    }
    return rc;
}

static void transpose(size_t m, size_t n, const double *a, double *out)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            out[j * m + i] = a[i * n + j];
        }
    }
}

/* out = the inverse of a symmetric r x r matrix where it has one, 0 elsewhere; a is used
 * up. */
static void invert(struct work *w, double *a, double *out)
{
    const size_t r = w->fit->r;
    double *const v = w->square[2];

    ww_own_eigen(r, a, w->values, v);
    for (size_t i = 0; i < r; i++) {
        for (size_t j = 0; j < r; j++) {
            double sum = 0;
            for (size_t k = 0; k < r; k++) {
                if (w->values[k] > NOTHING * w->values[0]) {
                    sum += v[i * r + k] * v[j * r + k] / w->values[k];
                }
            }
            out[i * r + j] = sum;
        }
    }
}

/* out (r x r) = A A^T. */
static void gram_of_a(struct work *w, double *out)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;

    transpose(r, d, w->fit->a, w->at);
    ww_exact_gemm(r, r, d, w->fit->a, d, w->at, r, 0, out, r);
}

static enum ww_err load(struct work *w, size_t first, size_t n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_rank_block_read(&w->block, w->fit->pair, first + i, 0, i, err);
    }
    if (!rc) {
        ww_rank_block_widen(&w->block, w->fit->pair->dtype, n);
    }
    return rc;
}

/* What the factors are fitted to, in place of the differences: the product, moved where
 * it lies outside of the interval. */
static void aim(struct work *w, size_t first, size_t n)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;
    double *const delta = w->block.delta;
    const double *const half = w->block.half;

    ww_exact_gemm(n, d, r, w->fit->b + first * r, r, w->fit->a, d, 0, w->product, d);
    for (size_t i = 0; i < n * d; i++) {
        const double low = delta[i] - half[i];
        const double high = delta[i] + half[i];
        const double p = w->product[i];
        const double z = p < low ? low : p > high ? high : p;
        w->outside += z != p;
        delta[i] = p + STRIDE * (z - p);
    }
}

static void add_noise(struct work *w, size_t n)
{
    double noise2 = 0;
    double delta2 = 0;

    for (size_t i = 0; i < n * w->block.d; i++) {
        noise2 += w->block.half[i] * w->block.half[i] / 3;
        delta2 += w->block.delta[i] * w->block.delta[i];
    }
    w->fit->noise2 += noise2;
    w->fit->delta2 += delta2;
}

/* Read all rows once: new coefficients for each, and the sums for a new row factor. */
static enum ww_err pass(struct work *w, bool intervals, struct ww_error *err)
{
    struct ww_rank_fit *fit = w->fit;
    const size_t r = fit->r;
    const size_t d = fit->pair->d;
    enum ww_err rc = WW_OK;

    gram_of_a(w, w->square[0]);
    invert(w, w->square[0], w->back);
    memset(w->sums, 0, r * d * sizeof(double));
    memset(w->gram, 0, r * r * sizeof(double));
    w->outside = 0;
    fit->noise2 = 0;
    fit->delta2 = 0;
    for (size_t i = 0; i < fit->pair->m && !rc; i += ROWS) {
        const size_t n = fit->pair->m - i < ROWS ? fit->pair->m - i : ROWS;
        double *const b = fit->b + i * r;
        rc = load(w, i, n, err);
        if (rc) {
            break;
        }
        fit->finite = fit->finite && w->block.finite;
        add_noise(w, n);
        if (intervals) {
            aim(w, i, n);
        }
        ww_exact_gemm(n, r, d, w->block.delta, d, w->at, r, 0, w->y, r);
        ww_exact_gemm(n, r, r, w->y, r, w->back, r, 0, b, r);
        transpose(n, r, b, w->bt);
        ww_exact_gemm(r, d, n, w->bt, n, w->block.delta, d, 1, w->sums, d);
        ww_exact_gemm(r, r, n, w->bt, n, b, r, 1, w->gram, r);
    }
    if (!rc) {
        memcpy(w->square[0], w->gram, r * r * sizeof(double));
        invert(w, w->square[0], w->back);
        ww_exact_gemm(r, d, r, w->back, r, w->sums, d, 0, fit->a, d);
    }
    return rc;
}

/* Turn B A into U (S V^T), and keep the directions that stand out of the noise: B^T B is
 * V L V^T, C = L^1/2 V^T, and C A A^T C^T = P S^2 P^T. */
static void trim(struct work *w)
{
    struct ww_rank_fit *fit = w->fit;
    const size_t r = fit->r;
    const size_t m = fit->pair->m;
    const size_t d = fit->pair->d;
    const double edge = EDGE * sqrt(fit->noise2 / ((double)m * (double)d)) *
                        (sqrt((double)m) + sqrt((double)d));
    double *const c = w->square[0];    /* C, then P^T C */
    double *const to_b = w->square[1]; /* V L^-1/2, then that P */
    double *const v = w->square[2];
    double *const core = w->square[3];
    size_t kept = 0;

    memcpy(core, w->gram, r * r * sizeof(double));
    ww_own_eigen(r, core, w->values, v);
    for (size_t k = 0; k < r; k++) {
        const bool nothing = !(w->values[k] > NOTHING * w->values[0]);
        const double root = nothing ? 0 : sqrt(w->values[k]);
        for (size_t i = 0; i < r; i++) {
            c[k * r + i] = root * v[i * r + k];
            to_b[i * r + k] = nothing ? 0 : v[i * r + k] / root;
        }
    }
    gram_of_a(w, w->back);
    ww_exact_gemm(r, r, r, c, r, w->back, r, 0, core, r);
    transpose(r, r, c, v);
    ww_exact_gemm(r, r, r, core, r, v, r, 0, w->back, r);
    ww_own_eigen(r, w->back, w->values, v); /* v: P */
    while (kept < r && w->values[kept] > edge * edge) {
        kept++;
    }
    ww_exact_gemm(r, r, r, to_b, r, v, r, 0, core, r);
    for (size_t i = 0; i < m; i++) { /* rows of B become rows of U, and shorter */
        double row[WW_RANK_SOUGHT];
        memcpy(row, fit->b + i * r, r * sizeof(double));
        ww_exact_gemm(1, kept, r, row, r, core, r, 0, fit->b + i * kept, kept);
    }
    transpose(r, r, v, core); /* P^T */
    ww_exact_gemm(r, r, r, core, r, c, r, 0, w->back, r);
    ww_exact_gemm(kept, d, r, w->back, r, fit->a, d, 0, w->sums, d);
    memcpy(fit->a, w->sums, kept * d * sizeof(double));
    fit->r = kept;
}

/* The rows as they stand are the first row factor. */
static enum ww_err begin(struct work *w, const size_t *rows, struct ww_error *err)
{
    struct ww_rank_fit *fit = w->fit;
    const size_t d = fit->pair->d;
    enum ww_err rc = WW_OK;

    for (size_t k = 0; k < fit->r && !rc; k++) {
        rc = load(w, rows[k], 1, err);
        fit->finite = fit->finite && w->block.finite;
        memcpy(fit->a + k * d, w->block.delta, d * sizeof(double));
    }
    return rc;
}

static enum ww_err refine(struct work *w, struct ww_error *err)
{
    const struct ww_rank_pair *pair = w->fit->pair;
    uint64_t before = (uint64_t)pair->m * pair->d;
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < PASSES && !rc; i++) {
        rc = pass(w, true, err);
        if (w->outside > before - before / 16) {
            break; /* as good as it gets */
        }
        before = w->outside;
    }
    return rc;
}

enum ww_err ww_rank_fit(const struct ww_rank_pair *pair, const size_t *rows, size_t n,
                        struct ww_rank_fit *fit, struct ww_error *err)
{
    struct work w = {.fit = fit};
    enum ww_err rc = WW_OK;

    *fit = (struct ww_rank_fit){.pair = pair, .r = n, .finite = true};
    fit->b = ww_calloc(pair->m, n * sizeof(double));
    fit->a = ww_calloc(n, pair->d * sizeof(double));
    if (!fit->b || !fit->a) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for the factors of a tensor");
    }
    if (!rc) {
        rc = work_init(&w, err);
    }
    if (!rc) {
        rc = begin(&w, rows, err);
    }
    for (unsigned i = 0; i < 2 && !rc && fit->finite; i++) {
        rc = pass(&w, false, err);
    }
    if (!rc && fit->finite) {
        trim(&w);
    }
    if (!rc && fit->finite && fit->r > 0) {
        rc = refine(&w, err);
    }
    fit->r = fit->finite ? fit->r : 0;
    work_release(&w);
    if (rc) {
        ww_rank_fit_release(fit);
    }
    return rc;
}

void ww_rank_fit_release(struct ww_rank_fit *fit)
{
    ww_free(fit->b);
    ww_free(fit->a);
    memset(fit, 0, sizeof(*fit));
}
