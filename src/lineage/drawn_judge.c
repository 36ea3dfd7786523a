/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance is taken as five standard deviations, of least squares with an error of its own
 * in each element (White 1980). Beyond that programs differ by a little: mergekit
 * computes the factor that makes up for what was dropped in the recipe's dtype.
 */
#include <math.h>
#include <string.h>

#include "lineage/drawn.h"
#include "lineage/nnls.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define CHANCE 5      /* standard deviations */
#define FEW 1000      /* elements that tell nothing */
#define OFF 0.01      /* by which a part of the elements may be off, */
#define OF_SHARE 0.02 /* a share by so much of itself */
#define AND 0.005     /* and this, */
#define ENERGY 0.04   /* and squares by so much */
#define STRAYED 0.001 /* of the places that nothing can have moved */
#define TENSORS 0.1   /* of which shares may be others */

/* What all tensors have together, sources by their models. */
struct judging {
    struct ww_drawn sum;
    uint32_t models[WW_DRAWN_SOURCES]; /* of the sources, of the recipe's models */
    uint32_t n_models;                 /* that the recipe names */
    uint32_t told;                     /* tensors whose shares are told, */
    uint32_t off;                      /* of those: they are others */
};

/* The source's place; n where there is no room. */
static uint32_t place_of(struct judging *j, uint32_t model)
{
    for (uint32_t i = 0; i < j->sum.n; i++) {
        if (j->models[i] == model || j->models[i] == WW_NONE) {
            j->models[i] = model;
            return i;
        }
    }
    return j->sum.n;
}

/* A model that is a source twice has no share of its own. */
static bool find_places(struct judging *j, const struct ww_merge_tensor *t,
                        uint32_t *places)
{
    bool seen[WW_DRAWN_SOURCES] = {false};

    for (uint32_t s = 0; s < t->n_sources; s++) {
        places[s] = place_of(j, t->sources[s].model);
        if (t->sources[s].model >= j->n_models || places[s] >= j->sum.n ||
            seen[places[s]]) {
            return false;
        }
        seen[places[s]] = true;
    }
    return true;
}

static void add_sources(struct ww_drawn *to, const struct ww_drawn *d,
                        const uint32_t *places)
{
    for (uint32_t i = 0; i < d->n; i++) {
        const uint32_t at = places[i];
        to->apart[at] += d->apart[i];
        to->anew[at] += d->anew[i];
        to->length[at] += d->length[i];
        to->spread[at] += d->spread[i];
        for (unsigned side = 0; side < WW_DRAWN_SIDES; side++) {
            to->left[side][at] += d->left[side][i];
            to->energy[side][at] += d->energy[side][i];
        }
        for (uint32_t k = 0; k < d->n; k++) {
            to->gram[at * to->n + places[k]] += d->gram[i * d->n + k];
            to->noise[at * to->n + places[k]] += d->noise[i * d->n + k];
        }
    }
}

static void add_elements(struct ww_drawn *to, const struct ww_drawn *d)
{
    to->moved += d->moved;
    to->still += d->still;
    to->strayed += d->strayed;
    for (unsigned side = 0; side < WW_DRAWN_SIDES; side++) {
        to->kept[side] += d->kept[side];
    }
}

/* A share of the draw, and how much more of it the suspect has. */
struct share {
    double anew;
    double more;
    double error;
};

/* False: the source cannot be told from the others, or from the base. */
static bool share_of(const struct ww_drawn *d, uint32_t i, struct share *out)
{
    bool active[WW_DRAWN_SOURCES];
    double row[WW_DRAWN_SOURCES];
    double variance = 0;

    for (uint32_t k = 0; k < d->n; k++) {
        active[k] = d->gram[k * d->n + k] > 0;
    }
    *out = (struct share){0};
    if (!active[i] || d->moved < FEW ||
        !ww_inverse_row(d->gram, d->n, d->n, active, i, row)) {
        return false;
    }
    for (uint32_t k = 0; k < d->n; k++) {
        out->anew += row[k] * d->anew[k];
        out->more += row[k] * d->apart[k];
        for (uint32_t m = 0; m < d->n; m++) {
            variance += row[k] * row[m] * d->noise[k * d->n + m];
        }
    }
    out->error = sqrt(fmax(variance, 0));
    return true;
}

static bool is_other(const struct share *s)
{
    return fabs(s->more) > AND + OF_SHARE * fabs(s->anew) + CHANCE * s->error;
}

/* Numbers over the layers may be others though their means are not. */
static void look_at_tensor(struct judging *j, const struct ww_drawn *d)
{
    struct share s;
    bool told = false;
    bool other = false;

    for (uint32_t i = 0; i < d->n; i++) {
        if (share_of(d, i, &s)) {
            told = true;
            other |= is_other(&s);
        }
    }
    j->told += told;
    j->off += other;
}

static void put_together(struct judging *j, const struct ww_drawn *drawn,
                         const struct ww_merge_plan *plan)
{
    uint32_t places[WW_DRAWN_SOURCES];

    memset(j->models, 0xff, sizeof(j->models)); /* WW_NONE */
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        add_elements(&j->sum, &drawn[t]);
        if (drawn[t].n > 0 && find_places(j, &plan->tensors[t], places)) {
            add_sources(&j->sum, &drawn[t], places);
            look_at_tensor(j, &drawn[t]);
        }
    }
}

/* Two parts of n elements: are they others by more than chance? */
static bool differ(double a, double b, double n)
{
    const double p = (a + b) / 2;

    return fabs(a - b) > OFF + CHANCE * sqrt(2 * p * (1 - p) / n);
}

/* What follows is true when there is a difference; *out is NULL then where memory ran
 * out. */
static bool say_kept(const struct ww_drawn *d, char **out)
{
    const double own = d->kept[WW_DRAWN_SUSPECT] / d->moved;
    const double anew = d->kept[WW_DRAWN_ANEW] / d->moved;

    if (d->still >= FEW && d->strayed > STRAYED * d->still) {
        *out = ww_asprintf("the suspect is not the base at %.4f of the places where all "
                           "of the recipe's models are: another base, or something was "
                           "added",
                           d->strayed / d->still);
        return true;
    }
    if (!differ(own, anew, d->moved)) {
        return false;
    }
    *out =
        ww_asprintf("%.3f of the elements left the base, with the recipe's masks drawn "
                    "anew %.3f: another density, method or base",
                    own, anew);
    return true;
}

static bool say_length(const struct judging *j, const struct ww_recipe *recipe,
                       char **out)
{
    const struct ww_drawn *d = &j->sum;

    for (uint32_t i = 0; i < d->n; i++) {
        const double all = d->length[i];
        const double own = all > 0 ? d->left[WW_DRAWN_SUSPECT][i] / all : 0;
        const double anew = all > 0 ? d->left[WW_DRAWN_ANEW][i] / all : 0;
        /* So many elements of one length would be as uncertain. */
        if (all > 0 && differ(own, anew, all * all / d->gram[i * d->n + i])) {
            *out = ww_asprintf("elements that left the base have %.3f of the length of "
                               "what '%s' changed, with the recipe's masks drawn anew "
                               "%.3f: another density or method",
                               own, recipe->models[j->models[i]].text, anew);
            return true;
        }
    }
    return false;
}

static bool say_shares(const struct judging *j, const struct ww_recipe *recipe,
                       char **out)
{
    struct share s;

    for (uint32_t i = 0; i < j->sum.n; i++) {
        if (share_of(&j->sum, i, &s) && is_other(&s)) {
            *out =
                ww_asprintf("the share of '%s' is %.3f, with the recipe's masks drawn "
                            "anew %.3f: another weight or method",
                            recipe->models[j->models[i]].text, s.anew + s.more, s.anew);
            return true;
        }
    }
    if (j->off < 2 || j->off <= TENSORS * j->told) {
        return false;
    }
    *out = ww_asprintf("in %u of %u tensors shares are others than with the recipe's "
                       "masks drawn anew: other weights over the layers, or another "
                       "method",
                       j->off, j->told);
    return true;
}

static bool say_energy(const struct judging *j, const struct ww_recipe *recipe,
                       char **out)
{
    const struct ww_drawn *d = &j->sum;

    for (uint32_t i = 0; i < d->n; i++) {
        const double own = d->energy[WW_DRAWN_SUSPECT][i];
        const double anew = d->energy[WW_DRAWN_ANEW][i];
        if (fabs(own - anew) > ENERGY * anew + CHANCE * sqrt(d->spread[i])) {
            *out = ww_asprintf("where '%s' changed much, elements moved by %.3f times as "
                               "much, in squares, as with the recipe's masks drawn anew: "
                               "another density or method, or something was added",
                               recipe->models[j->models[i]].text, own / anew);
            return true;
        }
    }
    return false;
}

enum ww_err ww_drawn_judge(const struct ww_drawn *drawn, const struct ww_merge_plan *plan,
                           const struct ww_recipe *recipe, char **out,
                           struct ww_error *err)
{
    struct judging j = {.n_models = recipe->n_models};
    enum ww_err rc = ww_drawn_init(&j.sum, WW_DRAWN_SOURCES, err);

    *out = NULL;
    if (!rc) {
        put_together(&j, drawn, plan);
    }
    if (!rc && j.sum.moved >= FEW &&
        (say_shares(&j, recipe, out) || say_kept(&j.sum, out) ||
         say_length(&j, recipe, out) || say_energy(&j, recipe, out)) &&
        !*out) {
        rc = WW_FAIL_MEMORY(err, "a comparison with masks drawn anew");
    }
    ww_drawn_release(&j.sum);
    return rc;
}
