/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The range of the matrix is found from its product with a few random columns, sharpened
 * by two power steps; what is left is a small problem. Twenty columns more than asked for
 * make the leading ones as good as those of a full decomposition for spectra that fall.
 */
#include "merge/lowrank.h"

#include <math.h>
#include <string.h>

#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"

#define OVERSAMPLE 20
#define POWER_STEPS 2
#define TINY 1e-14
#define BLOCK_ELEMENTS ((size_t)1 << 21)

static double squared_norm(size_t n, const float *d)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)d[i] * (double)d[i];
    }
    return sum;
}

/* +1 or -1 by SplitMix64 of the index: fixed, and far from any matrix of weights. */
static void random_signs(size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        out[i] = (z ^ (z >> 31)) & 1 ? 1 : -1;
    }
}

/* Leading singular values with their vectors. */
struct triples {
    size_t k;
    double *u;  /* m x k */
    double *s;  /* k */
    double *vt; /* k x n */
};

/* Of a full decomposition. */
static enum ww_err full(size_t m, size_t n, const float *d, const struct triples *out,
                        struct ww_error *err)
{
    double *a = ww_calloc(m * n, sizeof(*a));
    enum ww_err rc = WW_OK;

    if (!a) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (size_t i = 0; i < m * n; i++) {
        a[i] = (double)d[i];
    }
    rc = ww_la_svd(m, n, a, out->u, out->s, out->vt, err);
    ww_free(a);
    return rc;
}

/* The same for the leading k by a randomised range. */
static enum ww_err randomised(size_t m, size_t n, const float *d,
                              const struct triples *out, struct ww_error *err)
{
    const size_t k = out->k;
    double *a = ww_calloc(m * n, sizeof(*a));
    double *q = ww_calloc(m * k, sizeof(*q));
    double *z = ww_calloc(n * k, sizeof(*z));
    double *small = ww_calloc(k * n, sizeof(*small));
    double *us = ww_calloc(k * k, sizeof(*us));
    enum ww_err rc = WW_OK;

    if (!a || !q || !z || !small || !us) {
        rc = WW_FAIL_MEMORY(err, "a decomposition");
        goto out;
    }
    for (size_t i = 0; i < m * n; i++) {
        a[i] = (double)d[i];
    }
    random_signs(n * k, z);
    for (int step = 0; step <= POWER_STEPS && !rc; step++) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, m, k, n, 1, a, n, z, k, 0, q, k);
        rc = ww_la_qr(m, k, q, NULL, err);
        if (!rc && step < POWER_STEPS) {
            ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, n, k, m, 1, a, n, q, k, 0, z, k);
            rc = ww_la_qr(n, k, z, NULL, err);
        }
    }
    if (!rc) {
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, k, n, m, 1, q, k, a, n, 0, small, n);
        rc = ww_la_svd(k, n, small, us, out->s, out->vt, err);
    }
    if (!rc) {
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, m, k, k, 1, q, k, us, k, 0, out->u, k);
    }
out:
    ww_free(a);
    ww_free(q);
    ww_free(z);
    ww_free(small);
    ww_free(us);
    return rc;
}

static size_t choose_rank(size_t k, const double *s, double total, size_t max_rank,
                          double energy, double *kept)
{
    size_t r = 0;
    double sum = 0;

    while (r < k && r < max_rank && s[r] > TINY * s[0] &&
           (energy == 0 || sum < energy * total)) {
        sum += s[r] * s[r];
        r++;
    }
    *kept = total > 0 ? sum / total : 1;
    return r;
}

static enum ww_err take(size_t m, size_t n, const struct triples *from,
                        struct ww_lowrank *out, struct ww_error *err)
{
    const size_t r = out->rank;

    out->b = ww_calloc(m * r + 1, sizeof(*out->b));
    out->a = ww_calloc(r * n + 1, sizeof(*out->a));
    if (!out->b || !out->a) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (size_t j = 0; j < r; j++) {
        const double root = sqrt(from->s[j]);
        for (size_t i = 0; i < m; i++) {
            out->b[i * r + j] = (float)(from->u[i * from->k + j] * root);
        }
        for (size_t i = 0; i < n; i++) {
            out->a[j * n + i] = (float)(from->vt[j * n + i] * root);
        }
    }
    return WW_OK;
}

static bool is_whole(size_t least, size_t max_rank, double energy)
{
    return energy > 0 || least <= 2 * (max_rank + OVERSAMPLE);
}

uint64_t ww_lowrank_bytes(size_t m, size_t n, size_t max_rank, double energy)
{
    const uint64_t least = m < n ? m : n;
    const bool whole = is_whole(least, max_rank, energy);
    const uint64_t k = whole ? least : max_rank + OVERSAMPLE;
    const uint64_t factors = 3 * k * ((uint64_t)m + n);

    /* Of a full decomposition twice the matrix is workspace. */
    return ((whole ? 3 : 1) * (uint64_t)m * n + factors) * sizeof(double);
}

enum ww_err ww_lowrank_of(size_t m, size_t n, const float *d, size_t max_rank,
                          double energy, struct ww_lowrank *out, struct ww_error *err)
{
    const size_t least = m < n ? m : n;
    const bool whole = is_whole(least, max_rank, energy);
    const size_t k = whole ? least : max_rank + OVERSAMPLE;
    const double total = squared_norm(m * n, d);
    const struct triples t = {.k = k,
                              .u = ww_calloc(m * k, sizeof(double)),
                              .s = ww_calloc(k, sizeof(double)),
                              .vt = ww_calloc(k * n, sizeof(double))};
    enum ww_err rc = WW_OK;

    *out = (struct ww_lowrank){0};
    if (!t.u || !t.s || !t.vt) {
        rc = WW_FAIL_MEMORY(err, "a decomposition");
        goto out;
    }
    rc = ww_la_ready(err);
    if (!rc) {
        rc = whole ? full(m, n, d, &t, err) : randomised(m, n, d, &t, err);
    }
    if (!rc) {
        out->rank = choose_rank(k, t.s, total, max_rank, energy, &out->kept);
        rc = take(m, n, &t, out, err);
    }
out:
    ww_free(t.u);
    ww_free(t.s);
    ww_free(t.vt);
    if (rc) {
        ww_lowrank_release(out);
    }
    return rc;
}

struct stream {
    const struct ww_lowrank_rows *rows;
    size_t k;
    double *block;
    double *q;     /* m x k */
    double *z;     /* n x k, then k x n */
    double *small; /* k x k */
};

/* q = rows z, or z = rows^T q: one pass over the matrix in blocks of a fixed size. */
static enum ww_err one_pass(const struct stream *s, bool across, struct ww_error *err)
{
    const size_t m = s->rows->m;
    const size_t n = s->rows->n;
    const size_t k = s->k;
    const size_t step = BLOCK_ELEMENTS / n ? BLOCK_ELEMENTS / n : 1;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < m && !rc; i += step) {
        const size_t count = step < m - i ? step : m - i;
        rc = s->rows->read(s->rows->payload, i, count, s->block, err);
        if (!rc && across) {
            ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, n, k, count, 1, s->block, n,
                       s->q + i * k, k, i > 0, s->z, k);
        } else if (!rc) {
            ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, count, k, n, 1, s->block, n, s->z, k, 0,
                       s->q + i * k, k);
        }
    }
    return rc;
}

/* q: the range; z: rows^T q. */
static enum ww_err find_range(const struct stream *s, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    random_signs(s->rows->n * s->k, s->z);
    for (int step = 0; step <= POWER_STEPS && !rc; step++) {
        rc = one_pass(s, false, err);
        if (!rc) {
            rc = ww_la_qr(s->rows->m, s->k, s->q, NULL, err);
        }
        if (!rc) {
            rc = one_pass(s, true, err);
        }
        if (!rc && step < POWER_STEPS) {
            rc = ww_la_qr(s->rows->n, s->k, s->z, NULL, err);
        }
    }
    return rc;
}

/* q = q small^T, a few rows at a time: of a head of 150,000 words q is the memory. */
#define TURN_ROWS ((size_t)512)
static enum ww_err turn(const struct stream *s, struct ww_error *err)
{
    const size_t m = s->rows->m;
    const size_t k = s->k;
    double *turned = ww_calloc((TURN_ROWS < m ? TURN_ROWS : m) * k, sizeof(*turned));

    if (!turned) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (size_t i = 0; i < m; i += TURN_ROWS) {
        const size_t count = TURN_ROWS < m - i ? TURN_ROWS : m - i;
        ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, count, k, k, 1, s->q + i * k, k,
                   s->small, k, 0, turned, k);
        memcpy(s->q + i * k, turned, count * k * sizeof(*turned));
    }
    ww_free(turned);
    return WW_OK;
}

/* rows = q z^T and z = w diag(s) x, so rows = (q x^T) diag(s) w^T. */
static enum ww_err finish(const struct stream *s, size_t max_rank, double energy,
                          struct ww_lowrank *out, struct ww_error *err)
{
    const size_t m = s->rows->m;
    const size_t n = s->rows->n;
    const size_t k = s->k;
    double *w = ww_calloc(n * k, sizeof(*w));
    double *values = ww_calloc(k, sizeof(*values));
    double *wt = NULL;
    enum ww_err rc = w && values ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    if (!rc) {
        rc = ww_la_svd(n, k, s->z, w, values, s->small, err);
    }
    if (!rc) {
        wt = s->z; /* destroyed by the decomposition: room again */
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < k; j++) {
                wt[j * n + i] = w[i * k + j];
            }
        }
        ww_free(w);
        w = NULL;
        rc = turn(s, err);
    }
    if (!rc) {
        out->rank = choose_rank(k, values, s->rows->total, max_rank, energy, &out->kept);
        rc = take(m, n, &(struct triples){k, s->q, values, wt}, out, err);
    }
    ww_free(w);
    ww_free(values);
    return rc;
}

enum ww_err ww_lowrank_streamed(const struct ww_lowrank_rows *rows, size_t max_rank,
                                double energy, struct ww_lowrank *out,
                                struct ww_error *err)
{
    const size_t least = rows->m < rows->n ? rows->m : rows->n;
    const size_t k = max_rank + OVERSAMPLE < least ? max_rank + OVERSAMPLE : least;
    const size_t step = BLOCK_ELEMENTS / rows->n ? BLOCK_ELEMENTS / rows->n : 1;
    struct stream s = {.rows = rows, .k = k};
    enum ww_err rc = WW_OK;

    *out = (struct ww_lowrank){0};
    s.block = ww_calloc((step < rows->m ? step : rows->m) * rows->n, sizeof(double));
    s.q = ww_calloc(rows->m * k, sizeof(double));
    s.z = ww_calloc(rows->n * k, sizeof(double));
    s.small = ww_calloc(k * k, sizeof(double));
    if (!s.block || !s.q || !s.z || !s.small) {
        rc = WW_FAIL_MEMORY(err, "a decomposition");
        goto out;
    }
    rc = ww_la_ready(err);
    rc = rc ? rc : find_range(&s, err);
    if (!rc) {
        ww_free(s.block);
        s.block = NULL;
        rc = finish(&s, max_rank, energy, out, err);
    }
out:
    ww_free(s.block);
    ww_free(s.q);
    ww_free(s.z);
    ww_free(s.small);
    if (rc) {
        ww_lowrank_release(out);
    }
    return rc;
}

void ww_lowrank_release(struct ww_lowrank *lowrank)
{
    ww_free(lowrank->b);
    ww_free(lowrank->a);
    *lowrank = (struct ww_lowrank){0};
}
