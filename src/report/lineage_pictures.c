/* SPDX-License-Identifier: Apache-2.0 */
#include "report/lineage_pictures.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/plot.h"

#define WIDTH WW_PLOT_WIDTH
#define HEIGHT 220.0
#define LEFT WW_PLOT_LEFT
#define RIGHT WW_PLOT_RIGHT
#define TOP WW_PLOT_TOP
#define BOTTOM 30.0
#define KINDS 64u /* rows of the map; what lies beyond is told in words */
#define KIND_BYTES 96
#define LABELS 260.0 /* width of the kinds' names */
#define CELL 14.0

static double x_of(size_t i, size_t n)
{
    return LEFT + (WIDTH - LEFT - RIGHT) / (double)(n > 1 ? n - 1 : 1) * (double)i;
}

/* Of shares: low is 0 unless one was taken away. */
struct range {
    double low;
    double high;
};

static double y_of(double v, const struct range *r)
{
    return TOP + (HEIGHT - TOP - BOTTOM) * (r->high - v) / (r->high - r->low);
}

static void grid(struct ww_page *p, const struct range *r)
{
    for (int k = 0; k <= 4; k++) {
        const double v = r->low + (r->high - r->low) * k / 4;
        ww_plot_level(p, y_of(v, r), v);
    }
}

static void line_of(struct ww_page *p, const struct ww_decompose_report *d, size_t source,
                    const struct range *r)
{
    ww_plot_line_begin(p, ww_page_colour(source));
    for (size_t l = 0; l < d->n_layers; l++) {
        ww_page_putf(p, "%.1f,%.1f ", x_of(l, d->n_layers),
                     y_of(d->layers[l].shares[source], r));
    }
    ww_page_put(p, "\"/>\n");
    for (size_t l = 0; l < d->n_layers; l++) {
        ww_plot_dot_begin(p, x_of(l, d->n_layers), y_of(d->layers[l].shares[source], r),
                          ww_page_colour(source));
        ww_page_text(p, d->layers[l].name);
        ww_page_putf(p, ": %.4f, %" PRIu64 " weights moved far enough",
                     d->layers[l].shares[source], d->layers[l].elements);
        ww_plot_dot_end(p);
    }
}

static void name_layers(struct ww_page *p, const struct ww_decompose_report *d)
{
    for (size_t l = 0; l < d->n_layers; l += d->n_layers / 12 + 1) {
        ww_plot_layer(p, x_of(l, d->n_layers), HEIGHT - 10, d->layers[l].name);
    }
}

static void legend(struct ww_page *p, const struct ww_decompose_report *d)
{
    ww_page_put(p, "<p class=\"legend\">");
    for (size_t i = 0; i < d->n_sources; i++) {
        ww_plot_legend_entry(p, i, d->sources[i].name, NULL);
    }
    ww_page_put(p, "</p>\n");
}

void ww_picture_shares(struct ww_page *p, const struct ww_decompose_report *d)
{
    struct range r = {0, 0.1};

    for (size_t l = 0; l < d->n_layers; l++) {
        for (size_t i = 0; i < d->n_sources; i++) {
            r.low = fmin(r.low, d->layers[l].shares[i]);
            r.high = fmax(r.high, d->layers[l].shares[i]);
        }
    }
    ww_page_put(p, "<h2>Shares per layer</h2>\n");
    legend(p, d);
    ww_page_putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH, HEIGHT);
    grid(p, &r);
    name_layers(p, d);
    for (size_t i = 0; i < d->n_sources; i++) {
        line_of(p, d, i, &r);
    }
    ww_page_put(p, "</svg>\n<p>Across: layers, the dot without a number being what lies "
                   "outside of them. A layer in which few weights moved far enough tells "
                   "little; numbers show when the pointer rests on a dot.</p>\n");
}

/* The name with the layer's number taken out: tensors of one kind have one row. */
static void kind_of(const struct ww_lineage_tensor *t, char out[KIND_BYTES])
{
    char number[16];
    const char *at = NULL;
    size_t len = 0;

    (void)snprintf(number, sizeof(number), ".%" PRIu32 ".", t->layer);
    at = t->layer == UINT32_MAX ? NULL : strstr(t->name, number);
    if (!at) {
        (void)snprintf(out, KIND_BYTES, "%s", t->name);
        return;
    }
    len = strlen(number);
    (void)snprintf(out, KIND_BYTES, "%s", at + len);
}

struct map {
    char kinds[KINDS][KIND_BYTES];
    size_t n_kinds;
    uint32_t n_layers;
};

static size_t row_of(struct map *map, const struct ww_lineage_tensor *t)
{
    char kind[KIND_BYTES];
    size_t i = 0;

    kind_of(t, kind);
    while (i < map->n_kinds && strcmp(map->kinds[i], kind) != 0) {
        i++;
    }
    if (i == map->n_kinds && i < KINDS) {
        memcpy(map->kinds[map->n_kinds++], kind, KIND_BYTES);
    }
    return i;
}

static void cell(struct ww_page *p, const struct map *map,
                 const struct ww_lineage_tensor *t, size_t row)
{
    const double room = (WIDTH - LABELS - 10) / (double)(map->n_layers + 1);
    const double column = t->layer == UINT32_MAX ? 0 : 1.0 + t->layer;
    const double v = fmin(1, fmax(0, t->unexplained));
    const int light = (int)(255 * (1 - v));

    ww_page_putf(p, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" ",
                 LABELS + column * room, TOP + CELL * (double)row, room, CELL);
    if (t->unexplained < 0) {
        ww_page_put(p, "fill=\"#ccc\"><title>");
    } else {
        ww_page_putf(p, "fill=\"rgb(255,%d,%d)\" stroke=\"#eee\"><title>", light, light);
    }
    ww_page_text(p, t->name);
    if (t->unexplained < 0) {
        ww_page_put(p, ": as in the base");
    } else {
        ww_page_putf(p, ": %.4f unexplained", t->unexplained);
    }
    if (t->replay >= 0) {
        ww_page_putf(p, ", %.4f of the moved weights bit for bit", t->replay);
    }
    ww_page_put(p, "</title></rect>\n");
}

void ww_picture_residual(struct ww_page *p, const struct ww_decompose_report *d)
{
    struct map map = {.n_kinds = 0};

    for (size_t i = 0; i < d->n_each; i++) {
        (void)row_of(&map, &d->each[i]);
        if (d->each[i].layer != UINT32_MAX && d->each[i].layer >= map.n_layers) {
            map.n_layers = d->each[i].layer + 1;
        }
    }
    ww_page_put(p,
                "<h2>What is left unexplained</h2>\n<p>A cell is a tensor, across are "
                "layers with what lies outside of them first. White: explained as far as "
                "rounding allows; red: not at all; grey: as in the base.</p>\n");
    ww_page_putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", WIDTH,
                 2 * TOP + CELL * (double)map.n_kinds);
    for (size_t k = 0; k < map.n_kinds; k++) {
        ww_page_putf(p, "<text x=\"%.0f\" y=\"%.1f\" class=\"y\">", LABELS - 6,
                     TOP + CELL * (double)k + 11);
        ww_page_text(p, map.kinds[k]);
        ww_page_put(p, "</text>\n");
    }
    for (size_t i = 0; i < d->n_each; i++) {
        const size_t row = row_of(&map, &d->each[i]);
        if (row < KINDS) {
            cell(p, &map, &d->each[i], row);
        }
    }
    ww_page_put(p, "</svg>\n");
    if (map.n_kinds == KINDS) {
        ww_page_put(p, "<p>Tensors of further kinds are in the JSON alone.</p>\n");
    }
}

/* Square root: statistics reach from zero to millions. */
static double place(double v, double high)
{
    return LABELS + (WIDTH - LABELS - 20) * sqrt(fmax(0, v) / high);
}

void ww_picture_controls(struct ww_page *p, const struct ww_decompose_report *d)
{
    double high = 1;

    for (size_t i = 0; i < d->n_sources; i++) {
        const struct ww_lineage_source *s = &d->sources[i];
        high = fmax(high, s->statistic);
        for (size_t c = 0; s->reached && c < d->n_controls; c++) {
            high = fmax(high, s->reached[c]);
        }
    }
    ww_page_put(p,
                "<h2>Candidates among the controls</h2>\n<p>Share over standard error in "
                "the fit with the other candidates: the candidate as a bar, each control "
                "in its place as a dot. The scale is that of square roots, from 0 to ");
    ww_page_putf(p, "%.4g.</p>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n", high,
                 WIDTH, 2 * TOP + 24 * (double)d->n_sources);
    for (size_t i = 0; i < d->n_sources; i++) {
        const struct ww_lineage_source *s = &d->sources[i];
        const double y = TOP + 24 * (double)i;
        ww_page_putf(p, "<text x=\"%.0f\" y=\"%.1f\" class=\"y\">", LABELS - 6, y + 15);
        ww_page_text(p, s->name);
        ww_page_put(p, "</text>\n");
        if (!s->reached) {
            continue;
        }
        ww_page_putf(p,
                     "<rect x=\"%.1f\" y=\"%.1f\" width=\"4\" height=\"20\" fill=\"%s\">"
                     "<title>%.4g</title></rect>\n",
                     place(s->statistic, high), y, ww_page_colour(i), s->statistic);
        for (size_t c = 0; c < d->n_controls; c++) {
            ww_page_putf(p,
                         "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"none\" "
                         "stroke=\"#444\"><title>%.4g</title></circle>\n",
                         place(s->reached[c], high), y + 10, s->reached[c]);
        }
    }
    ww_page_put(p, "</svg>\n");
}
