/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaders of a search, and what one of them gained. Differences are paired, by item where
 * scores come by item and by round otherwise; the interval is Student's, since there may
 * be few of them. Rounds that are all the same bit for bit are of an evaluator that draws
 * no items, and count as one: they would make any gain look certain.
 */
#include <math.h>
#include <string.h>

#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"

/* 97.5 % points of Student's t with 1 to 30 degrees of freedom. */
static const double t_table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                 2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                 2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                 2.060,  2.056, 2.052, 2.048, 2.045, 2.042};

static double t_point(uint32_t degrees)
{
    return degrees <= WW_LEN(t_table) ? t_table[degrees - 1] : 1.96 + 2.5 / degrees;
}

enum ww_err ww_leaders_init(struct ww_leaders *leaders, uint32_t d, uint32_t room,
                            struct ww_error *err)
{
    *leaders = (struct ww_leaders){.d = d, .room = room};
    leaders->at = ww_calloc(room, sizeof(*leaders->at));
    bool good = leaders->at != NULL;
    for (uint32_t i = 0; good && i < room; i++) {
        leaders->at[i].x = ww_calloc(d, sizeof(double));
        good = leaders->at[i].x != NULL;
    }
    return good ? WW_OK : WW_FAIL_MEMORY(err, "leaders");
}

void ww_leaders_release(struct ww_leaders *leaders)
{
    for (uint32_t i = 0; leaders->at && i < leaders->room; i++) {
        ww_free(leaders->at[i].x);
    }
    ww_free(leaders->at);
    *leaders = (struct ww_leaders){0};
}

void ww_leaders_add(struct ww_leaders *leaders, const double *x, double value)
{
    const size_t bytes = leaders->d * sizeof(*x);
    uint32_t place = 0;
    for (uint32_t i = 0; i < leaders->n; i++) {
        if (memcmp(leaders->at[i].x, x, bytes) == 0) {
            return;
        }
        place += leaders->at[i].value >= value;
    }
    if (isnan(value) || place >= leaders->room) {
        return;
    }
    leaders->n += leaders->n < leaders->room;
    struct ww_leader freed = leaders->at[leaders->n - 1];
    memmove(leaders->at + place + 1, leaders->at + place,
            (leaders->n - 1 - place) * sizeof(*leaders->at));
    memcpy(freed.x, x, bytes);
    freed.value = value;
    leaders->at[place] = freed;
}

/* Differences of one round to out; how many. */
static uint32_t differences(const struct ww_search *s, uint32_t trial, double *out)
{
    const struct ww_journal_entry *a = ww_journal_find(s->journal, trial);
    const struct ww_journal_entry *b = ww_journal_find(s->journal, trial + 1);
    if (a->n == 0 || b->n == 0) {
        return 0;
    }
    if (a->n != b->n) {
        out[0] = ww_search_value(s, trial) - ww_search_value(s, trial + 1);
        return 1;
    }
    for (uint32_t i = 0; i < a->n; i++) {
        double difference = a->scores[i] - b->scores[i];
        out[i] = s->space.minimise ? -difference : difference;
    }
    return a->n;
}

static bool same_scores(const struct ww_search *s, uint32_t a, uint32_t b)
{
    const struct ww_journal_entry *of_a = ww_journal_find(s->journal, a);
    const struct ww_journal_entry *of_b = ww_journal_find(s->journal, b);
    return of_a->n > 0 && of_a->n == of_b->n &&
           memcmp(of_a->scores, of_b->scores, of_a->n * sizeof(*of_a->scores)) == 0;
}

static bool all_the_same(const struct ww_search *s, uint32_t first, uint32_t rounds)
{
    bool same = true;
    for (uint32_t r = 1; r < rounds && same; r++) {
        same = same_scores(s, first, first + 2 * r) &&
               same_scores(s, first + 1, first + 2 * r + 1);
    }
    return same;
}

static void interval_of(const double *x, struct ww_search_gain *gain)
{
    double sum = 0;
    double squares = 0;
    for (uint32_t i = 0; i < gain->n; i++) {
        sum += x[i];
    }
    gain->mean = sum / gain->n;
    for (uint32_t i = 0; i < gain->n; i++) {
        squares += (x[i] - gain->mean) * (x[i] - gain->mean);
    }
    gain->has_interval = gain->n > 1;
    if (gain->has_interval) {
        double half = t_point(gain->n - 1) * sqrt(squares / (gain->n - 1) / gain->n);
        gain->interval[0] = gain->mean - half;
        gain->interval[1] = gain->mean + half;
    }
}

enum ww_err ww_search_compare(const struct ww_search *s, uint32_t first, uint32_t rounds,
                              struct ww_search_gain *out, struct ww_error *err)
{
    size_t most = 0;
    *out = (struct ww_search_gain){0};
    rounds = all_the_same(s, first, rounds) ? 1 : rounds;
    for (uint32_t r = 0; r < rounds; r++) {
        most += 1 + ww_journal_find(s->journal, first + 2 * r)->n;
    }
    double *x = ww_calloc(most, sizeof(*x));
    if (!x) {
        return WW_FAIL_MEMORY(err, "a comparison");
    }
    for (uint32_t r = 0; r < rounds; r++) {
        out->n += differences(s, first + 2 * r, x + out->n);
    }
    if (out->n > 0) {
        interval_of(x, out);
    }
    ww_free(x);
    return WW_OK;
}
