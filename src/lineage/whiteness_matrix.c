/* SPDX-License-Identifier: Apache-2.0 */
/* What one matrix says: of itself, of the base and of each candidate. */
#include "lineage/whiteness_work.h"

#include <math.h>

#include "lineage/corner.h"

#define LONG 2.0 /* in root mean squares: from here on elements are long ones */

/* g: the elements of x that are longer than most. */
static void keep_long(const double *x, double squares, size_t n, double *g)
{
    const double least = LONG * LONG * squares / (double)n;

    for (size_t i = 0; i < n; i++) {
        g[i] = x[i] * x[i] > least ? x[i] : 0;
    }
}

/* Let x be a source and noise of its own, and the noise all that is left: then shares are
 * those of x, short of the source's by the part of the noise in its squares, and what is
 * left has that part of the source's directions, g. product: <g, x>. */
static double twin_of(const struct ww_whitening *w, uint32_t tensor, unsigned source,
                      double product)
{
    const double share = ww_whiteness_shares(w, tensor)[source];
    const struct ww_whiteness_of_matrix *all = &w->found[tensor];

    return share != 0 && all->sources[source].squares > 0
               ? product / all->sources[source].squares * all->noise / share
               : 0;
}

static enum ww_err ask_source(const struct ww_whiteness_corner *c, unsigned source,
                              unsigned k, struct ww_error *err)
{
    struct ww_whiteness_room *r = c->r;
    const size_t n = c->m * c->n;
    struct ww_whiteness_of_source *out = &c->w->found[c->tensor].sources[source];
    const enum ww_err rc = ww_whiteness_source(c, source, r->x, err);

    if (rc) {
        return rc;
    }
    out->squares = ww_whiteness_times(r->x, r->weight, n);
    ww_signflip_beside(&r->flip, r->x, &out->rows, &out->columns, &out->spectrum);
    ww_signflip_leading(&r->flip, r->x, r->g);
    out->twin = twin_of(c->w, c->tensor, source, ww_whiteness_product(r->g, r->x, n));
    ww_whiteness_take_off(r->taken, k, n, r->g);
    ww_signflip_along(&r->flip, r->g, &out->leading);
    keep_long(r->x, out->squares, n, r->g);
    ww_whiteness_take_off(r->taken, k, n, r->g);
    ww_signflip_along(&r->flip, r->g, &out->longer);
    return WW_OK;
}

enum ww_err ww_whiteness_visit(void *payload, struct ww_per_tensor *crew, unsigned thread,
                               uint32_t tensor, struct ww_error *err)
{
    const struct ww_whitening *w = payload;
    struct ww_whiteness_room *r = &w->rooms[thread];
    struct ww_whiteness_of_matrix *out = &w->found[tensor];
    struct ww_whiteness_corner c = {.w = w, .r = r, .tensor = tensor};
    double spectrum = 0;
    unsigned k = 0;
    enum ww_err rc = WW_OK;

    ww_corner_sides(w->ask->family, ww_whiteness_tensor(w, tensor, 0), WW_SIGNFLIP_SIDE,
                    &c.m, &c.n);
    c.m = ww_whiteness_is_stack(w, tensor) ? w->n_stack : c.m;
    rc = ww_whiteness_leave_over(&c, &k, err);
    if (!rc) {
        ww_signflip_set(&r->flip, c.m, c.n);
        ww_signflip_spectrum(&r->flip, &out->spectrum);
        (void)ww_whiteness_times(r->base, r->weight, c.m * c.n);
        ww_signflip_beside(&r->flip, r->base, &out->rows, &out->columns, &spectrum);
    }
    /* Task vectors are read against the base, which was weighed. */
    for (size_t i = 0; i < c.m && !rc; i++) {
        rc = ww_whiteness_row(&c, WW_FAMILY_BASE, i, r->base + i * c.n, r->steps, err);
    }
    for (unsigned i = 0;
         i < w->ask->n_candidates && !ww_whiteness_is_stack(w, tensor) && !rc; i++) {
        rc = ask_source(&c, i, k, err);
    }
    return rc ? rc : ww_per_tensor_progress(crew, 0, err);
}
