/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which part of each source was kept, and by what that goes. Who elects signs drops the
 * source that is outvoted, and that is mostly the shorter one. So whether length decides
 * is asked where all sources point one way, and whether signs do by how much less is kept
 * where one points the other way. Both are asked only of elements whose values tell, kept
 * or not, whether the source was kept: else what is told would go by length too.
 */
#include <math.h>

#include "lineage/subsets_mixture.h"

#define CLEAR 4      /* what shows whether a source was kept, in such misses */
#define TOLD 200     /* elements that say which part was kept */
#define DROPPED 0.97 /* part kept above which none were dropped */

enum { SEEN = 1, KEPT = 2, APART = 4, OPPOSED = 8 };

static bool is_opposed(const struct ww_mixture *m, const struct ww_subsets_element *e,
                       unsigned i)
{
    bool found = false;

    for (unsigned j = 0; j < m->k; j++) {
        found |= m->weight[j] * e->x[j] * (m->weight[i] * e->x[i]) < 0;
    }
    return found;
}

/* No value with the source is near one without it. */
static bool is_apart(const struct ww_mixture_values *v, unsigned n_sets, unsigned bit)
{
    for (unsigned with = 0; with < n_sets; with++) {
        for (unsigned without = 0; with & bit && without < n_sets; without++) {
            if (!(without & bit) &&
                fabs(v->at[with] - v->at[without]) <=
                    2 * v->cell + v->slack[with] + v->slack[without]) {
                return false;
            }
        }
    }
    return true;
}

static uint8_t look(const struct ww_mixture *m, const struct ww_subsets_element *e,
                    unsigned i)
{
    const unsigned n_sets = 1u << m->k;
    const unsigned bit = 1u << i;
    struct ww_mixture_values v;
    bool with = false;

    ww_mixture_list(m, e, &v);
    if (fabs(v.at[bit]) < CLEAR * (v.cell + v.slack[bit])) {
        return 0;
    }
    with = ww_mixture_miss(&v, n_sets, e->y, bit, bit) <= 1;
    if (with == (ww_mixture_miss(&v, n_sets, e->y, bit, 0) <= 1)) {
        return 0;
    }
    return (uint8_t)(SEEN | (with ? KEPT : 0) | (is_apart(&v, n_sets, bit) ? APART : 0) |
                     (is_opposed(m, e, i) ? OPPOSED : 0));
}

/* Elements of two kinds: those kept, and all. */
struct pair {
    size_t kept[2];
    size_t of[2];
};

struct counts {
    struct pair all;     /* by length, the longer half second */
    struct pair agree;   /* the same, of those apart that nothing opposes */
    struct pair opposed; /* of those apart, by whether something opposes them */
};

static void add(struct pair *p, bool second, uint8_t seen)
{
    p->kept[second] += (seen & KEPT) != 0;
    p->of[second]++;
}

/* Longer than the mean of its tensor, of those that are counted. */
static void add_halves(const struct ww_mixture_group *g, unsigned i, const uint8_t *seen,
                       uint8_t of, uint8_t are, struct pair *to)
{
    double sum = 0;
    size_t n = 0;

    for (size_t e = 0; e < g->n; e++) {
        sum += (seen[e] & of) == are ? fabs(g->elements[e].x[i]) : 0;
        n += (seen[e] & of) == are;
    }
    for (size_t e = 0; e < g->n; e++) {
        if ((seen[e] & of) == are) {
            add(to, fabs(g->elements[e].x[i]) * (double)n > sum, seen[e]);
        }
    }
}

static void count(const struct ww_mixture_group *g, unsigned i, uint8_t *seen,
                  struct counts *c)
{
    for (size_t e = 0; e < g->n; e++) {
        seen[e] = look(&g->m, &g->elements[e], i);
        if (seen[e] & APART) {
            add(&c->opposed, (seen[e] & OPPOSED) != 0, seen[e]);
        }
    }
    add_halves(g, i, seen, SEEN, SEEN, &c->all);
    add_halves(g, i, seen, APART | OPPOSED, APART, &c->agree);
}

static bool is_told(const struct pair *p)
{
    return p->of[0] >= TOLD && p->of[1] >= TOLD;
}

static double part(const struct pair *p, unsigned which)
{
    return (double)p->kept[which] / (double)p->of[which];
}

static double variance(const struct pair *p, unsigned which)
{
    const double n = (double)p->of[which] + 2;
    const double of = ((double)p->kept[which] + 1) / n; /* a part of 1 is not certain */

    return of * (1 - of) / n;
}

/* Adds by how much more of the second kind is kept, by its certainty. */
static void pool(const struct pair *p, double *by, double *weights)
{
    if (is_told(p)) {
        const double weight = 1 / (variance(p, 0) + variance(p, 1));
        *by += weight * (part(p, 1) - part(p, 0));
        *weights += weight;
    }
}

static struct ww_subsets_odds odds_of(double by, double weights)
{
    return weights > 0 ? (struct ww_subsets_odds){by / weights, 1 / sqrt(weights)}
                       : (struct ww_subsets_odds){0, INFINITY};
}

static void tell_one(const struct counts *c, unsigned i, struct ww_subsets *out)
{
    const struct pair *halves = is_told(&c->agree) ? &c->agree : &c->all;

    out->kept[i] = -1;
    out->slope[i] = 0;
    if (is_told(&c->all)) {
        out->kept[i] = (double)(c->all.kept[0] + c->all.kept[1]) /
                       (double)(c->all.of[0] + c->all.of[1]);
        out->slope[i] = part(halves, 1) - part(halves, 0);
    }
}

void ww_mixture_tell_kept(const struct ww_mixture_group *groups, size_t n_groups,
                          uint8_t *room, struct ww_subsets *out)
{
    double longer = 0;
    double of_longer = 0;
    double opposed = 0;
    double of_opposed = 0;

    for (unsigned i = 0; i < groups[0].m.k; i++) {
        struct counts c = {.all = {{0}, {0}}};
        for (size_t g = 0; g < n_groups; g++) {
            count(&groups[g], i, room, &c);
        }
        tell_one(&c, i, out);
        if (is_told(&c.agree) && part(&c.agree, 0) < DROPPED) {
            pool(&c.agree, &longer, &of_longer);
        }
        pool(&c.opposed, &opposed, &of_opposed);
    }
    out->longer = odds_of(longer, of_longer);
    out->opposed = odds_of(-opposed, of_opposed);
}
