/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several objectives: an archive of all that was tried. Children come from members of its
 * front, lonely ones first, by differential steps and the variables' own steps (Deb et
 * al. 2002 for the choice, Storn and Price 1997 for the step). Everything is tried on the
 * same items, since members of a front are compared over the whole run; at the end those
 * of the front that dominate most above the start are tried on other items (with several
 * objectives nearly everything is in a front, and its loneliest points are worse than the
 * start in something), and what is reported is what was seen there.
 */
#include "evo/search_front.h"

#include <math.h>
#include <string.h>

#include "la/fixmath.h"
#include "la/philox.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SHOWN_PER_LEADER 4 /* of the front, four for each of the space's leaders */
#define SCALE 0.5          /* of the difference of two members */
#define MUTATION 0.2       /* of a variable's step */
#define TWO_PI 0x1.921fb54442d18p+2

static double uniform(const struct ww_front *f, uint32_t child, uint32_t draw)
{
    const uint64_t seed = f->s->options->seed;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {draw, child, 0, 0x66726f6e}; /* not those of CMA-ES */
    uint32_t w[4];
    ww_philox(key, counter, w);
    return (double)((((uint64_t)w[0] << 32 | w[1]) >> 11) + 1) * 0x1p-53;
}

static uint32_t pick(const struct ww_front *f, uint32_t child, uint32_t draw, uint32_t n)
{
    uint32_t i = (uint32_t)(uniform(f, child, draw) * n);
    return i < n ? i : n - 1;
}

enum ww_err ww_front_init(struct ww_front *f, struct ww_search *s, size_t room,
                          ww_front_scorer scorer, void *payload, struct ww_error *err)
{
    *f = (struct ww_front){.s = s,
                           .d = s->space.d,
                           .k = s->space.n_objectives,
                           .shown = s->space.leaders * SHOWN_PER_LEADER,
                           .scorer = scorer,
                           .payload = payload};
    f->x = ww_calloc(room, f->d * sizeof(double));
    f->score = ww_calloc(room, f->k * sizeof(double));
    f->in_front = ww_calloc(room, sizeof(bool));
    f->stays = ww_calloc(room, sizeof(bool));
    f->points = ww_calloc(room, f->k * sizeof(double));
    f->crowding = ww_calloc(room, sizeof(double));
    f->member = ww_calloc(room, sizeof(uint32_t));
    if (!f->x || !f->score || !f->in_front || !f->stays || !f->points || !f->crowding ||
        !f->member) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    if (f->shown > WW_PARETO_MAX_VOLUME) {
        return WW_FAIL(err, WW_E_LIMIT, "at most %d leaders with several objectives",
                       WW_PARETO_MAX_VOLUME / SHOWN_PER_LEADER);
    }
    return WW_OK;
}

void ww_front_release(struct ww_front *f)
{
    ww_free(f->x);
    ww_free(f->score);
    ww_free(f->in_front);
    ww_free(f->stays);
    ww_free(f->points);
    ww_free(f->crowding);
    ww_free(f->member);
}

/* Of those that were members and those that came since: what is beaten stays so. */
static void find_members(struct ww_front *f)
{
    const size_t bytes = f->k * sizeof(double);
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (i >= f->ranked || f->in_front[i]) {
            memcpy(f->points + (size_t)n * f->k, f->score + (size_t)i * f->k, bytes);
            f->member[n++] = i;
        }
    }
    ww_pareto_front(f->points, n, f->k, f->stays);
    f->n_members = 0;
    f->ranked = f->n;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = f->member[i];
        f->in_front[at] = f->stays[i];
        if (f->stays[i]) {
            memcpy(f->points + (size_t)f->n_members * f->k, f->score + (size_t)at * f->k,
                   bytes);
            f->member[f->n_members++] = at;
        }
    }
}

/* Members of the front of all points, lonely ones first, ties by their order. */
void ww_front_rank(struct ww_front *f)
{
    const uint32_t k = f->k;
    find_members(f);
    ww_pareto_crowding(f->points, f->n_members, k, f->crowding);
    for (uint32_t i = 1; i < f->n_members; i++) {
        uint32_t member = f->member[i];
        double crowding = f->crowding[i];
        uint32_t at = i;
        for (; at > 0 && f->crowding[at - 1] < crowding; at--) {
            f->member[at] = f->member[at - 1];
            f->crowding[at] = f->crowding[at - 1];
        }
        f->member[at] = member;
        f->crowding[at] = crowding;
    }
}

enum ww_err ww_front_best_first(struct ww_front *f, struct ww_error *err)
{
    uint32_t picked[WW_PARETO_MAX_VOLUME];
    ww_front_rank(f);
    uint32_t *lonely = ww_calloc(f->n_members + 1, sizeof(*lonely));
    if (!lonely) {
        return WW_FAIL_MEMORY(err, "a front");
    }
    for (uint32_t i = 0; i < f->n_members; i++) {
        lonely[i] = f->member[i];
        memcpy(f->points + (size_t)i * f->k, f->score + (size_t)lonely[i] * f->k,
               f->k * sizeof(double));
    }
    const size_t n = ww_pareto_pick(f->points, f->n_members, f->k, f->score, f->shown,
                                    f->crowding, picked);
    for (uint32_t i = 0; i < n; i++) {
        f->member[i] = lonely[picked[i]];
        f->in_front[f->member[i]] = false;
    }
    for (uint32_t i = 0, at = (uint32_t)n; i < f->n_members; i++) {
        if (f->in_front[lonely[i]]) {
            f->member[at++] = lonely[i];
        }
        f->in_front[lonely[i]] = true;
    }
    ww_free(lonely);
    return WW_OK;
}

static double mirrored(double u, double low, double high)
{
    u = u < low ? 2 * low - u : u;
    u = u > high ? 2 * high - u : u;
    return u < low ? low : u > high ? high : u;
}

/* The lonelier of two members. */
static const double *parent(const struct ww_front *f, uint32_t child, uint32_t draw)
{
    uint32_t a = pick(f, child, draw, f->n_members);
    uint32_t b = pick(f, child, draw + 1, f->n_members);
    return f->x + (size_t)f->member[a < b ? a : b] * f->d;
}

/* Coordinates are steps here. */
static void make_child(const struct ww_front *f, uint32_t child, const double *low,
                       const double *high, double *u)
{
    double a[WW_SPACE_MAX_NUMBERS];
    double b[WW_SPACE_MAX_NUMBERS];
    ww_space_to_steps(&f->s->space, parent(f, child, 0), u);
    ww_space_to_steps(&f->s->space, parent(f, child, 2), a);
    ww_space_to_steps(&f->s->space, parent(f, child, 4), b);
    for (uint32_t i = 0; i < f->d; i++) {
        double radius = sqrt(-2 * ww_fix_log(uniform(f, child, 6 + 2 * i)));
        double normal = radius * ww_fix_cos(TWO_PI * uniform(f, child, 7 + 2 * i));
        u[i] =
            mirrored(u[i] + SCALE * (a[i] - b[i]) + MUTATION * normal, low[i], high[i]);
    }
}

void ww_front_random(const struct ww_front *f, uint32_t child, const double *low,
                     const double *high, double *u)
{
    for (uint32_t i = 0; i < f->d; i++) {
        u[i] = low[i] + (high[i] - low[i]) * uniform(f, child, 6 + i);
    }
}

bool ww_front_has(const struct ww_front *f, uint32_t n, const double *x)
{
    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(f->x + (size_t)i * f->d, x, f->d * sizeof(*x)) == 0) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_front_try(struct ww_front *f, uint32_t n, struct ww_error *err)
{
    enum ww_err rc =
        f->scorer(f, f->x + (size_t)f->n * f->d, n, f->score + (size_t)f->n * f->k, err);
    f->n += rc ? 0 : n;
    return rc;
}

static enum ww_err score_trials(struct ww_front *f, const double *x, uint32_t n,
                                double *out, struct ww_error *err)
{
    uint32_t first = 0;
    enum ww_err rc = ww_search_try(f->s, x, n, WW_PART_SEARCH,
                                   ww_search_items(f->s, WW_PART_SEARCH, 0), &first, err);
    for (uint32_t i = 0; !rc && i < n; i++) {
        for (uint32_t o = 0; o < f->k; o++) {
            out[(size_t)i * f->k + o] = ww_search_objective(f->s, first + i, o);
        }
    }
    return rc;
}

/* Random until there is a front to breed, and where a child is known: corners of the box
 * stop all that would leave it there. */
enum ww_err ww_front_generation(struct ww_front *f, uint32_t n, struct ww_error *err)
{
    double low[WW_SPACE_MAX_NUMBERS];
    double high[WW_SPACE_MAX_NUMBERS];
    double u[WW_SPACE_MAX_NUMBERS];
    ww_space_box(&f->s->space, low, high);
    ww_front_rank(f);
    const bool breeds = f->n > WW_FRONT_POPULATION && f->n_members >= 2;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t child = f->n + i;
        double *x = f->x + (size_t)child * f->d;
        if (breeds) {
            make_child(f, child, low, high, u);
            ww_space_from_steps(&f->s->space, u, x);
        }
        if (!breeds || ww_front_has(f, child, x)) {
            ww_front_random(f, child, low, high, u);
            ww_space_from_steps(&f->s->space, u, x);
        }
    }
    return ww_front_try(f, n, err);
}

static void write_scores(const struct ww_front *f, uint32_t trial, struct ww_jw *w)
{
    ww_jw_key(w, "scores");
    ww_jw_object(w);
    for (uint32_t o = 0; o < f->k; o++) {
        double value = ww_search_objective(f->s, trial, o);
        ww_jw_kdouble(w, f->s->space.objectives[o],
                      f->s->space.objective_minimise[o] ? -value : value);
    }
    ww_jw_close(w);
}

/* The front as other items show it. trial: the start's, then those of n members. */
static enum ww_err write_front(struct ww_front *f, const uint32_t *trial, uint32_t n,
                               struct ww_jw *w, struct ww_search_report *report,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t i = 0; i <= n; i++) {
        for (uint32_t o = 0; o < f->k; o++) {
            f->points[(size_t)i * f->k + o] = ww_search_objective(f->s, trial[i], o);
        }
    }
    report->front = (uint32_t)ww_pareto_front(f->points + f->k, n, f->k, f->in_front);
    report->hypervolume = ww_pareto_volume(f->points + f->k, n, f->k, f->points);
    rc = ww_search_add_front(f->s, trial, f->in_front, n, report, err);
    ww_jw_key(w, "start");
    ww_jw_object(w);
    write_scores(f, trial[0], w);
    ww_jw_close(w);
    ww_jw_key(w, "front");
    ww_jw_array(w);
    for (uint32_t i = 0; !rc && i < n; i++) {
        if (f->in_front[i]) {
            ww_jw_object(w);
            const double *x = f->x + (size_t)f->member[i] * f->d;
            write_scores(f, trial[1 + i], w);
            rc = ww_search_point_json(f->s, x, w, err);
            ww_jw_close(w);
        }
    }
    ww_jw_close(w);
    ww_jw_kdouble(w, "hypervolume", report->hypervolume);
    ww_jw_ku64(w, "generations", report->generations);
    return rc;
}

enum ww_err ww_front_end(struct ww_front *f, struct ww_jw *w,
                         struct ww_search_report *report, struct ww_error *err)
{
    uint32_t first = 0;
    uint32_t tried = 1;
    enum ww_err rc = ww_front_best_first(f, err);
    const uint32_t n = f->n_members < f->shown ? f->n_members : f->shown;
    double *x = ww_calloc(n + 1, f->d * sizeof(double));
    uint32_t *trial = ww_calloc(n + 1, sizeof(*trial));
    if (!rc && (!x || !trial)) {
        rc = WW_FAIL_MEMORY(err, "a front");
    }
    if (rc) {
        goto out;
    }
    memcpy(x, f->x, f->d * sizeof(double));
    for (uint32_t i = 0; i < n; i++) {
        if (f->member[i] > 0) { /* the start is there */
            trial[1 + i] = tried;
            memcpy(x + (size_t)tried++ * f->d, f->x + (size_t)f->member[i] * f->d,
                   f->d * sizeof(double));
        }
    }
    rc = ww_search_try(f->s, x, tried, WW_PART_FINAL,
                       ww_search_items(f->s, WW_PART_FINAL, 0), &first, err);
    for (uint32_t i = 0; i <= n; i++) {
        trial[i] += first;
    }
    if (!rc) {
        rc = write_front(f, trial, n, w, report, err);
    }
    report->chosen = rc ? NULL : ww_strdup("front");
    if (!rc && !report->chosen) {
        rc = WW_FAIL_MEMORY(err, "a result");
    }
out:
    ww_free(x);
    ww_free(trial);
    return rc;
}

enum ww_err ww_front_begin(struct ww_front *f, struct ww_search *s, uint32_t least,
                           struct ww_error *err)
{
    enum ww_err rc = ww_front_init(f, s, s->budget, score_trials, NULL, err);
    if (!rc && s->budget < least + f->shown + 2) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "%u evaluations are too few: the start, %u points and the re-test "
                     "of the front take %u",
                     s->budget, least, least + f->shown + 2);
    }
    if (!rc) {
        ww_space_start(&s->space, f->x);
        rc = ww_front_try(f, 1, err);
    }
    if (!rc && ww_journal_find(s->journal, 0)->n == 0) {
        rc =
            WW_FAIL(err, WW_E_NO_MATCH, "evaluator '%s' gives no score for the start: %s",
                    s->evaluator.argv[0], ww_journal_find(s->journal, 0)->why);
    }
    return rc;
}

enum ww_err ww_search_front(struct ww_search *s, struct ww_jw *w,
                            struct ww_search_report *report, struct ww_error *err)
{
    struct ww_front f;
    enum ww_err rc = ww_front_begin(&f, s, 2 * WW_FRONT_POPULATION, err);
    while (!rc && s->next + WW_FRONT_POPULATION + f.shown + 1 <= s->budget) {
        rc = ww_front_generation(&f, WW_FRONT_POPULATION, err);
        report->generations++;
    }
    if (!rc) {
        rc = ww_front_end(&f, w, report, err);
    }
    ww_front_release(&f);
    return rc;
}
