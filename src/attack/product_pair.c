/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rotary pair: M = q~^H L k~ with two complex rows on each side has rank two at most
 * and is cut back to one. With Gq = q~ q~^H, Gk = k~ k~^H, a left singular vector is q~^H
 * v for an eigenvector v of L Gk L Gq, which is a 2 x 2 matrix with eigenvalues s1^2 >=
 * s2^2 >= 0.
 */
#include <math.h>
#include <string.h>

#include "attack/product.h"
#include "attack/solve.h"

/* The larger column of B - s2^2 I: an eigenvector of B for s1^2. */
static void top_vector(double complex b[2][2], double small, double complex v[2])
{
    const double complex first[2] = {b[0][0] - small, b[1][0]};
    const double complex second[2] = {b[0][1], b[1][1] - small};
    const double sizes[2] = {cabs(first[0]) + cabs(first[1]),
                             cabs(second[0]) + cabs(second[1])};

    memcpy(v, sizes[0] >= sizes[1] ? first : second, sizeof(first));
    if (fmax(sizes[0], sizes[1]) == 0) {
        v[0] = 1; /* B is a multiple of the identity: every vector is one */
        v[1] = 0;
    }
}

/* sum conj(v_a) g[a][b] v_b: squared norm of q~^H v. */
static double norm2(double complex g[2][2], const double complex v[2])
{
    double complex sum = 0;

    for (int a = 0; a < 2; a++) {
        for (int b = 0; b < 2; b++) {
            sum += conj(v[a]) * g[a][b] * v[b];
        }
    }
    return fmax(creal(sum), 0);
}

/* The phase and size that bring the new rows closest to the anchor's. */
static void towards_anchor(const struct ww_product_pair *p, double complex q[2],
                           double complex k[2])
{
    double complex cq = 0;
    double complex ck = 0;
    double complex back_q[2] = {conj(q[0]), conj(q[1])};
    double complex back_k[2] = {conj(k[0]), conj(k[1])};
    struct ww_pair_problem problem = {0};
    double complex gq[2][2];
    double complex gk[2][2];
    double re = 1;
    double im = 0;

    memcpy(gq, p->q, sizeof(gq));
    memcpy(gk, p->k, sizeof(gk));
    for (int a = 0; a < 2; a++) {
        cq += q[a] * gq[a][1];
        ck += k[a] * gk[a][1];
    }
    problem.alpha = norm2(gq, back_q);
    problem.beta = norm2(gk, back_k);
    problem.cq_re = creal(cq);
    problem.cq_im = cimag(cq);
    problem.ck_re = creal(ck);
    problem.ck_im = cimag(ck);
    ww_solve_pair(&problem, &re, &im);
    const double complex t = ww_complex(re, im);
    for (int a = 0; a < 2; a++) {
        q[a] *= t;
        k[a] /= conj(t);
    }
}

void ww_merge_pair(const struct ww_product_pair *pair, double complex q[2],
                   double complex k[2], struct ww_product_report *report)
{
    const double l[2] = {pair->weight, 1 - pair->weight};
    double complex gq[2][2];
    double complex gk[2][2];
    double complex b[2][2] = {{0}};
    double complex v[2];

    memcpy(gq, pair->q, sizeof(gq));
    memcpy(gk, pair->k, sizeof(gk));
    for (int i = 0; i < 8; i++) {
        const int r = i / 4;
        const int c = i / 2 % 2;
        const int m = i % 2;
        b[r][c] += l[r] * gk[r][m] * l[m] * gq[m][c];
    }
    const double trace = creal(b[0][0] + b[1][1]);
    const double det = creal(b[0][0] * b[1][1] - b[0][1] * b[1][0]);
    const double root = sqrt(fmax(trace * trace - 4 * det, 0));
    const double large = (trace + root) / 2;
    const double small = large > 0 ? fmax(det / large, 0) : 0;

    *report = (struct ww_product_report){
        .merged = fmax(trace, 0),
        .dropped = small,
        .locked = creal(gq[0][0] * gk[0][0]),
        .anchor = creal(gq[1][1] * gk[1][1]),
        .dot = creal(conj(gq[0][1]) * gk[0][1]),
    };
    memset(q, 0, 2 * sizeof(*q));
    memset(k, 0, 2 * sizeof(*k));
    top_vector(b, small, v);
    const double size = sqrt(norm2(gq, v));
    const double s = sqrt(fmax(large, 0));
    if (!(size > 0) || !(s > 0)) {
        return;
    }
    for (int a = 0; a < 2; a++) {
        q[a] = sqrt(s) / size * conj(v[a]);
        k[a] = (conj(v[0]) * gq[0][a] + conj(v[1]) * gq[1][a]) * l[a] / (sqrt(s) * size);
    }
    towards_anchor(pair, q, k);
}
