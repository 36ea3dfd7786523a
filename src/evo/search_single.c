/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One score: CMA-ES in units of the variables' steps. All candidates of a generation see
 * the same items, so that their ranks compare them and not their items. The least of many
 * noisy scores is mostly luck, so the leading few and the mean of the distribution are
 * tried again on other items, and what wins there is compared with the start on items
 * that nothing was chosen by.
 */
#include <math.h>
#include <string.h>

#include "evo/cma.h"
#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct single {
    struct ww_search *s;
    struct ww_cma *cma;
    struct ww_leaders leaders;
    double *low, *high, *start; /* [d], steps */
    double *x;     /* [room][d]: candidates; later those that are re-tested */
    double *value; /* [room] */
    uint32_t room;
    uint32_t generations;
};

/* Trials behind the search: leaders and mean again, then the winner and the start. */
static uint32_t reserve(const struct ww_space *space)
{
    return space->repeats * (space->leaders + 1 + 2);
}

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
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for a search");
    }
    ww_space_box(space, g->low, g->high);
    ww_space_start(space, g->x);
    ww_space_to_steps(space, g->x, g->start);
    const struct ww_cma_options options = {.n = d,
                                           .start = g->start,
                                           .sigma = 1,
                                           .low = g->low,
                                           .high = g->high,
                                           .lambda = space->population,
                                           .restarts = space->restarts,
                                           .seed = g->s->options->seed};
    enum ww_err rc = ww_cma_new(&options, &g->cma, err);
    return rc ? rc : ww_leaders_init(&g->leaders, d, space->leaders, err);
}

static enum ww_err check_budget(const struct single *g, struct ww_error *err)
{
    const uint32_t least = 1 + ww_cma_lambda(g->cma) + reserve(&g->s->space);
    return g->s->budget >= least
               ? WW_OK
               : WW_FAIL(err, WW_E_USAGE,
                         "%u evaluations are too few: the start, one generation and the "
                         "re-tests take %u",
                         g->s->budget, least);
}

static enum ww_err try_start(struct single *g, struct ww_error *err)
{
    uint32_t trial = 0;
    ww_space_start(&g->s->space, g->x);
    enum ww_err rc = ww_search_try(g->s, g->x, 1, WW_PART_SEARCH,
                                   ww_search_items(g->s, WW_PART_SEARCH, 0), &trial, err);
    if (!rc && isnan(ww_search_value(g->s, trial))) {
        rc =
            WW_FAIL(err, WW_E_NO_MATCH, "evaluator '%s' gives no score for the start: %s",
                    g->s->evaluator.argv[0], ww_journal_find(g->s->journal, trial)->why);
    }
    return rc;
}

static enum ww_err generation(struct single *g, struct ww_error *err)
{
    const uint32_t d = g->s->space.d;
    const uint32_t lambda = ww_cma_lambda(g->cma);
    const double *u = ww_cma_ask(g->cma);
    uint32_t first = 0;
    for (uint32_t i = 0; i < lambda; i++) {
        ww_space_from_steps(&g->s->space, u + (size_t)i * d, g->x + (size_t)i * d);
    }
    const uint64_t items = ww_search_items(g->s, WW_PART_SEARCH, ++g->generations);
    enum ww_err rc =
        ww_search_try(g->s, g->x, lambda, WW_PART_SEARCH, items, &first, err);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < lambda; i++) {
        double value = ww_search_value(g->s, first + i);
        ww_leaders_add(&g->leaders, g->x + (size_t)i * d, value);
        g->value[i] = -value;
    }
    ww_cma_tell(g->cma, g->value);
    return WW_OK;
}

/* Mean value over the rounds of a point in a row of trials; failed rounds make it NaN. */
static double over_rounds(const struct single *g, uint32_t first, uint32_t stride)
{
    double sum = 0;
    for (uint32_t r = 0; r < g->s->space.repeats; r++) {
        sum += ww_search_value(g->s, first + r * stride);
    }
    return sum / g->s->space.repeats;
}

/* The mean is the first of the re-tested; returns the best by its place, or none. */
static enum ww_err again(struct single *g, uint32_t *best, struct ww_jw *w,
                         struct ww_error *err)
{
    const uint32_t d = g->s->space.d;
    const uint32_t n = 1 + g->leaders.n;
    uint32_t from = g->s->next;
    ww_cma_mean(g->cma, g->start);
    ww_space_from_steps(&g->s->space, g->start, g->x);
    for (uint32_t i = 1; i < n; i++) {
        memcpy(g->x + (size_t)i * d, g->leaders.at[i - 1].x, d * sizeof(double));
    }
    for (uint32_t r = 0; r < g->s->space.repeats; r++) {
        uint32_t first = 0;
        enum ww_err rc =
            ww_search_try(g->s, g->x, n, WW_PART_AGAIN,
                          ww_search_items(g->s, WW_PART_AGAIN, r), &first, err);
        if (rc) {
            return rc;
        }
    }
    *best = n;
    ww_jw_key(w, "again");
    ww_jw_array(w);
    for (uint32_t i = 0; i < n; i++) {
        g->value[i] = over_rounds(g, from + i, n);
        ww_jw_double(w, g->s->space.minimise ? -g->value[i] : g->value[i]);
        if (!isnan(g->value[i]) && (*best == n || g->value[i] > g->value[*best])) {
            *best = i;
        }
    }
    ww_jw_close(w);
    return WW_OK;
}

/* The winner and the start on the last items. */
static enum ww_err decide(struct single *g, uint32_t best,
                          struct ww_search_report *report, uint32_t *observations,
                          struct ww_error *err)
{
    const uint32_t d = g->s->space.d;
    struct ww_search_gain gain;
    uint32_t from = g->s->next;
    if (best > 0) {
        memcpy(g->x, g->x + (size_t)best * d, d * sizeof(double));
    }
    ww_space_start(&g->s->space, g->x + d);
    for (uint32_t r = 0; r < g->s->space.repeats; r++) {
        uint32_t first = 0;
        enum ww_err rc =
            ww_search_try(g->s, g->x, 2, WW_PART_FINAL,
                          ww_search_items(g->s, WW_PART_FINAL, r), &first, err);
        if (rc) {
            return rc;
        }
    }
    enum ww_err rc = ww_search_compare(g->s, from, g->s->space.repeats, &gain, err);
    report->gain = gain.mean;
    report->has_interval = gain.has_interval;
    memcpy(report->interval, gain.interval, sizeof(gain.interval));
    report->has_gain =
        gain.n > 0 && (gain.has_interval ? gain.interval[0] > 0 : gain.mean > 0);
    const double sign = g->s->space.minimise ? -1 : 1;
    report->score = sign * over_rounds(g, from + (report->has_gain ? 0 : 1), 2);
    report->start_score = sign * over_rounds(g, from + 1, 2);
    *observations = gain.n;
    return rc;
}

static void write_gain(const struct ww_search_report *report, uint32_t observations,
                       struct ww_jw *w)
{
    ww_jw_kstr(w, "chosen", report->chosen);
    ww_jw_kbool(w, "gain_over_start", report->has_gain);
    ww_jw_key(w, "gain");
    ww_jw_object(w);
    ww_jw_kdouble(w, "mean", report->gain);
    ww_jw_key(w, "interval");
    if (report->has_interval) {
        ww_jw_array(w);
        ww_jw_double(w, report->interval[0]);
        ww_jw_double(w, report->interval[1]);
        ww_jw_close(w);
    } else {
        ww_jw_null(w);
    }
    ww_jw_ku64(w, "observations", observations);
    ww_jw_close(w);
    ww_jw_kdouble(w, "score", report->score);
    ww_jw_kdouble(w, "start_score", report->start_score);
}

static enum ww_err end(struct single *g, struct ww_jw *w, struct ww_search_report *report,
                       struct ww_error *err)
{
    uint32_t best = 0;
    uint32_t observations = 0;
    struct ww_buf text;
    enum ww_err rc = again(g, &best, w, err);
    ww_buf_init(&text, (size_t)4 << 20);
    if (!rc && best <= g->leaders.n) {
        rc = decide(g, best, report, &observations, err);
    }
    if (rc) {
        goto out;
    }
    if (!report->has_gain) {
        ww_space_start(&g->s->space, g->x);
    }
    report->generations = g->generations;
    report->chosen = ww_strdup(!report->has_gain ? "start"
                               : best == 0       ? "mean"
                                                 : "candidate");
    rc = ww_space_render(&g->s->space, g->x, &text, err);
    report->recipe = rc ? NULL : ww_strdup(ww_buf_cstr(&text));
    if (!rc && (!report->chosen || !report->recipe)) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for a result");
    }
    if (!rc) {
        ww_jw_ku64(w, "generations", g->generations);
        write_gain(report, observations, w);
        rc = ww_search_point_json(g->s, g->x, w, err);
    }
out:
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_search_single(struct ww_search *s, struct ww_jw *w,
                             struct ww_search_report *report, struct ww_error *err)
{
    struct single g = {.s = s};
    enum ww_err rc = begin(&g, err);
    if (!rc) {
        rc = check_budget(&g, err);
    }
    if (!rc) {
        rc = try_start(&g, err);
    }
    while (!rc && !ww_cma_stopped(g.cma) &&
           s->next + ww_cma_lambda(g.cma) + reserve(&s->space) <= s->budget) {
        rc = generation(&g, err);
    }
    if (!rc) {
        rc = end(&g, w, report, err);
    }
    ww_cma_free(g.cma);
    ww_leaders_release(&g.leaders);
    ww_free(g.low);
    ww_free(g.high);
    ww_free(g.start);
    ww_free(g.x);
    ww_free(g.value);
    return rc;
}
