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

/** One row of shares of a whole, not negative; names show when the pointer rests. */
void ww_plot_shares(struct ww_page *p, const char *const *names, const double *shares,
                    size_t n);
/** Squares of colour with their names. */
void ww_plot_legend(struct ww_page *p, const char *const *names, size_t n);

#endif
