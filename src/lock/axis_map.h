/* SPDX-License-Identifier: Apache-2.0 */
/* From the element of a space to the map of a tensor's axis, through its segments. */
#ifndef WW_LOCK_AXIS_MAP_H
#define WW_LOCK_AXIS_MAP_H

#include "lock/gauge.h"

/** A tensor that stacks experts on axis 0, so that its neuron axes differ per slice:
 *  the mixture, or WW_NONE. */
uint32_t ww_axis_stack(const struct ww_layout *layout, uint32_t tensor);

/** True when the axis has segments. */
bool ww_axis_moves(const struct ww_layout *layout, uint32_t tensor, unsigned axis);

/** Element of a segment's space; on slice e of a stacked tensor (ww_axis_stack is moe)
 *  the neurons are those of expert e. */
enum ww_err ww_segment_element(const struct ww_gauge *gauge,
                               const struct ww_segment *segment, uint32_t moe,
                               uint64_t slice, struct ww_element *out,
                               struct ww_error *err) WW_MUST_USE;

/** Index on the axis of space index s, which the segment covers. */
static inline uint64_t ww_segment_at(const struct ww_segment *segment, uint64_t s)
{
    const uint64_t i = s - segment->space_start;
    return segment->offset + i / segment->width * segment->stride + i % segment->width;
}

static inline bool ww_segment_covers(const struct ww_segment *segment, uint64_t s)
{
    return s >= segment->space_start &&
           s - segment->space_start < segment->count * segment->width;
}

/** Map of an axis: out[i] = sign * 2^exp * in[perm[i]]; perm NULL when it has no
 * segments. slice counts for stacked tensors only. */
enum ww_err ww_axis_map(const struct ww_gauge *gauge, uint32_t tensor, unsigned axis,
                        uint64_t slice, struct ww_element *out,
                        struct ww_error *err) WW_MUST_USE;

/** The tensor of the same family whose name has that number, or WW_NONE. */
uint32_t ww_axis_sibling(const struct ww_layout *layout, uint32_t tensor, uint64_t index);

/** The tensor whose content this one gets: another expert's where experts have tensors of
 *  their own, else itself. */
enum ww_err ww_axis_source(const struct ww_gauge *gauge, uint32_t tensor,
                           uint32_t *source, struct ww_error *err) WW_MUST_USE;

#endif
