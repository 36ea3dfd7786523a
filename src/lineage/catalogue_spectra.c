/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The product of a head is never formed: with A the columns of O_h and C the rows of V_g,
 * both d long, the squared singular values of A^T C are the eigenvalues of L^T (C C^T) L,
 * where A A^T = L L^T.
 */
#include "lineage/catalogue_spectra.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "la/la.h"
#include "lineage/draws.h"
#include "lineage/gains.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Keeps a head of less than full rank positive. */
#define RIDGE 1e-12

/* The leading values of a head of drawn weights, of length 1. */
struct chance {
    size_t d;
    size_t width_o;
    size_t width_v;
    double values[WW_SPECTRA_VALUES];
};

struct spectra {
    const struct ww_layout *layout;
    float *out;
    float *drawn;
    struct chance chance; /* of the attention before, and mostly of this one */
    size_t n;
    size_t capacity;
};

/* Gram matrix of d rows. */
static void gram(const float *rows, size_t d, size_t width, double *wide, double *out)
{
    for (size_t i = 0; i < d * width; i++) {
        wide[i] = (double)rows[i];
    }
    ww_la_syrk(WW_LA_PLAIN, d, width, 1, wide, width, 0, out);
}

struct room {
    double *wide; /* [d][width] */
    double *a;    /* [d][d] each */
    double *c;
    double *t;
    double *values; /* [d] */
};

/* The leading singular values of one head; *length is that of all its values. */
static enum ww_err head_values(const float *a, size_t width_a, const float *c,
                               size_t width_c, size_t d, const struct room *room,
                               float out[WW_SPECTRA_VALUES], double *length,
                               struct ww_error *err)
{
    double trace = 0;
    double squares = 0;
    enum ww_err rc = WW_OK;

    gram(a, d, width_a, room->wide, room->a);
    gram(c, d, width_c, room->wide, room->c);
    for (size_t i = 0; i < d; i++) {
        trace += room->a[i * d + i];
    }
    for (size_t i = 0; i < d; i++) {
        room->a[i * d + i] += RIDGE * trace + 1e-300;
    }
    rc = ww_la_cholesky(d, room->a, err);
    if (rc) {
        return rc;
    }
    ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, d, d, d, 1, room->c, d, room->a, d, 0, room->t,
               d);
    ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, d, d, d, 1, room->a, d, room->t, d, 0,
               room->c, d);
    rc = ww_la_eigen(d, room->c, room->values, err);
    for (size_t k = 0; k < d && !rc; k++) {
        squares += room->values[k] > 0 ? room->values[k] : 0;
    }
    *length = sqrt(squares);
    for (size_t k = 0; k < WW_SPECTRA_VALUES && !rc; k++) {
        const double value = k < d ? room->values[d - 1 - k] : 0;
        out[k] = (float)sqrt(value > 0 ? value : 0);
    }
    return rc;
}

static int by_first(const void *x, const void *y)
{
    const float *a = x;
    const float *b = y;
    return (a[0] < b[0]) - (a[0] > b[0]);
}

/* The sum of four numbers evenly between -1/2 and 1/2: near enough to a normal one. */
static void draw_rows(float *rows, size_t n, uint64_t *state)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = ww_draw(state);
        double sum = 0;
        for (unsigned k = 0; k < 4; k++) {
            sum += (double)(bits >> 16 * k & 0xffff) / 65536 - 0.5;
        }
        rows[i] = (float)sum;
    }
}

static enum ww_err draw_head(struct spectra *s, size_t d, size_t width_o, size_t width_v,
                             const struct room *room, struct ww_error *err)
{
    struct chance *c = &s->chance;
    float *rows = NULL;
    float values[WW_SPECTRA_VALUES];
    double length = 0;
    uint64_t state = 1;
    enum ww_err rc = WW_OK;

    if (c->d == d && c->width_o == width_o && c->width_v == width_v) {
        return WW_OK;
    }
    rows = ww_calloc(d * (width_o + width_v), sizeof(*rows));
    if (!rows) {
        return WW_FAIL_MEMORY(err, "spectra");
    }
    draw_rows(rows, d * (width_o + width_v), &state);
    rc = head_values(rows, width_o, rows + d * width_o, width_v, d, room, values, &length,
                     err);
    if (!rc) {
        *c = (struct chance){.d = d, .width_o = width_o, .width_v = width_v};
        for (size_t k = 0; k < WW_SPECTRA_VALUES; k++) {
            c->values[k] = (double)values[k] / length;
        }
    }
    ww_free(rows);
    return rc;
}

static enum ww_err add_heads(struct spectra *s, const struct ww_attention *att,
                             const struct ww_slab *o, const struct ww_slab *v,
                             struct ww_error *err)
{
    const size_t d = (size_t)att->v_dim;
    const size_t width = o->width > v->width ? o->width : v->width;
    const size_t per_group = (size_t)(att->n_heads / att->n_kv_heads);
    const struct room room = {
        ww_calloc(d * width, sizeof(double)), ww_calloc(d * d, sizeof(double)),
        ww_calloc(d * d, sizeof(double)), ww_calloc(d * d, sizeof(double)),
        ww_calloc(d, sizeof(double))};
    float *out = s->out + s->n;
    float *drawn = s->drawn + s->n;
    enum ww_err rc = room.wide && room.a && room.c && room.t && room.values
                         ? draw_head(s, d, o->width, v->width, &room, err)
                         : WW_FAIL_MEMORY(err, "spectra");

    for (size_t h = 0; h < att->n_heads && !rc; h++) {
        double length = 0;
        rc = head_values(o->rows + h * d * o->width, o->width,
                         v->rows + h / per_group * d * v->width, v->width, d, &room,
                         out + h * WW_SPECTRA_VALUES, &length, err);
        for (size_t k = 0; k < WW_SPECTRA_VALUES; k++) {
            drawn[h * WW_SPECTRA_VALUES + k] = (float)(length * s->chance.values[k]);
        }
    }
    if (!rc) {
        qsort(out, (size_t)att->n_heads, WW_SPECTRA_VALUES * sizeof(*out), by_first);
        qsort(drawn, (size_t)att->n_heads, WW_SPECTRA_VALUES * sizeof(*out), by_first);
        s->n += (size_t)att->n_heads * WW_SPECTRA_VALUES;
    }
    ww_free(room.wide);
    ww_free(room.a);
    ww_free(room.c);
    ww_free(room.t);
    ww_free(room.values);
    return rc;
}

static bool fits(const struct ww_attention *att, const struct ww_slab *o,
                 const struct ww_slab *v)
{
    return att->v_dim > 0 && att->n_kv_heads > 0 && o->rows && v->rows &&
           o->n == att->n_heads * att->v_dim && v->n == att->n_kv_heads * att->v_dim;
}

static enum ww_err add_attention(struct spectra *s, uint32_t attention,
                                 struct ww_error *err)
{
    const struct ww_attention *att = &s->layout->attentions[attention];
    const struct ww_slab_of of_o = {s->layout, NULL, &att->o, true, att->context};
    const struct ww_slab_of of_v = {s->layout, NULL, &att->v, false, att->value};
    struct ww_slab o = {0};
    struct ww_slab v = {0};
    float *gain = NULL;
    enum ww_err rc = ww_slab_load(&of_o, &o, err);

    if (!rc) {
        rc = ww_slab_load(&of_v, &v, err);
    }
    if (!rc && fits(att, &o, &v) &&
        s->capacity - s->n >= att->n_heads * WW_SPECTRA_VALUES) {
        rc = ww_gains_read(s->layout, attention, v.width, &gain, err);
        if (!rc) {
            ww_gains_fold(gain, &v);
            rc = add_heads(s, att, &o, &v, err);
        }
    }
    ww_free(gain);
    ww_slab_release(&o);
    ww_slab_release(&v);
    return rc;
}

/* Attentions whose values and outputs a lock may mix, some of them when there are many.
 */
static enum ww_err add_all(struct spectra *s, struct ww_error *err)
{
    const uint32_t n = s->layout->n_attentions;
    const uint32_t some = n < WW_SPECTRA_LAYERS ? n : WW_SPECTRA_LAYERS;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < some && !rc; i++) {
        const uint32_t a = some > 1 ? i * (n - 1) / (some - 1) : 0;
        if (s->layout->attentions[a].vo_class == WW_VO_GL) {
            rc = add_attention(s, a, err);
        }
    }
    return rc;
}

enum ww_err ww_spectra_make(const struct ww_model *model, float **out, float **chance,
                            size_t *n, struct ww_error *err)
{
    struct spectra s = {.capacity = WW_SPECTRA_MOST};
    struct ww_layout *layout = NULL;
    struct ww_error unknown = {0};
    enum ww_err rc = WW_OK;

    *out = NULL;
    *chance = NULL;
    *n = 0;
    if (ww_layout_resolve(model, NULL, &layout, &unknown)) {
        return WW_OK;
    }
    s.layout = layout;
    s.out = ww_calloc(s.capacity, sizeof(*s.out));
    s.drawn = ww_calloc(s.capacity, sizeof(*s.drawn));
    rc = s.out && s.drawn ? ww_la_ready(err) : WW_FAIL_MEMORY(err, "spectra");
    if (rc == WW_E_LIBRARY) {
        ww_error_context(
            err,
            "a catalogue without spectra of heads places no locked or permuted model");
    }
    rc = rc ? rc : add_all(&s, err);
    ww_layout_free(layout);
    if (rc || s.n == 0) {
        ww_free(s.out);
        ww_free(s.drawn);
        return rc;
    }
    *out = s.out;
    *chance = s.drawn;
    *n = s.n;
    return WW_OK;
}

double ww_spectra_distance(const float *a, const float *b, size_t n)
{
    double apart = 0;
    double all = 0;

    for (size_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        apart += d * d;
        all += (double)b[i] * (double)b[i];
    }
    return all > 0 ? sqrt(apart / all) : HUGE_VAL;
}

void ww_spectra_level(float *x, const float *root, size_t n)
{
    double along = 0;
    double all = 0;

    for (size_t i = 0; i < n; i++) {
        along += ((double)x[i] - (double)root[i]) * (double)root[i];
        all += (double)root[i] * (double)root[i];
    }
    for (size_t i = 0; i < n && all > 0; i++) {
        x[i] = (float)((double)x[i] - along / all * (double)root[i]);
    }
}
