/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes that few people write: paths over the sphere of differences, sums whose weights
 * leave less or more than a model, and methods that decide element by element. They are
 * tried where nothing else gives the bits.
 */
#include <math.h>
#include <string.h>

#include "lineage/arc.h"
#include "lineage/contest_work.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LOOK ((uint64_t)1 << 17) /* elements that numbers are searched on */
#define ROUNDS 12
#define TURNS 2       /* of looks at weights that sum to 1 */
#define SCALED 0.005  /* by which a scale differs from 1 */
#define WORTH 0.1     /* match from which a number is searched */
#define NEARLY 0.8    /* and from which it is worth thousandths */
#define NEARSWAP 1e-5 /* the smallest threshold that is tried, */
#define DECADES 4     /* and how far they go */
#define FEW 8         /* sources whose weights are moved against each other */

/* The best of a sketch over one of its numbers, from where it is: steps up and down, ever
 * smaller ones. by_factor: steps are parts of the number. set writes it into the sketch.
 */
struct number {
    struct ww_sketch sketch;
    double at;
    bool by_factor;
    double low;
    double high;
    void (*set)(struct ww_sketch *sketch, double at);
};

static enum ww_err step(struct ww_contesting *c, struct number *n, double by,
                        struct ww_trial *best, bool *better, struct ww_error *err)
{
    const double from = n->at;
    enum ww_err rc = WW_OK;

    *better = false;
    for (int side = -1; side <= 1 && !rc; side += 2) {
        const double before = best->match;
        const double at = from + side * by * (n->by_factor ? from : 1);
        if (at < n->low || at > n->high) {
            continue;
        }
        n->set(&n->sketch, at);
        rc = ww_contest_try(c, &n->sketch, false, best, err);
        if (best->match > before) {
            n->at = at;
            *better = true;
        }
    }
    return rc;
}

/* People write short numbers: the shortest one near the best that is as good. */
static enum ww_err shorten(struct ww_contesting *c, struct number *n,
                           struct ww_trial *best, struct ww_error *err)
{
    struct ww_trial trial = {0};
    const double at =
        ww_sketch_shortest(n->at, WW_CONTEST_REACH * (n->by_factor ? n->at : 1));
    enum ww_err rc = WW_OK;

    n->set(&n->sketch, at);
    rc = ww_contest_try(c, &n->sketch, false, &trial, err);
    if (!rc && trial.match >= best->match - WW_CONTEST_AS_GOOD / 10) {
        n->at = at;
    }
    ww_free(trial.text);
    return rc;
}

static enum ww_err find_number(struct ww_contesting *c, struct number *n,
                               const char *method, struct ww_error *err)
{
    static const double steps[] = {0.05, 0.02, 0.01, 0.004, 0.001};
    const uint64_t room = c->room;
    struct ww_trial look = {0};
    struct ww_trial best = {0};
    enum ww_err rc = WW_OK;

    c->room = room < LOOK ? room : LOOK;
    n->set(&n->sketch, n->at);
    rc = ww_contest_try(c, &n->sketch, false, &look, err);
    for (size_t s = 0; s < WW_LEN(steps) && !rc && look.match > WORTH; s++) {
        bool better = true;
        for (unsigned r = 0; r < ROUNDS && !rc && better; r++) {
            rc = step(c, n, steps[s], &look, &better, err);
        }
    }
    if (!rc && look.match > WORTH) {
        rc = shorten(c, n, &look, err);
    }
    c->room = room;
    if (!rc && look.match > WORTH) {
        n->set(&n->sketch, n->at);
        rc = ww_contest_try(c, &n->sketch, false, &best, err);
        ww_contest_close(c, method, false, &best);
    }
    ww_free(look.text);
    return rc;
}

/* The same of weights, in hundredths, then in thousandths where most of the bits come
 * out. */
static enum ww_err find_weights(struct ww_contesting *c, struct ww_sketch *s,
                                struct ww_error *err)
{
    const uint64_t room = c->room;
    struct ww_trial look = {0};
    struct ww_trial best = {0};
    enum ww_err rc = WW_OK;

    c->room = room < LOOK ? room : LOOK;
    rc = ww_contest_try(c, s, false, &look, err);
    if (!rc && look.match > WORTH) {
        rc = ww_contest_refine(c, s, &look, err);
    }
    if (!rc && look.match > NEARLY && look.match < WW_CONTEST_AGREED && s->n <= FEW) {
        rc = ww_contest_settle(c, s, NULL, &look, err);
    }
    c->room = room;
    if (!rc && look.match > WORTH) {
        rc = ww_contest_try(c, s, false, &best, err);
        ww_contest_close(c, s->method, false, &best);
    }
    ww_free(look.text);
    return rc;
}

static void set_value(struct ww_sketch *s, double at)
{
    s->value = at;
}

static void set_pair(struct ww_sketch *s, double at)
{
    s->weights[0] = 1 - at;
    s->weights[1] = at;
}

static void set_one(struct ww_sketch *s, double at)
{
    s->weights[0] = at;
}

/* Of sources far apart, shares are those of a mean angle only. */
static enum ww_err try_slerp(struct ww_contesting *c, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    struct number n = {.sketch = c->sketch,
                       .at = ww_arc_number(ask->shares[0], ask->shares[1]),
                       .high = 1,
                       .set = set_value};

    n.sketch.method = "slerp";
    n.sketch.base = ask->sources[0];
    n.sketch.key = "t";
    return find_number(c, &n, "slerp", err);
}

/* From the base a share is less than its part of a wide arc. */
static enum ww_err try_from_base(struct ww_contesting *c, struct ww_error *err)
{
    struct number n = {
        .sketch = c->sketch, .at = c->ask->shares[0], .high = 1, .set = set_value};

    n.sketch.method = "slerp";
    n.sketch.key = "t";
    return find_number(c, &n, "slerp", err);
}

/* From one difference to the other: their angle is wide, so shares sum to more than 1. */
static enum ww_err try_nuslerp(struct ww_contesting *c, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    struct number n = {.sketch = c->sketch,
                       .at = ww_arc_number(ask->shares[0], ask->shares[1]),
                       .high = 1,
                       .set = set_pair};

    n.sketch.method = "nuslerp";
    n.sketch.weighted = true;
    return find_number(c, &n, "nuslerp", err);
}

/* Weights that sum to 1, in short decimals; false when there are none. */
static bool even_out(struct ww_sketch *s, double reach)
{
    double sum = 0;

    for (size_t i = 0; i < s->n; i++) {
        sum += s->weights[i];
    }
    for (size_t i = 0; i < s->n && sum > 0; i++) {
        s->weights[i] = ww_sketch_shortest(s->weights[i] / sum, reach);
    }
    return sum > 0;
}

/* Directions of differences, weighted: a share is a weight over a length. Weights count
 * beside their sum alone, so a search may end beside the ones that somebody wrote: what
 * it found is made to sum to 1, and searched around once more. */
static enum ww_err try_multislerp(struct ww_contesting *c, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    struct ww_sketch s = c->sketch;
    double reach = 4 * WW_CONTEST_REACH;
    enum ww_err rc = WW_OK;

    s.method = "multislerp";
    s.weighted = true;
    for (size_t i = 0; i < ask->n; i++) {
        s.weights[i] = ask->shares[i] * ask->lengths[i];
    }
    for (unsigned turn = 0;
         turn < TURNS && !rc && c->out->match < WW_CONTEST_AGREED && even_out(&s, reach);
         turn++) {
        reach = WW_CONTEST_REACH;
        rc = find_weights(c, &s, err);
    }
    return rc;
}

static bool all_above(const struct ww_contest_ask *ask, double least)
{
    for (size_t i = 0; i < ask->n; i++) {
        if (ask->shares[i] <= least) {
            return false;
        }
    }
    return true;
}

/* How far a weight can be moved, alone or at the cost of another one, so that the bits
 * are still given: what one twin has too much the other has too little. */
static enum ww_err resolve(struct ww_contesting *c, const struct ww_sketch *s, size_t i,
                           double *within, struct ww_error *err)
{
    static const double steps[] = {0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2};
    bool given = true;
    enum ww_err rc = WW_OK;

    for (size_t k = 0; k < WW_LEN(steps) && given && !rc; k++) {
        *within = steps[k];
        given = false;
        for (size_t to = 0; to < 2 * s->n && !given && !rc; to++) {
            const double by = to % 2 ? steps[k] : -steps[k];
            struct ww_sketch moved = *s;
            struct ww_trial trial = {0};
            moved.weights[i] += by;
            moved.weights[to / 2] -= to / 2 == i ? 0 : by;
            rc = ww_contest_try(c, &moved, false, &trial, err);
            given = trial.match >= WW_CONTEST_AGREED;
            ww_free(trial.text);
        }
    }
    return rc;
}

/* Nothing gave the bits before: now weights do that a fit of differences cannot tell,
 * since what the base lost looks like a part of them. */
static enum ww_err note_weights(struct ww_contesting *c, const struct ww_sketch *s,
                                struct ww_error *err)
{
    const uint64_t room = c->room;
    enum ww_err rc = WW_OK;

    if (c->out->match < WW_CONTEST_AGREED || s->n > FEW) {
        return WW_OK;
    }
    c->out->scaled = true;
    memcpy(c->out->weights, s->weights, s->n * sizeof(*s->weights));
    c->room = room < LOOK ? room : LOOK;
    for (size_t i = 0; i < s->n && !rc; i++) {
        rc = resolve(c, s, i, &c->out->within[i], err);
    }
    c->room = room;
    return rc;
}

/* Sums without the base whose weights do not make one model: the base's own scale tells
 * what they sum to. */
static enum ww_err try_scaled(struct ww_contesting *c, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    struct ww_sketch s = c->sketch;
    struct number n = {.at = ask->scale, .low = -10, .high = 10, .set = set_one};
    double sum = 0;
    enum ww_err rc = WW_OK;

    s.base = NULL;
    s.weighted = true;
    for (size_t i = 0; i < ask->n; i++) {
        sum += ask->shares[i];
    }
    if (sum <= 0) {
        return WW_OK;
    }
    for (size_t i = 0; i < ask->n; i++) {
        s.weights[i] = ww_sketch_shortest(ask->shares[i] * ask->scale / sum, 0.01);
    }
    if (ask->n > 1) {
        s.method = "linear";
        s.plain = true;
        rc = find_weights(c, &s, err);
        return rc ? rc : note_weights(c, &s, err);
    }
    n.sketch = s;
    n.sketch.method = "passthrough";
    n.sketch.weight_name = "scale";
    n.at = ww_sketch_shortest(n.at, WW_CONTEST_REACH);
    rc = find_number(c, &n, "passthrough", err);
    return rc ? rc : note_weights(c, &n.sketch, err);
}

enum ww_err ww_contest_arcs(struct ww_contesting *c, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    enum ww_err rc = WW_OK;

    if (ask->n == 1 && ask->shares[0] > 0 && ask->shares[0] < 1) {
        rc = try_from_base(c, err);
    }
    if (ask->n == 2 && all_above(ask, 0)) {
        rc = try_slerp(c, err);
        rc = rc || c->out->match >= WW_CONTEST_AGREED ? rc : try_nuslerp(c, err);
    }
    if (!rc && ask->n >= 2 && all_above(ask, 0) && c->out->match < WW_CONTEST_AGREED) {
        rc = try_multislerp(c, err);
    }
    if (!rc && fabs(ask->scale - 1) > SCALED && c->out->match < WW_CONTEST_AGREED) {
        rc = try_scaled(c, err);
    }
    return rc;
}

/* A threshold is of the weights' own scale, and rounding makes many of them alike: the
 * short numbers of all scales first, then what lies beside the best. */
static enum ww_err try_nearswap(struct ww_contesting *c, const char *from,
                                const char *const *to, struct ww_error *err)
{
    struct number n = {
        .sketch = c->sketch, .by_factor = true, .high = 1, .set = set_value};
    const uint64_t room = c->room;
    struct ww_trial best = {0};
    static const double numbers[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9};
    double decade = NEARSWAP;
    enum ww_err rc = WW_OK;

    n.sketch.method = "nearswap";
    n.sketch.key = "t";
    n.sketch.base = from;
    n.sketch.models = to;
    n.sketch.n = 1;
    c->room = room < LOOK ? room : LOOK;
    for (unsigned d = 0; d < DECADES; d++, decade *= 10) {
        for (size_t i = 0; i < WW_LEN(numbers) && !rc; i++) {
            const double before = best.match;
            n.sketch.value = numbers[i] * decade;
            rc = ww_contest_try(c, &n.sketch, false, &best, err);
            n.at = best.match > before ? n.sketch.value : n.at;
        }
    }
    c->room = room;
    ww_free(best.text);
    return rc || n.at <= 0 ? rc : find_number(c, &n, "nearswap", err);
}

static enum ww_err try_fusion(struct ww_contesting *c, const char *from,
                              const char *const *to, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;

    s.method = "arcee_fusion";
    s.base = from;
    s.models = to;
    s.n = 1;
    return ww_contest_enter(c, &s, err);
}

static enum ww_err try_ram(struct ww_contesting *c, struct ww_error *err)
{
    static const char *const methods[] = {"ram", "ramplus_tl"};
    struct ww_sketch s = c->sketch;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(methods) && !rc; i++) {
        s.method = methods[i];
        rc = ww_contest_enter(c, &s, err);
    }
    return rc;
}

enum ww_err ww_contest_local(struct ww_contesting *c, struct ww_error *err)
{
    const struct ww_contest_ask *ask = c->ask;
    enum ww_err rc = ask->n >= 2 ? try_ram(c, err) : WW_OK;

    if (ask->n == 1) { /* the base into it; its changes into the base are tried before */
        rc = try_nearswap(c, ask->base, ask->sources, err);
    }
    for (size_t i = 0; ask->n == 2 && i < 2 && !rc; i++) {
        if (c->out->match < WW_CONTEST_AGREED) {
            rc = try_fusion(c, ask->sources[i], &ask->sources[1 - i], err);
        }
        if (!rc && c->out->match < WW_CONTEST_AGREED) {
            rc = try_nearswap(c, ask->sources[i], &ask->sources[1 - i], err);
        }
    }
    return rc;
}
