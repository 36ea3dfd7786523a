/* SPDX-License-Identifier: Apache-2.0 */
/* Sums, paths and means of the sources, with the numbers that their shares allow. */
#include "lineage/contest_work.h"

#include <math.h>
#include <string.h>

#include "lineage/arc.h"
#include "lineage/moments.h"
#include "util/fail.h"

#define NEAR_ONE 0.001 /* by which a share near it may be off */
#define EXACTLY 0.0004 /* of a number of SLERP */

static double sum_of(const struct ww_contest_ask *ask)
{
    double sum = 0;

    for (size_t i = 0; i < ask->n; i++) {
        sum += ask->shares[i];
    }
    return sum;
}

static bool even(const struct ww_contest_ask *ask)
{
    for (size_t i = 1; i < ask->n; i++) {
        if (fabs(ask->shares[i] - ask->shares[0]) > WW_CONTEST_EVEN) {
            return false;
        }
    }
    return true;
}

/* Weights that give the bits are told beside the shares. Where they were rounded to the
 * dtype no more of them is known than that. */
static enum ww_err enter_sum(struct ww_contesting *c, const struct ww_sketch *s,
                             struct ww_error *err)
{
    const double before = c->out->match;
    const enum ww_err rc = ww_contest_enter(c, s, err);

    if (!rc && c->out->match > before) {
        c->out->summed = true;
        memcpy(c->out->weights, s->weights, c->ask->n * sizeof(*s->weights));
        for (size_t i = 0; i < c->ask->n; i++) {
            c->out->within[i] =
                c->narrow ? ldexp(0.5, ww_moments_step(s->weights[i], s->dtype)) : 0;
        }
    }
    return rc;
}

static enum ww_err try_weights(struct ww_contesting *c, struct ww_sketch *s,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (fabs(sum_of(c->ask) - 1) < WW_CONTEST_EVEN) {
        s->method = "linear";
        s->base = NULL;
        rc = enter_sum(c, s, err);
        s->base = c->sketch.base;
    }
    s->method = "task_arithmetic";
    return rc ? rc : enter_sum(c, s, err);
}

/* Sums with the weights that were found, then with shorter ones: a weight near 1 leaves
 * short task vectors as they are, so that its share is a little off, and by more than the
 * interval says. */
static enum ww_err try_sums(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    bool shorter = false;
    enum ww_err rc = WW_OK;

    s.weighted = true;
    memcpy(s.weights, c->ask->shares, c->ask->n * sizeof(*s.weights));
    rc = try_weights(c, &s, err);
    for (size_t i = 0; i < c->ask->n && !rc; i++) {
        s.weights[i] = ww_sketch_shortest(c->ask->shares[i], NEAR_ONE);
        shorter |= s.weights[i] != c->ask->shares[i];
    }
    return rc || !shorter || c->out->match >= WW_CONTEST_ALL_BITS
               ? rc
               : try_weights(c, &s, err);
}

/* Without a base it is SLERP, whose bits it has to have to be listed. */
static enum ww_err try_nuslerp(struct ww_contesting *c, const struct ww_sketch *slerp,
                               struct ww_error *err)
{
    struct ww_sketch s = c->sketch;

    s.method = "nuslerp";
    s.base = NULL;
    s.weighted = true;
    s.weights[0] = 1 - slerp->value;
    s.weights[1] = slerp->value;
    return ww_contest_enter(c, &s, err);
}

/* Its number in as few decimals as may be, then as exactly as shares tell it. */
static enum ww_err try_slerp(struct ww_contesting *c, struct ww_sketch *s, double number,
                             struct ww_error *err)
{
    static const double reaches[] = {WW_CONTEST_REACH, EXACTLY};
    double last = NAN;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(reaches) && !rc; i++) {
        s->value = ww_sketch_shortest(number, reaches[i]);
        rc = s->value == last ? WW_OK : ww_contest_enter(c, s, err);
        last = s->value;
    }
    return rc;
}

/* From one model to another; the weights of a spherical path sum to one or more. */
static enum ww_err try_paths(struct ww_contesting *c, struct ww_error *err)
{
    const double *shares = c->ask->shares;
    struct ww_sketch s = c->sketch;
    enum ww_err rc = WW_OK;

    s.method = "slerp";
    s.key = "t";
    if (c->ask->n == 2 && sum_of(c->ask) > 1 - WW_CONTEST_EVEN) {
        s.base = c->ask->sources[0];
        rc = try_slerp(c, &s, ww_arc_number(shares[0], shares[1]), err);
        if (!rc && c->matches[c->n_tried - 1] >= WW_CONTEST_AGREED) {
            rc = try_nuslerp(c, &s, err);
        }
    } else if (c->ask->n == 1 && shares[0] < 1) {
        rc = try_slerp(c, &s, shares[0], err);
    }
    s = c->sketch;
    s.base = NULL;
    s.weighted = true;
    for (size_t i = 0; i < c->ask->n; i++) {
        s.weights[i] = ww_sketch_shortest(shares[i] / sum_of(c->ask), WW_CONTEST_REACH);
    }
    if (!rc && c->ask->n >= 2 && sum_of(c->ask) > 1 - WW_CONTEST_EVEN) {
        s.method = "multislerp";
        rc = ww_contest_enter(c, &s, err);
    }
    return rc;
}

/* Methods without numbers of their own. */
static enum ww_err try_means(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = c->sketch;
    enum ww_err rc = WW_OK;

    if (c->ask->n >= 2) {
        s.method = "model_stock";
        rc = ww_contest_enter(c, &s, err);
    }
    if (!rc && c->ask->n >= 2 && even(c->ask)) {
        s.method = "karcher";
        s.base = NULL;
        rc = ww_contest_enter(c, &s, err);
    }
    if (!rc && c->ask->core && c->ask->n == 1) {
        s.method = "arcee_fusion";
        s.base = c->sketch.base;
        rc = ww_contest_enter(c, &s, err);
    }
    return rc;
}

enum ww_err ww_contest_blends(struct ww_contesting *c, struct ww_error *err)
{
    enum ww_err rc = try_sums(c, err);

    if (!rc) {
        rc = try_paths(c, err);
    }
    if (!rc) {
        rc = try_means(c, err);
    }
    if (!rc && c->ask->lengths && !c->ask->slices && c->out->match < WW_CONTEST_AGREED) {
        rc = ww_contest_arcs(c, err);
    }
    if (!rc && c->ask->over && !c->ask->slices && c->out->match < WW_CONTEST_AGREED) {
        rc = ww_contest_gradients(c, err);
    }
    return rc;
}
