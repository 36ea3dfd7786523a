/* SPDX-License-Identifier: Apache-2.0 */
/** Pictures of a page: lines over numbers, and bars that share a whole. */
#ifndef WW_REPORT_PLOT_H
#define WW_REPORT_PLOT_H

#include <stdbool.h>

#include "report/page.h"

struct ww_plot_line {
    const char *name;         /* text of others */
    const double *x;          /* [n], ascending */
    const double *y;          /* [n]; not finite: left out */
    const double *low, *high; /* [n] ends of intervals, or NULL */
    size_t n;
    bool dots; /* points alone */
};

/** x_name and y_name are our own text. log_x: places by the logarithm, for counts. */
struct ww_plot {
    const char *x_name, *y_name;
    bool log_x;
};
void ww_plot_lines(struct ww_page *p, const struct ww_plot *plot,
                   const struct ww_plot_line *lines, size_t n);

/* The parts, for pictures that have places of their own. All are as wide, and begin as
 * far from the left, so that they stand under each other. */
#define WW_PLOT_WIDTH 860.0
#define WW_PLOT_LEFT 60.0
#define WW_PLOT_RIGHT 10.0
#define WW_PLOT_TOP 10.0

/** A line across at y, and v beside it. */
void ww_plot_level(struct ww_page *p, double y, double v);
/** A number or a name under x. */
void ww_plot_below(struct ww_page *p, double x, double y, const char *text);
/** The number that a layer's name ends in, behind a space or a dot; else a dot. */
void ww_plot_layer(struct ww_page *p, double x, double y, const char *name);
/** A line in the making: its points are put as "x,y ", and what ends its start tag. */
void ww_plot_line_begin(struct ww_page *p, const char *colour);
/** A dot in the making: what it says is put behind it. */
void ww_plot_dot_begin(struct ww_page *p, double x, double y, const char *colour);
void ww_plot_dot_end(struct ww_page *p);
/** A square of the i-th colour with a name, or "name and other"; other may be NULL. */
void ww_plot_legend_entry(struct ww_page *p, size_t i, const char *name,
                          const char *other);

/** One row of shares of a whole, not negative; names show when the pointer rests. */
void ww_plot_shares(struct ww_page *p, const char *const *names, const double *shares,
                    size_t n);
/** Squares of colour with their names. */
void ww_plot_legend(struct ww_page *p, const char *const *names, size_t n);

#endif
