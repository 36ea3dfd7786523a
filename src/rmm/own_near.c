/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Factors have no coordinates of their own: B M and M^-1 A are the same product for any
 * M. Two versions of an adapter are compared in those of the one that is there: of all
 * rotations M the one that brings the balanced factors U S^(1/2) and S^(1/2) V^T nearest
 * to it is the polar factor of their cross product (Schoenemann 1966), taken here from a
 * symmetric eigenproblem.
 */
#include <math.h>
#include <string.h>

#include "rmm/own.h"
#include "util/alloc.h"
#include "util/fail.h"

#define NOTHING 1e-12 /* of the largest eigenvalue: no direction of the near factors */

struct align {
    const struct ww_own_factors *f;
    double *cross; /* r x r each */
    double *square;
    double *vectors;
    double *turn;
    double *values;
    double *line; /* r */
};

static bool align_init(struct align *t)
{
    const size_t r = t->f->r;

    t->cross = ww_calloc(r * r, sizeof(double));
    t->square = ww_calloc(r * r, sizeof(double));
    t->vectors = ww_calloc(r * r, sizeof(double));
    t->turn = ww_calloc(r * r, sizeof(double));
    t->values = ww_calloc(r, sizeof(double));
    t->line = ww_calloc(r, sizeof(double));
    return t->cross && t->square && t->vectors && t->turn && t->values && t->line;
}

static void align_release(struct align *t)
{
    ww_free(t->cross);
    ww_free(t->square);
    ww_free(t->vectors);
    ww_free(t->turn);
    ww_free(t->values);
    ww_free(t->line);
}

static void balance(const struct ww_own_factors *f, const double *sigma, double *x,
                    double *y)
{
    for (size_t i = 0; i < f->m * f->r; i++) {
        x[i] = sigma[i % f->r] > 0 ? x[i] / sqrt(sigma[i % f->r]) : 0;
    }
    for (size_t i = 0; i < f->r * f->d; i++) {
        y[i] = sigma[i / f->d] > 0 ? y[i] / sqrt(sigma[i / f->d]) : 0;
    }
}

/* X^T B + Y A^T for the near B and A. */
static void make_cross(struct align *t, const double *x, const double *y)
{
    const struct ww_own_factors *f = t->f;

    for (size_t p = 0; p < f->r; p++) {
        for (size_t q = 0; q < f->r; q++) {
            double sum = 0;
            for (size_t i = 0; i < f->m; i++) {
                sum += x[i * f->r + p] * f->near_b[i * f->r + q];
            }
            for (size_t j = 0; j < f->d; j++) {
                sum += y[p * f->d + j] * f->near_a[q * f->d + j];
            }
            t->cross[p * f->r + q] = sum;
        }
    }
}

/* C V L^(-1/2) V^T where C^T C = V L V^T. */
static bool make_turn(struct align *t)
{
    const size_t r = t->f->r;

    for (size_t p = 0; p < r; p++) {
        for (size_t q = 0; q < r; q++) {
            double sum = 0;
            for (size_t i = 0; i < r; i++) {
                sum += t->cross[i * r + p] * t->cross[i * r + q];
            }
            t->square[p * r + q] = sum;
        }
    }
    ww_own_eigen(r, t->square, t->values, t->vectors);
    if (!(t->values[r - 1] > NOTHING * t->values[0])) {
        return false;
    }
    for (size_t p = 0; p < r; p++) {
        for (size_t k = 0; k < r; k++) {
            double sum = 0;
            for (size_t q = 0; q < r; q++) {
                sum += t->cross[p * r + q] * t->vectors[q * r + k];
            }
            t->line[k] = sum / sqrt(t->values[k]);
        }
        for (size_t q = 0; q < r; q++) {
            double sum = 0;
            for (size_t k = 0; k < r; k++) {
                sum += t->line[k] * t->vectors[q * r + k];
            }
            t->turn[p * r + q] = sum;
        }
    }
    return true;
}

/* Rows of X times M, columns of Y by M^T. */
static void apply_turn(struct align *t, double *x, double *y)
{
    const struct ww_own_factors *f = t->f;

    for (size_t i = 0; i < f->m + f->d; i++) {
        const bool is_x = i < f->m;
        double *at = is_x ? x + i * f->r : y + (i - f->m);
        const size_t stride = is_x ? 1 : f->d;
        for (size_t q = 0; q < f->r; q++) {
            double sum = 0;
            for (size_t p = 0; p < f->r; p++) {
                sum += at[p * stride] * t->turn[p * f->r + q];
            }
            t->line[q] = sum;
        }
        for (size_t q = 0; q < f->r; q++) {
            at[q * stride] = t->line[q];
        }
    }
}

/* Squared length of direction k: the same on both sides. */
static void take_difference(const struct align *t, double *sigma, double *x, double *y)
{
    const struct ww_own_factors *f = t->f;

    for (size_t k = 0; k < f->r; k++) {
        double sum = 0;
        for (size_t p = 0; p < f->r; p++) {
            sum += t->turn[p * f->r + k] * t->turn[p * f->r + k] * sigma[p];
        }
        t->line[k] = sum;
    }
    memcpy(sigma, t->line, f->r * sizeof(*sigma));
    for (size_t i = 0; i < f->m * f->r; i++) {
        x[i] = (x[i] - f->near_b[i]) * sqrt(sigma[i % f->r]);
    }
    for (size_t i = 0; i < f->r * f->d; i++) {
        y[i] = (y[i] - f->near_a[i]) * sqrt(sigma[i / f->d]);
    }
}

enum ww_err ww_own_align(const struct ww_own_factors *f, double *sigma, double *x,
                         double *y, bool *spans, struct ww_error *err)
{
    struct align t = {.f = f};
    const enum ww_err rc =
        align_init(&t) ? WW_OK : WW_FAIL_MEMORY(err, "the factors of an adapter");

    *spans = false;
    if (!rc) {
        balance(f, sigma, x, y);
        make_cross(&t, x, y);
        *spans = make_turn(&t);
    }
    if (*spans) {
        apply_turn(&t, x, y);
        take_difference(&t, sigma, x, y);
    }
    align_release(&t);
    return rc;
}
