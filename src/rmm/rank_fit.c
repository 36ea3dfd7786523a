/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Alternating least squares: with the row factor given, each row's coefficients follow
 * from that row, and with those the row factor follows from sums over all rows, so a pass
 * reads the tensor once in blocks. The first passes fit the difference itself. Later ones
 * use what is known better: a stored number says between which two values the sum lay
 * before it was rounded. There the fit moves only what lies outside of its interval, to
 * its nearer end and beyond (alternating projections, with longer steps, onto two sets
 * that the truth is in), which takes out most of the noise that rounding left in the
 * factors. Numbers are singles, which are finer than what a step of the factors needs;
 * only the r x r matrices, which are inverted, are doubles.
 */
#include "rmm/rank_fit.h"

#include <math.h>
#include <string.h>

#include "la/exact.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ROWS ((size_t)64)
#define SLICE ((size_t)256) /* columns that are doubles at a time */
#define PASSES 7            /* with intervals, */
#define LAST 3              /* and how many of them over all rows */
#define MANY 1024           /* rows of which some are enough for the passes before */
#define EDGE 1.1            /* times the largest singular value of noise */
/* Times the way to the interval: few numbers are outside of theirs, and rows would move
 * too little otherwise. Three times this diverges. */
#define STRIDE 4.0F
#define NOTHING 1e-13
#define SINGLES 1e-10 /* of the largest square: what sums of singles may have left */
#define LANES 8

struct work {
    struct ww_rank_fit *fit;
    struct ww_rank_block block;
    float *a;       /* r x d: the row factor, */
    float *at;      /* and transposed */
    float *b;       /* m x r */
    float *back;    /* r x r: (A A^T)^-1, then (B^T B)^-1 */
    float *sums;    /* r x d: sum of b^T z */
    float *product; /* ROWS x d */
    float *y;       /* ROWS x r */
    float *bt;      /* r x ROWS */
    double *slice;  /* of A, r x SLICE, and transposed */
    double *rows;   /* of B, ROWS x r, and transposed */
    double *gram;   /* r x r: sum of b^T b */
    double *square[4];
    double *values;
    uint64_t outside; /* numbers that the product did not explain */
};

static void work_release(struct work *w)
{
    float *const singles[] = {w->a,    w->at,      w->b, w->back,
                              w->sums, w->product, w->y, w->bt};
    double *const doubles[] = {w->slice,     w->rows,      w->gram,      w->square[0],
                               w->square[1], w->square[2], w->square[3], w->values};

    for (size_t i = 0; i < WW_LEN(singles); i++) {
        ww_free(singles[i]);
        ww_free(doubles[i]);
    }
    ww_rank_block_release(&w->block);
}

static enum ww_err work_init(struct work *w, struct ww_error *err)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;
    const struct {
        float **at;
        size_t n;
    } singles[] = {{&w->a, r * d},    {&w->at, d * r},   {&w->b, w->fit->pair->m * r},
                   {&w->back, r * r}, {&w->sums, r * d}, {&w->product, ROWS * d},
                   {&w->y, ROWS * r}, {&w->bt, r * ROWS}};
    const struct {
        double **at;
        size_t n;
    } doubles[] = {{&w->slice, 2 * r * SLICE}, {&w->rows, 2 * r * ROWS},
                   {&w->gram, r * r},          {&w->square[0], r * r},
                   {&w->square[1], r * r},     {&w->square[2], r * r},
                   {&w->square[3], r * r},     {&w->values, r}};
    enum ww_err rc = ww_rank_block_init(&w->block, w->fit->pair->dtype, ROWS, d, err);

    for (size_t i = 0; i < WW_LEN(singles) && !rc; i++) {
        *singles[i].at = ww_calloc(singles[i].n, sizeof(float));
        *doubles[i].at = ww_calloc(doubles[i].n, sizeof(double));
        if (!*singles[i].at || !*doubles[i].at) {
            rc = WW_FAIL_MEMORY(err, "the factors of a tensor");
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

static void transpose_f32(size_t m, size_t n, const float *a, float *out)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            out[j * m + i] = a[i * n + j];
        }
    }
}

/* out = the inverse of a symmetric r x r matrix where it has one, 0 elsewhere; a is used
 * up. */
static void invert(struct work *w, double *a, float *out)
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
            out[i * r + j] = (float)sum;
        }
    }
}

/* out (r x r) = A A^T; A transposed on the way. */
static void gram_of_a(struct work *w, double *out)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;
    double *const turned = w->slice + r * SLICE;

    transpose_f32(r, d, w->a, w->at);
    memset(out, 0, r * r * sizeof(*out));
    for (size_t j = 0; j < d; j += SLICE) {
        const size_t n = d - j < SLICE ? d - j : SLICE;
        for (size_t k = 0; k < r; k++) {
            for (size_t l = 0; l < n; l++) {
                w->slice[k * SLICE + l] = (double)w->a[k * d + j + l];
            }
        }
        for (size_t l = 0; l < n * r; l++) {
            turned[l] = (double)w->at[j * r + l];
        }
        ww_exact_gemm(r, r, n, w->slice, SLICE, turned, r, 1, out, r);
    }
}

static enum ww_err load(struct work *w, size_t first, size_t n, struct ww_error *err)
{
    const enum ww_err rc =
        ww_rank_block_read(&w->block, w->fit->pair, first, 0, 0, n, err);

    if (!rc) {
        ww_rank_block_widen(&w->block, n);
        w->fit->finite = w->fit->finite && w->block.finite;
    }
    return rc;
}

/* The product, moved where it lies outside of the interval, in place of the differences;
 * how many numbers that were. */
static uint32_t move(const float *restrict product, const float *restrict half,
                     float *restrict delta, size_t n)
{
    uint32_t outside = 0;

    for (size_t i = 0; i < n; i++) {
        const float low = delta[i] - half[i];
        const float high = delta[i] + half[i];
        const float p = product[i];
        float z = p < low ? low : p;
        z = z > high ? high : z;
        outside += z != p;
        delta[i] = p + STRIDE * (z - p);
    }
    return outside;
}

/* What the factors are fitted to. */
static void aim(struct work *w, size_t first, size_t n)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;

    ww_exact_gemm_f32(n, d, r, w->b + first * r, r, w->a, d, 0, w->product, d);
    w->outside += move(w->product, w->block.half, w->block.delta, n * d);
}

/* Sums of squares, in lanes so that they are vectors. */
static double square_sum(const float *x, size_t n)
{
    double sums[LANES] = {0};
    double sum = 0;
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            sums[l] += (double)x[i + l] * (double)x[i + l];
        }
    }
    for (; i < n; i++) {
        sums[0] += (double)x[i] * (double)x[i];
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += sums[l];
    }
    return sum;
}

static void add_gram(struct work *w, const float *b, size_t n)
{
    const size_t r = w->fit->r;
    double *const turned = w->rows + r * ROWS;

    for (size_t i = 0; i < n * r; i++) {
        w->rows[i] = (double)b[i];
    }
    transpose(n, r, w->rows, turned);
    ww_exact_gemm(r, r, n, turned, n, w->rows, r, 1, w->gram, r);
}

/* Coefficients of n rows, and what they add to the sums. */
static void solve_rows(struct work *w, size_t first, size_t n)
{
    const size_t r = w->fit->r;
    const size_t d = w->fit->pair->d;
    float *const b = w->b + first * r;

    ww_exact_gemm_f32(n, r, d, w->block.delta, d, w->at, r, 0, w->y, r);
    ww_exact_gemm_f32(n, r, r, w->y, r, w->back, r, 0, b, r);
    transpose_f32(n, r, b, w->bt);
    ww_exact_gemm_f32(r, d, n, w->bt, n, w->block.delta, d, 1, w->sums, d);
    add_gram(w, b, n);
}

/* Read the rows once, or every so many blocks of them: new coefficients for each, and the
 * sums for a new row factor, for which some of the rows do where there are many. */
static enum ww_err pass(struct work *w, bool intervals, size_t every,
                        struct ww_error *err)
{
    struct ww_rank_fit *fit = w->fit;
    const size_t r = fit->r;
    const size_t d = fit->pair->d;
    enum ww_err rc = WW_OK;

    gram_of_a(w, w->square[0]);
    invert(w, w->square[0], w->back);
    memset(w->sums, 0, r * d * sizeof(*w->sums));
    memset(w->gram, 0, r * r * sizeof(*w->gram));
    w->outside = 0;
    fit->noise2 = intervals ? fit->noise2 : 0;
    fit->delta2 = intervals ? fit->delta2 : 0;
    for (size_t i = 0; i < fit->pair->m && !rc && fit->finite; i += every * ROWS) {
        const size_t n = fit->pair->m - i < ROWS ? fit->pair->m - i : ROWS;
        rc = load(w, i, n, err);
        if (rc) {
            break;
        }
        if (intervals) {
            aim(w, i, n);
        } else {
            fit->noise2 += square_sum(w->block.half, n * d) / 3;
            fit->delta2 += square_sum(w->block.delta, n * d);
        }
        solve_rows(w, i, n);
    }
    if (!rc) {
        memcpy(w->square[0], w->gram, r * r * sizeof(double));
        invert(w, w->square[0], w->back);
        ww_exact_gemm_f32(r, d, r, w->back, r, w->sums, d, 0, w->a, d);
    }
    return rc;
}

/* B becomes U, A becomes P^T C A (in the sums, as it is longer there). */
static void turn(struct work *w, const double *to_b, const double *to_a, size_t kept)
{
    struct ww_rank_fit *fit = w->fit;
    const size_t r = fit->r;
    const size_t d = fit->pair->d;

    for (size_t i = 0; i < r * r; i++) {
        w->back[i] = (float)to_b[i];
    }
    for (size_t i = 0; i < fit->pair->m; i++) { /* rows become shorter */
        float row[WW_RANK_SOUGHT];
        memcpy(row, w->b + i * r, r * sizeof(*row));
        ww_exact_gemm_f32(1, kept, r, row, r, w->back, r, 0, w->b + i * kept, kept);
    }
    for (size_t i = 0; i < r * r; i++) {
        w->back[i] = (float)to_a[i];
    }
    ww_exact_gemm_f32(kept, d, r, w->back, r, w->a, d, 0, w->sums, d);
    memcpy(w->a, w->sums, kept * d * sizeof(*w->a));
    fit->r = kept;
}

/* Turn B A into U (S V^T), and keep the directions that stand out of the noise: B^T B is
 * V L V^T, C = L^1/2 V^T, and C A A^T C^T = P S^2 P^T. */
static void trim(struct work *w)
{
    const struct ww_rank_fit *fit = w->fit;
    const size_t r = fit->r;
    const double m = (double)fit->pair->m;
    const double d = (double)fit->pair->d;
    const double edge = EDGE * sqrt(fit->noise2 / (m * d)) * (sqrt(m) + sqrt(d));
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
    gram_of_a(w, w->gram);
    ww_exact_gemm(r, r, r, c, r, w->gram, r, 0, core, r);
    transpose(r, r, c, v);
    ww_exact_gemm(r, r, r, core, r, v, r, 0, w->gram, r);
    ww_own_eigen(r, w->gram, w->values, v); /* v: P */
    while (kept < r && w->values[kept] > edge * edge &&
           w->values[kept] > SINGLES * w->values[0]) {
        kept++;
    }
    ww_exact_gemm(r, r, r, to_b, r, v, r, 0, core, r);
    transpose(r, r, v, to_b); /* P^T */
    ww_exact_gemm(r, r, r, to_b, r, c, r, 0, w->gram, r);
    turn(w, core, w->gram, kept);
}

/* The rows as they stand are the first row factor. */
static enum ww_err begin(struct work *w, const size_t *rows, struct ww_error *err)
{
    const size_t d = w->fit->pair->d;
    enum ww_err rc = WW_OK;

    for (size_t k = 0; k < w->fit->r && !rc; k++) {
        rc = load(w, rows[k], 1, err);
        memcpy(w->a + k * d, w->block.delta, d * sizeof(*w->a));
    }
    return rc;
}

static enum ww_err refine(struct work *w, struct ww_error *err)
{
    const struct ww_rank_pair *pair = w->fit->pair;
    const size_t every = pair->m >= MANY ? 2 : 1;
    uint64_t before = (uint64_t)pair->m * pair->d;
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < PASSES - LAST && !rc; i++) {
        rc = pass(w, true, every, err);
        if (w->outside > before - before / 16) {
            break; /* as good as it gets */
        }
        before = w->outside;
    }
    for (unsigned i = 0; i < LAST && !rc; i++) {
        rc = pass(w, true, 1, err);
    }
    return rc;
}

static void give(const struct work *w)
{
    struct ww_rank_fit *fit = w->fit;

    for (size_t i = 0; i < fit->pair->m * fit->r; i++) {
        fit->b[i] = (double)w->b[i];
    }
    for (size_t i = 0; i < fit->r * fit->pair->d; i++) {
        fit->a[i] = (double)w->a[i];
    }
}

enum ww_err ww_rank_fit(const struct ww_rank_pair *pair, const size_t *rows, size_t n,
                        struct ww_rank_fit *fit, struct ww_error *err)
{
    struct work w = {.fit = fit};
    enum ww_err rc = WW_OK;

    *fit = (struct ww_rank_fit){.pair = pair, .r = n, .finite = true};
    fit->b = ww_calloc(pair->m, n * sizeof(*fit->b));
    fit->a = ww_calloc(n, pair->d * sizeof(*fit->a));
    if (!fit->b || !fit->a) {
        rc = WW_FAIL_MEMORY(err, "the factors of a tensor");
    }
    if (!rc) {
        rc = work_init(&w, err);
    }
    if (!rc) {
        rc = begin(&w, rows, err);
    }
    for (unsigned i = 0; i < 2 && !rc && fit->finite; i++) {
        rc = pass(&w, false, i == 0 && pair->m >= MANY ? 4 : 1, err);
    }
    if (!rc && fit->finite) {
        trim(&w);
    }
    /* Intervals of fp32 are narrower than what sums of singles are good for. */
    if (!rc && fit->finite && fit->r > 0 && pair->dtype != WW_DTYPE_F32) {
        rc = refine(&w, err);
    }
    fit->r = fit->finite ? fit->r : 0;
    if (!rc) {
        give(&w);
    }
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
