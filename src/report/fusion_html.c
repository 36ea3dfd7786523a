/* SPDX-License-Identifier: Apache-2.0 */
/* A fitted pool on one page: what each rule reached beside the baselines, what each task
 * says of them, who has the weight, and whether more items would help. */
#include <inttypes.h>
#include <string.h>

#include "report/plot.h"
#include "util/fail.h"
#include "weightward/report.h"

struct writer {
    struct ww_page page;
    const struct ww_fusion_report *r;
    const struct ww_fusion_details *d;
};

static void number_row(struct ww_page *p, const char *key, uint64_t value)
{
    ww_page_putf(p, "<tr><th>%s</th><td>%" PRIu64 "</td></tr>\n", key, value);
}

static void summary(struct writer *w)
{
    const struct ww_fusion_report *r = w->r;
    struct ww_page *p = &w->page;
    ww_page_put(p, "<h1>A pool of models</h1>\n<table>\n");
    ww_page_row(p, "rule asked for", r->asked);
    ww_page_row(p, "rule taken", r->chosen);
    ww_page_row(p, "best single member", r->best);
    number_row(p, "items fitted", r->fitted);
    number_row(p, "items held out", r->held_out);
    number_row(p, "calls made", r->calls);
    number_row(p, "answers that were in the cache", r->calls_avoided);
    ww_page_putf(p, "<tr><th>cost</th><td>%.6g</td></tr>\n</table>\n", r->cost);
    if (strcmp(r->asked, r->chosen) != 0) {
        ww_page_put(p, "<p class=\"no\">The interval of the gain includes zero: the rule "
                       "is not shown to be better than the best single member, which is "
                       "taken in its place.</p>\n");
    }
    ww_page_put(p, r->confirmed
                       ? "<p>All scores are of held-out items; intervals are 95 %, by "
                         "paired bootstrap over items.</p>\n"
                       : "<p>Scores are of the items that were fitted to, and too good "
                         "for that.</p>\n");
}

static void score_cells(struct ww_page *p, const struct ww_fusion_rule *s, bool interval)
{
    ww_page_putf(p, "<td>%.4f</td><td>%.1f %%</td><td>%.1f %%</td><td>%+.4f</td>",
                 s->bits, 100 * s->next, 100 * s->whole, s->gain);
    if (interval) {
        ww_page_putf(p, "<td class=\"%s\">%+.4f to %+.4f</td>",
                     s->low > 0    ? "yes"
                     : s->high < 0 ? "no"
                                   : "untold",
                     s->low, s->high);
    } else {
        ww_page_put(p, "<td></td>");
    }
}

static void score_head(struct ww_page *p, const char *what)
{
    ww_page_putf(p,
                 "<table><tr><th>%s</th><th>bits</th><th>next right</th><th>answer right"
                 "</th><th>gain, bits</th><th>interval</th></tr>\n",
                 what);
}

static void scores(struct writer *w)
{
    struct ww_page *p = &w->page;
    ww_page_put(p,
                "<h2>Rules</h2>\n<p>Gain: bits saved per position over the best single "
                "member.</p>\n");
    score_head(p, "rule");
    for (size_t i = 0; i < w->r->n_rules; i++) {
        ww_page_put(p, "<tr><th>");
        ww_page_text(p, w->r->rules[i].name);
        ww_page_put(p, "</th>");
        score_cells(p, &w->r->rules[i], w->r->confirmed);
        ww_page_put(p, "</tr>\n");
    }
    ww_page_put(p, "</table>\n");
}

static void weights(struct writer *w)
{
    struct ww_page *p = &w->page;
    const size_t k = w->d->n_members;
    ww_page_put(p, "<h2>Who has the weight</h2>\n<p>Means over all positions; of "
                   "log-linear rules the powers, whose sum is free.</p>\n");
    ww_plot_legend(p, (const char *const *)w->d->members, k);
    for (size_t i = 0; i < w->r->n_rules; i++) {
        ww_page_put(p, "<p class=\"legend\">");
        ww_page_text(p, w->r->rules[i].name);
        for (size_t m = 0; m < k; m++) {
            ww_page_putf(p, "%s %.3f", m ? "," : ":", w->d->weights[i * k + m]);
        }
        ww_page_put(p, "</p>\n");
        ww_plot_shares(p, (const char *const *)w->d->members, w->d->weights + i * k, k);
    }
}

static void task_rows(struct writer *w, const struct ww_fusion_task *t,
                      const struct ww_fusion_rule *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ww_page_put(&w->page, "<tr><th>");
        ww_page_text(&w->page, rows[i].name);
        ww_page_put(&w->page, "</th>");
        score_cells(&w->page, &rows[i], t->has_intervals);
        ww_page_put(&w->page, "</tr>\n");
    }
}

static void tasks(struct writer *w)
{
    struct ww_page *p = &w->page;
    ww_page_put(p, "<h2>Tasks</h2>\n");
    for (size_t g = 0; g < w->d->n_tasks; g++) {
        const struct ww_fusion_task *t = &w->d->tasks[g];
        ww_page_put(p, "<h3>");
        ww_page_text(p, t->name[0] ? t->name : "items of no named task");
        ww_page_putf(p, "</h3>\n<p>%" PRIu64 " items%s</p>\n", t->items,
                     w->r->confirmed && !t->has_intervals ? ", too few for intervals"
                                                          : "");
        score_head(p, "rule, member alone");
        task_rows(w, t, t->rules, w->r->n_rules);
        task_rows(w, t, t->members, w->d->n_members);
        ww_page_put(p, "</table>\n");
    }
}

static void curve(struct writer *w)
{
    const struct ww_fusion_details *d = w->d;
    double x[WW_FUSION_MAX_POINTS], y[WW_FUSION_MAX_POINTS];
    double low[WW_FUSION_MAX_POINTS], high[WW_FUSION_MAX_POINTS];
    const struct ww_plot plot = {"items fitted",
                                 "gain in bits over the best single member", true};
    const struct ww_plot_line line = {w->r->asked, x, y, low, high, d->n_curve, false};
    if (d->n_curve == 0) {
        return;
    }
    for (size_t i = 0; i < d->n_curve; i++) {
        x[i] = (double)d->curve[i].items;
        y[i] = d->curve[i].gain;
        low[i] = d->curve[i].low;
        high[i] = d->curve[i].high;
    }
    ww_page_put(&w->page,
                "<h2>Learning curve</h2>\n<p>The rule fitted to parts of the items, each "
                "within the next, and scored on all held-out ones. A curve that still "
                "rises on the right says that more items would help.</p>\n");
    ww_plot_lines(&w->page, &plot, &line, 1);
}

enum ww_err ww_report_fusion_html(const struct ww_fusion_report *report, char **out,
                                  struct ww_error *err)
{
    struct writer w = {.r = report, .d = report->details};
    *out = NULL;
    if (!report->complete || !report->details) {
        return WW_FAIL(err, WW_E_USAGE, "a fit without details has no page");
    }
    ww_page_begin(&w.page, "weightward evo fit", err);
    summary(&w);
    scores(&w);
    curve(&w);
    weights(&w);
    tasks(&w);
    return ww_page_end(&w.page, out);
}
