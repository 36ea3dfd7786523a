/* SPDX-License-Identifier: Apache-2.0 */
/* Axes end at the data; every point says its numbers when the pointer rests on it. */
#include "report/plot.h"

#include <math.h>

#define WIDTH 860.0
#define HEIGHT 240.0
#define LEFT 60.0
#define RIGHT 10.0
#define TOP 10.0
#define BOTTOM 40.0
#define BAR 18.0

struct frame {
    double x[2], y[2];
    bool log_x;
};

static double share(double v, const double range[2])
{
    return range[1] > range[0] ? (v - range[0]) / (range[1] - range[0]) : 0.5;
}

static double place(const struct frame *f, double x)
{
    return f->log_x ? log(x > 1e-9 ? x : 1e-9) : x;
}

static double x_of(const struct frame *f, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * share(place(f, x), f->x);
}

static double y_of(const struct frame *f, double y)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share(y, f->y));
}

static void widen(double range[2], double v)
{
    if (isfinite(v)) {
        range[0] = v < range[0] ? v : range[0];
        range[1] = v > range[1] ? v : range[1];
    }
}

static struct frame frame_of(const struct ww_plot *plot, const struct ww_plot_line *lines,
                             size_t n)
{
    struct frame f = {{INFINITY, -INFINITY}, {INFINITY, -INFINITY}, plot->log_x};
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < lines[i].n; k++) {
            widen(f.x, place(&f, lines[i].x[k]));
            widen(f.y, lines[i].y[k]);
            if (lines[i].low) {
                widen(f.y, lines[i].low[k]);
                widen(f.y, lines[i].high[k]);
            }
        }
    }
    if (!(f.x[0] <= f.x[1]) || !(f.y[0] <= f.y[1])) {
        f.x[0] = f.y[0] = 0;
        f.x[1] = f.y[1] = 1;
    }
    return f;
}

static void axes(struct ww_page *p, const struct ww_plot *plot, const struct frame *f)
{
    for (int k = 0; k <= 4; k++) {
        const double v = f->y[0] + (f->y[1] - f->y[0]) * k / 4;
        ww_page_putf(p,
                     "<line x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" "
                     "class=\"grid\"/><text x=\"%.0f\" y=\"%.1f\" class=\"y\">%.3g"
                     "</text>\n",
                     LEFT, y_of(f, v), WIDTH - RIGHT, y_of(f, v), LEFT - 6,
                     y_of(f, v) + 4, v);
        const double u = f->x[0] + (f->x[1] - f->x[0]) * k / 4;
        ww_page_putf(p, "<text x=\"%.1f\" y=\"%.0f\" class=\"x\">%.4g</text>\n",
                     LEFT + (WIDTH - LEFT - RIGHT) * k / 4, HEIGHT - 24,
                     f->log_x ? exp(u) : u);
    }
    ww_page_putf(p, "<text x=\"%.0f\" y=\"%.0f\" class=\"x\">", (LEFT + WIDTH) / 2,
                 HEIGHT - 6);
    ww_page_put(p, plot->x_name);
    ww_page_put(p, "</text>\n");
}

static void line_of(struct ww_page *p, const struct frame *f,
                    const struct ww_plot_line *line, const char *colour)
{
    ww_page_putf(p,
                 "<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\"%s\" points=\"",
                 colour);
    for (size_t k = 0; k < line->n; k++) {
        if (isfinite(line->y[k])) {
            ww_page_putf(p, "%.1f,%.1f ", x_of(f, line->x[k]), y_of(f, line->y[k]));
        }
    }
    ww_page_put(p, "\"/>\n");
}

static void points_of(struct ww_page *p, const struct frame *f,
                      const struct ww_plot_line *line, const char *colour)
{
    for (size_t k = 0; k < line->n; k++) {
        const double x = x_of(f, line->x[k]);
        if (!isfinite(line->y[k])) {
            continue;
        }
        if (line->low) {
            ww_page_putf(p,
                         "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
                         "stroke=\"%s\"/>\n",
                         x, y_of(f, line->low[k]), x, y_of(f, line->high[k]), colour);
        }
        ww_page_putf(p, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\" fill=\"%s\"><title>",
                     x, y_of(f, line->y[k]), colour);
        ww_page_text(p, line->name);
        ww_page_putf(p, ": %.6g, %.4g", line->x[k], line->y[k]);
        if (line->low) {
            ww_page_putf(p, " [%.4g, %.4g]", line->low[k], line->high[k]);
        }
        ww_page_put(p, "</title></circle>\n");
    }
}

void ww_plot_legend(struct ww_page *p, const char *const *names, size_t n)
{
    ww_page_put(p, "<p class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        ww_page_putf(p, "<span style=\"color:%s\">&#9632;</span> ", ww_page_colour(i));
        ww_page_text(p, names[i]);
        ww_page_put(p, " &nbsp; ");
    }
    ww_page_put(p, "</p>\n");
}

void ww_plot_lines(struct ww_page *p, const struct ww_plot *plot,
                   const struct ww_plot_line *lines, size_t n)
{
    const struct frame f = frame_of(plot, lines, n);
    ww_page_put(p, "<p class=\"legend\">");
    ww_page_put(p, plot->y_name);
    for (size_t i = 0; i < n; i++) {
        ww_page_putf(p, " &nbsp; <span style=\"color:%s\">&#9632;</span> ",
                     ww_page_colour(i));
        ww_page_text(p, lines[i].name);
    }
    ww_page_putf(p, "</p>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH,
                 HEIGHT);
    axes(p, plot, &f);
    for (size_t i = 0; i < n; i++) {
        if (!lines[i].dots) {
            line_of(p, &f, &lines[i], ww_page_colour(i));
        }
        points_of(p, &f, &lines[i], ww_page_colour(i));
    }
    ww_page_put(p, "</svg>\n");
}

void ww_plot_shares(struct ww_page *p, const char *const *names, const double *shares,
                    size_t n)
{
    double sum = 0;
    double at = 0;
    for (size_t i = 0; i < n; i++) {
        sum += shares[i] > 0 ? shares[i] : 0;
    }
    ww_page_putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">", WIDTH, BAR);
    for (size_t i = 0; i < n && sum > 0; i++) {
        const double width = (shares[i] > 0 ? shares[i] : 0) / sum * WIDTH;
        ww_page_putf(p,
                     "<rect x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"%.0f\" "
                     "fill=\"%s\"><title>",
                     at, width, BAR, ww_page_colour(i));
        ww_page_text(p, names[i]);
        ww_page_putf(p, ": %.4g</title></rect>", shares[i]);
        at += width;
    }
    ww_page_put(p, "</svg>\n");
}
