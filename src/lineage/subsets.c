/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sample of elements whose task vectors are many rounding steps long tells the values
 * apart. The weights by which kept elements enter are not shares: those are weights less
 * what was dropped. They are climbed to, from the shares, by how many elements have one
 * of the 2^k values; a clear maximum, as wrong weights meet hardly any.
 */
#include "lineage/subsets.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define SETS (1u << WW_SUBSETS_MOST)
#define LOOK (1u << 15) /* values that weights are climbed on, */
#define MOST_LOOK 4096  /* and elements */
#define ENOUGH 1000     /* elements that moved */
#define CHANCE 0.7      /* what any values would have, at most */
#define WITHIN 1.2      /* half steps by which a value may be missed, */
#define OF_LENGTH                                                                        \
    0.006           /* and of the length of what was added: rescaling by what was kept   \
                       differs a little between tensors */
#define APART 4     /* what shows whether a source was kept, in such misses */
#define TOLD 200    /* elements that say which part was kept */
#define COARSE 1.05 /* from one weight to the next one that is tried */
#define LEAST 0.75  /* of the share, the first one */
#define LOOKS 56
#define TURNS 2 /* of coarse looks */
#define ROUNDS 20
#define FEW_ROUNDS 4
#define OWN 200 /* elements of a tensor that say how it differs */

struct mixture {
    unsigned k;
    bool divided;
    double scale;
    double weight[WW_SUBSETS_MOST];
};

/* What each set of sources would leave, and how far off that may be. */
struct values {
    double at[SETS];
    double slack[SETS];
};

static unsigned lowest(unsigned set)
{
    return (unsigned)__builtin_ctz(set);
}

static void list_values(const struct mixture *m, const struct ww_subsets_element *e,
                        struct values *v)
{
    double sum[SETS] = {0};
    double length[SETS] = {0};
    double divisor[SETS] = {0};

    v->at[0] = 0;
    v->slack[0] = WITHIN * e->half;
    for (unsigned s = 1; s < 1u << m->k; s++) {
        const unsigned i = lowest(s);
        const unsigned rest = s & (s - 1);
        const double by = m->weight[i] * e->x[i];
        double factor = m->scale;
        sum[s] = sum[rest] + by;
        length[s] = length[rest] + fabs(by);
        divisor[s] = divisor[rest] + m->weight[i];
        factor /= m->divided && divisor[s] != 0 ? divisor[s] : 1;
        v->at[s] = factor * sum[s];
        v->slack[s] = WITHIN * e->half + OF_LENGTH * fabs(factor) * length[s];
    }
}

/* How far y is from the nearest value, in what it may be off, among the sets that have
 * these bits of those. */
static double miss(const struct values *v, unsigned n_sets, double y, unsigned of,
                   unsigned bits)
{
    double least = INFINITY;

    for (unsigned s = 0; s < n_sets; s++) {
        const double off = fabs(y - v->at[s]) / v->slack[s];
        if ((s & of) == bits && off < least) {
            least = off;
        }
    }
    return least;
}

/* What a mixture is worth: elements that have one of its values, the more the nearer. */
static double worth(const struct mixture *m, const struct ww_subsets_element *elements,
                    size_t n)
{
    const size_t look = LOOK >> m->k;
    const size_t step = n / (look < MOST_LOOK ? look : MOST_LOOK) + 1;
    double sum = 0;

    for (size_t e = 0; e < n; e += step) {
        struct values v;
        double off = 0;
        list_values(m, &elements[e], &v);
        off = miss(&v, 1u << m->k, elements[e].y, 0, 0);
        sum += off < 1 ? 1 - off * off : 0;
    }
    return sum;
}

struct climb {
    const struct ww_subsets_element *elements;
    size_t n;
    struct mixture best;
    double worth;
};

static bool try_one(struct climb *c, const struct mixture *m)
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
    const struct mixture start = c->best;

    double factor = LEAST;

    for (unsigned j = 0; j < LOOKS; j++, factor *= COARSE) {
        struct mixture m = start;
        m.scale *= start.divided ? factor : 1;
        for (unsigned i = 0; i < m.k && !start.divided; i++) {
            m.weight[i] *= factor;
        }
        (void)try_one(c, &m);
    }
}

static void try_apart(struct climb *c, const double *shares)
{
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (unsigned i = 0; i < c->best.k; i++) {
            const struct mixture start = c->best;
            double factor = LEAST;
            for (unsigned j = 0; j < LOOKS; j++, factor *= COARSE) {
                struct mixture m = start;
                m.weight[i] = shares[i] * factor;
                (void)try_one(c, &m);
            }
        }
    }
}

/* A step of one weight, or of the scale, up and down. */
static bool try_beside(struct climb *c, double by)
{
    bool better = false;

    for (unsigned i = 0; i <= c->best.k; i++) {
        for (int side = -1; side <= 1; side += 2) {
            struct mixture m = c->best;
            *(i < m.k ? &m.weight[i] : &m.scale) *= 1 + side * by;
            better |= (i < m.k || m.divided) && try_one(c, &m);
        }
    }
    return better;
}

static void climb(struct climb *c, const double *shares)
{
    static const double steps[] = {0.03, 0.012, 0.005, 0.002};

    c->worth = worth(&c->best, c->elements, c->n);
    try_together(c);
    if (c->best.k > 1) {
        try_apart(c, shares);
    }
    for (size_t s = 0; s < WW_LEN(steps); s++) {
        for (unsigned r = 0; r < ROUNDS && try_beside(c, steps[s]); r++) {
        }
    }
}

/* Plain sums, or divided by the weights of what was kept where that is clearly better. */
static struct mixture find(const struct ww_subsets_element *elements, size_t n,
                           unsigned k, const double *shares)
{
    struct climb plain = {.elements = elements, .n = n, .best = {.k = k, .scale = 1}};
    struct climb divided = plain;
    double sum = 0;

    memcpy(plain.best.weight, shares, k * sizeof(*shares));
    for (unsigned i = 0; i < k; i++) {
        divided.best.weight[i] = shares[i];
        sum += shares[i];
    }
    climb(&plain, shares);
    if (k < 2 || sum <= 0) {
        return plain.best;
    }
    divided.best.divided = true;
    divided.best.scale = sum;
    climb(&divided, shares);
    return divided.worth > 1.05 * plain.worth ? divided.best : plain.best;
}

/* Rescaling by what was kept is not quite the same in every tensor: each has weights of
 * its own, near those of all. */
struct group {
    const struct ww_subsets_element *elements;
    size_t n;
    struct mixture m;
};

static struct mixture adjust(const struct group *g)
{
    static const double steps[] = {0.01, 0.004, 0.0015};
    struct climb c = {.elements = g->elements, .n = g->n, .best = g->m};

    c.worth = worth(&c.best, c.elements, c.n);
    for (size_t s = 0; s < WW_LEN(steps); s++) {
        for (unsigned r = 0; r < FEW_ROUNDS && try_beside(&c, steps[s]); r++) {
        }
    }
    return c.best;
}

static size_t cut_groups(const struct ww_subsets_element *elements, size_t n,
                         const struct mixture *m, struct group *groups)
{
    size_t n_groups = 0;

    for (size_t e = 0; e < n; e++) {
        if (e == 0 || elements[e].tensor != elements[e - 1].tensor) {
            groups[n_groups++] = (struct group){elements + e, 0, *m};
        }
        groups[n_groups - 1].n++;
    }
    for (size_t g = 0; g < n_groups; g++) {
        groups[g].m = groups[g].n >= OWN ? adjust(&groups[g]) : *m;
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
static double rest_of(const struct values *v, unsigned n_sets, double y)
{
    double least = INFINITY;

    for (unsigned s = 0; s < n_sets; s++) {
        least = fmin(least, fabs(y - v->at[s]));
    }
    return least;
}

static void count_met(const struct group *g, struct counts *c)
{
    double other = NAN; /* of the element that moved before */

    for (size_t e = 0; e < g->n; e++) {
        const double y = g->elements[e].y;
        struct values v;
        if (y == 0) {
            continue;
        }
        list_values(&g->m, &g->elements[e], &v);
        const bool met = miss(&v, 1u << g->m.k, y, 0, 0) <= 1;
        const double rest = met ? 0 : rest_of(&v, 1u << g->m.k, y);
        c->all += g->elements[e].many * y * y;
        c->left += g->elements[e].many * rest * rest;
        if (isfinite(other)) {
            c->moved++;
            c->met += met;
            c->chance += miss(&v, 1u << g->m.k, other, 0, 0) <= 1;
        }
        other = y;
    }
}

/* Was source i kept there? 1 yes, 0 no, -1: that cannot be told. */
static int was_kept(const struct mixture *m, const struct ww_subsets_element *e,
                    unsigned i)
{
    const unsigned bit = 1u << i;
    struct values v;
    double with = 0;
    double without = 0;

    list_values(m, e, &v);
    if (fabs(v.at[bit]) < APART * v.slack[bit]) {
        return -1;
    }
    with = miss(&v, 1u << m->k, e->y, bit, bit);
    without = miss(&v, 1u << m->k, e->y, bit, 0);
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
    double chance = 0;

    for (size_t g = 0; g < n_groups; g++) {
        count_met(&groups[g], &c);
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
}

enum ww_err ww_subsets_fit(const struct ww_subsets_element *elements, size_t n,
                           unsigned k, const double *shares, struct ww_subsets *out,
                           struct ww_error *err)
{
    struct group *groups = NULL;
    int8_t *told = NULL;
    struct mixture m;
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
    m = find(elements, n, k, shares);
    out->divided = m.divided;
    for (unsigned i = 0; i < k; i++) {
        out->weight[i] = m.scale * m.weight[i];
    }
    tell(groups, cut_groups(elements, n, &m, groups), told, out);
out:
    ww_free(groups);
    ww_free(told);
    return rc;
}
