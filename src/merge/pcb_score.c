/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact score takes its exponential and hyperbolic tangent from la/fixmath.h, whose
 * series are long and divide at each term. The near one has short series of products,
 * which end at r^6 for |r| up to ln 2 / 2: an exponential is off by 1.7e-7 of itself at
 * most, a tangent by 4.6e-7, so a score by less than 7e-7, of which NEAR is more than
 * fourteen times as much; LEAST covers what has no bits left to be near with. Whatever a
 * comparison leaves in doubt is computed exactly, so it decides no bit.
 */
#include "merge/pcb_score.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "la/fixmath.h"
#include "merge/weighted.h"
#include "util/clones.h"

#define NEAR 1e-5
#define LEAST DBL_MIN
#define LN2 0x1.62e42fefa39efp-1
#define TO_WHOLE 0x1.8p52 /* adding it rounds to whole numbers, in the lowest bits */
#define MOST_TANH 20.0    /* it is 1 from there on */
#define MOST_SMALL 0.0625 /* four terms are within 1e-11 up to there */

size_t ww_pcb_room_bytes(const struct ww_merge_job *job)
{
    const size_t doubles = 4 * (size_t)job->n_sources + 3;
    return job->max_block * (doubles * sizeof(double) + sizeof(uint32_t) + 1);
}

void ww_pcb_room_of(const struct ww_merge_job *job, void *scratch,
                    struct ww_pcb_room *room)
{
    const size_t block = job->max_block;
    double *next = scratch;

    for (uint32_t i = 0; i < job->n_sources; i++) {
        room->a[i] = next;
        room->part[i] = next + block;
        room->s[i] = next + 2 * block;
        room->slack[i] = next + 3 * block;
        next += 4 * block;
    }
    room->with = next;
    room->term = next + block;
    room->keys = (uint64_t *)(next + 2 * block);
    room->index = (uint32_t *)(next + 3 * block);
    room->mark = (uint8_t *)(room->index + block);
}

static inline double scaled(double a, const struct ww_pcb_model *m)
{
    return m->high > m->low ? (a - m->low) / (m->high - m->low) : 0;
}

WW_CLONES static void multiply(const double *restrict x, const double *restrict y,
                               size_t n, double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = x[i] * y[i];
    }
}

WW_CLONES static void place(const double *restrict x, size_t n, struct ww_pcb_model m,
                            double *restrict a, double *restrict part)
{
    for (size_t i = 0; i < n; i++) {
        const double v = fabs(x[i]);
        const double above = v < m.low ? m.low : v;
        const double in = above > m.high ? m.high : above;
        const double sign = x[i] < 0 ? -1.0 : 0.0;
        a[i] = in;
        part[i] = (x[i] > 0 ? 1.0 : sign) * scaled(in, &m);
    }
}

WW_CLONES static void powers(const double *restrict part, size_t n, double factor,
                             double *restrict to)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = factor * part[i] * part[i];
    }
}

/* What is summed over the models, of which one's own is the other factor. */
static double *const *others(const struct ww_pcb_rule *rule, double *const *x,
                             const struct ww_pcb_room *room)
{
    return rule->inter == WW_PCB_RAW ? x : room->part;
}

static void sum_models(const struct ww_pcb_rule *rule, double *const *all, size_t n,
                       double *to)
{
    memset(to, 0, n * sizeof(*to));
    for (uint32_t k = 0; k < rule->n_sources; k++) {
        ww_weighted_add(all[k], n, to);
    }
}

/* How far the models agree with one of them: room->with. */
static void agreement(const struct ww_pcb_rule *rule, double *const *x, size_t n,
                      const struct ww_pcb_room *room, uint32_t source)
{
    if (rule->inter != WW_PCB_PAIRS) {
        sum_models(rule, others(rule, x, room), n, room->with);
        multiply(x[source], room->with, n, room->term);
        ww_fix_tanh_n(room->term, n, room->with);
        return;
    }
    memset(room->with, 0, n * sizeof(*room->with));
    for (uint32_t k = 0; k < rule->n_sources; k++) {
        multiply(room->part[source], room->part[k], n, room->term);
        ww_fix_tanh_n(room->term, n, room->term);
        ww_weighted_add(room->term, n, room->with);
    }
}

static void place_all(const struct ww_pcb_rule *rule, double *const *x, size_t n,
                      const struct ww_pcb_room *room)
{
    for (uint32_t k = 0; k < rule->n_sources; k++) {
        place(x[k], n, rule->models[k], room->a[k], room->part[k]);
    }
}

void ww_pcb_score(const struct ww_pcb_rule *rule, double *const *x, size_t n,
                  const struct ww_pcb_room *room)
{
    place_all(rule, x, n, room);
    for (uint32_t k = 0; k < rule->n_sources; k++) {
        agreement(rule, x, n, room, k);
        powers(room->part[k], n, rule->n_sources, room->s[k]);
        ww_fix_exp_n(room->s[k], n, room->s[k]);
        for (size_t i = 0; i < n; i++) {
            room->s[k][i] = room->s[k][i] * room->with[i];
        }
    }
}

WW_CLONES void ww_pcb_add(const double *restrict x, const double *restrict a,
                          const double *restrict s, struct ww_pcb_model m, double weight,
                          size_t n, double *restrict sum, double *restrict total)
{
    const double range = m.most > m.least ? m.most - m.least : 0;

    for (size_t i = 0; i < n; i++) {
        const double above = s[i] < m.least ? m.least : s[i];
        const double in = above > m.most ? m.most : above;
        const double share = range > 0 ? (in - m.least) / range : 0;
        const double minus = x[i] < 0 ? -1.0 : 0.0;
        const double sign = x[i] > 0 ? 1.0 : minus;
        sum[i] = sum[i] + weight * sign * a[i] * share;
        total[i] = total[i] + share;
    }
}

/* exp(x) is (1 + series) times scale, for x from 0 to 700. */
static inline double near_parts(double x, double *scale)
{
    const double whole = x * (1 / LN2) + TO_WHOLE;
    const double r = x - (whole - TO_WHOLE) * LN2;
    uint64_t bits;
    memcpy(&bits, &whole, sizeof(bits));
    bits = (bits << 52) + ((uint64_t)1023 << 52);
    memcpy(scale, &bits, sizeof(*scale));
    double sum = 1.0 / 120 + r * (1.0 / 720);
    sum = 1.0 / 24 + r * sum;
    sum = 1.0 / 6 + r * sum;
    sum = 0.5 + r * sum;
    return r * (1 + r * sum);
}

static inline double near_tanh(double y)
{
    const double a = fabs(y);
    double scale;
    const double series = near_parts(2 * (a > MOST_TANH ? MOST_TANH : a), &scale);
    const double e = series * scale + (scale - 1);
    const double t = e / (e + 2);
    return y < 0 ? -t : t;
}

WW_CLONES static void add_near_tanh(const double *restrict x, const double *restrict y,
                                    size_t n, double *restrict sum,
                                    double *restrict magnitude)
{
    for (size_t i = 0; i < n; i++) {
        const double t = near_tanh(x[i] * y[i]);
        sum[i] = sum[i] + t;
        magnitude[i] = magnitude[i] + fabs(t);
    }
}

WW_CLONES static void near_score(const double *restrict part, double factor, size_t n,
                                 double *restrict s, double *restrict slack)
{
    for (size_t i = 0; i < n; i++) {
        double scale;
        const double e = (1 + near_parts(factor * part[i] * part[i], &scale)) * scale;
        s[i] = e * s[i];
        slack[i] = NEAR * e * slack[i] + LEAST;
    }
}

/* The tangents of products; of small ones, as most changes are, by a polynomial. */
WW_CLONES static void near_tangents(const double *restrict x, const double *restrict with,
                                    size_t n, double *restrict to)
{
    int64_t large = 0;

    for (size_t i = 0; i < n; i++) {
        const double y = x[i] * with[i];
        large |= fabs(y) >= MOST_SMALL;
        to[i] = y;
    }
    if (!large) {
        for (size_t i = 0; i < n; i++) {
            const double u = to[i] * to[i];
            const double sum = 1 - u * (1.0 / 3 - u * (2.0 / 15 - u * (17.0 / 315)));
            to[i] = to[i] * sum;
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = near_tanh(to[i]);
    }
}

/* s: the tangents. */
WW_CLONES static void near_single(const double *restrict part, double factor, size_t n,
                                  double *restrict s, double *restrict slack)
{
    for (size_t i = 0; i < n; i++) {
        double scale;
        const double e = (1 + near_parts(factor * part[i] * part[i], &scale)) * scale;
        const double v = e * s[i];
        s[i] = v;
        slack[i] = NEAR * fabs(v) + LEAST;
    }
}

static void near_pairs(const struct ww_pcb_rule *rule, size_t n,
                       const struct ww_pcb_room *room, uint32_t source)
{
    memset(room->s[source], 0, n * sizeof(double));
    memset(room->slack[source], 0, n * sizeof(double));
    for (uint32_t k = 0; k < rule->n_sources; k++) {
        add_near_tanh(room->part[source], room->part[k], n, room->s[source],
                      room->slack[source]);
    }
    near_score(room->part[source], rule->n_sources, n, room->s[source],
               room->slack[source]);
}

void ww_pcb_near(const struct ww_pcb_rule *rule, double *const *x, size_t n,
                 const struct ww_pcb_room *room)
{
    place_all(rule, x, n, room);
    if (rule->inter != WW_PCB_PAIRS) {
        sum_models(rule, others(rule, x, room), n, room->with);
    }
    for (uint32_t k = 0; k < rule->n_sources; k++) {
        if (rule->inter == WW_PCB_PAIRS) {
            near_pairs(rule, n, room, k);
        } else {
            near_tangents(x[k], room->with, n, room->s[k]);
            near_single(room->part[k], rule->n_sources, n, room->s[k], room->slack[k]);
        }
    }
}
