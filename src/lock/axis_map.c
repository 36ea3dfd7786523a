/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment says where a run of space indices lies on an axis, so the map of the axis is
 * the element of the space carried through that correspondence: the index that holds
 * space index s takes its content from the index that holds perm[s]. The latter lies in
 * the same segment, or, where a space is cut in parts, in another one that acts alike.
 */
#include "lock/axis_map.h"

#include <string.h>

#include "model/shape.h"
#include "util/fail.h"

bool ww_axis_moves(const struct ww_layout *layout, uint32_t tensor, unsigned axis)
{
    return !layout->bindings[tensor].ignored &&
           layout->bindings[tensor].axis[axis].n_segments > 0;
}

static const struct ww_segment *segments_of(const struct ww_layout *layout,
                                            uint32_t tensor, unsigned axis, uint32_t *n)
{
    const struct ww_axis *a = &layout->bindings[tensor].axis[axis];
    *n = a->n_segments;
    return layout->segments + a->first_segment;
}

uint32_t ww_axis_stack(const struct ww_layout *layout, uint32_t tensor)
{
    uint32_t n = 0;
    const struct ww_segment *segments = segments_of(layout, tensor, 0, &n);

    for (uint32_t i = 0; i < n && layout->model->tensors[tensor].rank > 1; i++) {
        const struct ww_space *space = &layout->spaces[segments[i].space];
        if (space->kind == WW_SPACE_EXPERT) {
            return space->owner;
        }
    }
    return WW_NONE;
}

enum ww_err ww_segment_element(const struct ww_gauge *gauge,
                               const struct ww_segment *segment, uint32_t moe,
                               uint64_t slice, struct ww_element *out,
                               struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;

    if (moe != WW_NONE && layout->spaces[segment->space].kind == WW_SPACE_NEURON) {
        const uint32_t mlp = layout->moes[moe].first_mlp + (uint32_t)slice;
        return ww_gauge_neurons(gauge, mlp, out, err);
    }
    return ww_gauge_space(gauge, segment->space, out, err);
}

/* The segment of the axis that holds space index s and acts as like does. */
static const struct ww_segment *holder(const struct ww_segment *segments, uint32_t n,
                                       const struct ww_segment *like, uint64_t s)
{
    if (ww_segment_covers(like, s)) {
        return like;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (segments[i].space == like->space && segments[i].action == like->action &&
            ww_segment_covers(&segments[i], s)) {
            return &segments[i];
        }
    }
    return NULL;
}

static enum ww_action action_of(const struct ww_gauge *gauge,
                                const struct ww_segment *segment)
{
    const bool gate = gauge->wrong == WW_WRONG_GATE &&
                      segment->action == WW_ACT_PERMUTE &&
                      gauge->layout->spaces[segment->space].kind == WW_SPACE_NEURON;
    return gate ? WW_ACT_DIRECT : segment->action;
}

static enum ww_err map_segment(const struct ww_gauge *gauge, const char *name,
                               const struct ww_segment *segments, uint32_t n,
                               const struct ww_segment *segment,
                               const struct ww_element *element, struct ww_element *out,
                               struct ww_error *err)
{
    const uint64_t end = segment->space_start + segment->count * segment->width;
    const enum ww_action action = action_of(gauge, segment);

    if (end > element->n) {
        return WW_FAIL(err, WW_E_INTERNAL,
                       "tensor '%s': a segment ends at %llu of a space of %u", name,
                       (unsigned long long)end, element->n);
    }
    for (uint64_t s = segment->space_start; s < end; s++) {
        const uint64_t from = element->perm ? element->perm[s] : s;
        const struct ww_segment *where = holder(segments, n, segment, from);
        const uint64_t at = ww_segment_at(segment, s);
        const uint64_t source = where ? ww_segment_at(where, from) : out->n;
        if (at >= out->n || source >= out->n) {
            return WW_FAIL(err, WW_E_INTERNAL,
                           "tensor '%s': space index %llu has no place on an axis of %u",
                           name, (unsigned long long)from, out->n);
        }
        out->perm[at] = (uint32_t)source;
        if (element->perm) {
            out->neg[at] = ww_action_neg(action, element->neg[s]);
            out->exp[at] = (int8_t)ww_action_exp(action, element->exp[s]);
        }
    }
    return WW_OK;
}

/* The fault EXPERTS leaves the router's rows where they were. */
static bool stays_by_fault(const struct ww_gauge *gauge, uint32_t tensor,
                           const struct ww_segment *segment)
{
    const struct ww_space *space = &gauge->layout->spaces[segment->space];

    return gauge->wrong == WW_WRONG_EXPERTS && space->kind == WW_SPACE_EXPERT &&
           gauge->layout->moes[space->owner].router.weight == tensor;
}

enum ww_err ww_axis_map(const struct ww_gauge *gauge, uint32_t tensor, unsigned axis,
                        uint64_t slice, struct ww_element *out, struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    const uint32_t moe = axis > 0 ? ww_axis_stack(layout, tensor) : WW_NONE;
    struct ww_element element = {0};
    uint32_t n = 0;
    const struct ww_segment *segments = segments_of(layout, tensor, axis, &n);
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!ww_axis_moves(layout, tensor, axis)) {
        out->n = t->shape[axis] < UINT32_MAX ? (uint32_t)t->shape[axis] : UINT32_MAX;
        return WW_OK;
    }
    rc = ww_element_init(out, t->shape[axis], err);
    for (uint32_t i = 0; i < n && !rc; i++) {
        if (stays_by_fault(gauge, tensor, &segments[i])) {
            continue;
        }
        rc = ww_segment_element(gauge, &segments[i], moe, slice, &element, err);
        if (!rc) {
            rc = map_segment(gauge, t->name, segments, n, &segments[i], &element, out,
                             err);
        }
        ww_element_release(&element);
    }
    if (rc) {
        ww_element_release(out);
    }
    return rc;
}

static bool is_sibling(const struct ww_layout *layout, uint32_t a, uint32_t b,
                       uint64_t index)
{
    const struct ww_binding *binding = &layout->bindings[b];

    return binding->name_space != WW_NONE && binding->name_index == index &&
           binding->name_family == layout->bindings[a].name_family;
}

/* Searched outwards: siblings lie close to each other in every file. */
uint32_t ww_axis_sibling(const struct ww_layout *layout, uint32_t tensor, uint64_t index)
{
    const uint32_t n = layout->model->n_tensors;

    for (uint32_t away = 0; away < n; away++) {
        if (away <= tensor && is_sibling(layout, tensor, tensor - away, index)) {
            return tensor - away;
        }
        if (away < n - tensor && is_sibling(layout, tensor, tensor + away, index)) {
            return tensor + away;
        }
    }
    return WW_NONE;
}

static bool same_shape(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->dtype == b->dtype && ww_same_shape(a, b);
}

enum ww_err ww_axis_source(const struct ww_gauge *gauge, uint32_t tensor,
                           uint32_t *source, struct ww_error *err)
{
    const struct ww_layout *layout = gauge->layout;
    const struct ww_binding *binding = &layout->bindings[tensor];
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    struct ww_element element = {0};
    enum ww_err rc = WW_OK;

    *source = tensor;
    if (binding->name_space == WW_NONE || binding->ignored) {
        return WW_OK;
    }
    rc = ww_gauge_space(gauge, binding->name_space, &element, err);
    if (rc) {
        goto out;
    }
    if (element.perm && binding->name_index < element.n) {
        *source = ww_axis_sibling(layout, tensor, element.perm[binding->name_index]);
    }
    if (*source == WW_NONE || !same_shape(t, &layout->model->tensors[*source])) {
        rc = WW_FAIL(err, WW_E_SHAPE,
                     "tensor '%s': experts that trade places differ in shape "
                     "or dtype",
                     t->name);
    }
out:
    ww_element_release(&element);
    return rc;
}
