/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a lock must do to a tensor, derived from the layout a second time, without the
 * maps of the kernel: what probes compare with.
 */
#ifndef WW_LOCK_PROBE_TRUTH_H
#define WW_LOCK_PROBE_TRUTH_H

#include "lock/gauge.h"

#define WW_NO_AXIS UINT8_MAX

/** A tensor, and which of its axes are input and output of linear maps; WW_NO_AXIS. */
struct ww_truth_of {
    const struct ww_gauge *gauge;
    uint32_t tensor;
    uint8_t in_axis;
    uint8_t out_axis;
};

/** Where each index of an axis (or of a product of axes) comes from, and the factor that
 *  it takes along. */
struct ww_truth {
    uint32_t n;
    uint32_t *from; /* [n] */
    double *factor; /* [n] */
};
void ww_truth_release(struct ww_truth *truth);

/** Axes [from, to) as one, of a slice of stacked experts (else 0). *out is released by
 * the caller, also after an error. WW_E_CHECK_FAILED for a lock that leaves a segment. */
enum ww_err ww_truth_of_axes(const struct ww_truth_of *of, unsigned from, unsigned to,
                             uint64_t slice, struct ww_truth *out,
                             struct ww_error *err) WW_MUST_USE;
/** Axes [0, to) of stacked experts: what lies inside a slice moves by its own element. */
enum ww_err ww_truth_of_stack(const struct ww_truth_of *of, unsigned to,
                              struct ww_truth *out, struct ww_error *err) WW_MUST_USE;

#endif
