/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A package's members on one page: spectra and curves of size and error on axes of
 * logarithms, cosines as a map. One file, no script, nothing from the net.
 */
#include <math.h>
#include <stdio.h>

#include "report/plot.h"
#include "util/str.h"
#include "weightward/report.h"

#define WIDTH WW_PLOT_WIDTH
#define HEIGHT 260.0
#define LEFT WW_PLOT_LEFT
#define RIGHT WW_PLOT_RIGHT
#define TOP WW_PLOT_TOP
#define BOTTOM 34.0
#define CELL 34.0
#define LABELS 170.0

/* A picture's axes: x even, y by logarithm. */
struct axes {
    double x_low;
    double x_high;
    double y_low;
    double y_high;
};

static double x_of(const struct axes *a, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (x - a->x_low) / (a->x_high - a->x_low);
}

static double y_of(const struct axes *a, double y)
{
    const double low = log(a->y_low);
    const double share = (log(fmax(y, a->y_low)) - low) / (log(a->y_high) - low);

    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - fmin(1, share));
}

static void grid(struct ww_page *p, const struct axes *a, const char *below)
{
    ww_page_putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH, HEIGHT);
    for (double y = a->y_high; y >= 0.999 * a->y_low; y /= 10) {
        ww_plot_level(p, y_of(a, y), y);
    }
    for (int k = 0; k <= 4; k++) {
        const double x = a->x_low + (a->x_high - a->x_low) * k / 4;
        char number[32];
        (void)snprintf(number, sizeof(number), "%.3g", x);
        ww_plot_below(p, x_of(a, x), HEIGHT - 18, number);
    }
    ww_plot_below(p, (LEFT + WIDTH) / 2, HEIGHT - 3, below);
}

static void end_line(struct ww_page *p, const char *name)
{
    ww_page_put(p, "\"><title>");
    ww_page_text(p, name);
    ww_page_put(p, "</title></polyline>\n");
}

static void legend(struct ww_page *p, const struct ww_pack_inspection *r, bool rows)
{
    ww_page_put(p, "<p class=\"legend\">");
    for (size_t i = 0; i < r->n_members; i++) {
        if (!r->members[i].why) {
            ww_plot_legend_entry(p, i, r->members[i].name, NULL);
        }
    }
    if (rows) {
        ww_plot_legend_entry(p, r->n_members, "all adapters by rows", NULL);
    }
    ww_page_put(p, "</p>\n");
}

static void spectra(struct ww_page *p, const struct ww_pack_inspection *r)
{
    struct axes a = {1, 2, 1e-6, 1};

    for (size_t i = 0; i < r->n_members; i++) {
        a.x_high = fmax(a.x_high, (double)r->members[i].n_spectrum);
    }
    ww_page_put(
        p, "<h2>Spectra</h2>\n<p>The share of a matrix's squared length that lies "
           "in its first, second, ... singular value, mean over the matrices.</p>\n");
    legend(p, r, false);
    grid(p, &a, "singular value");
    for (size_t i = 0; i < r->n_members; i++) {
        const struct ww_inspect_member *m = &r->members[i];
        ww_plot_line_begin(p, ww_page_colour(i));
        for (size_t k = 0; k < m->n_spectrum; k++) {
            ww_page_putf(p, "%.1f,%.1f ", x_of(&a, (double)k + 1),
                         y_of(&a, m->spectrum[k]));
        }
        end_line(p, m->name);
    }
    ww_page_put(p, "</svg>\n");
}

static void curve(struct ww_page *p, const struct axes *a, size_t colour,
                  const char *name, const struct ww_inspect_rate *rates, size_t n)
{
    ww_plot_line_begin(p, ww_page_colour(colour));
    for (size_t k = 0; k < n; k++) {
        ww_page_putf(p, "%.1f,%.1f ", x_of(a, rates[k].bits), y_of(a, rates[k].error));
    }
    end_line(p, name);
    for (size_t k = 0; k < n; k++) {
        ww_plot_dot_begin(p, x_of(a, rates[k].bits), y_of(a, rates[k].error),
                          ww_page_colour(colour));
        ww_page_text(p, name);
        ww_page_putf(p, ": %.3f bits, error %.4f", rates[k].bits, rates[k].error);
        ww_plot_dot_end(p);
    }
}

static void rates(struct ww_page *p, const struct ww_pack_inspection *r)
{
    struct axes a = {0, 1, 1e-3, 1};

    for (size_t i = 0; i < r->n_members; i++) {
        for (size_t k = 0; k < r->members[i].n_rates; k++) {
            a.x_high = fmax(a.x_high, r->members[i].rates[k].bits);
        }
    }
    for (size_t k = 0; k < r->n_rows; k++) {
        a.x_high = fmax(a.x_high, r->rows[k].bits);
    }
    ww_page_put(p,
                "<h2>Sizes and errors</h2>\n<p>What a change costs, in bits for each "
                "number of the factors or each weight, and how far it is then from the "
                "original, as a share of its length. By rows: reversible model merging "
                "as published, with 1, 2, ... directions.</p>\n");
    legend(p, r, r->n_rows > 0);
    grid(p, &a, "bits");
    for (size_t i = 0; i < r->n_members; i++) {
        curve(p, &a, i, r->members[i].name, r->members[i].rates, r->members[i].n_rates);
    }
    curve(p, &a, r->n_members, "all adapters by rows", r->rows, r->n_rows);
    ww_page_put(p, "</svg>\n");
}

/* Red: the same direction, blue: against each other, white: nothing in common. */
static void cell(struct ww_page *p, const struct ww_pack_inspection *r, size_t i,
                 size_t j)
{
    const double c = r->cosines[i * r->n_members + j];
    const int light = isnan(c) ? 0 : (int)(255 * (1 - fmin(1, fabs(c))));
    const double x = LABELS + CELL * (double)j;
    const double y = TOP + CELL * (double)i;

    ww_page_putf(p, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.0f\" height=\"%.0f\" ", x, y,
                 CELL, CELL);
    if (isnan(c)) {
        ww_page_put(p, "fill=\"#ccc\"/>\n");
        return;
    }
    if (c >= 0) {
        ww_page_putf(p, "fill=\"rgb(255,%d,%d)\"/>", light, light);
    } else {
        ww_page_putf(p, "fill=\"rgb(%d,%d,255)\"/>", light, light);
    }
    ww_page_putf(p, "<text x=\"%.1f\" y=\"%.1f\" class=\"x\">%.2f</text>\n", x + CELL / 2,
                 y + CELL / 2 + 4, c);
}

static void cosines(struct ww_page *p, const struct ww_pack_inspection *r)
{
    ww_page_put(p,
                "<h2>Cosines between the changes</h2>\n<p>1: the same direction, 0: none "
                "in common, below 0: against each other; grey: not known.</p>\n");
    ww_page_putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n",
                 fmax(WIDTH, LABELS + CELL * (double)r->n_members + 10),
                 2 * TOP + CELL * (double)r->n_members);
    for (size_t i = 0; i < r->n_members; i++) {
        ww_page_putf(p, "<text x=\"%.0f\" y=\"%.1f\" class=\"y\">", LABELS - 6,
                     TOP + CELL * (double)i + CELL / 2 + 4);
        ww_page_text(p, r->members[i].name);
        ww_page_put(p, "</text>\n");
        for (size_t j = 0; j < r->n_members; j++) {
            cell(p, r, i, j);
        }
    }
    ww_page_put(p, "</svg>\n");
}

static void member(struct ww_page *p, const struct ww_inspect_member *m)
{
    ww_page_put(p, "<tr><td>");
    ww_page_text(p, m->name);
    ww_page_put(p, m->adapter ? "</td><td>adapter</td>" : "</td><td>model</td>");
    if (m->why) {
        ww_page_put(p, "<td colspan=\"4\">");
        ww_page_text(p, m->why);
        ww_page_put(p, "</td></tr>\n");
        return;
    }
    ww_page_putf(p, "<td>%llu</td><td>%.4g</td><td>%.1f, %.1f, %.1f",
                 (unsigned long long)m->numbers, m->length, m->rank_50, m->rank_90,
                 m->rank_99);
    if (m->matrices < m->of_matrices) {
        ww_page_putf(p, " (each within %.1f, %.1f, %.1f)", m->rank_errors[0],
                     m->rank_errors[1], m->rank_errors[2]);
    }
    ww_page_put(p, "</td>");
    if (isfinite(m->unchanged)) {
        ww_page_putf(p, "<td>%.1f %%</td></tr>\n", 100 * m->unchanged);
    } else {
        ww_page_put(p, "<td></td></tr>\n");
    }
}

enum ww_err ww_report_pack_inspect_html(const struct ww_pack_inspection *r, char **out,
                                        struct ww_error *err)
{
    struct ww_page p;

    ww_page_begin(&p, "weightward rmm inspect", err);
    ww_page_put(&p, "<h1>A package</h1>\n<table>\n");
    ww_page_row(&p, "id", r->id);
    ww_page_row(&p, "base", r->base ? r->base : "none");
    ww_page_put(&p, "</table>\n<table>\n<tr><th>member</th><th></th><th>numbers</th>"
                    "<th>length of the change</th><th>singular values with 50, 90, 99 %"
                    "</th><th>unchanged</th></tr>\n");
    for (size_t i = 0; i < r->n_members; i++) {
        member(&p, &r->members[i]);
    }
    ww_page_put(&p, "</table>\n");
    spectra(&p, r);
    cosines(&p, r);
    rates(&p, r);
    if (r->no_rows) {
        ww_page_put(&p, "<p>No curve by rows: ");
        ww_page_text(&p, r->no_rows);
        ww_page_put(&p, ".</p>\n");
    }
    ww_page_putf(
        &p,
        "<p>Curves of a member, and spectra of a model, are of about %llu matrices, "
        "spread evenly over those with at most 1024 rows or columns; where some are left "
        "out, the standard error of the mean is given.</p>\n",
        (unsigned long long)r->sampled);
    return ww_page_end(&p, out);
}
