/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The squared residual is nearly a parabola in the share: a coarse scan finds the valley,
 * three points of a narrower and narrower stencil its bottom.
 */
#include "lineage/logits_blend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "la/la.h"
#include "lineage/draws.h"
#include "lineage/logits_image.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/order.h"

#define SCAN 10
#define REPLICATES 400
#define ROUNDINGS 4
#define FINE 0.01

struct blend {
    const struct ww_blend_problem *p;
    const double *answers; /* real, or made */
    double *head;          /* [v][d] */
    double *square[3];     /* [n] each, of the last stencil, */
    double centre;         /* which lay about this share */
    double *r;             /* [d][d] */
    double *hidden;        /* [n][d] */
    double *made;          /* [n][v] */
};

static void mix(const struct blend *b, double share)
{
    const struct ww_blend_problem *p = b->p;

    for (size_t i = 0; i < p->v * p->d; i++) {
        b->head[i] = p->base[i] + share * (p->source[i] - p->base[i]);
    }
}

static double sum(const double *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) {
        s += x[i];
    }
    return s;
}

/* Squared residual of all answers at a share. */
static enum ww_err at_share(struct blend *b, double share, double *square, double *total,
                            struct ww_error *err)
{
    const struct ww_blend_problem *p = b->p;
    enum ww_err rc = WW_OK;

    mix(b, share);
    rc = ww_image_basis(b->head, p->v, p->d, NULL, err);
    if (!rc) {
        rc = ww_image_outside(b->head, p->v, p->d, b->answers, p->n, square, NULL, err);
    }
    *total = rc ? 0 : sum(square, p->n);
    return rc;
}

/* Of a parabola through three values h apart; NAN without a bottom. */
static double bottom(const double f[3], double at, double h)
{
    const double bend = f[0] - 2 * f[1] + f[2];
    const double step = bend > 0 ? (f[0] - f[2]) / (2 * bend) : (double)NAN;
    return at + h * step;
}

static enum ww_err narrow(struct blend *b, double h, double *share, struct ww_error *err)
{
    double f[3];
    double next = 0;
    enum ww_err rc = WW_OK;

    b->centre = *share;
    for (unsigned i = 0; i < 3 && !rc; i++) {
        rc = at_share(b, *share + h * ((double)i - 1), b->square[i], &f[i], err);
    }
    next = rc ? (double)NAN : bottom(f, *share, h);
    if (!rc) {
        *share = fabs(next - *share) <= 3 * h ? next : (double)NAN;
    }
    return rc;
}

/* *share becomes NAN where no valley is. */
static enum ww_err find_share(struct blend *b, double *share, struct ww_error *err)
{
    double least = 0;
    enum ww_err rc = WW_OK;

    *share = 0;
    for (unsigned i = 0; i <= SCAN && !rc; i++) {
        double total = 0;
        rc = at_share(b, (double)i / SCAN, b->square[0], &total, err);
        if (i == 0 || total < least) {
            least = total;
            *share = (double)i / SCAN;
        }
    }
    if (!rc) {
        rc = narrow(b, 0.5 / SCAN, share, err);
    }
    if (!rc && !isnan(*share)) {
        rc = narrow(b, FINE, share, err);
    }
    return rc;
}

/* Answers drawn anew with replacement, from the last stencil; share is its bottom. */
static void spread(const struct blend *b, double share, struct ww_blend_found *out)
{
    double shares[REPLICATES];
    uint64_t state = b->p->seed;

    for (unsigned k = 0; k < REPLICATES; k++) {
        double f[3] = {0};
        for (size_t i = 0; i < b->p->n; i++) {
            const size_t which = (size_t)(ww_draw(&state) % b->p->n);
            for (unsigned s = 0; s < 3; s++) {
                f[s] += b->square[s][which];
            }
        }
        shares[k] = bottom(f, b->centre, FINE);
        shares[k] = isnan(shares[k]) ? share : shares[k];
    }
    qsort(shares, REPLICATES, sizeof(*shares), ww_order_doubles);
    out->low = shares[REPLICATES / 40];
    out->high = shares[REPLICATES - 1 - REPLICATES / 40];
}

/* Hidden states that give the answers with the head at a share, up to what lies outside:
 * answers = c q^T and head = q r, so hidden = c r^-T. *ok: r was regular. */
static enum ww_err find_hidden(struct blend *b, double share, bool *ok,
                               struct ww_error *err)
{
    const struct ww_blend_problem *p = b->p;
    struct ww_error singular = {0};
    enum ww_err rc = WW_OK;

    mix(b, share);
    rc = ww_image_basis(b->head, p->v, p->d, b->r, err);
    if (!rc) {
        rc = ww_image_outside(b->head, p->v, p->d, p->answers, p->n, b->square[0],
                              b->hidden, err);
    }
    for (size_t i = 0; i < p->d && !rc; i++) {
        for (size_t j = 0; j < i; j++) {
            const double kept = b->r[i * p->d + j];
            b->r[i * p->d + j] = b->r[j * p->d + i];
            b->r[j * p->d + i] = kept;
        }
    }
    *ok = !rc && ww_la_divide(p->n, p->d, b->hidden, b->r, &singular) == WW_OK;
    return rc;
}

/* Answers of the head at a share, rounded to its grid. */
static void make_answers(struct blend *b, double share)
{
    const struct ww_blend_problem *p = b->p;

    mix(b, share);
    for (size_t i = 0; i < p->v * p->d; i++) {
        uint64_t bits = 0;
        ww_from_double(p->grid, &b->head[i], &bits, 1);
        ww_to_double(p->grid, &bits, &b->head[i], 1);
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, p->n, p->v, p->d, 1, b->hidden, p->d,
               b->head, p->d, 0, b->made, p->v);
    ww_image_centre_rows(b->made, p->n, p->v);
}

/* The share whose rounded head reads as what was read. */
static enum ww_err take_rounding_off(struct blend *b, double *share,
                                     struct ww_blend_found *out, struct ww_error *err)
{
    const double read = *share;
    bool ok = false;
    enum ww_err rc = find_hidden(b, read, &ok, err);

    for (unsigned i = 0; i < ROUNDINGS && !rc && ok; i++) {
        double seen = read;
        make_answers(b, *share);
        b->answers = b->made;
        rc = narrow(b, 0.5 / SCAN, &seen, err);
        if (!rc && !isnan(seen)) {
            rc = narrow(b, FINE, &seen, err);
        }
        b->answers = b->p->answers;
        ok = !rc && !isnan(seen);
        if (ok) {
            out->rounding = seen - *share;
            *share = fmin(fmax(read - out->rounding, 0), 1);
        }
    }
    return rc;
}

static enum ww_err find(struct blend *b, struct ww_blend_found *out, struct ww_error *err)
{
    const double all = sqrt(sum(b->square[0], b->p->n));
    const double ends[] = {0, 1};
    double *residuals[] = {&out->at_base, &out->at_source};
    double total = 0;
    double share = 0;
    enum ww_err rc = find_share(b, &share, err);

    out->flat = !rc && isnan(share);
    if (rc || out->flat) {
        return rc;
    }
    spread(b, share, out);
    rc = at_share(b, share, b->square[0], &total, err);
    out->left = sqrt(total) / all;
    for (unsigned i = 0; i < 2 && !rc; i++) {
        rc = at_share(b, ends[i], b->square[0], &total, err);
        *residuals[i] = sqrt(total) / all;
    }
    out->share = share;
    if (!rc && b->p->grid != WW_DTYPE_F32 && b->p->grid != WW_DTYPE_F64) {
        rc = take_rounding_off(b, &out->share, out, err);
    }
    out->low -= share - out->share;
    out->high -= share - out->share;
    out->share = fmin(fmax(out->share, 0), 1);
    return rc;
}

enum ww_err ww_blend_find(const struct ww_blend_problem *p, struct ww_blend_found *out,
                          struct ww_error *err)
{
    struct blend b = {.p = p, .answers = p->answers};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    b.head = ww_calloc(p->v * p->d, sizeof(*b.head));
    b.r = ww_calloc(p->d * p->d, sizeof(*b.r));
    b.hidden = ww_calloc(p->n * p->d, sizeof(*b.hidden));
    b.made = ww_calloc(p->n * p->v, sizeof(*b.made));
    for (unsigned i = 0; i < 3; i++) {
        b.square[i] = ww_calloc(p->n, sizeof(double));
    }
    if (!b.head || !b.r || !b.hidden || !b.made || !b.square[0] || !b.square[1] ||
        !b.square[2]) {
        rc = WW_FAIL_MEMORY(err, "heads");
        goto out;
    }
    for (size_t i = 0; i < p->n * p->v; i++) {
        b.square[0][i / p->v] += p->answers[i] * p->answers[i];
    }
    rc = find(&b, out, err);
out:
    ww_free(b.head);
    ww_free(b.r);
    ww_free(b.hidden);
    ww_free(b.made);
    for (unsigned i = 0; i < 3; i++) {
        ww_free(b.square[i]);
    }
    return rc;
}
