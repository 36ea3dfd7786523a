/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several objectives by surrogates, as MAP (Li et al. 2024, arXiv 2406.07529): random
 * points of the box are tried, a quadratic is fitted to each objective, and the front of
 * the quadratics is found for nothing. Unlike there, the second half of the trials goes
 * to where the quadratics promise most, since they have to be true there and not
 * everywhere. The front's points are tried on other items, and what is reported was seen
 * there: a surrogate promises, it does not measure.
 */
#include <string.h>

#include "evo/search_front.h"
#include "evo/surrogate.h"
#include "util/alloc.h"
#include "util/fail.h"

#define FREE_GENERATIONS 100u
#define ROUNDS 3u /* of points where the quadratics promise most */

struct map {
    struct ww_front trials;
    struct ww_front free; /* scored by the surrogates */
    struct ww_surrogate surrogate[WW_PARETO_MAX_OBJECTIVES];
    double low[WW_SPACE_MAX_NUMBERS]; /* steps */
    double high[WW_SPACE_MAX_NUMBERS];
};

/* The box as [-1, 1]. */
static void unit(const struct map *m, const double *x, double *u)
{
    const struct ww_space *space = &m->trials.s->space;
    ww_space_to_steps(space, x, u);
    for (uint32_t i = 0; i < space->d; i++) {
        u[i] = 2 * (u[i] - m->low[i]) / (m->high[i] - m->low[i]) - 1;
    }
}

static enum ww_err score_free(struct ww_front *f, const double *x, uint32_t n,
                              double *out, struct ww_error *err)
{
    const struct map *m = f->payload;
    double u[WW_SPACE_MAX_NUMBERS];
    (void)err;
    for (uint32_t i = 0; i < n; i++) {
        unit(m, x + (size_t)i * f->d, u);
        for (uint32_t o = 0; o < f->k; o++) {
            out[(size_t)i * f->k + o] = ww_surrogate_value(&m->surrogate[o], u);
        }
    }
    return WW_OK;
}

/* Points in steps behind those that were tried, random ones from `from` on. */
static enum ww_err try_points(struct map *m, uint32_t from, uint32_t n,
                              struct ww_error *err)
{
    struct ww_front *f = &m->trials;
    double u[WW_SPACE_MAX_NUMBERS];
    for (uint32_t i = from; i < n; i++) {
        ww_front_random(f, f->n + i, m->low, m->high, u);
        ww_space_from_steps(&f->s->space, u, f->x + (size_t)(f->n + i) * f->d);
    }
    return ww_front_try(f, n, err);
}

static enum ww_err fit(struct map *m, struct ww_error *err)
{
    const struct ww_front *f = &m->trials;
    double *u = ww_calloc(f->n, f->d * sizeof(*u));
    double *y = ww_calloc(f->n, sizeof(*y));
    enum ww_err rc = u && y ? WW_OK : WW_FAIL_MEMORY(err, "surrogates");
    for (uint32_t i = 0; i < f->n && !rc; i++) {
        unit(m, f->x + (size_t)i * f->d, u + (size_t)i * f->d);
    }
    for (uint32_t o = 0; o < f->k && !rc; o++) {
        for (uint32_t i = 0; i < f->n; i++) {
            y[i] = f->score[(size_t)i * f->k + o];
        }
        rc = ww_surrogate_fit(u, y, f->n, f->d, &m->surrogate[o], err);
    }
    ww_free(u);
    ww_free(y);
    return rc;
}

static void release_fit(struct map *m)
{
    for (uint32_t o = 0; o < WW_PARETO_MAX_OBJECTIVES; o++) {
        ww_surrogate_release(&m->surrogate[o]);
    }
}

/* Bred from the start and the front of what was tried, by what the quadratics say. */
static enum ww_err find_front(struct map *m, struct ww_search_report *report,
                              struct ww_error *err)
{
    struct ww_front *f = &m->free;
    const struct ww_front *tried = &m->trials;
    release_fit(m);
    ww_front_release(f);
    ww_front_rank(&m->trials);
    const uint32_t seeds =
        tried->n_members < tried->shown ? tried->n_members : tried->shown;
    const size_t room = 1 + seeds + (size_t)FREE_GENERATIONS * WW_FRONT_POPULATION;
    enum ww_err rc = ww_front_init(f, m->trials.s, room, score_free, m, err);
    rc = rc ? rc : fit(m, err);
    if (!rc) {
        ww_space_start(&f->s->space, f->x);
        uint32_t n = 1;
        for (uint32_t i = 0; i < seeds; i++) {
            if (tried->member[i] > 0) { /* the start is there */
                memcpy(f->x + (size_t)n++ * f->d,
                       tried->x + (size_t)tried->member[i] * f->d, f->d * sizeof(double));
            }
        }
        rc = ww_front_try(f, n, err);
    }
    for (uint32_t g = 0; g < FREE_GENERATIONS && !rc; g++) {
        rc = ww_front_generation(f, WW_FRONT_POPULATION, err);
        report->generations++;
    }
    return rc ? rc : ww_front_best_first(f, err);
}

/* n points that the quadratics promise most of, so that they are best known there. */
static enum ww_err try_promises(struct map *m, uint32_t n,
                                struct ww_search_report *report, struct ww_error *err)
{
    struct ww_front *f = &m->trials;
    enum ww_err rc = find_front(m, report, err);
    uint32_t made = 0;
    for (uint32_t i = 0; i < m->free.n_members && made < n && !rc; i++) {
        const double *x = m->free.x + (size_t)m->free.member[i] * f->d;
        if (!ww_front_has(f, f->n + made, x)) {
            memcpy(f->x + (size_t)(f->n + made++) * f->d, x, f->d * sizeof(*x));
        }
    }
    return rc ? rc : try_points(m, made, n, err);
}

/* Half of the trials at random, the others where the fits to those before promise most.
 */
static enum ww_err try_all(struct map *m, struct ww_search_report *report,
                           struct ww_error *err)
{
    struct ww_front *f = &m->trials;
    const uint32_t most = f->s->budget - f->shown - 1;
    const uint32_t least = (uint32_t)ww_surrogate_terms(f->d) * 3 / 2;
    const uint32_t random = most / 2 > least ? most / 2 : least < most ? least : most;
    enum ww_err rc = WW_OK;
    while (f->n < random && !rc) {
        const uint32_t left = random - f->n;
        rc = try_points(m, 0, left < WW_FRONT_POPULATION ? left : WW_FRONT_POPULATION,
                        err);
    }
    const uint32_t step = (most - random + ROUNDS - 1) / ROUNDS;
    while (f->n < most && !rc) {
        const uint32_t left = most - f->n;
        rc = try_promises(m, left < step ? left : step, report, err);
    }
    return rc;
}

static void write_fit(const struct map *m, struct ww_jw *w)
{
    ww_jw_key(w, "surrogate");
    ww_jw_object(w);
    for (uint32_t o = 0; o < m->trials.k; o++) {
        ww_jw_kdouble(w, m->trials.s->space.objectives[o], m->surrogate[o].told);
    }
    ww_jw_close(w);
}

static enum ww_err check(const struct ww_search *s, struct ww_error *err)
{
    return s->space.d <= WW_SURROGATE_MAX_VARIABLES
               ? WW_OK
               : WW_FAIL(err, WW_E_LIMIT,
                         "a surrogate has at most %u numbers, the space has %u",
                         WW_SURROGATE_MAX_VARIABLES, s->space.d);
}

enum ww_err ww_search_map(struct ww_search *s, struct ww_jw *w,
                          struct ww_search_report *report, struct ww_error *err)
{
    struct map *m = ww_calloc(1, sizeof(*m));
    enum ww_err rc = m ? check(s, err) : WW_FAIL_MEMORY(err, "a search");
    if (rc) {
        goto out;
    }
    rc = ww_front_begin(&m->trials, s, (uint32_t)ww_surrogate_terms(s->space.d), err);
    ww_space_box(&s->space, m->low, m->high);
    if (!rc) {
        rc = try_all(m, report, err);
    }
    if (!rc) {
        rc = find_front(m, report, err);
    }
    if (!rc) {
        write_fit(m, w);
        rc = ww_front_end(&m->free, w, report, err);
    }
    release_fit(m);
    ww_front_release(&m->trials);
    ww_front_release(&m->free);
out:
    ww_free(m);
    return rc;
}
