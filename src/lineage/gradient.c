/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of m anchors is a sum of m hat functions, so for each m the anchors follow from
 * least squares on the shares of layers; the first m that misses no share by more than
 * its error is the answer. Tensors outside of layers take the first number of a list.
 */
#include "lineage/gradient.h"

#include <math.h>
#include <string.h>

#include "lineage/nnls.h"
#include "lineage/sketch.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SLACK 0.001 /* by which a share may miss a list, beside three errors */
#define REACH 0.004 /* of a short decimal */
#define LEAST 1e-5  /* error of a share that counts as exact */

static const char *const filters[WW_GRADIENT_GROUPS] = {"self_attn", "mlp", NULL};

const char *ww_gradient_filter(enum ww_gradient_group group)
{
    return filters[group];
}

static enum ww_gradient_group group_of(const char *name)
{
    for (unsigned g = 0; g < WW_GRADIENT_REST; g++) {
        if (strstr(name, filters[g])) {
            return (enum ww_gradient_group)g;
        }
    }
    return WW_GRADIENT_REST;
}

/* The share of one group of one layer, as another point. */
static enum ww_err add_point(const struct ww_family *family,
                             struct ww_moments *const *moments, const bool *fitted,
                             const int8_t *side, uint32_t layer,
                             struct ww_gradient_point point,
                             struct ww_gradient_shares *out, struct ww_error *err)
{
    struct ww_moments *pool = ww_moments_new(out->k);
    struct ww_fit fit;
    enum ww_err rc = pool ? WW_OK : WW_FAIL_MEMORY(err, "shares over the depth");

    for (uint32_t t = 0; t < family->n_tensors && !rc; t++) {
        const struct ww_family_tensor *tensor = &family->tensors[t];
        if (fitted[t] && tensor->layer == layer &&
            group_of(tensor->name) == point.group) {
            rc = ww_moments_add(pool, moments[t], 1, err);
        }
    }
    if (!rc) {
        ww_fit(pool, side, &fit);
        if (fit.used >= WW_FIT_LEAST) {
            memcpy(out->shares + out->n * out->k, fit.share, out->k * sizeof(double));
            memcpy(out->errors + out->n * out->k, fit.error, out->k * sizeof(double));
            out->points[out->n++] = point;
        }
    }
    ww_moments_free(pool);
    return rc;
}

enum ww_err ww_gradient_shares(const struct ww_family *family,
                               struct ww_moments *const *moments, const bool *fitted,
                               const int8_t *side, struct ww_gradient_shares *out,
                               struct ww_error *err)
{
    uint32_t layers = 0;
    size_t room = 0;
    enum ww_err rc = WW_OK;

    *out = (struct ww_gradient_shares){.k = family->n_models - WW_FAMILY_SOURCES};
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        const uint32_t layer = family->tensors[t].layer;
        layers = layer != WW_NONE && layer >= layers ? layer + 1 : layers;
    }
    if (layers < 2 || layers > WW_GRADIENT_MOST) {
        return WW_OK;
    }
    room = (size_t)(layers + 1) * WW_GRADIENT_GROUPS;
    out->points = ww_calloc(room, sizeof(*out->points));
    out->shares = ww_calloc(room * out->k, sizeof(*out->shares));
    out->errors = ww_calloc(room * out->k, sizeof(*out->errors));
    if (!out->points || !out->shares || !out->errors) {
        rc = WW_FAIL_MEMORY(err, "shares over the depth");
    }
    for (uint32_t l = 0; l <= layers && !rc; l++) {
        for (unsigned g = 0; g < WW_GRADIENT_GROUPS && !rc; g++) {
            const struct ww_gradient_point point = {
                .at = l < layers ? (double)l / (double)(layers - 1) : 0,
                .group = (enum ww_gradient_group)g};
            rc = add_point(family, moments, fitted, side, l < layers ? l : WW_NONE, point,
                           out, err);
        }
    }
    if (rc) {
        ww_gradient_shares_release(out);
    }
    return rc;
}

void ww_gradient_shares_release(struct ww_gradient_shares *shares)
{
    ww_free(shares->points);
    ww_free(shares->shares);
    ww_free(shares->errors);
    memset(shares, 0, sizeof(*shares));
}

double ww_gradient_at(const struct ww_gradient_list *list, double at)
{
    const double place = at * (double)(list->n > 0 ? list->n - 1 : 0);
    size_t i = (size_t)place;

    if (list->n < 2) {
        return list->n ? list->at[0] : 0;
    }
    i = i > list->n - 2 ? list->n - 2 : i;
    return list->at[i] + (place - (double)i) * (list->at[i + 1] - list->at[i]);
}

/* Points of one group, or of all. */
struct part {
    const struct ww_gradient_point *points;
    size_t n;
    bool all;
    enum ww_gradient_group group;
};

static bool counts(const struct part *p, size_t i)
{
    return p->all || p->points[i].group == p->group;
}

static bool holds(const struct part *p, const struct ww_gradient_list *list, double slack)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct ww_gradient_point *point = &p->points[i];
        if (counts(p, i) && fabs(ww_gradient_at(list, point->at) - point->value) >
                                3 * point->error + slack) {
            return false;
        }
    }
    return true;
}

/* Shares of a source lie on one side of zero. */
static double side_of(const struct part *p)
{
    double sum = 0;

    for (size_t i = 0; i < p->n; i++) {
        sum += counts(p, i) ? p->points[i].value : 0;
    }
    return sum < 0 ? -1 : 1;
}

/* Least squares over hat functions. */
static void solve(const struct part *p, size_t m, double *xx,
                  struct ww_gradient_list *out)
{
    const double side = side_of(p);
    double xy[WW_GRADIENT_ANCHORS] = {0};
    bool use[WW_GRADIENT_ANCHORS];

    memset(xx, 0, m * m * sizeof(*xx));
    memset(use, true, sizeof(use));
    for (size_t i = 0; i < p->n; i++) {
        const struct ww_gradient_point *point = &p->points[i];
        const double place = point->at * (double)(m - 1);
        const size_t left = m > 1 && (size_t)place > m - 2 ? m - 2 : (size_t)place;
        const double hat[2] = {1 - (place - (double)left), place - (double)left};
        const double error = fmax(point->error, LEAST);
        if (!counts(p, i)) {
            continue;
        }
        for (size_t a = 0; a < 2 && left + a < m; a++) {
            xy[left + a] += side * hat[a] * point->value / (error * error);
            for (size_t b = 0; b < 2 && left + b < m; b++) {
                xx[(left + a) * m + left + b] += hat[a] * hat[b] / (error * error);
            }
        }
    }
    out->n = m;
    ww_nnls(xx, (unsigned)m, xy, (unsigned)m, use, out->at);
    for (size_t i = 0; i < m; i++) {
        out->at[i] = out->at[i] > 0 ? side * out->at[i] : 0;
    }
}

/* The numbers that people would have written, when the points allow them. */
static void shorten(const struct part *p, struct ww_gradient_list *list)
{
    struct ww_gradient_list near = *list;

    for (size_t i = 0; i < list->n; i++) {
        near.at[i] = ww_sketch_shortest(list->at[i], REACH);
    }
    if (holds(p, &near, 2 * SLACK)) {
        *list = near;
    }
}

static size_t count_points(const struct part *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n; i++) {
        n += counts(p, i);
    }
    return n;
}

static bool fit_list(const struct part *p, double *xx, struct ww_gradient_list *out)
{
    const size_t n = count_points(p);

    out->n = 0;
    for (size_t m = 1; m <= n && m <= WW_GRADIENT_ANCHORS; m++) {
        solve(p, m, xx, out);
        if (holds(p, out, SLACK)) {
            shorten(p, out);
            return true;
        }
    }
    return n == 0;
}

/* Nothing was seen of the other tensors: a recipe needs a number for them. */
static void fill_rest(struct ww_gradient *g)
{
    const struct ww_gradient_list *from =
        &g->groups[g->groups[WW_GRADIENT_ATTENTION].n ? WW_GRADIENT_ATTENTION
                                                      : WW_GRADIENT_MLP];

    g->groups[WW_GRADIENT_REST].n = 1;
    g->groups[WW_GRADIENT_REST].at[0] = from->at[0];
}

bool ww_gradient_fit(const struct ww_gradient_point *points, size_t n,
                     struct ww_gradient *out)
{
    double *xx =
        ww_calloc((size_t)WW_GRADIENT_ANCHORS * WW_GRADIENT_ANCHORS, sizeof(*xx));
    struct part part = {points, n, true, WW_GRADIENT_REST};
    size_t layers = 0;
    bool found = false;

    if (!xx || n == 0) {
        ww_free(xx);
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        layers += points[i].at > points[i - 1].at;
    }
    out->one = fit_list(&part, xx, &out->groups[0]) && out->groups[0].n <= layers + 1;
    found = out->one;
    part.all = false;
    for (unsigned g = 0; g < WW_GRADIENT_GROUPS && !out->one; g++) {
        part.group = (enum ww_gradient_group)g;
        found = fit_list(&part, xx, &out->groups[g]);
        if (!found) {
            break;
        }
    }
    ww_free(xx);
    if (found && !out->one && out->groups[WW_GRADIENT_REST].n == 0) {
        fill_rest(out);
    }
    return found;
}
