/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_scan.h"

#include <math.h>
#include <string.h>

#include "lineage/slices.h"
#include "util/clones.h"

#define LANES 8

/* By name, so that no compiler has to find out; aligned as floats are. */
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));

static inline double total_of(const eight *v)
{
    double sum = 0;

    for (unsigned l = 0; l < LANES; l++) {
        sum += (double)(*v)[l];
    }
    return sum;
}

/* One member against k targets, k being a constant where this is used: the sums stay in
 * registers. */
static inline __attribute__((always_inline)) void
member_products(const float *x, const float *root, size_t m, const float *const *targets,
                unsigned k, double *out, double *square)
{
    eight sums[WW_SCAN_AT_ONCE] = {{0}};
    eight squares = {0};

    for (size_t i = 0; i + LANES <= m; i += LANES) {
        const eight d = *(const eight *)(x + i) - *(const eight *)(root + i);
        squares += d * d;
        for (unsigned t = 0; t < k; t++) {
            sums[t] += d * *(const eight *)(targets[t] + i);
        }
    }
    for (unsigned t = 0; t < k; t++) {
        out[t] = total_of(&sums[t]);
    }
    *square = total_of(&squares);
}

WW_CLONES static void products(const float *x, const float *root, size_t m,
                               const float *const *targets, unsigned k, double *out,
                               double *square)
{
    switch (k) {
    case 1:
        member_products(x, root, m, targets, 1, out, square);
        break;
    case 2:
        member_products(x, root, m, targets, 2, out, square);
        break;
    case 3:
        member_products(x, root, m, targets, 3, out, square);
        break;
    default:
        member_products(x, root, m, targets, WW_SCAN_AT_ONCE, out, square);
    }
}

struct pass {
    const struct ww_scan *scan;
    const float *const *targets;
    unsigned k;
    double *const *with;
    double *squares;
};

static void products_of_slice(void *payload, size_t from, size_t to)
{
    const struct pass *p = payload;
    const struct ww_scan *scan = p->scan;

    for (size_t i = from; i < to; i++) {
        double out[WW_SCAN_AT_ONCE] = {0};
        double square = 0;
        if (scan->use[i]) {
            products(scan->sketches + i * scan->m, scan->root, scan->m, p->targets, p->k,
                     out, &square);
        }
        for (unsigned t = 0; t < p->k; t++) {
            p->with[t][i] = out[t];
        }
        if (p->squares) {
            p->squares[i] = square;
        }
    }
}

void ww_scan_products(const struct ww_scan *scan, const float *const *targets, unsigned k,
                      double *const *with, double *squares)
{
    struct pass pass = {scan, targets, k, with, squares};

    ww_slices(scan->threads, scan->n, 1, products_of_slice, &pass);
}

WW_CLONES static void add_difference(const float *x, const float *root, size_t n,
                                     double *out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] += (double)x[j] - (double)root[j];
    }
}

WW_CLONES static void add_row(const float *x, size_t n, double *out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] += (double)x[j];
    }
}

void ww_scan_add(const float *x, size_t m, double *sum)
{
    add_row(x, m, sum);
}

struct summing {
    const struct ww_scan *scan;
    double *out;
};

/* Threads take columns, so that each sum runs in the order of members. */
static void sum_of_slice(void *payload, size_t from, size_t to)
{
    const struct summing *s = payload;
    const struct ww_scan *scan = s->scan;

    for (size_t i = 0; i < scan->n; i++) {
        const float *x = scan->sketches + i * scan->m + from;
        if (scan->use[i] && scan->root) {
            add_difference(x, scan->root + from, to - from, s->out + from);
        } else if (scan->use[i]) {
            add_row(x, to - from, s->out + from);
        }
    }
}

void ww_scan_sum(const struct ww_scan *scan, double *out)
{
    struct summing s = {scan, out};

    memset(out, 0, scan->m * sizeof(*out));
    ww_slices(scan->threads, scan->m, LANES, sum_of_slice, &s);
}

WW_CLONES static double dot(const double *a, const double *b, size_t m)
{
    double s[LANES] = {0};

    for (size_t i = 0; i + LANES <= m; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            s[l] += a[i + l] * b[i + l];
        }
    }
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

double ww_sketch_dot(const double *a, const double *b, size_t m)
{
    return dot(a, b, m);
}

void ww_sketch_beside(double *v, const float *root, size_t m)
{
    double with = 0;
    double square = 0;

    for (size_t i = 0; i < m; i++) {
        with += v[i] * (double)root[i];
        square += (double)root[i] * (double)root[i];
    }
    for (size_t i = 0; i < m && square > 0; i++) {
        v[i] -= with / square * (double)root[i];
    }
}

WW_CLONES static void cosine_sums(const float *a, const float *b, size_t m, double *aa,
                                  double *bb, double *ab)
{
    eight x = {0};
    eight y = {0};
    eight xy = {0};

    for (size_t i = 0; i + LANES <= m; i += LANES) {
        const eight p = *(const eight *)(a + i);
        const eight q = *(const eight *)(b + i);
        x += p * p;
        y += q * q;
        xy += p * q;
    }
    *aa = total_of(&x);
    *bb = total_of(&y);
    *ab = total_of(&xy);
}

double ww_sketch_cosine(const float *a, const float *b, size_t m)
{
    double aa = 0;
    double bb = 0;
    double ab = 0;

    cosine_sums(a, b, m, &aa, &bb, &ab);
    return aa > 0 && bb > 0 ? ab / sqrt(aa) / sqrt(bb) : 0;
}

struct centre {
    const struct ww_scan *scan;
    const double *mean;
    double *squares; /* [n] */
};

static void measure(void *payload, size_t from, size_t to)
{
    const struct centre *c = payload;
    const size_t m = c->scan->m;

    for (size_t i = from; i < to; i++) {
        const float *x = c->scan->sketches + i * m;
        double d[LANES] = {0};
        for (size_t j = 0; c->scan->use[i] && j + LANES <= m; j += LANES) {
            for (size_t l = 0; l < LANES; l++) {
                const double off = (double)x[j + l] - c->mean[j + l];
                d[l] += off * off;
            }
        }
        c->squares[i] = 0;
        for (size_t l = 0; l < LANES; l++) {
            c->squares[i] += d[l];
        }
    }
}

size_t ww_sketch_centre(const struct ww_scan *scan, const double *sum, double *room)
{
    struct ww_scan plain = *scan;
    struct centre centre = {scan, room, room + scan->m};
    size_t best = scan->n;
    size_t count = 0;

    plain.root = NULL;
    for (size_t i = 0; i < scan->n; i++) {
        count += scan->use[i];
    }
    if (sum) {
        memcpy(room, sum, scan->m * sizeof(*room));
    } else {
        ww_scan_sum(&plain, room);
    }
    for (size_t j = 0; j < scan->m && count > 0; j++) {
        room[j] /= (double)count;
    }
    ww_slices(scan->threads, scan->n, 1, measure, &centre);
    for (size_t i = 0; i < scan->n; i++) {
        if (scan->use[i] &&
            (best == scan->n || centre.squares[i] < centre.squares[best])) {
            best = i;
        }
    }
    return best;
}
