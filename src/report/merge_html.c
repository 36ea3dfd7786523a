/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merge on one page: what was merged, and per layer how long the sources' changes are,
 * how they lie to each other, where their signs agree and how much the merge changed. One
 * file with its pictures in it, no script and nothing from the net.
 */
#include <math.h>
#include <string.h>

#include "report/page.h"
#include "util/buf.h"
#include "util/fail.h"
#include "weightward/report.h"

#define MAX_BYTES ((size_t)64 << 20)
#define WIDTH 860.0
#define HEIGHT 220.0
#define LEFT 60.0
#define TOP 10.0
#define BOTTOM 30.0
/* The page, and the first failure, so that writing reads like the page. */
struct page {
    struct ww_buf buf;
    enum ww_err rc;
    struct ww_error *err;
    const struct ww_merge_report *report;
};

static void put(struct page *p, const char *text)
{
    if (!p->rc) {
        p->rc = ww_buf_add_str(&p->buf, text, p->err);
    }
}

/* Text of others: names of folders and tensors. */
static void put_text(struct page *p, const char *text)
{
    if (!p->rc) {
        p->rc = ww_page_escape(&p->buf, text, p->err);
    }
}

static void put_number(struct page *p, double v)
{
    if (!p->rc) {
        p->rc = ww_buf_addf(&p->buf, p->err, "%.4g", v);
    }
}

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
        (WIDTH - LEFT - 10) / (double)(r->n_layers > 1 ? r->n_layers - 1 : 1);
    return LEFT + step * (double)layer;
}

static double y_of(double v, double low, double high)
{
    const double share = high > low ? (v - low) / (high - low) : 0;
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share);
}

static void axis(struct page *p, double low, double high)
{
    for (int k = 0; k <= 4 && !p->rc; k++) {
        const double v = low + (high - low) * k / 4;
        const double y = y_of(v, low, high);
        p->rc = ww_buf_addf(&p->buf, p->err,
                            "<line x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" "
                            "class=\"grid\"/><text x=\"%.0f\" y=\"%.1f\" class=\"y\">"
                            "%.3g</text>\n",
                            LEFT, y, WIDTH - 10, y, LEFT - 6, y + 4, v);
    }
}

static void name_layers(struct page *p)
{
    const struct ww_merge_report *r = p->report;
    const size_t step = r->n_layers / 12 + 1;

    for (size_t l = 0; l < r->n_layers; l += step) {
        const char *name = r->layers[l].name;
        const char *dot = strrchr(name, '.');
        const char *label = dot && dot[1] >= '0' && dot[1] <= '9' ? dot + 1 : "·";
        if (!p->rc) {
            p->rc = ww_buf_addf(&p->buf, p->err,
                                "<text x=\"%.1f\" y=\"%.0f\" class=\"x\">%.8s</text>\n",
                                x_of(r, l), HEIGHT - 10, label);
        }
    }
}

static void line(struct page *p, const struct series *s, const char *colour, double low,
                 double high)
{
    const struct ww_merge_report *r = p->report;

    put(p, "<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\"");
    put(p, colour);
    put(p, "\" points=\"");
    for (size_t l = 0; l < r->n_layers && !p->rc; l++) {
        p->rc = ww_buf_addf(&p->buf, p->err, "%.1f,%.1f ", x_of(r, l),
                            y_of(s->value(r, l, s->i, s->j), low, high));
    }
    put(p, "\"/>\n");
    for (size_t l = 0; l < r->n_layers && !p->rc; l++) {
        const double v = s->value(r, l, s->i, s->j);
        p->rc =
            ww_buf_addf(&p->buf, p->err,
                        "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.4\" fill=\"%s\"><title>",
                        x_of(r, l), y_of(v, low, high), colour);
        put_text(p, r->layers[l].name);
        put(p, ": ");
        put_number(p, v);
        put(p, "</title></circle>\n");
    }
}

static void legend(struct page *p, const struct series *series, size_t n)
{
    put(p, "<p class=\"legend\">");
    for (size_t k = 0; k < n; k++) {
        put(p, "<span style=\"color:");
        put(p, ww_page_colour(k));
        put(p, "\">&#9632;</span> ");
        put_text(p, series[k].name);
        if (series[k].and_name) {
            put(p, " and ");
            put_text(p, series[k].and_name);
        }
        put(p, " &nbsp; ");
    }
    put(p, "</p>\n");
}

static void picture(struct page *p, const char *title, const char *explanation,
                    const struct series *series, size_t n, double low, double high)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t l = 0; l < p->report->n_layers; l++) {
            high = fmax(high, series[k].value(p->report, l, series[k].i, series[k].j));
        }
    }
    put(p, "<h2>");
    put(p, title);
    put(p, "</h2>\n<p>");
    put(p, explanation);
    put(p, "</p>\n");
    legend(p, series, n);
    if (!p->rc) {
        p->rc =
            ww_buf_addf(&p->buf, p->err, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
                        WIDTH, HEIGHT);
    }
    axis(p, low, high);
    name_layers(p);
    for (size_t k = 0; k < n; k++) {
        line(p, &series[k], ww_page_colour(k), low, high);
    }
    put(p, "</svg>\n");
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

static void lengths(struct page *p)
{
    const struct ww_merge_report *r = p->report;
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
    picture(p, r->has_base ? "Length of the changes" : "Length of the weights",
            r->has_base
                ? "Euclidean length of what each source, and the merge, adds to the "
                  "base."
                : "Euclidean length of each source's weights; there is no base.",
            series, n, 0, 0);
}

static void cosines(struct page *p)
{
    const struct ww_merge_report *r = p->report;
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
        picture(p, "Cosines between the sources",
                "1: the same direction, 0: none in common, below 0: against each other.",
                series, n, low, 0);
    }
}

static void shares(struct page *p)
{
    const struct series both[] = {
        {agreement_of, 0, 0, "sign agreement of the sources", NULL},
        {changed_of, 0, 0, "elements that the merge changed", NULL},
    };
    picture(
        p, "Signs that agree, and what was kept",
        "Share of elements whose changes, those that are not 0, have one sign; share of "
        "elements in which the result is not the base's, which is what a method kept.",
        both, p->report->has_base ? 2 : 1, 0, 1);
}

static void row(struct page *p, const char *key, const char *value)
{
    put(p, "<tr><th>");
    put(p, key);
    put(p, "</th><td>");
    put_text(p, value);
    put(p, "</td></tr>\n");
}

static void summary(struct page *p)
{
    const struct ww_merge_report *r = p->report;

    put(p, "<table>\n");
    row(p, "method", r->method ? r->method : "");
    for (size_t i = 0; i < r->n_sources; i++) {
        row(p, "source", r->sources[i].name);
    }
    row(p, "plan", r->plan_sha256);
    row(p, "tensor tree", r->output_sha256_tree);
    if (r->root_sha256[0]) {
        row(p, "signed root", r->root_sha256);
    }
    for (size_t i = 0; i < r->n_warnings; i++) {
        row(p, "warning", r->warnings[i]);
    }
    put(p, "</table>\n");
}

enum ww_err ww_report_merge_html(const struct ww_merge_report *report, char **out,
                                 struct ww_error *err)
{
    struct page p = {.err = err, .report = report};
    size_t len = 0;

    *out = NULL;
    ww_buf_init(&p.buf, MAX_BYTES);
    put(&p,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<title>weightward merge</title>\n<style>body{font:15px sans-serif;max-width:"
        "900px;margin:2em auto;padding:0 1em}th{text-align:left;padding-right:1em;"
        "vertical-align:top}td{font-family:monospace;overflow-wrap:anywhere}svg{width:"
        "100%}.grid{stroke:#ddd}.y{font-size:11px;text-anchor:end}.x{font-size:11px;"
        "text-anchor:middle}.legend{font-size:13px}</style></head><body>\n"
        "<h1>A merge</h1>\n");
    summary(&p);
    if (report->n_layers > 0) {
        lengths(&p);
        cosines(&p);
        shares(&p);
        put(&p, "<p>Measured on a sample: one of 16 blocks of large tensors, small ones "
                "whole. Dots on the left without a number are tensors outside of layers; "
                "names and values show when the pointer rests on a dot.</p>\n");
    }
    put(&p, "</body></html>\n");
    if (!p.rc) {
        *out = (char *)ww_buf_take(&p.buf, &len);
    }
    ww_buf_release(&p.buf);
    return p.rc;
}
