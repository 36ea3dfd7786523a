/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums run in double and in a fixed order. Differences of products are 1e-4 of them and
 * smaller, so single precision would be all noise.
 */
#include "lineage/invariant.h"

#include <math.h>
#include <string.h>

#include "lineage/draws.h"
#include "lineage/nnls.h"
#include "util/alloc.h"
#include "util/fail.h"

#define REPLICATES 400
#define MAX_Z (WW_LINEAGE_MAX_SOURCES + 1)

static double dot(const float *a, const float *b, size_t n)
{
    double lane[4] = {0};
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        for (unsigned l = 0; l < 4; l++) {
            lane[l] += (double)a[i + l] * (double)b[i + l];
        }
    }
    for (; i < n; i++) {
        lane[0] += (double)a[i] * (double)b[i];
    }
    return (lane[0] + lane[1]) + (lane[2] + lane[3]);
}

/* Rows [first, first + n) of two models' a or c against each other. */
static void cross(const float *p, const float *q, size_t first, size_t n, size_t width,
                  double *out)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            out[i * n + j] = dot(p + (first + i) * width, q + (first + j) * width, width);
        }
    }
}

struct complex {
    double re;
    double im;
};

/* <x, y> = sum conj(x) y of complex rows x = (x_i, x_j), y = (y_i, y_j). */
static struct complex inner(const float *x, const float *y, size_t i, size_t j,
                            size_t width)
{
    const float *xi = x + i * width;
    const float *xj = x + j * width;
    const float *yi = y + i * width;
    const float *yj = y + j * width;

    return (struct complex){dot(xi, yi, width) + dot(xj, yj, width),
                            dot(xi, yj, width) - dot(xj, yi, width)};
}

/* The product of pair f is conj(a_f) c_f^T, of rank one. */
static double pairs(const struct ww_head_shape *s, const struct ww_head *p,
                    const struct ww_head *q)
{
    const size_t half = (size_t)s->rope.dims / 2;
    double sum = 0;

    for (size_t f = 0; f < half; f++) {
        const bool adjacent = s->rope.style == WW_ROPE_ADJACENT;
        const size_t i = adjacent ? 2 * f : f;
        const size_t j = adjacent ? 2 * f + 1 : f + half;
        const struct complex a = inner(q->a, p->a, i, j, s->width_a);
        const struct complex c = inner(p->c, q->c, i, j, s->width_c);
        sum += a.re * c.re - a.im * c.im;
    }
    return sum;
}

void ww_invariant_gram(const struct ww_head_shape *shape, const struct ww_head *heads,
                       unsigned n, double *gram, double *scratch)
{
    const bool turns = shape->rope.style != WW_ROPE_NONE;
    const size_t first = turns ? (size_t)shape->rope.dims : 0;
    const size_t rest = shape->d - first;

    for (unsigned p = 0; p < n; p++) {
        for (unsigned q = p; q < n; q++) {
            double sum = turns ? pairs(shape, &heads[p], &heads[q]) : 0;
            cross(heads[p].a, heads[q].a, first, rest, shape->width_a, scratch);
            cross(heads[p].c, heads[q].c, first, rest, shape->width_c,
                  scratch + rest * rest);
            for (size_t i = 0; i < rest * rest; i++) {
                sum += scratch[i] * scratch[rest * rest + i];
            }
            gram[p * n + q] = gram[q * n + p] = sum;
        }
    }
}

void ww_invariant_release(struct ww_invariant *sums)
{
    ww_free(sums->z);
    memset(sums, 0, sizeof(*sums));
}

enum ww_err ww_invariant_add(struct ww_invariant *sums, const double *gram,
                             struct ww_error *err)
{
    const unsigned m = sums->k + 1;
    const unsigned n = sums->k + 2;
    const double scale = gram[n + 1];
    double *z = NULL;

    if (!(scale > 0)) {
        return WW_OK; /* a head that is zero says nothing */
    }
    if (sums->n == sums->capacity) {
        const size_t capacity = sums->capacity ? 2 * sums->capacity : 64;
        z = ww_realloc_array(sums->z, capacity, m * m * sizeof(double));
        if (!z) {
            return WW_FAIL_MEMORY(err, "products of heads");
        }
        sums->z = z;
        sums->capacity = capacity;
    }
    z = sums->z + sums->n++ * m * m;
    for (unsigned i = 0; i < m; i++) {
        for (unsigned j = 0; j < m; j++) {
            const unsigned p = i ? i + 1 : 0; /* the base is no difference */
            const unsigned q = j ? j + 1 : 0;
            z[i * m + j] =
                ((gram[p * n + q] - gram[p * n + 1]) - (gram[n + q] - gram[n + 1])) /
                scale;
        }
    }
    return WW_OK;
}

/* A source on the other side of zero enters with its sign turned. */
static void solve(double *z, unsigned k, const int8_t *side, double *share)
{
    double *xx = z + k + 2; /* rows of k + 1 */
    double xy[MAX_Z] = {0};
    bool use[MAX_Z] = {0};

    for (unsigned i = 0; i < k; i++) {
        use[i] = side[i] != WW_SIDE_OUT;
        xy[i] = side[i] * z[i + 1];
        for (unsigned j = 0; j < k; j++) {
            xx[i * (k + 1) + j] *= side[i] * side[j];
        }
    }
    ww_nnls(xx, k + 1, xy, k, use, share);
    for (unsigned i = 0; i < k; i++) {
        share[i] = share[i] > 0 ? share[i] * side[i] : 0;
    }
}

void ww_invariant_fit(const struct ww_invariant *sums, const int8_t *side, double *share)
{
    const unsigned m = sums->k + 1;
    double z[MAX_Z * MAX_Z] = {0};

    for (size_t u = 0; u < sums->n; u++) {
        for (unsigned i = 0; i < m * m; i++) {
            z[i] += sums->z[u * m * m + i];
        }
    }
    solve(z, sums->k, side, share);
}

/* 97.5 % point of Student's t, within 3 % from three degrees of freedom on. */
static double student(size_t freedom)
{
    const double f = freedom > 1 ? (double)freedom : 1;
    return 1.96 + 2.37 / f + 2.8 / (f * f) + 5.6 / (f * f * f);
}

enum ww_err ww_invariant_spread(const struct ww_invariant *sums, const int8_t *side,
                                uint64_t seed, double *half, struct ww_error *err)
{
    const unsigned m = sums->k + 1;
    struct ww_invariant drawn = {.k = sums->k, .n = sums->n};
    double share[WW_LINEAGE_MAX_SOURCES];
    double sum[WW_LINEAGE_MAX_SOURCES] = {0};
    double square[WW_LINEAGE_MAX_SOURCES] = {0};

    memset(half, 0, sums->k * sizeof(*half));
    if (sums->n < 2) {
        for (unsigned i = 0; i < sums->k; i++) {
            half[i] = 1;
        }
        return WW_OK;
    }
    drawn.z = ww_calloc(sums->n, m * m * sizeof(double));
    if (!drawn.z) {
        return WW_FAIL_MEMORY(err, "products of heads");
    }
    for (unsigned r = 0; r < REPLICATES; r++) {
        for (size_t u = 0; u < sums->n; u++) {
            memcpy(drawn.z + u * m * m, sums->z + ww_draw(&seed) % sums->n * m * m,
                   m * m * sizeof(double));
        }
        ww_invariant_fit(&drawn, side, share);
        for (unsigned i = 0; i < sums->k; i++) {
            sum[i] += share[i];
            square[i] += share[i] * share[i];
        }
    }
    for (unsigned i = 0; i < sums->k; i++) {
        const double mean = sum[i] / REPLICATES;
        const double variance = square[i] / REPLICATES - mean * mean;
        /* Draws with replacement have (n - 1) / n of the variance. */
        half[i] = student(sums->n - 1) *
                  sqrt(fmax(0, variance) * (double)sums->n / (double)(sums->n - 1));
    }
    ww_invariant_release(&drawn);
    return WW_OK;
}
