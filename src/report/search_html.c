/* SPDX-License-Identifier: Apache-2.0 */
/* A search on one page: how the scores went, what is claimed of the result and on which
 * items, and the numbers; or the front. */
#include "report/plot.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "weightward/report.h"

static void score_row(struct ww_page *p, const char *key, double score)
{
    ww_page_putf(p, "<tr><th>%s</th><td>", key);
    if (isnan(score)) {
        ww_page_put(p, "not measured");
    } else {
        ww_page_putf(p, "%.6g", score);
    }
    ww_page_put(p, "</td></tr>\n");
}

/* Where every trial of a re-test failed there is no gain, and no number for it. */
static const char *claim(const struct ww_search_report *r)
{
    if (isnan(r->gain)) {
        return "<p class=\"no\">Nothing was compared with the start, since the re-tests "
               "gave no scores: the result is the start.</p>\n";
    }
    return r->has_gain ? "<p>Scores above are of items that nothing was chosen by.</p>\n"
                       : "<p class=\"no\">No gain over the start is left on items that "
                         "nothing was chosen by: the result is the start.</p>\n";
}

static void summary(struct ww_page *p, const struct ww_search_report *r)
{
    ww_page_put(p, "<h1>A search</h1>\n<table>\n");
    ww_page_row(p, "result", r->chosen);
    ww_page_putf(p,
                 "<tr><th>trials</th><td>%u, of them %u failed</td></tr>\n"
                 "<tr><th>generations</th><td>%u</td></tr>\n",
                 r->trials, r->failed, r->generations);
    if (r->recipe) {
        score_row(p, "score", r->score);
        score_row(p, "score of the start", r->start_score);
    }
    if (r->recipe && !isnan(r->gain)) {
        ww_page_putf(p, "<tr><th>gain</th><td class=\"%s\">%.4g",
                     r->has_gain ? "yes" : "untold", r->gain);
        if (r->has_interval) {
            ww_page_putf(p, ", 95 %% interval %.4g to %.4g", r->interval[0],
                         r->interval[1]);
        }
        ww_page_put(p, "</td></tr>\n");
    }
    ww_page_put(p, "</table>\n");
    if (r->recipe) {
        ww_page_put(p, claim(r));
    }
}

/* Best so far and the generations' means over the trials. */
static enum ww_err curve(struct ww_page *p, const struct ww_search_report *r,
                         struct ww_error *err)
{
    const size_t n = r->n_curve;
    const struct ww_plot plot = {"trials", "score while searching", false};
    double *room = n ? ww_calloc(n, 3 * sizeof(*room)) : NULL;
    if (!room) {
        return n ? WW_FAIL_MEMORY(err, "a page") : WW_OK;
    }
    for (size_t i = 0; i < n; i++) {
        room[i] = r->curve[i].trials;
        room[n + i] = r->curve[i].generation;
        room[2 * n + i] = r->curve[i].best;
    }
    const struct ww_plot_line lines[] = {
        {"mean of a generation", room, room + n, NULL, NULL, n, false},
        {"best so far", room, room + 2 * n, NULL, NULL, n, false}};
    ww_page_put(p, "<h2>Learning curve</h2>\n<p>Generations see unlike items unless the "
                   "space says otherwise, and the best of many noisy scores is partly "
                   "luck: the claim is made above.</p>\n");
    ww_plot_lines(p, &plot, lines, 2);
    ww_free(room);
    return WW_OK;
}

static void numbers(struct ww_page *p, const struct ww_search_report *r)
{
    if (r->n_numbers == 0) {
        return;
    }
    ww_page_put(p, "<h2>Numbers</h2>\n<table><tr><th>name</th><th>chosen</th><th>start"
                   "</th><th>box</th></tr>\n");
    for (uint32_t i = 0; i < r->n_numbers; i++) {
        const struct ww_search_number *v = &r->numbers[i];
        ww_page_put(p, "<tr><th>");
        ww_page_text(p, v->name);
        ww_page_putf(p, "</th><td>%.6g</td><td>%.6g</td><td>%.6g to %.6g</td></tr>\n",
                     v->chosen, v->start, v->low, v->high);
    }
    ww_page_put(p, "</table>\n<h2>Recipe</h2>\n<pre>");
    ww_page_text(p, r->recipe);
    ww_page_put(p, "</pre>\n");
}

static void table(struct ww_page *p, const struct ww_search_report *r)
{
    const uint32_t k = r->n_objectives;
    ww_page_put(p, "<table><tr><th></th>");
    for (uint32_t o = 0; o < k; o++) {
        ww_page_put(p, "<th>");
        ww_page_text(p, r->objectives[o]);
        ww_page_put(p, "</th>");
    }
    ww_page_put(p, "</tr>\n");
    for (uint32_t i = 0; i <= r->front; i++) {
        ww_page_put(p, i ? "<tr><th>front</th>" : "<tr><th>start</th>");
        for (uint32_t o = 0; o < k; o++) {
            ww_page_putf(p, "<td>%.6g</td>", r->points[(size_t)i * k + o]);
        }
        ww_page_put(p, "</tr>\n");
    }
    ww_page_putf(p, "</table>\n<p>Volume above the start: %.4g</p>\n", r->hypervolume);
}

/* The first two objectives; the table has all. */
static enum ww_err front(struct ww_page *p, const struct ww_search_report *r,
                         struct ww_error *err)
{
    const uint32_t k = r->n_objectives;
    const size_t n = r->front;
    const struct ww_plot plot = {"the first objective", "the second objective", false};
    if (k < 2) {
        return WW_OK;
    }
    double *room = ww_calloc(n + 1, 2 * sizeof(*room));
    if (!room) {
        return WW_FAIL_MEMORY(err, "a page");
    }
    for (size_t i = 0; i <= n; i++) {
        room[i] = r->points[i * k];
        room[n + 1 + i] = r->points[i * k + 1];
    }
    const struct ww_plot_line lines[] = {
        {"the front", room + 1, room + n + 2, NULL, NULL, n, true},
        {"the start", room, room + n + 1, NULL, NULL, 1, true}};
    ww_page_put(p, "<h2>Front</h2>\n<p>None of these is better than another in every "
                   "objective, on items that nothing was chosen by.</p>\n");
    ww_plot_lines(p, &plot, lines, 2);
    table(p, r);
    ww_free(room);
    return WW_OK;
}

enum ww_err ww_report_search_html(const struct ww_search_report *report, char **out,
                                  struct ww_error *err)
{
    struct ww_page page;
    *out = NULL;
    ww_page_begin(&page, "weightward evo search", err);
    summary(&page, report);
    enum ww_err rc = curve(&page, report, err);
    numbers(&page, report);
    if (!rc) {
        rc = front(&page, report, err);
    }
    page.rc = page.rc ? page.rc : rc;
    return ww_page_end(&page, out);
}
