/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The weights by which kept elements enter are not shares: those are weights less what
 * was dropped. They are climbed to, from the shares, by how many elements have one of the
 * 2^k values; a clear maximum, as wrong weights meet hardly any.
 */
#include "lineage/subsets_mixture.h"

#include <math.h>
#include <string.h>

#include "util/fail.h"

#define LOOK (1u << 15) /* values that weights are climbed on, */
#define MOST_LOOK 4096  /* and elements */
#define WITHIN 1.2      /* half steps by which a value may be missed, */
#define OF_LENGTH                                                                        \
    0.006           /* and of the length of what was added: rescaling by what was kept   \
                       differs a little between tensors */
#define COARSE 1.05 /* from one weight to the next one that is tried */
#define LEAST 0.75  /* of the share, the first one */
#define LOOKS 56
#define TURNS 2 /* of coarse looks */
#define ROUNDS 20
#define FEW_ROUNDS 4
#define FEWER 2  /* times as many elements have no value by a form of fewer numbers, */
#define SPARED 3 /* and these, where one of more is taken */

static unsigned lowest(unsigned set)
{
    return (unsigned)__builtin_ctz(set);
}

void ww_mixture_list(const struct ww_mixture *m, const struct ww_subsets_element *e,
                     struct ww_mixture_values *v)
{
    double sum[WW_MIXTURE_SETS];
    double length[WW_MIXTURE_SETS];
    double divisor[WW_MIXTURE_SETS];

    sum[0] = length[0] = divisor[0] = v->at[0] = 0;
    v->slack[0] = WITHIN * e->half;
    v->cell = e->cell;
    for (unsigned s = 1; s < 1u << m->k; s++) {
        const unsigned i = lowest(s);
        const unsigned rest = s & (s - 1);
        const double by = m->weight[i] * m->scale[i] * e->x[i];
        double factor = 1;
        sum[s] = sum[rest] + by;
        length[s] = length[rest] + fabs(by);
        divisor[s] = divisor[rest] + m->weight[i];
        factor /= m->divided && divisor[s] != 0 ? divisor[s] : 1;
        v->at[s] = factor * sum[s];
        v->slack[s] = WITHIN * e->half + OF_LENGTH * fabs(factor) * length[s];
    }
}

double ww_mixture_miss(const struct ww_mixture_values *v, unsigned n_sets, double y,
                       unsigned of, unsigned bits)
{
    double least = INFINITY;

    for (unsigned s = 0; s < n_sets; s++) {
        const double off = fmax(0, fabs(y - v->at[s]) - v->cell) / v->slack[s];
        if ((s & of) == bits && off < least) {
            least = off;
        }
    }
    return least;
}

bool ww_mixture_moved(const struct ww_subsets_element *e)
{
    return e->cell > 0 ? fabs(e->y) > e->cell + WITHIN * e->half : e->y != 0;
}

/* What a mixture is worth: elements that have one of its values, the more the nearer. */
static double worth(const struct ww_mixture *m, const struct ww_subsets_element *elements,
                    size_t n)
{
    const size_t look = LOOK >> m->k;
    const size_t step = n / (look < MOST_LOOK ? look : MOST_LOOK) + 1;
    double sum = 0;

    for (size_t e = 0; e < n; e += step) {
        struct ww_mixture_values v;
        double off = 0;
        ww_mixture_list(m, &elements[e], &v);
        off = ww_mixture_miss(&v, 1u << m->k, elements[e].y, 0, 0);
        sum += off < 1 ? 1 - off * off : 0;
    }
    return sum;
}

static size_t count_missed(const struct ww_mixture *m,
                           const struct ww_subsets_element *elements, size_t n)
{
    size_t missed = 0;

    for (size_t e = 0; e < n; e++) {
        struct ww_mixture_values v;
        ww_mixture_list(m, &elements[e], &v);
        missed += ww_mixture_miss(&v, 1u << m->k, elements[e].y, 0, 0) > 1;
    }
    return missed;
}

/* Of two forms the one with more numbers, where it misses far fewer. */
static const struct ww_mixture *better(const struct ww_mixture *fewer,
                                       const struct ww_mixture *more,
                                       const struct ww_subsets_element *elements,
                                       size_t n)
{
    return FEWER * count_missed(more, elements, n) + SPARED <
                   count_missed(fewer, elements, n)
               ? more
               : fewer;
}

struct climb {
    const struct ww_subsets_element *elements;
    size_t n;
    struct ww_mixture best;
    double worth;
};

static bool try_one(struct climb *c, const struct ww_mixture *m)
{
    const double w = worth(m, c->elements, c->n);

    if (w > c->worth) {
        c->worth = w;
        c->best = *m;
        return true;
    }
    return false;
}

/* All weights by one factor: sources were mostly dropped alike. */
static void try_together(struct climb *c)
{
    const struct ww_mixture start = c->best;

    double factor = LEAST;

    for (unsigned j = 0; j < LOOKS; j++, factor *= COARSE) {
        struct ww_mixture m = start;
        for (unsigned i = 0; i < m.k; i++) {
            *(start.divided ? &m.scale[i] : &m.weight[i]) *= factor;
        }
        (void)try_one(c, &m);
    }
}

/* One weight after another, from what it was at the beginning. */
static void try_apart(struct climb *c, const double *from, bool scales)
{
    for (unsigned i = 0; i < c->best.k; i++) {
        const struct ww_mixture start = c->best;
        double factor = LEAST;
        for (unsigned j = 0; j < LOOKS; j++, factor *= COARSE) {
            struct ww_mixture m = start;
            *(scales ? &m.scale[i] : &m.weight[i]) = from[i] * factor;
            (void)try_one(c, &m);
        }
    }
}

/* A step of one number up and down; together: of all scales. */
static bool try_step(struct climb *c, unsigned number, bool together, double by)
{
    bool better = false;

    for (int side = -1; side <= 1; side += 2) {
        struct ww_mixture m = c->best;
        for (unsigned i = 0; i < m.k; i++) {
            m.scale[i] *= together || number == m.k + i ? 1 + side * by : 1;
            m.weight[i] *= !together && number == i ? 1 + side * by : 1;
        }
        better |= try_one(c, &m);
    }
    return better;
}

/* apart: each source has a scale of its own. */
static bool try_beside(struct climb *c, bool apart, double by)
{
    bool better = false;

    for (unsigned i = 0; i < (apart ? 2 : 1) * c->best.k; i++) {
        better |= try_step(c, i, false, by);
    }
    return (c->best.divided && try_step(c, 0, true, by)) || better;
}

static void come_near(struct climb *c, bool apart)
{
    static const double steps[] = {0.03, 0.012, 0.005, 0.002};

    for (size_t s = 0; s < WW_LEN(steps); s++) {
        for (unsigned r = 0; r < ROUNDS && try_beside(c, apart, steps[s]); r++) {
        }
    }
}

static void climb(struct climb *c, const double *shares)
{
    c->worth = worth(&c->best, c->elements, c->n);
    try_together(c);
    for (unsigned turn = 0; turn < TURNS && c->best.k > 1; turn++) {
        try_apart(c, shares, false);
    }
    come_near(c, false);
}

/* The same from there on, where sources were scaled apart before they were weighed. */
static void climb_apart(struct climb *c, const double *shares)
{
    double scales[WW_SUBSETS_MOST];

    memcpy(scales, c->best.scale, sizeof(scales));
    for (unsigned turn = 0; turn < TURNS; turn++) {
        try_apart(c, scales, true);
        try_apart(c, shares, false);
    }
    come_near(c, true);
}

struct ww_mixture ww_mixture_find(const struct ww_subsets_element *elements, size_t n,
                                  unsigned k, const double *shares)
{
    struct climb plain = {.elements = elements, .n = n, .best = {.k = k}};
    struct climb divided;
    struct climb apart;
    double sum = 0;

    for (unsigned i = 0; i < k; i++) {
        plain.best.weight[i] = shares[i];
        plain.best.scale[i] = 1;
        sum += shares[i];
    }
    divided = plain;
    climb(&plain, shares);
    if (k < 2 || sum <= 0) {
        return plain.best;
    }
    divided.best.divided = true;
    for (unsigned i = 0; i < k; i++) {
        divided.best.scale[i] = sum;
    }
    climb(&divided, shares);
    apart = divided;
    climb_apart(&apart, shares);
    return *better(&plain.best, better(&divided.best, &apart.best, elements, n), elements,
                   n);
}

static bool are_apart(const struct ww_mixture *m)
{
    bool apart = false;

    for (unsigned i = 1; i < m->k; i++) {
        apart |= m->scale[i] != m->scale[0];
    }
    return apart;
}

struct ww_mixture ww_mixture_adjust(const struct ww_mixture *of_all,
                                    const struct ww_subsets_element *elements, size_t n)
{
    static const double steps[] = {0.01, 0.004, 0.0015};
    struct climb c = {.elements = elements, .n = n, .best = *of_all};
    const bool apart = are_apart(of_all);

    c.worth = worth(&c.best, c.elements, c.n);
    for (size_t s = 0; s < WW_LEN(steps); s++) {
        for (unsigned r = 0; r < FEW_ROUNDS && try_beside(&c, apart, steps[s]); r++) {
        }
    }
    return c.best;
}
