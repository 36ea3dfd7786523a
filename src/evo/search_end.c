/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a search by one score. The least of many noisy scores is mostly luck, so the
 * leading few are tried again on other items, and what wins there is compared with the
 * start on items that nothing was chosen by.
 */
#include <math.h>
#include <string.h>

#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Of a re-test: another one on the same items says nothing new. */
static uint32_t rounds_of(const struct ww_space *space)
{
    return space->same_items ? 1 : space->repeats;
}

uint32_t ww_search_reserve(const struct ww_space *space)
{
    const uint64_t n = (uint64_t)rounds_of(space) * (space->leaders + 1 + 2);
    return n < UINT32_MAX / 2 ? (uint32_t)n : UINT32_MAX / 2; /* more than any budget */
}

uint32_t ww_search_last(const struct ww_space *space)
{
    const uint64_t n = (uint64_t)rounds_of(space) * 2;
    return n < UINT32_MAX / 2 ? (uint32_t)n : UINT32_MAX / 2;
}

/* Mean value over the rounds of a point in a row of trials; failed rounds make it NaN. */
static double over_rounds(const struct ww_search *s, uint32_t first, uint32_t stride)
{
    double sum = 0;
    const uint32_t n = rounds_of(&s->space);
    for (uint32_t r = 0; r < n; r++) {
        sum += ww_search_value(s, first + r * stride);
    }
    return sum / n;
}

/* n points in every round of a part; the first trial to *first. */
static enum ww_err rounds(struct ww_search *s, const double *x, uint32_t n,
                          enum ww_search_part part, uint32_t *first, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    *first = s->next;
    for (uint32_t r = 0; r < rounds_of(&s->space) && !rc; r++) {
        uint32_t at = 0;
        rc = ww_search_try(s, x, n, part, ww_search_items(s, part, r), &at, err);
    }
    return rc;
}

/* Best of the points by its place; n: none. */
static enum ww_err again(struct ww_search *s, const double *x, uint32_t n, uint32_t *best,
                         struct ww_jw *w, struct ww_error *err)
{
    uint32_t from = 0;
    double most = 0;
    const bool alone = n == 1; /* nothing to choose */
    enum ww_err rc = alone ? WW_OK : rounds(s, x, n, WW_PART_AGAIN, &from, err);
    *best = alone ? 0 : n;
    if (rc) {
        return rc;
    }
    ww_jw_key(w, "again");
    ww_jw_array(w);
    for (uint32_t i = 0; i < n && !alone; i++) {
        const double value = over_rounds(s, from + i, n);
        ww_jw_double(w, s->space.minimise ? -value : value);
        if (!isnan(value) && (*best == n || value > most)) {
            *best = i;
            most = value;
        }
    }
    ww_jw_close(w);
    return WW_OK;
}

/* The winner and the start, pair [2][d], on the last items. */
static enum ww_err decide(struct ww_search *s, const double *pair,
                          struct ww_search_report *report, uint32_t *observations,
                          struct ww_error *err)
{
    struct ww_search_gain gain;
    uint32_t from = 0;
    enum ww_err rc = rounds(s, pair, 2, WW_PART_FINAL, &from, err);
    if (!rc) {
        rc = ww_search_compare(s, from, rounds_of(&s->space), &gain, err);
    }
    if (rc) {
        return rc;
    }
    report->gain = gain.n > 0 ? gain.mean : (double)NAN;
    report->has_interval = gain.has_interval;
    memcpy(report->interval, gain.interval, sizeof(gain.interval));
    report->has_gain =
        gain.n > 0 && (gain.has_interval ? gain.interval[0] > 0 : gain.mean > 0);
    const double sign = s->space.minimise ? -1 : 1;
    report->score = sign * over_rounds(s, from + (report->has_gain ? 0 : 1), 2);
    report->start_score = sign * over_rounds(s, from + 1, 2);
    *observations = gain.n;
    return WW_OK;
}

static void write_gain(const struct ww_search_report *report, uint32_t observations,
                       struct ww_jw *w)
{
    ww_jw_ku64(w, "generations", report->generations);
    ww_jw_kstr(w, "chosen", report->chosen);
    ww_jw_kbool(w, "gain_over_start", report->has_gain);
    ww_jw_key(w, "gain");
    ww_jw_object(w);
    ww_jw_kdouble(w, "mean", report->gain);
    ww_jw_kinterval(w, "interval", report->has_interval, report->interval[0],
                    report->interval[1]);
    ww_jw_ku64(w, "observations", observations);
    ww_jw_close(w);
    ww_jw_kdouble(w, "score", report->score);
    ww_jw_kdouble(w, "start_score", report->start_score);
}

static enum ww_err name_chosen(struct ww_search *s, const double *x, const char *word,
                               struct ww_search_report *report, struct ww_error *err)
{
    struct ww_buf text;
    ww_buf_init(&text, (size_t)4 << 20);
    enum ww_err rc = ww_space_render(&s->space, x, &text, err);
    report->chosen = ww_strdup(report->has_gain ? word : "start");
    report->recipe = rc ? NULL : ww_strdup(ww_buf_cstr(&text));
    if (!rc && (!report->chosen || !report->recipe)) {
        rc = WW_FAIL_MEMORY(err, "a result");
    }
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_search_end(struct ww_search *s, const double *x, uint32_t n,
                          const char *first, struct ww_jw *w,
                          struct ww_search_report *report, struct ww_error *err)
{
    const uint32_t d = s->space.d;
    uint32_t best = 0;
    uint32_t observations = 0;
    double pair[2 * WW_SPACE_MAX_NUMBERS];
    enum ww_err rc = again(s, x, n, &best, w, err);
    report->gain = report->score = report->start_score = (double)NAN; /* not measured */
    ww_space_start(&s->space, pair + d);
    memcpy(pair, best < n ? x + (size_t)best * d : pair + d, d * sizeof(*pair));
    if (!rc && best < n) {
        rc = decide(s, pair, report, &observations, err);
    }
    const double *chosen = report->has_gain ? pair : pair + d;
    if (!rc) {
        rc = name_chosen(s, chosen, best == 0 ? first : "candidate", report, err);
    }
    if (!rc) {
        write_gain(report, observations, w);
        if (observations > 0) {
            ww_search_numbers_json(s, "compared", pair, w);
        } else {
            ww_jw_key(w, "compared");
            ww_jw_null(w);
        }
        rc = ww_search_point_json(s, chosen, w, err);
    }
    return rc ? rc : ww_search_add_numbers(s, chosen, report, err);
}
