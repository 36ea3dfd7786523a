/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed permutations inside of heads. Row i of the locked head is plus or minus a power
 * of two times row perm[i] of the source, on both sides of the head, so both sides vote
 * by cosine; the factor then balances the two. Rotary pairs are complex numbers times
 * i^t.
 */
#include "attack/inner.h"

#include <math.h>

#include "attack/solve.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_EXPONENT 60

static double dot(const struct ww_cross *x, int side, size_t locked, size_t anchor)
{
    return x->c[side][anchor * x->d + locked];
}

static double norm(const struct ww_cross *x, int side, size_t locked)
{
    return x->gram[side][locked * x->d + locked];
}

/* Sum of the cosines of both sides. */
static double vote(const struct ww_cross *x, size_t locked, size_t anchor)
{
    double sum = 0;

    for (int side = 0; side < 2; side++) {
        const double norms = norm(x, side, locked) * x->own[side][anchor];
        sum += norms > 0 ? dot(x, side, locked, anchor) / sqrt(norms) : 0;
    }
    return sum;
}

/* Exponent of a locked row against its source, from t that undoes it. */
static int8_t exponent_of(double t)
{
    const double e = t != 0 && isfinite(t) ? -round(log2(fabs(t))) : 0;
    return (int8_t)(fabs(e) <= MOST_EXPONENT ? (int)e : 0);
}

static int8_t row_exponent(const struct ww_cross *x, size_t locked, size_t anchor)
{
    const struct ww_neuron_problem problem = {
        .alpha = norm(x, 0, locked),
        .beta = norm(x, 1, locked),
        .cu = dot(x, 0, locked, anchor),
        .cw = dot(x, 1, locked, anchor),
        .power = 1,
        .own_u = x->own[0][anchor],
        .own_w = x->own[1][anchor],
    };
    return exponent_of(ww_solve_neuron(&problem));
}

static void add_votes(const struct ww_cross *x, const struct ww_inner_signed *how,
                      double *score)
{
    for (size_t i = 0; i < how->count; i++) {
        for (size_t j = 0; j < how->count; j++) {
            const double s = vote(x, how->first + i, how->first + j);
            score[i * how->count + j] += how->signs ? fabs(s) : s;
        }
    }
}

static void write_head(const struct ww_inner *inner, size_t g,
                       const struct ww_inner_signed *how, const uint32_t *match)
{
    const struct ww_cross *x = &inner->crosses[g];

    for (size_t i = 0; i < how->count; i++) {
        const size_t at = g * inner->d + how->first + i;
        const size_t from = how->first + match[i];
        inner->out->perm[at] = (uint32_t)from;
        inner->out->neg[at] = how->signs && vote(x, how->first + i, from) < 0;
        inner->out->exp[at] = how->scale ? row_exponent(x, how->first + i, from) : 0;
    }
}

enum ww_err ww_inner_find_signed(const struct ww_inner *inner,
                                 const struct ww_inner_signed *how, struct ww_error *err)
{
    const size_t n = how->count;
    double *score = ww_calloc(n, n * sizeof(*score));
    uint32_t *match = ww_calloc(n, sizeof(*match));
    enum ww_err rc = WW_OK;

    if (!score || !match) {
        rc = WW_FAIL_MEMORY(err, "the dimensions of a head");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        match[i] = (uint32_t)i;
    }
    for (size_t g = 0; g < inner->n && how->perm && how->shared_perm; g++) {
        add_votes(&inner->crosses[g], how, score);
    }
    if (how->perm && how->shared_perm) {
        rc = ww_assign(n, score, match, err);
    }
    for (size_t g = 0; g < inner->n && !rc; g++) {
        if (how->perm && !how->shared_perm) {
            for (size_t i = 0; i < n * n; i++) {
                score[i] = 0;
            }
            add_votes(&inner->crosses[g], how, score);
            rc = ww_assign(n, score, match, err);
        }
        if (!rc) {
            write_head(inner, g, how, match);
        }
    }
out:
    ww_free(score);
    ww_free(match);
    return rc;
}

/* z with q' ~ z q, normalised on both sides: its direction is the turn. */
static void turn_of(const struct ww_cross *x, size_t i, size_t j, double *re, double *im)
{
    *re = *im = 0;
    for (int side = 0; side < 2; side++) {
        const double norms =
            (norm(x, side, i) + norm(x, side, j)) * (x->own[side][i] + x->own[side][j]);
        if (norms > 0) {
            *re += (dot(x, side, i, i) + dot(x, side, j, j)) / sqrt(norms);
            *im += (dot(x, side, j, i) - dot(x, side, i, j)) / sqrt(norms);
        }
    }
}

/* Power of two of a pair: one unknown for two rows, which brings the anchor's nearest to
 * the locked ones. The other way about, what was added to the locked rows after the lock
 * would be as many times as long on the side that the lock made shorter, and the factor
 * that makes least of it is another one. */
static int8_t pair_exponent(const struct ww_cross *x, size_t i, size_t j)
{
    double re[2];
    double im[2];

    for (int side = 0; side < 2; side++) {
        re[side] = dot(x, side, i, i) + dot(x, side, j, j);
        im[side] = dot(x, side, i, j) - dot(x, side, j, i);
    }
    const struct ww_pair_problem problem = {
        .alpha = x->own[0][i] + x->own[0][j],
        .beta = x->own[1][i] + x->own[1][j],
        .cq_re = re[0],
        .cq_im = im[0],
        .ck_re = re[1],
        .ck_im = im[1],
    };
    double t_re = 1;
    double t_im = 0;
    ww_solve_pair(&problem, &t_re, &t_im);
    return exponent_of(1 / hypot(t_re, t_im));
}

/* t = 1 sends (x, y) to (-y, x): the same convention as the lock's. */
static void write_turn(const struct ww_inner *inner, size_t g, size_t i, size_t j, int t,
                       int8_t exp)
{
    const size_t base = g * inner->d;

    inner->out->perm[base + i] = (uint32_t)(t & 1 ? j : i);
    inner->out->perm[base + j] = (uint32_t)(t & 1 ? i : j);
    inner->out->neg[base + i] = t == 1 || t == 2;
    inner->out->neg[base + j] = t == 2 || t == 3;
    inner->out->exp[base + i] = inner->out->exp[base + j] = exp;
}

static int quarter(double re, double im, bool forced, bool odd)
{
    if (!forced) {
        odd = fabs(im) > fabs(re);
    }
    return odd ? (im > 0 ? 1 : 3) : (re < 0 ? 2 : 0);
}

void ww_inner_find_turns(const struct ww_inner *inner, const struct ww_rope *rope,
                         bool shared_odd, bool scale)
{
    for (size_t f = 0; f < rope->dims / 2; f++) {
        size_t i = 0;
        size_t j = 0;
        double even = 0;
        double odd = 0;
        double re = 0;
        double im = 0;
        ww_inner_pair(rope, f, &i, &j);
        for (size_t g = 0; g < inner->n; g++) {
            turn_of(&inner->crosses[g], i, j, &re, &im);
            even += fabs(re);
            odd += fabs(im);
        }
        for (size_t g = 0; g < inner->n; g++) {
            turn_of(&inner->crosses[g], i, j, &re, &im);
            write_turn(inner, g, i, j, quarter(re, im, shared_odd, odd > even),
                       scale ? pair_exponent(&inner->crosses[g], i, j) : 0);
        }
    }
}

void ww_inner_find_head_sign(const struct ww_inner *inner)
{
    for (size_t g = 0; g < inner->n; g++) {
        double sum = 0;
        for (size_t i = 0; i < inner->d; i++) {
            sum += vote(&inner->crosses[g], i, inner->out->perm[g * inner->d + i]);
        }
        for (size_t i = 0; i < inner->d; i++) {
            inner->out->neg[g * inner->d + i] = sum < 0;
        }
    }
}

struct ww_likeness ww_inner_likeness(const struct ww_inner *inner, size_t head)
{
    const struct ww_cross *x = &inner->crosses[head];
    const struct ww_element *e = inner->out;
    struct ww_likeness like = {0};

    for (size_t i = 0; i < inner->d; i++) {
        const size_t at = head * inner->d + i;
        const double t = ldexp(e->neg[at] ? -1 : 1, -e->exp[at]);
        like.locked += t * t * norm(x, 0, i) + norm(x, 1, i) / (t * t);
        like.dot += t * dot(x, 0, i, e->perm[at]) + dot(x, 1, i, e->perm[at]) / t;
        like.anchor += x->own[0][i] + x->own[1][i];
    }
    return like;
}
