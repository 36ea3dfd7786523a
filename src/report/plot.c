/* SPDX-License-Identifier: Apache-2.0 */
/* Axes end at the data; every point says its numbers when the pointer rests on it. */
#include "report/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH WW_PLOT_WIDTH
#define HEIGHT 240.0
#define LEFT WW_PLOT_LEFT
#define RIGHT WW_PLOT_RIGHT
#define TOP WW_PLOT_TOP
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

void ww_plot_level(struct ww_page *p, double y, double v)
{
    ww_page_putf(p,
                 "<line x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\" "
                 "class=\"grid\"/><text x=\"%.0f\" y=\"%.1f\" class=\"y\">%.3g</text>\n",
                 LEFT, y, WIDTH - RIGHT, y, LEFT - 6, y + 4, v);
}

void ww_plot_below(struct ww_page *p, double x, double y, const char *text)
{
    ww_page_putf(p, "<text x=\"%.1f\" y=\"%.0f\" class=\"x\">", x, y);
    ww_page_text(p, text);
    ww_page_put(p, "</text>\n");
}

void ww_plot_layer(struct ww_page *p, double x, double y, const char *name)
{
    const char *end = name + strlen(name);
    const char *at = end;

    while (at > name && at[-1] >= '0' && at[-1] <= '9') {
        at--;
    }
    const bool numbered = at < end && at > name && (at[-1] == ' ' || at[-1] == '.');
    ww_plot_below(p, x, y, numbered ? at : "·");
}

void ww_plot_line_begin(struct ww_page *p, const char *colour)
{
    ww_page_putf(p,
                 "<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\"%s\" points=\"",
                 colour);
}

void ww_plot_dot_begin(struct ww_page *p, double x, double y, const char *colour)
{
    ww_page_putf(p, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.4\" fill=\"%s\"><title>", x, y,
                 colour);
}

void ww_plot_dot_end(struct ww_page *p)
{
    ww_page_put(p, "</title></circle>\n");
}

void ww_plot_legend_entry(struct ww_page *p, size_t i, const char *name,
                          const char *other)
{
    ww_page_putf(p, "<span style=\"color:%s\">&#9632;</span> ", ww_page_colour(i));
    ww_page_text(p, name);
    if (other) {
        ww_page_put(p, " and ");
        ww_page_text(p, other);
    }
    ww_page_put(p, " &nbsp; ");
}

static void axes(struct ww_page *p, const struct ww_plot *plot, const struct frame *f)
{
    for (int k = 0; k <= 4; k++) {
        const double v = f->y[0] + (f->y[1] - f->y[0]) * k / 4;
        ww_plot_level(p, y_of(f, v), v);
        const double u = f->x[0] + (f->x[1] - f->x[0]) * k / 4;
        char number[32];
        (void)snprintf(number, sizeof(number), "%.4g", f->log_x ? exp(u) : u);
        ww_plot_below(p, LEFT + (WIDTH - LEFT - RIGHT) * k / 4, HEIGHT - 24, number);
    }
    ww_plot_below(p, (LEFT + WIDTH) / 2, HEIGHT - 6, plot->x_name);
}

static void line_of(struct ww_page *p, const struct frame *f,
                    const struct ww_plot_line *line, const char *colour)
{
    ww_plot_line_begin(p, colour);
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
        ww_plot_dot_begin(p, x, y_of(f, line->y[k]), colour);
        ww_page_text(p, line->name);
        ww_page_putf(p, ": %.6g, %.4g", line->x[k], line->y[k]);
        if (line->low) {
            ww_page_putf(p, " [%.4g, %.4g]", line->low[k], line->high[k]);
        }
        ww_plot_dot_end(p);
    }
}

void ww_plot_legend(struct ww_page *p, const char *const *names, size_t n)
{
    ww_page_put(p, "<p class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        ww_plot_legend_entry(p, i, names[i], NULL);
    }
    ww_page_put(p, "</p>\n");
}

void ww_plot_lines(struct ww_page *p, const struct ww_plot *plot,
                   const struct ww_plot_line *lines, size_t n)
{
    const struct frame f = frame_of(plot, lines, n);
    ww_page_put(p, "<p class=\"legend\">");
    ww_page_put(p, plot->y_name);
    ww_page_put(p, " &nbsp; ");
    for (size_t i = 0; i < n; i++) {
        ww_plot_legend_entry(p, i, lines[i].name, NULL);
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
