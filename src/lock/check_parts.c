/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Activations are random instead of what the real projections would give: an identity
 * that holds for generic input holds for all, and a fault cannot hide in a subspace that
 * some weights never reach. They have unit size, so that softmax is far from saturation
 * and a wrong pairing is far from invisible.
 */
#include "lock/check_parts.h"

#include <math.h>
#include <string.h>

#include "arch/core.h"
#include "lock/activation.h"
#include "lock/axis_map.h"
#include "lock/check_core.h"
#include "lock/check_mix.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Does got equal want? Both of n values. */
static enum ww_err compare(struct ww_checker *c, const char *owner, const char *part,
                           const double *got, const double *want, size_t n,
                           struct ww_error *err)
{
    const double size = ww_largest(want, n);
    const double off = ww_largest_difference(got, want, n);
    const double error = off > 0 ? off / size : 0;

    c->max_error = fmax(c->max_error, error);
    if (!(error <= WW_CORE_LIMIT)) {
        return WW_FAIL(err, WW_E_CHECK_FAILED,
                       "%s of '%s': the transform changes its output by %.3g (limit %g)",
                       part, owner, error, WW_CORE_LIMIT);
    }
    return WW_OK;
}

void ww_check_pair_free(struct ww_check_pair *pair)
{
    ww_free(pair->before);
    ww_free(pair->after);
    *pair = (struct ww_check_pair){NULL, NULL};
}

enum ww_err ww_check_pair_read(struct ww_checker *c, uint32_t tensor,
                               struct ww_check_pair *pair, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *pair = (struct ww_check_pair){NULL, NULL};
    if (tensor == WW_NONE) {
        return WW_OK;
    }
    rc = ww_lens_read(c->layout, c->base, tensor, &pair->before, err);
    if (!rc) {
        rc = ww_lens_read(c->layout, &c->lens.weights, tensor, &pair->after, err);
    }
    return rc;
}

/* rows x element.n random values, and what the action makes of each row. */
enum ww_err ww_check_pair_random(struct ww_checker *c, const struct ww_element *element,
                                 enum ww_action action, size_t rows,
                                 struct ww_check_pair *pair, struct ww_error *err)
{
    const size_t n = rows * element->n;

    pair->before = ww_calloc(n, sizeof(double));
    pair->after = ww_calloc(n, sizeof(double));
    if (!pair->before || !pair->after) {
        return WW_FAIL_MEMORY(err, "activations");
    }
    for (size_t i = 0; i < n; i++) {
        pair->before[i] = ww_random_activation(&c->seed);
    }
    for (size_t r = 0; r < rows; r++) {
        ww_element_apply(element, action, pair->before + r * element->n,
                         pair->after + r * element->n);
    }
    return WW_OK;
}

/* What the layout states for the output of a linear map. */
const struct ww_segment *ww_check_output_segment(const struct ww_checker *c,
                                                 const struct ww_linear *linear)
{
    const struct ww_axis *axis = NULL;

    if (linear->weight == WW_NONE) {
        return NULL;
    }
    if (linear->out_segment != WW_NONE) {
        return &c->layout->segments[linear->out_segment];
    }
    axis = &c->layout->bindings[linear->weight].axis[linear->out_axis];
    return axis->n_segments ? &c->layout->segments[axis->first_segment] : NULL;
}

/* Random output of a projection, before and after. width is used when nothing moves. */
enum ww_err ww_check_projection(struct ww_checker *c, const struct ww_linear *linear,
                                uint32_t width, struct ww_check_pair *pair,
                                struct ww_error *err)
{
    const struct ww_segment *segment = ww_check_output_segment(c, linear);
    struct ww_element element = {0};
    enum ww_err rc = WW_OK;

    ww_element_none(&element, width);
    if (segment) {
        rc = ww_gauge_space(c->gauge, segment->space, &element, err);
    }
    if (!rc) {
        rc = ww_check_pair_random(c, &element, segment ? segment->action : WW_ACT_DIRECT,
                                  WW_CHECK_ROWS, pair, err);
    }
    if (!rc && segment) {
        rc = ww_check_mix(c->gauge, segment->space, segment->action, pair->after,
                          WW_CHECK_ROWS, err);
    }
    ww_element_release(&element);
    return rc;
}

/* The action that a tensor's axis states for a space. */
static enum ww_action action_on(const struct ww_checker *c, uint32_t tensor,
                                unsigned axis, uint32_t space)
{
    const struct ww_axis *a = NULL;

    if (tensor != WW_NONE) {
        a = &c->layout->bindings[tensor].axis[axis];
        for (uint32_t i = 0; i < a->n_segments; i++) {
            const struct ww_segment *segment = &c->layout->segments[a->first_segment + i];
            if (segment->space == space) {
                return segment->action;
            }
        }
    }
    return WW_ACT_DIRECT;
}

/* Random rows over a space that the output of a linear map holds; n when none. */
enum ww_err ww_check_part(struct ww_checker *c, const struct ww_linear *linear,
                          uint32_t space, uint64_t n, struct ww_check_pair *pair,
                          struct ww_error *err)
{
    struct ww_element element = {0};
    enum ww_action action = WW_ACT_DIRECT;
    enum ww_err rc = WW_OK;

    ww_element_none(&element, (uint32_t)n);
    if (space != WW_NONE) {
        rc = ww_gauge_space(c->gauge, space, &element, err);
        action = action_on(c, linear->weight, linear->out_axis, space);
    }
    if (!rc) {
        rc = ww_check_pair_random(c, &element, action, WW_CHECK_ROWS, pair, err);
    }
    if (!rc) {
        rc = ww_check_mix(c->gauge, space, action, pair->after, WW_CHECK_ROWS, err);
    }
    ww_element_release(&element);
    return rc;
}

/* got [rows, n] against S want row by row; space: whose cells act on top, or WW_NONE. */
enum ww_err ww_check_same_mixed(struct ww_checker *c, const char *owner, const char *part,
                                uint32_t space, const struct ww_element *element,
                                const double *got, const double *want, size_t rows,
                                struct ww_error *err)
{
    const size_t n = rows * element->n;
    double *moved = ww_calloc(n, sizeof(*moved));
    enum ww_err rc = WW_OK;

    if (!moved) {
        return WW_FAIL_MEMORY(err, "activations");
    }
    for (size_t r = 0; r < rows; r++) {
        ww_element_apply(element, WW_ACT_DIRECT, want + r * element->n,
                         moved + r * element->n);
    }
    rc = ww_check_mix(c->gauge, space, WW_ACT_DIRECT, moved, rows, err);
    if (!rc) {
        rc = compare(c, owner, part, got, moved, n, err);
    }
    ww_free(moved);
    return rc;
}

enum ww_err ww_check_same_moved(struct ww_checker *c, const char *owner, const char *part,
                                const struct ww_element *element, const double *got,
                                const double *want, struct ww_error *err)
{
    return ww_check_same_mixed(c, owner, part, WW_NONE, element, got, want, 1, err);
}

/* A norm between two runs of the same space. */
enum ww_err ww_check_norm_on(struct ww_checker *c, const char *owner, const char *part,
                             const struct ww_norm *norm, const struct ww_element *element,
                             struct ww_error *err)
{
    struct ww_check_pair gain = {0};
    struct ww_check_pair bias = {0};
    struct ww_check_pair x = {0};
    enum ww_err rc = WW_OK;

    if (norm->kind == WW_NORM_NONE) {
        return WW_OK;
    }
    rc = ww_check_pair_read(c, norm->gain, &gain, err);
    if (!rc) {
        rc = ww_check_pair_read(c, norm->bias, &bias, err);
    }
    if (!rc) {
        rc = ww_check_pair_random(c, element, WW_ACT_DIRECT, 1, &x, err);
    }
    if (!rc) {
        ww_core_norm(norm, (struct ww_norm_values){gain.before, bias.before}, x.before,
                     x.before, element->n);
        ww_core_norm(norm, (struct ww_norm_values){gain.after, bias.after}, x.after,
                     x.after, element->n);
        rc = ww_check_same_moved(c, owner, part, element, x.after, x.before, err);
    }
    ww_check_pair_free(&gain);
    ww_check_pair_free(&bias);
    ww_check_pair_free(&x);
    return rc;
}

enum ww_err ww_check_norm(struct ww_checker *c, const char *owner, const char *part,
                          const struct ww_norm *norm, struct ww_error *err)
{
    return ww_check_norm_on(c, owner, part, norm, c->stream, err);
}

enum ww_err ww_check_layer_scale(struct ww_checker *c, const char *owner, uint32_t tensor,
                                 struct ww_error *err)
{
    const struct ww_element *residual = c->stream;
    struct ww_check_pair scale = {0};
    struct ww_check_pair x = {0};
    enum ww_err rc = WW_OK;

    if (tensor == WW_NONE) {
        return WW_OK;
    }
    rc = ww_check_pair_read(c, tensor, &scale, err);
    if (!rc) {
        rc = ww_check_pair_random(c, residual, WW_ACT_DIRECT, 1, &x, err);
    }
    for (uint32_t i = 0; i < residual->n && !rc; i++) {
        x.before[i] *= scale.before[i];
        x.after[i] *= scale.after[i];
    }
    if (!rc) {
        rc = ww_check_same_moved(c, owner, "layer scale", residual, x.after, x.before,
                                 err);
    }
    ww_check_pair_free(&scale);
    ww_check_pair_free(&x);
    return rc;
}
