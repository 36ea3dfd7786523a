/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crossover with competition for items, after M2N2 (Abrantes et al. 2025, arXiv
 * 2508.16204). An archive of candidates, each with a score for every item:
 *
 *   competition  an item is worth the same however many can do it: a candidate's fitness
 *                is the sum over items of its score's share of the archive's
 *   attraction   the second parent is drawn by what it does where the first one fails
 *   crossover    the numbers before a random place are mixed as (a, b) by a random share,
 *                those behind it by the other share: on the arc between the parents,
 * since halves of two directions are shorter than either
 *
 * and a child takes the place of the least fit when it is fitter. Parents span little, so
 * children are moved by a fifth of the variables' steps as well. All are tried on the
 * same items; the end is the re-test of all searches by one score.
 */
#include <math.h>
#include <string.h>

#include "evo/search_int.h"
#include "la/fixmath.h"
#include "la/philox.h"
#include "util/alloc.h"
#include "util/fail.h"

#define ARCHIVE 20u
#define BROOD 4u /* children of one generation */
#define MUTATION 0.2
#define TWO_PI 0x1.921fb54442d18p+2

struct cross {
    struct ww_search *s;
    uint32_t d;
    uint32_t n; /* in the archive */
    double *x;  /* [ARCHIVE + BROOD][d] */
    uint32_t trial[ARCHIVE + BROOD];
    double *total; /* [items] of the archive's scores */
    double *least; /* [items], taken from each, so that scores are not negative */
    uint32_t items;
    double fitness[ARCHIVE + BROOD];
};

static double uniform(const struct cross *c, uint32_t child, uint32_t draw)
{
    const uint64_t seed = c->s->options->seed;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {draw, child, 0, 0x63726f73}; /* "cros" */
    uint32_t w[4];
    ww_philox(key, counter, w);
    return (double)((((uint64_t)w[0] << 32 | w[1]) >> 11) + 1) * 0x1p-53;
}

/* Score of an item, larger is better; NaN for a failed trial. */
static double score_of(const struct cross *c, uint32_t at, uint32_t item)
{
    const struct ww_journal_entry *entry = ww_journal_find(c->s->journal, c->trial[at]);
    if (entry->n != c->items) {
        return (double)NAN;
    }
    return c->s->space.minimise ? -entry->scores[item] : entry->scores[item];
}

/* Fitness of the first n by shares of the items' totals. */
static void compete(struct cross *c, uint32_t n)
{
    for (uint32_t j = 0; j < c->items; j++) {
        c->least[j] = INFINITY;
        c->total[j] = 0;
        for (uint32_t i = 0; i < n; i++) {
            const double v = score_of(c, i, j);
            c->least[j] = v < c->least[j] ? v : c->least[j];
        }
        for (uint32_t i = 0; i < n; i++) {
            const double v = score_of(c, i, j);
            c->total[j] += isnan(v) ? 0 : v - c->least[j];
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0; /* NaN or 0 for a failed trial, which is worth less than 0 */
        for (uint32_t j = 0; j < c->items; j++) {
            if (c->total[j] > 0) {
                sum += (score_of(c, i, j) - c->least[j]) / c->total[j];
            }
        }
        c->fitness[i] = isnan(score_of(c, i, 0)) ? -1 : sum;
    }
}

/* One of n by its worth [n], none negative. */
static uint32_t draw_by(const double *worth, uint32_t n, double random)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += worth[i];
    }
    double left = random * sum;
    for (uint32_t i = 0; i + 1 < n; i++) {
        left -= worth[i];
        if (left < 0) {
            return i;
        }
    }
    return n - 1;
}

static uint32_t partner(const struct cross *c, uint32_t first, double random)
{
    double worth[ARCHIVE];
    for (uint32_t i = 0; i < c->n; i++) {
        worth[i] = 0;
        for (uint32_t j = 0; j < c->items; j++) {
            const double more = score_of(c, i, j) - score_of(c, first, j);
            worth[i] += more > 0 && c->total[j] > 0 ? more / c->total[j] : 0;
        }
    }
    return draw_by(worth, c->n, random);
}

/* Weights on the arc between two directions; a line where there is none. */
static void arc(const double *a, const double *b, uint32_t n, double t, double w[2])
{
    double aa = 0, bb = 0, ab = 0;
    for (uint32_t i = 0; i < n; i++) {
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        ab += a[i] * b[i];
    }
    const double length = sqrt(aa) * sqrt(bb);
    const double cosine = length > 0 ? ab / length : 1;
    w[0] = 1 - t;
    w[1] = t;
    if (cosine > 0.9995 || cosine < -0.9995) {
        return;
    }
    /* The chord's point at t, stretched to the arc between the lengths. */
    const double wanted = (1 - t) * sqrt(aa) + t * sqrt(bb);
    const double chord = sqrt(w[0] * w[0] * aa + w[1] * w[1] * bb + 2 * w[0] * w[1] * ab);
    for (int k = 0; k < 2 && chord > 0; k++) {
        w[k] *= wanted / chord;
    }
}

static void make_child(const struct cross *c, uint32_t child, const double *low,
                       const double *high, double *x)
{
    double a[WW_SPACE_MAX_NUMBERS];
    double b[WW_SPACE_MAX_NUMBERS];
    double u[WW_SPACE_MAX_NUMBERS];
    double w[2];
    double worth[ARCHIVE];
    for (uint32_t i = 0; i < c->n; i++) {
        worth[i] = c->fitness[i] > 0 ? c->fitness[i] : 0;
    }
    const uint32_t first = draw_by(worth, c->n, uniform(c, child, 0));
    const uint32_t second = partner(c, first, uniform(c, child, 1));
    const double t = uniform(c, child, 2);
    const uint32_t cut = (uint32_t)(uniform(c, child, 3) * c->d);
    ww_space_to_steps(&c->s->space, c->x + (size_t)first * c->d, a);
    ww_space_to_steps(&c->s->space, c->x + (size_t)second * c->d, b);
    for (uint32_t side = 0; side < 2; side++) {
        const uint32_t from = side ? cut : 0;
        const uint32_t to = side ? c->d : cut;
        arc(a + from, b + from, to - from, side ? 1 - t : t, w);
        for (uint32_t i = from; i < to; i++) {
            const double radius = sqrt(-2 * ww_fix_log(uniform(c, child, 4 + 2 * i)));
            const double normal =
                radius * ww_fix_cos(TWO_PI * uniform(c, child, 5 + 2 * i));
            u[i] = w[0] * a[i] + w[1] * b[i] + MUTATION * normal;
            u[i] = u[i] < low[i] ? low[i] : u[i] > high[i] ? high[i] : u[i];
        }
    }
    ww_space_from_steps(&c->s->space, u, x);
}

/* The archive begins with the start and random points of the box. */
static enum ww_err first_archive(struct cross *c, struct ww_search_report *report,
                                 struct ww_error *err)
{
    double low[WW_SPACE_MAX_NUMBERS];
    double high[WW_SPACE_MAX_NUMBERS];
    double u[WW_SPACE_MAX_NUMBERS];
    uint32_t first = 0;
    ww_space_box(&c->s->space, low, high);
    ww_space_start(&c->s->space, c->x);
    for (uint32_t i = 1; i < ARCHIVE; i++) {
        for (uint32_t j = 0; j < c->d; j++) {
            u[j] = low[j] + (high[j] - low[j]) * uniform(c, i, j);
        }
        ww_space_from_steps(&c->s->space, u, c->x + (size_t)i * c->d);
    }
    enum ww_err rc = ww_search_try(c->s, c->x, ARCHIVE, WW_PART_SEARCH,
                                   ww_search_items(c->s, WW_PART_SEARCH, 0), &first, err);
    if (rc) {
        return rc;
    }
    const struct ww_journal_entry *start = ww_journal_find(c->s->journal, first);
    if (start->n < 2) {
        return WW_FAIL(err, WW_E_NO_MATCH,
                       "evaluator '%s' gives no scores by item for the start, and "
                       "'crossover' needs them%s%s",
                       c->s->evaluator.argv[0], start->why ? ": " : "",
                       start->why ? start->why : "");
    }
    c->items = start->n;
    c->n = ARCHIVE;
    for (uint32_t i = 0; i < ARCHIVE; i++) {
        c->trial[i] = first + i;
    }
    c->total = ww_calloc(c->items, sizeof(*c->total));
    c->least = ww_calloc(c->items, sizeof(*c->least));
    return c->total && c->least ? ww_search_add_point(c->s, first, ARCHIVE, report, err)
                                : WW_FAIL_MEMORY(err, "an archive");
}

/* Children come, the least fit go, as many as came. */
static void select_fittest(struct cross *c)
{
    compete(c, ARCHIVE + BROOD);
    for (uint32_t n = ARCHIVE + BROOD; n > ARCHIVE; n--) {
        uint32_t worst = 0;
        for (uint32_t i = 1; i < n; i++) {
            worst = c->fitness[i] <= c->fitness[worst] ? i : worst;
        }
        memmove(c->x + (size_t)worst * c->d, c->x + (size_t)(n - 1) * c->d,
                c->d * sizeof(*c->x));
        c->trial[worst] = c->trial[n - 1];
        c->fitness[worst] = c->fitness[n - 1];
    }
    compete(c, ARCHIVE);
}

static enum ww_err generation(struct cross *c, struct ww_search_report *report,
                              struct ww_error *err)
{
    double low[WW_SPACE_MAX_NUMBERS];
    double high[WW_SPACE_MAX_NUMBERS];
    uint32_t first = 0;
    ww_space_box(&c->s->space, low, high);
    for (uint32_t i = 0; i < BROOD; i++) {
        make_child(c, c->s->next + i, low, high, c->x + (size_t)(ARCHIVE + i) * c->d);
    }
    enum ww_err rc =
        ww_search_try(c->s, c->x + (size_t)ARCHIVE * c->d, BROOD, WW_PART_SEARCH,
                      ww_search_items(c->s, WW_PART_SEARCH, 0), &first, err);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < BROOD; i++) {
        c->trial[ARCHIVE + i] = first + i;
    }
    select_fittest(c);
    report->generations++;
    return ww_search_add_point(c->s, first, BROOD, report, err);
}

/* The best of the archive by their means. */
static enum ww_err end(struct cross *c, struct ww_jw *w, struct ww_search_report *report,
                       struct ww_error *err)
{
    struct ww_leaders leaders;
    double *x = ww_calloc(c->s->space.leaders + 1, c->d * sizeof(*x));
    enum ww_err rc = ww_leaders_init(&leaders, c->d, c->s->space.leaders + 1, err);
    if (!rc && !x) {
        rc = WW_FAIL_MEMORY(err, "leaders");
    }
    for (uint32_t i = 0; i < c->n && !rc; i++) {
        const double *at = c->x + (size_t)i * c->d;
        ww_leaders_add(&leaders, at,
                       ww_search_value(c->s, c->trial[i]) -
                           ww_space_penalty(&c->s->space, at));
    }
    for (uint32_t i = 0; i < leaders.n && !rc; i++) {
        memcpy(x + (size_t)i * c->d, leaders.at[i].x, c->d * sizeof(*x));
    }
    if (!rc) {
        rc = ww_search_end(c->s, x, leaders.n, "candidate", w, report, err);
    }
    ww_leaders_release(&leaders);
    ww_free(x);
    return rc;
}

enum ww_err ww_search_cross(struct ww_search *s, struct ww_jw *w,
                            struct ww_search_report *report, struct ww_error *err)
{
    const uint32_t least = ARCHIVE + BROOD + ww_search_reserve(&s->space);
    struct cross c = {.s = s, .d = s->space.d};
    if (s->budget < least) {
        return WW_FAIL(err, WW_E_USAGE,
                       "%u evaluations are too few: an archive, its first children and "
                       "the re-tests take %u",
                       s->budget, least);
    }
    c.x = ww_calloc(ARCHIVE + BROOD, c.d * sizeof(*c.x));
    enum ww_err rc =
        c.x ? first_archive(&c, report, err) : WW_FAIL_MEMORY(err, "an archive");
    if (!rc) {
        compete(&c, ARCHIVE);
    }
    while (!rc && s->next + BROOD + ww_search_reserve(&s->space) <= s->budget) {
        rc = generation(&c, report, err);
    }
    if (!rc) {
        rc = end(&c, w, report, err);
    }
    ww_free(c.x);
    ww_free(c.total);
    ww_free(c.least);
    return rc;
}
