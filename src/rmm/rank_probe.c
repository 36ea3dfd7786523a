/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a block of the difference have a low rank, as far as rounding lets one see? Rows
 * are taken one by one, the largest first, and their direction is removed from all
 * others. A product of rank r is gone after r steps, down to the noise of rounding, whose
 * size is known from the exponents; a full fine-tune is not, and most are given up early.
 */
#include <math.h>
#include <string.h>

#include "rmm/rank_fit.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ROWS ((size_t)256)
#define COLUMNS ((size_t)256)
#define LEAST 4.0 /* times the rounding: smaller differences are cheap as they are */
#define FLOOR 2.0 /* times the rounding: what is left of a product */
#define SLACK 1.15
#define EARLY ((size_t)8)

struct probe {
    struct ww_rank_block block;
    size_t s;      /* rows */
    double *delta; /* s x d, less with each direction that is removed */
    double *norms; /* of them */
    double *pivot; /* a direction */
    size_t *at;    /* which rows of the tensor */
    double delta2;
    double noise2;
};

static enum ww_err load(struct probe *p, const struct ww_rank_pair *pair,
                        struct ww_error *err)
{
    const size_t column = (pair->d - p->block.d) / 2;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < p->s && !rc; i++) {
        p->at[i] = i * pair->m / p->s;
        rc = ww_rank_block_read(&p->block, pair, p->at[i], column, i, 1, err);
    }
    if (!rc) {
        ww_rank_block_widen(&p->block, p->s);
    }
    for (size_t i = 0; i < p->s * p->block.d && !rc; i++) {
        p->delta[i] = (double)p->block.delta[i];
    }
    return rc;
}

static void measure(struct probe *p)
{
    const size_t d = p->block.d;

    for (size_t i = 0; i < p->s; i++) {
        p->norms[i] = 0;
        for (size_t j = 0; j < d; j++) {
            const double x = p->delta[i * d + j];
            const double h = (double)p->block.half[i * d + j];
            p->norms[i] += x * x;
            p->noise2 += h * h / 3;
        }
        p->delta2 += p->norms[i];
    }
}

/* Remove the direction of the largest row from all; which row, and what is left. */
static size_t deflate(struct probe *p, double *left)
{
    const size_t d = p->block.d;
    double *const delta = p->delta;
    size_t best = 0;

    for (size_t i = 1; i < p->s; i++) {
        best = p->norms[i] > p->norms[best] ? i : best;
    }
    const double norm = sqrt(p->norms[best]);
    for (size_t j = 0; j < d; j++) {
        p->pivot[j] = norm > 0 ? delta[best * d + j] / norm : 0;
    }
    *left = 0;
    for (size_t i = 0; i < p->s; i++) {
        double dot[4] = {0, 0, 0, 0};
        double norm2[4] = {0, 0, 0, 0};
        double *const row = delta + i * d;
        for (size_t j = 0; j + 4 <= d; j += 4) {
            for (size_t l = 0; l < 4; l++) {
                dot[l] += row[j + l] * p->pivot[j + l];
            }
        }
        const double sum = dot[0] + dot[1] + dot[2] + dot[3];
        for (size_t j = 0; j + 4 <= d; j += 4) {
            for (size_t l = 0; l < 4; l++) {
                row[j + l] -= sum * p->pivot[j + l];
                norm2[l] += row[j + l] * row[j + l];
            }
        }
        p->norms[i] = norm2[0] + norm2[1] + norm2[2] + norm2[3];
        *left += p->norms[i];
    }
    p->norms[best] = 0;
    return best;
}

/* The rank, and the rows that were taken, with some more for what noise hides. */
static void count(struct probe *p, size_t most, size_t *rows, size_t *n)
{
    double left = p->delta2;
    size_t rank = 0;
    size_t k = 0;

    *n = 0;
    if (!p->block.finite || !(p->delta2 > LEAST * p->noise2)) {
        return;
    }
    while (k < most) {
        rows[k] = p->at[deflate(p, &left)];
        k++;
        if (left < FLOOR * p->noise2) {
            rank = k;
            break;
        }
        if (k >= EARLY &&
            left > p->delta2 * SLACK * (1 - (double)k / (double)(most + EARLY))) {
            return;
        }
    }
    for (size_t more = rank ? rank + 4 : 0; k < more && k < most; k++) {
        rows[k] = p->at[deflate(p, &left)];
    }
    *n = rank ? k : 0;
}

enum ww_err ww_rank_probe(const struct ww_rank_pair *pair, size_t *rows, size_t *n,
                          struct ww_error *err)
{
    struct probe p = {.s = pair->m < ROWS ? pair->m : ROWS};
    const size_t d = (pair->d < COLUMNS ? pair->d : COLUMNS) / 4 * 4;
    const size_t least = p.s < d ? p.s : d;
    const size_t sought = pair->most ? pair->most : WW_RANK_SOUGHT;
    const size_t most = least / 3 < sought ? least / 3 : sought;
    enum ww_err rc = WW_OK;

    *n = 0;
    if (most == 0) {
        return WW_OK;
    }
    rc = ww_rank_block_init(&p.block, pair->dtype, p.s, d, err);
    p.delta = ww_calloc(p.s, d * sizeof(*p.delta));
    p.norms = ww_calloc(p.s, sizeof(*p.norms));
    p.at = ww_calloc(p.s, sizeof(*p.at));
    p.pivot = ww_calloc(d, sizeof(*p.pivot));
    if (!rc && (!p.delta || !p.norms || !p.at || !p.pivot)) {
        rc = WW_FAIL_MEMORY(err, "a sample of a tensor");
    }
    if (!rc) {
        rc = load(&p, pair, err);
    }
    if (!rc) {
        measure(&p);
        count(&p, most, rows, n);
    }
    ww_rank_block_release(&p.block);
    ww_free(p.delta);
    ww_free(p.norms);
    ww_free(p.at);
    ww_free(p.pivot);
    return rc;
}
