/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources that no sum shows. SCE selects by the variance among all of its sources and
 * erases what points against the majority, so that a source may leave no share in least
 * squares and decide about masks and signs all the same. Which bits come out tells: sets
 * of sources are climbed by single steps, and the set counts when its recipe gives the
 * suspect's bits.
 */
#include <string.h>

#include "lineage/contest_work.h"
#include "util/alloc.h"

#define SAMPLE ((uint64_t)1 << 18) /* elements of a step */
#define STEPS 16
#define WORTH 0.3 /* of a better number */

struct climb {
    struct ww_contesting *c;
    struct ww_sketch sketch;
    const char *all[WW_SKETCH_MOST]; /* the sources asked for, then the others */
    size_t n_all;
    bool in[WW_SKETCH_MOST];
    const char *names[WW_SKETCH_MOST]; /* of those that are in */
    double match;
};

static void name_set(struct climb *k)
{
    k->sketch.n = 0;
    for (size_t i = 0; i < k->n_all; i++) {
        if (k->in[i]) {
            k->names[k->sketch.n++] = k->all[i];
        }
    }
    k->sketch.models = k->names;
}

static void start(struct climb *k, struct ww_contesting *c,
                  const struct ww_sketch *sketch)
{
    *k = (struct climb){.c = c, .sketch = *sketch};
    for (size_t i = 0; i < c->ask->n && k->n_all < WW_SKETCH_MOST; i++) {
        k->in[k->n_all] = true;
        k->all[k->n_all++] = c->ask->sources[i];
    }
    for (size_t i = 0; i < c->ask->n_others && k->n_all < WW_SKETCH_MOST; i++) {
        k->all[k->n_all++] = c->ask->others[i];
    }
    name_set(k);
}

static enum ww_err match_of(struct climb *k, double *match, struct ww_error *err)
{
    struct ww_trial trial = {0};
    enum ww_err rc = WW_OK;

    name_set(k);
    rc = ww_contest_try(k->c, &k->sketch, false, &trial, err);
    *match = trial.match;
    ww_free(trial.text);
    return rc;
}

/* The best single change; false when none helps. */
static enum ww_err step(struct climb *k, bool *helped, struct ww_error *err)
{
    double best = k->match + WW_CONTEST_AS_GOOD;
    size_t which = k->n_all;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < k->n_all && !rc; i++) {
        double match = 0;
        if (k->in[i] && k->sketch.n <= 2) {
            continue;
        }
        k->in[i] = !k->in[i];
        rc = match_of(k, &match, err);
        k->in[i] = !k->in[i];
        name_set(k);
        if (match > best) {
            best = match;
            which = i;
        }
    }
    *helped = which < k->n_all;
    if (*helped) {
        k->in[which] = !k->in[which];
        k->match = best;
        name_set(k);
    }
    return rc;
}

static enum ww_err climb(struct climb *k, struct ww_error *err)
{
    bool helped = true;
    enum ww_err rc = WW_OK;

    /* One source selects nothing, and nothing is right wherever the base was kept. */
    if (k->sketch.n >= 2) {
        rc = match_of(k, &k->match, err);
    }
    for (unsigned s = 0; s < STEPS && !rc && helped && k->match < WW_CONTEST_AGREED;
         s++) {
        rc = step(k, &helped, err);
    }
    return rc;
}

enum ww_err ww_contest_set(struct ww_contesting *c, const struct ww_sketch *sketch,
                           struct ww_error *err)
{
    const uint64_t room = c->room;
    struct ww_trial best = {0};
    struct climb k;
    enum ww_err rc = WW_OK;

    start(&k, c, sketch);
    c->room = SAMPLE;
    rc = climb(&k, err);
    if (!rc && k.match > WORTH) { /* about the part was known till now */
        rc = ww_contest_search(c, &k.sketch, &k.sketch.value, &best, err);
        ww_free(best.text);
        best = (struct ww_trial){0};
    }
    if (!rc) {
        rc = climb(&k, err);
    }
    c->room = room;
    if (!rc) {
        rc = ww_contest_try(c, &k.sketch, true, &best, err);
    }
    if (rc || best.match < WW_CONTEST_AGREED) {
        ww_free(best.text);
        return rc;
    }
    c->out->has_set = true;
    memcpy(c->out->set, k.in, sizeof(k.in));
    ww_contest_close(c, sketch->method, false, &best);
    return WW_OK;
}
