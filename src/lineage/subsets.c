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
#define APART 4     /* what shows whether a source was kept, in such misses */
#define TOLD 200    /* elements that say which part was kept */
#define OWN 200     /* elements of a tensor that say how it differs */

/* Rescaling by what was kept is not quite the same in every tensor: each has weights of
 * its own, near those of all. */
struct group {
    const struct ww_subsets_element *elements;
    size_t n;
    struct ww_mixture m;
};

static size_t cut_groups(const struct ww_subsets_element *elements, size_t n,
                         const struct ww_mixture *m, struct group *groups)
{
    size_t n_groups = 0;

    for (size_t e = 0; e < n; e++) {
        if (e == 0 || elements[e].tensor != elements[e - 1].tensor) {
            groups[n_groups++] = (struct group){elements + e, 0, *m};
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

static void count_met(const struct group *g, struct counts *c)
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

/* Was source i kept there? 1 yes, 0 no, -1: that cannot be told. */
static int was_kept(const struct ww_mixture *m, const struct ww_subsets_element *e,
                    unsigned i)
{
    const unsigned bit = 1u << i;
    struct ww_mixture_values v;
    double with = 0;
    double without = 0;

    ww_mixture_list(m, e, &v);
    if (fabs(v.at[bit]) < APART * (v.cell + v.slack[bit])) {
        return -1;
    }
    with = ww_mixture_miss(&v, 1u << m->k, e->y, bit, bit);
    without = ww_mixture_miss(&v, 1u << m->k, e->y, bit, 0);
    return (with <= 1) == (without <= 1) ? -1 : with <= 1;
}

struct kept {
    size_t kept[2]; /* of the shorter half, of the longer one */
    size_t of[2];
};

static void count_kept(const struct group *g, unsigned i, int8_t *told, struct kept *k)
{
    double sum = 0;
    size_t n = 0;

    for (size_t e = 0; e < g->n; e++) {
        told[e] = (int8_t)was_kept(&g->m, &g->elements[e], i);
        sum += told[e] >= 0 ? fabs(g->elements[e].x[i]) : 0;
        n += told[e] >= 0;
    }
    for (size_t e = 0; e < g->n; e++) {
        const bool longer = fabs(g->elements[e].x[i]) * (double)n > sum;
        k->kept[longer] += told[e] == 1;
        k->of[longer] += told[e] >= 0;
    }
}

static void tell_kept(const struct kept *k, unsigned i, struct ww_subsets *out)
{
    out->kept[i] = -1;
    out->slope[i] = 0;
    if (k->of[0] >= TOLD && k->of[1] >= TOLD) {
        out->kept[i] = (double)(k->kept[0] + k->kept[1]) / (double)(k->of[0] + k->of[1]);
        out->slope[i] =
            (double)k->kept[1] / (double)k->of[1] - (double)k->kept[0] / (double)k->of[0];
    }
}

static void tell(const struct group *groups, size_t n_groups, int8_t *told,
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
    for (unsigned i = 0; i < groups[0].m.k; i++) {
        struct kept k = {.kept = {0}, .of = {0}};
        for (size_t g = 0; g < n_groups; g++) {
            count_kept(&groups[g], i, told, &k);
        }
        tell_kept(&k, i, out);
    }
    ww_mixture_judge(&tries, groups[0].m.k, out);
}

enum ww_err ww_subsets_fit(const struct ww_subsets_element *elements, size_t n,
                           unsigned k, const double *shares, struct ww_subsets *out,
                           struct ww_error *err)
{
    struct group *groups = NULL;
    int8_t *told = NULL;
    struct ww_mixture m;
    enum ww_err rc = WW_OK;

    *out = (struct ww_subsets){.strayed = -1};
    if (k == 0 || k > WW_SUBSETS_MOST || n == 0) {
        return WW_OK;
    }
    groups = ww_calloc(n, sizeof(*groups));
    told = ww_calloc(n, sizeof(*told));
    if (!groups || !told) {
        rc = WW_FAIL_MEMORY(err, "a sample of elements");
        goto out;
    }
    m = ww_mixture_find(elements, n, k, shares);
    out->divided = m.divided;
    for (unsigned i = 0; i < k; i++) {
        out->weight[i] = m.scale[i] * m.weight[i];
    }
    tell(groups, cut_groups(elements, n, &m, groups), told, out);
out:
    ww_free(groups);
    ww_free(told);
    return rc;
}
