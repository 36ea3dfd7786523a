/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Normal deviates by the polar method (Marsaglia and Bray, 1964), which needs a logarithm
 * and a square root and no trigonometry. Orthogonal matrices from normal ones by
 * Householder reflections with the signs of the diagonal taken out, without which the
 * distribution would not be Haar (Mezzadri, 2007). It works on rows, so that all inner
 * loops are contiguous. libm may differ between machines in the last bit, so it is not
 * asked for anything but the square root, which IEEE 754 defines.
 */
#include "lock/dense_draw.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define LN2 0x1.62e42fefa39efp-1
#define SQRT_HALF 0x1.6a09e667f3bcdp-1
#define LOG_TERMS 14
#define EXP_TERMS 22

/* x = m 2^e with m near 1; ln m = 2 atanh t = 2 (t + t^3 / 3 + ...), |t| <= 0.172. */
double ww_exact_log(double x)
{
    uint64_t bits = 0;
    int e = 0;
    double m = 0;
    double sum = 0;

    memcpy(&bits, &x, sizeof(bits));
    e = (int)(bits >> 52 & 0x7ff) - 1022;
    bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(1022) << 52;
    memcpy(&m, &bits, sizeof(m));
    if (m < SQRT_HALF) {
        m *= 2;
        e--;
    }
    const double t = (m - 1) / (m + 1);
    const double w = t * t;
    for (int k = LOG_TERMS; k >= 0; k--) {
        sum = sum * w + 1.0 / (2 * k + 1);
    }
    return (double)e * LN2 + 2 * t * sum;
}

double ww_exact_exp(double x)
{
    double sum = 1;

    for (int k = EXP_TERMS; k >= 1; k--) {
        sum = 1 + x / k * sum;
    }
    return sum;
}

/* Uniform in [0, 1), 53 bits. */
static double uniform(struct ww_draw *draw)
{
    const uint64_t high = ww_keystream_u32(draw->ks) >> 5;
    const uint64_t low = ww_keystream_u32(draw->ks) >> 6;

    return (double)(high << 26 | low) * 0x1p-53;
}

/* A point of the unit disk, not the origin. */
static void draw_disk(struct ww_draw *draw, double *x, double *y, double *square)
{
    do {
        *x = 2 * uniform(draw) - 1;
        *y = 2 * uniform(draw) - 1;
        *square = *x * *x + *y * *y;
    } while (*square >= 1 || *square == 0);
}

void ww_draw_phases(struct ww_draw *draw, double *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        double square = 0;
        draw_disk(draw, &out[2 * i], &out[2 * i + 1], &square);
        const double length = sqrt(square);
        out[2 * i] /= length;
        out[2 * i + 1] /= length;
    }
}

static void draw_normal(struct ww_draw *draw, double *out, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        double x = 0;
        double y = 0;
        double square = 0;
        draw_disk(draw, &x, &y, &square);
        const double f = sqrt(-2 * ww_exact_log(square) / square);
        out[i] = x * f;
        if (i + 1 < n) {
            out[i + 1] = y * f;
        }
    }
}

static double dot(const double *x, const double *y, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* row -= 2 (row v) / (v v) v */
static void reflect(double *row, const double *v, double v_square, uint32_t n)
{
    const double f = 2 * dot(row, v, n) / v_square;
    for (uint32_t i = 0; i < n; i++) {
        row[i] -= f * v[i];
    }
}

/* Row k becomes the reflection vector that makes the rows below triangular. The sign of
 * the diagonal of L goes to sign. */
static double make_reflection(double *row, uint32_t n, double *sign)
{
    const double length = sqrt(dot(row, row, n));

    *sign = row[0] < 0 ? 1 : -1;
    row[0] += row[0] < 0 ? -length : length;
    return dot(row, row, n);
}

/* Turn G into L; what makes it so is left on and right of the diagonal. */
static void reduce(double *g, uint32_t n, double *sign, double *square)
{
    for (uint32_t k = 0; k + 1 < n; k++) {
        double *v = g + (size_t)k * n + k;
        square[k] = make_reflection(v, n - k, &sign[k]);
        for (uint32_t i = k + 1; i < n; i++) {
            reflect(g + (size_t)i * n + k, v, square[k], n - k);
        }
    }
    sign[n - 1] = g[(size_t)n * n - 1] < 0 ? -1 : 1;
}

/* Q = H_(n-2) ... H_0 from those vectors: the last one first, each from its row, which
 * then becomes a row of Q. v has room for one. */
static void expand(double *g, uint32_t n, const double *sign, const double *square,
                   double *v)
{
    memset(g + (size_t)(n - 1) * n, 0, n * sizeof(*g));
    g[(size_t)n * n - 1] = 1;
    for (uint32_t k = n - 1; k-- > 0;) {
        memcpy(v, g + (size_t)k * n + k, (n - k) * sizeof(*v));
        memset(g + (size_t)k * n, 0, n * sizeof(*g));
        g[(size_t)k * n + k] = 1;
        for (uint32_t i = k; i < n; i++) {
            reflect(g + (size_t)i * n + k, v, square[k], n - k);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n; j++) {
            g[(size_t)i * n + j] *= sign[i];
        }
    }
}

enum ww_err ww_draw_haar(struct ww_draw *draw, double *out, uint32_t n,
                         struct ww_error *err)
{
    double *work = ww_calloc((size_t)n * 3, sizeof(*work));

    if (!work) {
        return WW_FAIL_MEMORY(err, "a matrix of %u rows", n);
    }
    draw_normal(draw, out, (size_t)n * n);
    reduce(out, n, work, work + n);
    expand(out, n, work, work + n, work + 2 * (size_t)n);
    ww_free(work);
    return WW_OK;
}

/* out = u diag(s) v. */
static void sandwich(const double *u, const double *s, const double *v, double *out,
                     uint32_t n)
{
    memset(out, 0, (size_t)n * n * sizeof(*out));
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < n; k++) {
            const double at = u[(size_t)i * n + k] * s[k];
            for (uint32_t j = 0; j < n; j++) {
                out[(size_t)i * n + j] += at * v[(size_t)k * n + j];
            }
        }
    }
}

enum ww_err ww_draw_conditioned(struct ww_draw *draw, double c, double *out,
                                double *inverse_t, uint32_t n, struct ww_error *err)
{
    const double log_c = ww_exact_log(c);
    double *u = ww_calloc((size_t)n * n, sizeof(*u));
    double *v = ww_calloc((size_t)n * n, sizeof(*v));
    double *s = ww_calloc(n, sizeof(*s));
    enum ww_err rc = WW_OK;

    if (!u || !v || !s) {
        rc = WW_FAIL_MEMORY(err, "a matrix of %u rows", n);
        goto out;
    }
    rc = ww_draw_haar(draw, u, n, err);
    if (!rc) {
        rc = ww_draw_haar(draw, v, n, err);
    }
    if (rc) {
        goto out;
    }
    for (uint32_t k = 0; k < n; k++) {
        s[k] = ww_exact_exp((uniform(draw) - 0.5) * log_c);
    }
    sandwich(u, s, v, out, n);
    for (uint32_t k = 0; k < n; k++) {
        s[k] = 1 / s[k];
    }
    sandwich(u, s, v, inverse_t, n);
out:
    ww_free(u);
    ww_free(v);
    ww_free(s);
    return rc;
}
