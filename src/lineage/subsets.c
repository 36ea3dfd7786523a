/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sample of elements whose task vectors are many rounding steps long tells the values
 * apart: how many of them have one, and which of its sources were kept.
 */
#include "lineage/subsets_mixture.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"

#define ENOUGH 1000 /* elements that moved */
#define CHANCE 0.7  /* what any values would have, at most */
#define OWN 200     /* elements of a tensor that say how it differs */

static size_t cut_groups(const struct ww_subsets_element *elements, size_t n,
                         const struct ww_mixture *m, struct ww_mixture_group *groups)
{
    size_t n_groups = 0;

    for (size_t e = 0; e < n; e++) {
        if (e == 0 || elements[e].tensor != elements[e - 1].tensor) {
            groups[n_groups++] = (struct ww_mixture_group){elements + e, 0, *m};
        }
        groups[n_groups - 1].n++;
    }
    for (size_t g = 0; g < n_groups; g++) {
        groups[g].m = groups[g].n >= OWN
                          ? ww_mixture_adjust(m, groups[g].elements, groups[g].n)
                          : *m;
    }
    return n_groups;
}

struct counts {
    size_t moved;
    size_t met;    /* of those: by a value */
    size_t chance; /* by one that belongs elsewhere */
    double all;    /* squares of how far they moved, */
    double left;   /* and of how far from any value, where none is near enough */
};

/* How far y is from the nearest value of all. */
static double rest_of(const struct ww_mixture_values *v, unsigned n_sets, double y)
{
    double least = INFINITY;

    for (unsigned s = 0; s < n_sets; s++) {
        least = fmin(least, fmax(0, fabs(y - v->at[s]) - v->cell));
    }
    return least;
}

static void count_met(const struct ww_mixture_group *g, struct counts *c)
{
    double other = NAN; /* of the element that moved before */

    for (size_t e = 0; e < g->n; e++) {
        const double y = g->elements[e].y;
        struct ww_mixture_values v;
        if (!ww_mixture_moved(&g->elements[e])) {
            continue;
        }
        ww_mixture_list(&g->m, &g->elements[e], &v);
        const bool met = ww_mixture_miss(&v, 1u << g->m.k, y, 0, 0) <= 1;
        const double rest = met ? 0 : rest_of(&v, 1u << g->m.k, y);
        c->all += g->elements[e].many * y * y;
        c->left += g->elements[e].many * rest * rest;
        if (isfinite(other)) {
            c->moved++;
            c->met += met;
            c->chance += ww_mixture_miss(&v, 1u << g->m.k, other, 0, 0) <= 1;
        }
        other = y;
    }
}

static void tell(const struct ww_mixture_group *groups, size_t n_groups, uint8_t *room,
                 struct ww_subsets *out)
{
    struct counts c = {0};
    struct ww_mixture_tries tries = {0};
    double chance = 0;

    for (size_t g = 0; g < n_groups; g++) {
        count_met(&groups[g], &c);
        ww_mixture_try(&groups[g].m, groups[g].elements, groups[g].n, &tries);
    }
    chance = c.moved ? (double)c.chance / (double)c.moved : 1;
    out->told = c.moved >= ENOUGH && chance <= CHANCE;
    if (out->told) {
        out->explained =
            fmax(0, ((double)c.met / (double)c.moved - chance) / (1 - chance));
        out->left = c.all > 0 ? c.left / c.all : 0;
    }
    ww_mixture_tell_kept(groups, n_groups, room, out);
    ww_mixture_judge(&tries, groups[0].m.k, out);
}

enum ww_err ww_subsets_fit(const struct ww_subsets_element *elements, size_t n,
                           unsigned k, const double *shares, struct ww_subsets *out,
                           struct ww_error *err)
{
    struct ww_mixture_group *groups = NULL;
    uint8_t *room = NULL;
    struct ww_mixture m;
    enum ww_err rc = WW_OK;

    *out = (struct ww_subsets){
        .strayed = -1, .longer.error = INFINITY, .opposed.error = INFINITY};
    if (k == 0 || k > WW_SUBSETS_MOST || n == 0) {
        return WW_OK;
    }
    groups = ww_calloc(n, sizeof(*groups));
    room = ww_calloc(n, sizeof(*room));
    if (!groups || !room) {
        rc = WW_FAIL_MEMORY(err, "a sample of elements");
        goto out;
    }
    m = ww_mixture_find(elements, n, k, shares);
    out->divided = m.divided;
    for (unsigned i = 0; i < k; i++) {
        out->weight[i] = m.scale[i] * m.weight[i];
    }
    tell(groups, cut_groups(elements, n, &m, groups), room, out);
out:
    ww_free(groups);
    ww_free(room);
    return rc;
}
