/* SPDX-License-Identifier: Apache-2.0 */
/*
 * B A = U S V^T. An error in U S or in S V^T enters the product with weight one, so both
 * are rounded with one step s = bound |BA| sqrt(12 / (r (m + d))), and directions that
 * are weak get few bits by themselves. The decomposition comes from two r x r Grams; that
 * loses half of the digits of small singular values, far below any step that is asked
 * for.
 */
#include "rmm/own.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LANES 8
#define MAX_TRIES 12
#define NEAR_BOUND 0.98 /* from here on a larger step would gain nothing */
#define AIM 0.99
#define MOST 32767.0
#define NOTHING 1e-14 /* eigenvalues below this share of the largest are rounding */

struct fit {
    const struct ww_own_factors *f;
    double bound;
    double *gram_b; /* r x r each, from here on */
    double *gram_a;
    double *vectors;
    double *core;
    double *room;
    double *to_x; /* X = B to_x = U S */
    double *to_y; /* Y = to_y A = S V^T */
    double *sigma;
    double *values;
    double *x; /* m x r */
    double *y; /* r x d */
    double norm2;
};

static void fit_release(struct fit *t)
{
    double *const all[] = {t->gram_b, t->gram_a, t->vectors, t->core, t->room, t->to_x,
                           t->to_y,   t->sigma,  t->values,  t->x,    t->y};

    for (size_t i = 0; i < WW_LEN(all); i++) {
        ww_free(all[i]);
    }
}

static bool fit_init(struct fit *t)
{
    const size_t r = t->f->r;
    double **const squares[] = {&t->gram_b, &t->gram_a, &t->vectors, &t->core,
                                &t->room,   &t->to_x,   &t->to_y};
    bool good = true;

    for (size_t i = 0; i < WW_LEN(squares); i++) {
        *squares[i] = ww_calloc(r * r, sizeof(double));
        good = good && *squares[i];
    }
    t->sigma = ww_calloc(r, sizeof(double));
    t->values = ww_calloc(r, sizeof(double));
    t->x = ww_calloc(t->f->m * r, sizeof(double));
    t->y = ww_calloc(r * t->f->d, sizeof(double));
    return good && t->sigma && t->values && t->x && t->y;
}

/* out (n x k) = a^T (n x m) b (m x k), both row-major with rows of their own. */
static void cross_columns(size_t m, size_t n, size_t k, const double *a, const double *b,
                          double *out)
{
    memset(out, 0, n * k * sizeof(*out));
    for (size_t i = 0; i < m; i++) {
        for (size_t p = 0; p < n; p++) {
            const double x = a[i * n + p];
            for (size_t q = 0; q < k; q++) {
                out[p * k + q] += x * b[i * k + q];
            }
        }
    }
}

/* In lanes, so that sums need not wait for each other. */
static double inner(size_t d, const double *a, const double *b)
{
    double sums[LANES] = {0};
    double sum = 0;
    size_t j = 0;

    for (; j + LANES <= d; j += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            sums[l] += a[j + l] * b[j + l];
        }
    }
    for (; j < d; j++) {
        sum += a[j] * b[j];
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += sums[l];
    }
    return sum;
}

/* out (n x k) = a (n x d) b^T (d x k). */
static void cross_rows(size_t d, size_t n, size_t k, const double *a, const double *b,
                       double *out)
{
    for (size_t p = 0; p < n; p++) {
        for (size_t q = 0; q < k; q++) {
            out[p * k + q] = inner(d, a + p * d, b + q * d);
        }
    }
}

/* out (m x k) = a (m x n) b (n x k). */
static void multiply(size_t m, size_t n, size_t k, const double *a, const double *b,
                     double *out)
{
    memset(out, 0, m * k * sizeof(*out));
    for (size_t i = 0; i < m; i++) {
        for (size_t p = 0; p < n; p++) {
            const double x = a[i * n + p];
            for (size_t q = 0; q < k; q++) {
                out[i * k + q] += x * b[p * k + q];
            }
        }
    }
}

/* tr(P Q): <B A, B' A'> for P = B^T B' and Q = A' A^T. */
static double trace_of(size_t r, const double *p, const double *q)
{
    double sum = 0;

    for (size_t i = 0; i < r; i++) {
        for (size_t k = 0; k < r; k++) {
            sum += p[i * r + k] * q[k * r + i];
        }
    }
    return sum;
}

/* C = L^(1/2) Q^T of the Gram of B; then C (A A^T) C^T = P S^2 P^T. */
static void decompose(struct fit *t)
{
    const size_t r = t->f->r;

    memcpy(t->core, t->gram_b, r * r * sizeof(double));
    ww_own_eigen(r, t->core, t->values, t->vectors);
    for (size_t k = 0; k < r; k++) {
        const bool nothing = !(t->values[k] > NOTHING * t->values[0]);
        const double root = nothing ? 0 : sqrt(t->values[k]);
        t->values[k] = root;
        for (size_t i = 0; i < r; i++) {
            t->to_y[k * r + i] = root * t->vectors[i * r + k]; /* C */
            t->to_x[i * r + k] = nothing ? 0 : t->vectors[i * r + k] / root;
        }
    }
    multiply(r, r, r, t->to_y, t->gram_a, t->room);
    cross_rows(r, r, r, t->room, t->to_y, t->core);
    ww_own_eigen(r, t->core, t->sigma, t->vectors); /* P */
    for (size_t k = 0; k < r; k++) {
        const bool nothing = !(t->sigma[k] > NOTHING * t->sigma[0]);
        t->sigma[k] = nothing ? 0 : sqrt(t->sigma[k]);
    }
    cross_columns(r, r, r, t->vectors, t->to_y, t->room); /* P^T C */
    memcpy(t->to_y, t->room, r * r * sizeof(double));
    multiply(r, r, r, t->to_x, t->vectors, t->room);
    for (size_t i = 0; i < r * r; i++) {
        t->to_x[i] = t->room[i] * t->sigma[i % r];
    }
}

/* The largest number of each column of U is positive: signs are nobody's choice. */
static void fix_signs(struct fit *t)
{
    const size_t r = t->f->r;

    for (size_t k = 0; k < r; k++) {
        double largest = 0;
        for (size_t i = 0; i < t->f->m; i++) {
            const double v = t->x[i * r + k];
            largest = fabs(v) > fabs(largest) ? v : largest;
        }
        for (size_t i = 0; i < t->f->m && largest < 0; i++) {
            t->x[i * r + k] = -t->x[i * r + k];
        }
        for (size_t j = 0; j < t->f->d && largest < 0; j++) {
            t->y[k * t->f->d + j] = -t->y[k * t->f->d + j];
        }
    }
}

/* False when an integer would be too large. */
static bool quantise(const struct fit *t, double step, struct ww_own *out)
{
    const size_t r = t->f->r;

    for (size_t k = 0; k < r; k++) {
        const bool weak = t->sigma[k] < step / 2;
        out->scales[k] = weak ? 0 : (float)(step / sqrt(t->sigma[k]));
    }
    for (size_t i = 0; i < t->f->m * r; i++) {
        const double q = out->scales[i % r] == 0 ? 0 : rint(t->x[i] / step);
        if (!(fabs(q) <= MOST)) {
            return false;
        }
        out->b[i] = (int16_t)q;
    }
    for (size_t i = 0; i < r * t->f->d; i++) {
        const double q = out->scales[i / t->f->d] == 0 ? 0 : rint(t->y[i] / step);
        if (!(fabs(q) <= MOST)) {
            return false;
        }
        out->a[i] = (int16_t)q;
    }
    return true;
}

static double decoded(const struct fit *t, int16_t q, float scale, const double *near)
{
    const enum ww_dtype dtype = ww_chunk_own_dtype(t->f->type);
    uint8_t bytes[8];
    double value = 0;

    if (near) {
        ww_from_double(dtype, near, bytes, 1);
        ww_chunk_near_number(t->f->type, q, scale, bytes, bytes);
    } else {
        ww_chunk_own_number(t->f->type, q, scale, bytes);
    }
    ww_to_double(dtype, bytes, &value, 1);
    return value;
}

/* Of what a decoder will give; x and y are used up to hold it. */
static double error_of(struct fit *t, const struct ww_own *own, double *b, double *a)
{
    const size_t r = t->f->r;
    double cross = 0;
    double own_norm2 = 0;
    double error2 = 0;

    for (size_t i = 0; i < t->f->m * r; i++) {
        b[i] = decoded(t, own->b[i], own->scales[i % r],
                       t->f->near_b ? &t->f->near_b[i] : NULL);
    }
    for (size_t i = 0; i < r * t->f->d; i++) {
        a[i] = decoded(t, own->a[i], own->scales[i / t->f->d],
                       t->f->near_a ? &t->f->near_a[i] : NULL);
    }
    cross_columns(t->f->m, r, r, t->f->b, b, t->room);
    cross_rows(t->f->d, r, r, a, t->f->a, t->core);
    cross = trace_of(r, t->room, t->core);
    cross_columns(t->f->m, r, r, b, b, t->room);
    cross_rows(t->f->d, r, r, a, a, t->core);
    own_norm2 = trace_of(r, t->room, t->core);
    error2 = t->norm2 - 2 * cross + own_norm2;
    return error2 > 0 ? sqrt(error2 / t->norm2) : 0;
}

/* Half octaves of the mean square of a latent index's integers, in sixteenths. */
static uint8_t class_of(const int16_t *q, size_t n, size_t stride)
{
    uint64_t sum = 0;
    uint64_t mean = 0;
    uint8_t class = 0;

    for (size_t i = 0; i < n; i++) {
        sum += (uint64_t)((int64_t)q[i * stride] * q[i * stride]);
    }
    mean = n ? 16 * sum / n : 0;
    while (mean > 0 && class + 1 < WW_CHUNK_CONTEXTS) {
        class ++;
        mean >>= 1;
    }
    return class;
}

static void classify(const struct ww_own_factors *f, struct ww_own *own)
{
    for (size_t k = 0; k < f->r; k++) {
        own->classes_b[k] = class_of(own->b + k, f->m, f->r);
        own->classes_a[k] = class_of(own->a + k * f->d, f->d, 1);
    }
}

static bool own_init(const struct ww_own_factors *f, struct ww_own *own)
{
    own->b = ww_calloc(f->m * f->r, sizeof(*own->b));
    own->a = ww_calloc(f->r * f->d, sizeof(*own->a));
    own->scales = ww_calloc(f->r, sizeof(*own->scales));
    own->classes_b = ww_calloc(f->r, 1);
    own->classes_a = ww_calloc(f->r, 1);
    return own->b && own->a && own->scales && own->classes_b && own->classes_a;
}

void ww_own_release(struct ww_own *own)
{
    ww_free(own->b);
    ww_free(own->a);
    ww_free(own->scales);
    ww_free(own->classes_b);
    ww_free(own->classes_a);
    memset(own, 0, sizeof(*own));
}

static double clamp(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

/* The error is about in proportion to the step, less where directions vanish, more where
 * the type rounds: a few corrections find the largest step within the bound. */
static void search(struct fit *t, struct ww_own *out, double *b, double *a)
{
    const double n = (double)t->f->r * (double)(t->f->m + t->f->d);
    double step = t->bound * sqrt(t->norm2) * sqrt(12 / n);
    double best = 0;

    for (unsigned i = 0; i < MAX_TRIES && quantise(t, step, out); i++) {
        out->error = error_of(t, out, b, a);
        best = out->error <= t->bound && step > best ? step : best;
        if (!(out->error > 0) ||
            (out->error <= t->bound && out->error > NEAR_BOUND * t->bound)) {
            break;
        }
        step *= clamp(AIM * t->bound / out->error, 0.5, 2.0);
    }
    if (best > 0 && quantise(t, best, out)) {
        out->error = error_of(t, out, b, a);
        out->fits = true;
    }
}

enum ww_err ww_own_fit(const struct ww_own_factors *f, double bound, struct ww_own *out,
                       struct ww_error *err)
{
    struct fit t = {.f = f, .bound = bound};
    double *b = ww_calloc(f->m * f->r, sizeof(*b));
    double *a = ww_calloc(f->r * f->d, sizeof(*a));
    bool spans = true;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!fit_init(&t) || !own_init(f, out) || !b || !a) {
        rc = WW_FAIL_MEMORY(err, "the factors of an adapter");
        goto out;
    }
    cross_columns(f->m, f->r, f->r, f->b, f->b, t.gram_b);
    cross_rows(f->d, f->r, f->r, f->a, f->a, t.gram_a);
    t.norm2 = trace_of(f->r, t.gram_b, t.gram_a);
    if (!(t.norm2 > 0)) {
        goto out; /* B = 0 when training begins: A must not be lost, so exactly */
    }
    decompose(&t);
    multiply(f->m, f->r, f->r, f->b, t.to_x, t.x);
    multiply(f->r, f->r, f->d, t.to_y, f->a, t.y);
    fix_signs(&t);
    if (f->near_b) {
        rc = ww_own_align(f, t.sigma, t.x, t.y, &spans, err);
    }
    if (rc || !spans) {
        goto out;
    }
    search(&t, out, b, a);
    classify(f, out);
out:
    fit_release(&t);
    ww_free(b);
    ww_free(a);
    if (rc || !out->fits) {
        const double error = out->error;
        ww_own_release(out);
        out->error = error;
    }
    return rc;
}

enum ww_err ww_own_balance(const struct ww_own_factors *f, double *b, double *a,
                           struct ww_error *err)
{
    struct fit t = {.f = f};
    enum ww_err rc =
        fit_init(&t) ? WW_OK : WW_FAIL_MEMORY(err, "the factors of an adapter");

    if (!rc) {
        cross_columns(f->m, f->r, f->r, f->b, f->b, t.gram_b);
        cross_rows(f->d, f->r, f->r, f->a, f->a, t.gram_a);
        decompose(&t);
        multiply(f->m, f->r, f->r, f->b, t.to_x, t.x);
        multiply(f->r, f->r, f->d, t.to_y, f->a, t.y);
        fix_signs(&t);
    }
    for (size_t i = 0; i < f->m * f->r && !rc; i++) {
        const double s = t.sigma[i % f->r];
        b[i] = s > 0 ? t.x[i] / sqrt(s) : 0;
    }
    for (size_t i = 0; i < f->r * f->d && !rc; i++) {
        const double s = t.sigma[i / f->d];
        a[i] = s > 0 ? t.y[i] / sqrt(s) : 0;
    }
    fit_release(&t);
    return rc;
}

enum ww_err ww_own_spectrum(const struct ww_own_factors *f, double *squares,
                            struct ww_error *err)
{
    struct fit t = {.f = f};
    enum ww_err rc = fit_init(&t) ? WW_OK : WW_FAIL_MEMORY(err, "a spectrum");

    if (!rc) {
        cross_columns(f->m, f->r, f->r, f->b, f->b, t.gram_b);
        cross_rows(f->d, f->r, f->r, f->a, f->a, t.gram_a);
        decompose(&t);
    }
    for (size_t k = 0; k < f->r && !rc; k++) {
        squares[k] = t.sigma[k] * t.sigma[k];
    }
    fit_release(&t);
    return rc;
}
