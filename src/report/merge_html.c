/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merge on one page: what was merged, and per layer how long the sources' changes are,
 * how they lie to each other, where their signs agree and how much the merge changed. One
 * file with its pictures in it, no script and nothing from the net.
 */
#include <math.h>

#include "report/plot.h"
#include "weightward/report.h"

#define WIDTH WW_PLOT_WIDTH
#define HEIGHT 220.0
#define LEFT WW_PLOT_LEFT
#define RIGHT WW_PLOT_RIGHT
#define TOP WW_PLOT_TOP
#define BOTTOM 30.0

/* One line of a picture: the value of a layer. */
struct series {
    double (*value)(const struct ww_merge_report *r, size_t layer, uint32_t i,
                    uint32_t j);
    uint32_t i;
    uint32_t j;
    const char *name;
    const char *and_name; /* of a pair, or NULL */
};

static double x_of(const struct ww_merge_report *r, size_t layer)
{
    const double step =
        (WIDTH - LEFT - RIGHT) / (double)(r->n_layers > 1 ? r->n_layers - 1 : 1);
    return LEFT + step * (double)layer;
}

static double y_of(double v, double low, double high)
{
    const double share = high > low ? (v - low) / (high - low) : 0;
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share);
}

static void name_layers(struct ww_page *p, const struct ww_merge_report *r)
{
    const size_t step = r->n_layers / 12 + 1;

    for (size_t l = 0; l < r->n_layers; l += step) {
        ww_plot_layer(p, x_of(r, l), HEIGHT - 10, r->layers[l].name);
    }
}

static void line(struct ww_page *p, const struct ww_merge_report *r,
                 const struct series *s, const char *colour, const double range[2])
{
    ww_plot_line_begin(p, colour);
    for (size_t l = 0; l < r->n_layers; l++) {
        ww_page_putf(p, "%.1f,%.1f ", x_of(r, l),
                     y_of(s->value(r, l, s->i, s->j), range[0], range[1]));
    }
    ww_page_put(p, "\"/>\n");
    for (size_t l = 0; l < r->n_layers; l++) {
        const double v = s->value(r, l, s->i, s->j);
        ww_plot_dot_begin(p, x_of(r, l), y_of(v, range[0], range[1]), colour);
        ww_page_text(p, r->layers[l].name);
        ww_page_putf(p, ": %.4g", v);
        ww_plot_dot_end(p);
    }
}

static void legend(struct ww_page *p, const struct series *series, size_t n)
{
    ww_page_put(p, "<p class=\"legend\">");
    for (size_t k = 0; k < n; k++) {
        ww_plot_legend_entry(p, k, series[k].name, series[k].and_name);
    }
    ww_page_put(p, "</p>\n");
}

static void picture(struct ww_page *p, const struct ww_merge_report *r, const char *title,
                    const char *explanation, const struct series *series, size_t n,
                    double low, double high)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t l = 0; l < r->n_layers; l++) {
            high = fmax(high, series[k].value(r, l, series[k].i, series[k].j));
        }
    }
    ww_page_put(p, "<h2>");
    ww_page_put(p, title);
    ww_page_put(p, "</h2>\n<p>");
    ww_page_put(p, explanation);
    ww_page_put(p, "</p>\n");
    legend(p, series, n);
    ww_page_putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH, HEIGHT);
    for (int k = 0; k <= 4; k++) {
        const double v = low + (high - low) * k / 4;
        ww_plot_level(p, y_of(v, low, high), v);
    }
    name_layers(p, r);
    for (size_t k = 0; k < n; k++) {
        line(p, r, &series[k], ww_page_colour(k), (const double[2]){low, high});
    }
    ww_page_put(p,
                "</svg>\n<p class=\"legend\">Across: layers, dots without a number being "
                "tensors outside of them; names and numbers show when the pointer rests "
                "on a dot.</p>\n");
}

static double length_of(const struct ww_merge_report *r, size_t layer, uint32_t i,
                        uint32_t j)
{
    (void)j;
    return r->layers[layer].lengths[i];
}

static double length_of_result(const struct ww_merge_report *r, size_t layer, uint32_t i,
                               uint32_t j)
{
    (void)i;
    (void)j;
    return r->layers[layer].length;
}

static double cosine_of(const struct ww_merge_report *r, size_t layer, uint32_t i,
                        uint32_t j)
{
    return r->layers[layer].cosines[i * r->n_models + j];
}

static double agreement_of(const struct ww_merge_report *r, size_t layer, uint32_t i,
                           uint32_t j)
{
    (void)i;
    (void)j;
    return r->layers[layer].agreement;
}

static double changed_of(const struct ww_merge_report *r, size_t layer, uint32_t i,
                         uint32_t j)
{
    (void)i;
    (void)j;
    return r->layers[layer].changed;
}

/* A model that no layer has changes of is the base, or unused. */
static bool is_source(const struct ww_merge_report *r, uint32_t model)
{
    for (size_t l = 0; l < r->n_layers; l++) {
        if (r->layers[l].lengths[model] > 0) {
            return true;
        }
    }
    return false;
}

#define MAX_SERIES 64u

static void lengths(struct ww_page *p, const struct ww_merge_report *r)
{
    struct series series[MAX_SERIES];
    size_t n = 0;

    for (uint32_t i = 0; i < r->n_models && n < MAX_SERIES - 1; i++) {
        if (is_source(r, i)) {
            series[n++] = (struct series){length_of, i, 0, r->models[i], NULL};
        }
    }
    if (r->has_base) {
        series[n++] = (struct series){length_of_result, 0, 0, "the merge", NULL};
    }
    picture(p, r, r->has_base ? "Length of the changes" : "Length of the weights",
            r->has_base
                ? "Euclidean length of what each source, and the merge, adds to the "
                  "base."
                : "Euclidean length of each source's weights; there is no base.",
            series, n, 0, 0);
}

static void cosines(struct ww_page *p, const struct ww_merge_report *r)
{
    struct series series[MAX_SERIES];
    double low = 0;
    size_t n = 0;

    for (uint32_t i = 0; i < r->n_models; i++) {
        for (uint32_t j = i + 1; j < r->n_models && n < MAX_SERIES; j++) {
            if (is_source(r, i) && is_source(r, j)) {
                series[n++] =
                    (struct series){cosine_of, i, j, r->models[i], r->models[j]};
            }
        }
    }
    for (size_t k = 0; k < n; k++) {
        for (size_t l = 0; l < r->n_layers; l++) {
            low = fmin(low, cosine_of(r, l, series[k].i, series[k].j));
        }
    }
    if (n > 0) {
        picture(p, r, "Cosines between the sources",
                "1: the same direction, 0: none in common, below 0: against each other.",
                series, n, low, 0);
    }
}

static void shares(struct ww_page *p, const struct ww_merge_report *r)
{
    const struct series both[] = {
        {agreement_of, 0, 0, "sign agreement of the sources", NULL},
        {changed_of, 0, 0, "elements that the merge changed", NULL},
    };
    picture(
        p, r, "Signs that agree, and what was kept",
        "Share of elements whose changes, those that are not 0, have one sign; share of "
        "elements in which the result is not the base's, which is what a method kept.",
        both, r->has_base ? 2 : 1, 0, 1);
}

static void summary(struct ww_page *p, const struct ww_merge_report *r)
{

    ww_page_put(p, "<table>\n");
    ww_page_row(p, "method", r->method ? r->method : "");
    for (size_t i = 0; i < r->n_sources; i++) {
        ww_page_row(p, "source", r->sources[i].name);
    }
    ww_page_row(p, "plan", r->plan_sha256);
    ww_page_row(p, "tensor tree", r->output_sha256_tree);
    if (r->root_sha256[0]) {
        ww_page_row(p, "signed root", r->root_sha256);
    }
    for (size_t i = 0; i < r->n_warnings; i++) {
        ww_page_row(p, "warning", r->warnings[i]);
    }
    ww_page_put(p, "</table>\n");
}

enum ww_err ww_report_merge_html(const struct ww_merge_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_page p;

    ww_page_begin(&p, "weightward merge", err);
    ww_page_put(&p, "<h1>A merge</h1>\n");
    summary(&p, report);
    if (report->n_layers > 0) {
        lengths(&p, report);
        cosines(&p, report);
        shares(&p, report);
        ww_page_put(
            &p, "<p>Measured on a sample: one of 16 blocks of large tensors, small ones "
                "whole. Dots on the left without a number are tensors outside of layers; "
                "names and values show when the pointer rests on a dot.</p>\n");
    }
    return ww_page_end(&p, out);
}
