/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One score: CMA-ES in units of the variables' steps. All candidates of a generation see
 * the same items, so that their ranks compare them and not their items. What the screen
 * left out stays where the start has it, and the search is of the others alone.
 */
#include <math.h>
#include <string.h>

#include "evo/cma.h"
#include "evo/search_int.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct single {
    struct ww_search *s;
    struct ww_search_report *report;
    struct ww_cma *cma;
    struct ww_leaders leaders;
    struct ww_screen screen;
    double *low, *high, *start; /* [n], steps of the numbers that are searched for */
    double *x;                  /* [room][d]: candidates; later those to be re-tested */
    double *value;              /* [room] */
    uint32_t room;
    double most;   /* mean of the best generation so far */
    uint32_t idle; /* generations since one was better than that */
};

static enum ww_err begin(struct single *g, struct ww_error *err)
{
    const struct ww_space *space = &g->s->space;
    const uint32_t d = space->d;
    g->low = ww_calloc(d, sizeof(double));
    g->high = ww_calloc(d, sizeof(double));
    g->start = ww_calloc(d, sizeof(double));
    g->room = (uint32_t)ww_max_u64(g->s->budget, space->leaders + 1) + 1;
    g->x = ww_calloc((size_t)g->room * d, sizeof(double));
    g->value = ww_calloc(g->room, sizeof(double));
    if (!g->low || !g->high || !g->start || !g->x || !g->value) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    enum ww_err rc = ww_screen_init(&g->screen, space, err);
    return rc ? rc : ww_leaders_init(&g->leaders, d, space->leaders, err);
}

/* From where the screen ended, in its numbers. */
static enum ww_err begin_cma(struct single *g, struct ww_error *err)
{
    const struct ww_space *space = &g->s->space;
    double low[WW_SPACE_MAX_NUMBERS];
    double high[WW_SPACE_MAX_NUMBERS];
    double from[WW_SPACE_MAX_NUMBERS];
    ww_space_box(space, low, high);
    ww_space_to_steps(space, g->screen.from, from);
    for (uint32_t i = 0; i < g->screen.n; i++) {
        g->low[i] = low[g->screen.number[i]];
        g->high[i] = high[g->screen.number[i]];
        g->start[i] = from[g->screen.number[i]];
    }
    const struct ww_cma_options options = {.n = g->screen.n,
                                           .start = g->start,
                                           .sigma = 1,
                                           .low = g->low,
                                           .high = g->high,
                                           .lambda = space->population,
                                           .restarts = space->restarts,
                                           .seed = g->s->options->seed};
    return ww_cma_new(&options, &g->cma, err);
}

/* All numbers of a point whose searched ones are u. */
static void expand(const struct single *g, const double *u, double *x)
{
    double all[WW_SPACE_MAX_NUMBERS];
    ww_space_to_steps(&g->s->space, g->screen.from, all);
    for (uint32_t i = 0; i < g->screen.n; i++) {
        all[g->screen.number[i]] = u[i];
    }
    ww_space_from_steps(&g->s->space, all, x);
    for (uint32_t i = 0; i < g->s->space.d; i++) {
        if (!g->screen.kept[i]) {
            x[i] = g->screen.from[i]; /* not a rounding of it */
        }
    }
}

uint32_t ww_search_population(const struct ww_space *space, uint32_t n)
{
    const uint32_t usual = 4 + (uint32_t)(3 * ww_fix_log(n));
    return space->population ? space->population : usual > 8 ? usual : 8;
}

/* Without a screen a generation is the least; with one the search may end there. */
static enum ww_err check_budget(const struct single *g, struct ww_error *err)
{
    const struct ww_space *space = &g->s->space;
    const uint32_t lambda = ww_search_population(space, space->d);
    const uint32_t least = space->screen ? ww_screen_trials(space) + ww_search_last(space)
                                         : 1 + lambda + ww_search_reserve(space);
    return g->s->budget >= least
               ? WW_OK
               : WW_FAIL(err, WW_E_USAGE,
                         "%u evaluations are too few: %s and the re-tests take %u",
                         g->s->budget,
                         space->screen ? "the screen" : "the start, one generation",
                         least);
}

enum ww_err ww_search_check_start(const struct ww_search *s, uint32_t trial,
                                  struct ww_error *err)
{
    return isnan(ww_search_value(s, trial))
               ? WW_FAIL(err, WW_E_NO_MATCH,
                         "evaluator '%s' gives no score for the start: %s",
                         s->evaluator.argv[0], ww_journal_find(s->journal, trial)->why)
               : WW_OK;
}

static enum ww_err try_start(struct single *g, struct ww_error *err)
{
    uint32_t trial = 0;
    ww_space_start(&g->s->space, g->x);
    const uint64_t items = ww_search_items(g->s, WW_PART_SEARCH, g->s->rounds++);
    enum ww_err rc = ww_search_try(g->s, g->x, 1, WW_PART_SEARCH, items, &trial, err);
    return rc ? rc : ww_search_check_start(g->s, trial, err);
}

/* Generations see other items, so a better mean is one that is better by more than its
 * own standard error. */
static void count_idle(struct single *g, const double *value, uint32_t n)
{
    double sum = 0;
    double squares = 0;
    uint32_t good = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!isnan(value[i])) {
            sum += value[i];
            good++;
        }
    }
    const double mean = sum / good;
    for (uint32_t i = 0; i < n; i++) {
        squares += isnan(value[i]) ? 0 : (value[i] - mean) * (value[i] - mean);
    }
    const double error = good > 1 ? sqrt(squares / (good - 1) / good) : 0;
    const bool better = good > 0 && (isnan(g->most) || mean > g->most + error);
    g->idle = better ? 0 : g->idle + 1;
    g->most = better ? mean : g->most;
}

static enum ww_err generation(struct single *g, struct ww_error *err)
{
    const uint32_t d = g->s->space.d;
    const uint32_t lambda = ww_cma_lambda(g->cma);
    const double *u = ww_cma_ask(g->cma);
    uint32_t first = 0;
    for (uint32_t i = 0; i < lambda; i++) {
        expand(g, u + (size_t)i * g->screen.n, g->x + (size_t)i * d);
    }
    const uint64_t items = ww_search_items(g->s, WW_PART_SEARCH, g->s->rounds++);
    enum ww_err rc =
        ww_search_try(g->s, g->x, lambda, WW_PART_SEARCH, items, &first, err);
    if (rc) {
        return rc;
    }
    g->report->generations++;
    for (uint32_t i = 0; i < lambda; i++) {
        g->value[i] = ww_search_value(g->s, first + i);
    }
    count_idle(g, g->value, lambda);
    for (uint32_t i = 0; i < lambda; i++) {
        const double *x = g->x + (size_t)i * d;
        const double value = g->value[i] - ww_space_penalty(&g->s->space, x);
        ww_leaders_add(&g->leaders, x, value);
        g->value[i] = -value;
    }
    ww_cma_tell(g->cma, g->value);
    return ww_search_add_point(g->s, first, lambda, g->report, err);
}

static bool goes_on(const struct single *g)
{
    const struct ww_space *space = &g->s->space;
    const bool patient = space->patience == 0 || g->idle < space->patience;
    return patient && !ww_cma_stopped(g->cma) &&
           g->s->next + ww_cma_lambda(g->cma) + ww_search_reserve(space) <= g->s->budget;
}

/* The mean of the distribution is the better answer under noise: it is the first. */
static enum ww_err end(struct single *g, struct ww_jw *w, struct ww_error *err)
{
    const uint32_t d = g->s->space.d;
    ww_cma_mean(g->cma, g->start);
    expand(g, g->start, g->x);
    for (uint32_t i = 0; i < g->leaders.n; i++) {
        memcpy(g->x + (size_t)(i + 1) * d, g->leaders.at[i].x, d * sizeof(double));
    }
    ww_screen_json(&g->screen, &g->s->space, w);
    return ww_search_end(g->s, g->x, 1 + g->leaders.n, "mean", w, g->report, err);
}

enum ww_err ww_search_single(struct ww_search *s, struct ww_jw *w,
                             struct ww_search_report *report, struct ww_error *err)
{
    struct single g = {.s = s, .report = report, .most = (double)NAN};
    enum ww_err rc = begin(&g, err);
    if (!rc) {
        rc = check_budget(&g, err);
    }
    if (!rc) {
        rc = s->space.screen ? ww_screen_run(s, &g.screen, report, err)
                             : try_start(&g, err);
    }
    if (!rc) {
        rc = begin_cma(&g, err);
    }
    while (!rc && goes_on(&g)) {
        rc = generation(&g, err);
    }
    if (!rc) {
        rc = end(&g, w, err);
    }
    ww_cma_free(g.cma);
    ww_leaders_release(&g.leaders);
    ww_screen_release(&g.screen);
    ww_free(g.low);
    ww_free(g.high);
    ww_free(g.start);
    ww_free(g.x);
    ww_free(g.value);
    return rc;
}
