/* SPDX-License-Identifier: Apache-2.0 */
/* Shares over layers and classes: for each candidate a row of cells for each class, with
 * the candidate's colour as strong as its share is, below zero too. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "report/lineage_pictures.h"

#define WIDTH 860.0
#define LABELS 260.0
#define CELL 14.0
#define TOP 4.0

static const char *const rows[] = {"attention", "feed-forward", "norms", "other"};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

struct scale {
    double high; /* the largest share */
    double room; /* width of a column */
    bool has[N_ROWS];
};

static size_t row_of(const struct ww_lineage_class *c)
{
    size_t r = 0;

    while (r + 1 < N_ROWS && strcmp(rows[r], c->name) != 0) {
        r++;
    }
    return r;
}

/* What lies outside of layers is the first column. */
static struct scale scale_of(const struct ww_decompose_report *d)
{
    struct scale s = {.high = 0.1};
    uint32_t layers = 0;

    for (size_t i = 0; i < d->n_classes; i++) {
        const struct ww_lineage_class *c = &d->classes[i];
        s.has[row_of(c)] = true;
        if (c->layer != UINT32_MAX && c->layer >= layers) {
            layers = c->layer + 1;
        }
        for (size_t k = 0; c->shares && k < d->n_sources; k++) {
            s.high = fmax(s.high, fabs(c->shares[k]));
        }
    }
    s.room = (WIDTH - LABELS - 10) / (double)(layers + 1);
    return s;
}

static double y_of(const struct scale *s, size_t row)
{
    double y = TOP;

    for (size_t r = 0; r < row; r++) {
        y += s->has[r] ? CELL : 0;
    }
    return y;
}

static void cell(struct ww_page *p, const struct scale *s,
                 const struct ww_lineage_class *c, size_t source)
{
    const double column = c->layer == UINT32_MAX ? 0 : 1.0 + c->layer;

    ww_page_putf(p,
                 "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                 "stroke=\"#eee\" fill=\"%s\" fill-opacity=\"%.3f\"><title>",
                 LABELS + column * s->room, y_of(s, row_of(c)), s->room, CELL,
                 c->shares ? ww_page_colour(source) : "#ccc",
                 c->shares ? fabs(c->shares[source]) / s->high : 1.0);
    if (c->layer == UINT32_MAX) {
        ww_page_put(p, "outside of layers, ");
    } else {
        ww_page_putf(p, "layer %" PRIu32 ", ", c->layer);
    }
    ww_page_text(p, c->name);
    if (c->shares) {
        ww_page_putf(p, ": %.4f, ", c->shares[source]);
    } else {
        ww_page_put(p, ": no share, ");
    }
    ww_page_putf(p, "%" PRIu64 " weights moved far enough</title></rect>\n", c->elements);
}

static void map_of(struct ww_page *p, const struct ww_decompose_report *d,
                   const struct scale *s, size_t source)
{
    ww_page_put(p, "<p class=\"legend\">");
    ww_page_text(p, d->sources[source].name);
    ww_page_putf(p, "</p>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH,
                 y_of(s, N_ROWS) + TOP);
    for (size_t r = 0; r < N_ROWS; r++) {
        if (s->has[r]) {
            ww_page_putf(p, "<text x=\"%.0f\" y=\"%.1f\" class=\"y\">%s</text>\n",
                         LABELS - 6, y_of(s, r) + 11, rows[r]);
        }
    }
    for (size_t i = 0; i < d->n_classes; i++) {
        cell(p, s, &d->classes[i], source);
    }
    ww_page_put(p, "</svg>\n");
}

void ww_picture_classes(struct ww_page *p, const struct ww_decompose_report *d)
{
    const struct scale s = scale_of(d);

    if (d->n_classes == 0) {
        return;
    }
    ww_page_putf(p,
                 "<h2>Shares of classes of tensors</h2>\n<p>Across are layers, with what "
                 "lies outside of them first. A full colour is a share of %.4f, the "
                 "largest one; grey: too few weights moved far enough to tell.</p>\n",
                 s.high);
    for (size_t k = 0; k < d->n_sources; k++) {
        map_of(p, d, &s, k);
    }
}
