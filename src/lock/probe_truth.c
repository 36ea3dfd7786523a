/* SPDX-License-Identifier: Apache-2.0 */
/* What rows and columns of a locked tensor must be, from segments and elements. */
#include "lock/probe_truth.h"

#include <math.h>
#include <string.h>

#include "lock/tensor_map.h"
#include "util/alloc.h"
#include "util/fail.h"

static const struct ww_tensor *tensor_of(const struct ww_truth_of *of)
{
    return &of->gauge->layout->model->tensors[of->tensor];
}

void ww_truth_release(struct ww_truth *truth)
{
    ww_free(truth->from);
    ww_free(truth->factor);
    memset(truth, 0, sizeof(*truth));
}

static enum ww_err new_truth(struct ww_truth *truth, uint64_t n, struct ww_error *err)
{
    memset(truth, 0, sizeof(*truth));
    truth->from = ww_calloc((size_t)n, sizeof(*truth->from));
    truth->factor = ww_calloc((size_t)n, sizeof(*truth->factor));
    if (!truth->from || !truth->factor || n >= UINT32_MAX) {
        ww_truth_release(truth);
        return WW_FAIL_MEMORY(err, "a probe of %llu indices", (unsigned long long)n);
    }
    truth->n = (uint32_t)n;
    for (uint32_t i = 0; i < truth->n; i++) {
        truth->from[i] = i;
        truth->factor[i] = 1;
    }
    return WW_OK;
}

static bool is_input(const struct ww_truth_of *of, unsigned axis)
{
    const struct ww_layout *layout = of->gauge->layout;
    const struct ww_axis *a = &layout->bindings[of->tensor].axis[axis];

    if (of->in_axis != WW_NO_AXIS || of->out_axis != WW_NO_AXIS) {
        return axis == of->in_axis;
    }
    return axis + 1 == tensor_of(of)->rank && a->n_segments > 0 &&
           layout->segments[a->first_segment].action == WW_ACT_INVERSE;
}

/* An input x arrives as S x, an output leaves as A y; a weight takes S^-T on its input
 * axis and A on its output axis. */
static double factor_of(bool input, enum ww_action action, bool neg, int exp)
{
    const double sign = neg ? -1 : 1;

    if (input) {
        return sign * ldexp(1, -exp);
    }
    return action == WW_ACT_PERMUTE ? 1 : sign * ldexp(1, ww_action_exp(action, exp));
}

static enum ww_err truth_of_segment(const struct ww_truth_of *of, bool input,
                                    const struct ww_segment *segment,
                                    const struct ww_element *element,
                                    struct ww_truth *truth, struct ww_error *err)
{
    const uint64_t n = segment->count * segment->width;

    for (uint64_t i = 0; i < n; i++) {
        const uint64_t s = segment->space_start + i;
        const uint64_t from = element->perm ? element->perm[s] : s;
        const uint64_t at = ww_segment_at(segment, s);
        if (!ww_segment_covers(segment, from) || at >= truth->n) {
            return WW_FAIL(err, WW_E_CHECK_FAILED,
                           "tensor '%s': space index %llu leaves its "
                           "segment",
                           tensor_of(of)->name, (unsigned long long)from);
        }
        truth->from[at] = (uint32_t)ww_segment_at(segment, from);
        if (element->perm) {
            truth->factor[at] =
                factor_of(input, segment->action, element->neg[s], element->exp[s]);
        }
    }
    return WW_OK;
}

static enum ww_err truth_of_axis(const struct ww_truth_of *of, unsigned axis,
                                 uint64_t slice, struct ww_truth *truth,
                                 struct ww_error *err)
{
    const struct ww_gauge *gauge = of->gauge;
    const struct ww_axis *a = &gauge->layout->bindings[of->tensor].axis[axis];
    const uint32_t moe = axis > 0 ? ww_axis_stack(gauge->layout, of->tensor) : WW_NONE;
    struct ww_element element = {0};
    enum ww_err rc = new_truth(truth, tensor_of(of)->shape[axis], err);

    for (uint32_t i = 0; i < a->n_segments && !rc; i++) {
        const struct ww_segment *segment = &gauge->layout->segments[a->first_segment + i];
        rc = ww_segment_element(gauge, segment, moe, slice, &element, err);
        if (!rc) {
            rc = truth_of_segment(of, is_input(of, axis), segment, &element, truth, err);
        }
        ww_element_release(&element);
    }
    return rc;
}

/* Append an axis: index (i, j) of the product is i * n + j. */
static enum ww_err append(struct ww_truth *product, const struct ww_truth *axis,
                          struct ww_error *err)
{
    struct ww_truth next;
    enum ww_err rc = new_truth(&next, (uint64_t)product->n * axis->n, err);

    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < next.n; i++) {
        const uint32_t hi = i / axis->n;
        const uint32_t lo = i % axis->n;
        next.from[i] = product->from[hi] * axis->n + axis->from[lo];
        next.factor[i] = product->factor[hi] * axis->factor[lo];
    }
    ww_truth_release(product);
    *product = next;
    return WW_OK;
}

enum ww_err ww_truth_of_axes(const struct ww_truth_of *of, unsigned from, unsigned to,
                             uint64_t slice, struct ww_truth *product,
                             struct ww_error *err)
{
    struct ww_truth axis = {0};
    enum ww_err rc = new_truth(product, 1, err);

    for (unsigned a = from; a < to && !rc; a++) {
        rc = truth_of_axis(of, a, slice, &axis, err);
        if (!rc) {
            rc = append(product, &axis, err);
        }
        ww_truth_release(&axis);
    }
    return rc;
}

/* Axes 0 .. to of stacked experts: what lies inside a slice moves by its own element. */
enum ww_err ww_truth_of_stack(const struct ww_truth_of *of, unsigned to,
                              struct ww_truth *truth, struct ww_error *err)
{
    const uint64_t n_slices = tensor_of(of)->shape[0];
    struct ww_truth outer = {0};
    struct ww_truth inner = {0};
    uint64_t n = n_slices;
    enum ww_err rc = ww_truth_of_axes(of, 0, 1, 0, &outer, err);

    for (unsigned a = 1; a < to; a++) {
        n *= tensor_of(of)->shape[a];
    }
    if (!rc) {
        rc = new_truth(truth, n, err);
    }
    for (uint64_t s = 0; s < n_slices && !rc; s++) {
        rc = ww_truth_of_axes(of, 1, to, s, &inner, err);
        for (uint32_t i = 0; i < inner.n && !rc; i++) {
            const uint64_t r = s * inner.n + i;
            truth->from[r] = outer.from[s] * inner.n + inner.from[i];
            truth->factor[r] = outer.factor[s] * inner.factor[i];
        }
        ww_truth_release(&inner);
    }
    ww_truth_release(&outer);
    return rc;
}
