/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes that depend on the layer. A list of weights is fitted for each source; the
 * number of a path from one model to another is what the second one has of both shares.
 */
#include <math.h>
#include <string.h>

#include "lineage/arc.h"
#include "lineage/contest_work.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_contest_stack(struct ww_contesting *c, struct ww_error *err)
{
    struct ww_sketch s = {.method = "passthrough",
                          .slices = c->ask->slices,
                          .n_slices = c->ask->n_slices,
                          .dtype = c->sketch.dtype};

    return ww_contest_enter(c, &s, err);
}

struct depth {
    struct ww_contesting *c;
    struct ww_gradient *lists;        /* [n] of the sources */
    struct ww_gradient path;          /* of a number between two */
    struct ww_gradient_point *points; /* room */
};

static double share_at(const struct depth *d, size_t point, size_t source)
{
    const struct ww_gradient_shares *over = d->c->ask->over;

    return over->shares[point * over->k + d->c->ask->which[source]];
}

static double error_at(const struct depth *d, size_t point, size_t source)
{
    const struct ww_gradient_shares *over = d->c->ask->over;

    return over->errors[point * over->k + d->c->ask->which[source]];
}

static bool fit_lists(struct depth *d)
{
    const struct ww_gradient_shares *over = d->c->ask->over;

    for (size_t s = 0; s < d->c->ask->n; s++) {
        for (size_t i = 0; i < over->n; i++) {
            d->points[i] = over->points[i];
            d->points[i].value = share_at(d, i, s);
            d->points[i].error = error_at(d, i, s);
        }
        if (!ww_gradient_fit(d->points, over->n, &d->lists[s])) {
            return false;
        }
    }
    return true;
}

/* From the base or the first source to the last one. */
static bool fit_path(struct depth *d)
{
    const struct ww_gradient_shares *over = d->c->ask->over;
    const size_t n = d->c->ask->n;

    for (size_t i = 0; i < over->n; i++) {
        const double to = share_at(d, i, n - 1);
        const double sum = n == 2 ? share_at(d, i, 0) + to : 1;
        if (sum < 1 - WW_CONTEST_EVEN) {
            return false;
        }
        d->points[i] = over->points[i];
        d->points[i].value = n == 2 ? ww_arc_number(sum - to, to) : to;
        d->points[i].error = error_at(d, i, n - 1) + (n == 2 ? error_at(d, i, 0) : 0);
    }
    return n <= 2 && ww_gradient_fit(d->points, over->n, &d->path);
}

static bool sums_to_one(const struct depth *d)
{
    for (size_t i = 0; i < d->c->ask->over->n; i++) {
        double sum = 0;
        for (size_t s = 0; s < d->c->ask->n; s++) {
            sum += share_at(d, i, s);
        }
        if (fabs(sum - 1) > WW_CONTEST_EVEN) {
            return false;
        }
    }
    return true;
}

static enum ww_err enter_sums(struct depth *d, struct ww_error *err)
{
    struct ww_sketch s = d->c->sketch;
    enum ww_err rc = WW_OK;

    s.weighted = true;
    s.weights_over = d->lists;
    if (sums_to_one(d)) {
        s.method = "linear";
        s.base = NULL;
        rc = ww_contest_enter(d->c, &s, err);
        s.base = d->c->sketch.base;
    }
    s.method = "task_arithmetic";
    return rc ? rc : ww_contest_enter(d->c, &s, err);
}

static enum ww_err enter_path(struct depth *d, struct ww_error *err)
{
    struct ww_sketch s = d->c->sketch;

    s.method = "slerp";
    s.key = "t";
    s.value_over = &d->path;
    s.base = d->c->ask->n == 2 ? d->c->ask->sources[0] : s.base;
    return ww_contest_enter(d->c, &s, err);
}

/* Of models that are alike SLERP is the sum, and errors of two shares say more of its
 * angle than the angle does: its number is then the second one's weight. */
static enum ww_err enter_straight(struct depth *d, struct ww_error *err)
{
    d->path = d->lists[1];
    return enter_path(d, err);
}

enum ww_err ww_contest_gradients(struct ww_contesting *c, struct ww_error *err)
{
    struct depth d = {.c = c};
    enum ww_err rc = WW_OK;

    d.lists = ww_calloc(c->ask->n, sizeof(*d.lists));
    d.points = ww_calloc(c->ask->over->n + 1, sizeof(*d.points));
    if (!d.lists || !d.points) {
        rc = WW_FAIL_MEMORY(err, "a contest of recipes");
        goto out;
    }
    if (fit_lists(&d)) {
        rc = enter_sums(&d, err);
        if (!rc && c->ask->n == 2 && sums_to_one(&d)) {
            rc = enter_straight(&d, err);
        }
    }
    if (!rc && fit_path(&d)) {
        rc = enter_path(&d, err);
    }
out:
    ww_free(d.lists);
    ww_free(d.points);
    return rc;
}
