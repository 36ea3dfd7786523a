/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed permutations with powers of two are the transforms that floating-point weights
 * undergo without rounding, so a lock made of them is undone bit for bit.
 */
#include "lock/element.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_element_init(struct ww_element *element, uint64_t n, struct ww_error *err)
{
    memset(element, 0, sizeof(*element));
    if (n >= UINT32_MAX) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "an axis of %llu indices is longer than a lock can move",
                       (unsigned long long)n);
    }
    element->perm = ww_calloc((size_t)n, sizeof(*element->perm));
    element->neg = ww_calloc((size_t)n, sizeof(*element->neg));
    element->exp = ww_calloc((size_t)n, sizeof(*element->exp));
    if (!element->perm || !element->neg || !element->exp) {
        ww_element_release(element);
        return WW_FAIL_MEMORY(err, "the element of a space");
    }
    element->n = (uint32_t)n;
    for (uint32_t i = 0; i < element->n; i++) {
        element->perm[i] = i;
    }
    return WW_OK;
}

void ww_element_none(struct ww_element *element, uint32_t n)
{
    memset(element, 0, sizeof(*element));
    element->n = n;
}

void ww_element_release(struct ww_element *element)
{
    ww_free(element->perm);
    ww_free(element->neg);
    ww_free(element->exp);
    memset(element, 0, sizeof(*element));
}

enum ww_err ww_element_invert(struct ww_element *element, struct ww_error *err)
{
    struct ww_element inverse = {0};
    enum ww_err rc = WW_OK;

    if (!element->perm) {
        return WW_OK;
    }
    rc = ww_element_init(&inverse, element->n, err);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < element->n; i++) {
        const uint32_t at = element->perm[i];
        inverse.perm[at] = i;
        inverse.neg[at] = element->neg[i];
        inverse.exp[at] = (int8_t)-element->exp[i];
    }
    ww_element_release(element);
    *element = inverse;
    return WW_OK;
}

void ww_element_apply(const struct ww_element *element, enum ww_action action,
                      const double *x, double *y)
{
    if (!element->perm) {
        memcpy(y, x, element->n * sizeof(*y));
        return;
    }
    for (uint32_t i = 0; i < element->n; i++) {
        const double value =
            ldexp(x[element->perm[i]], ww_action_exp(action, element->exp[i]));
        y[i] = ww_action_neg(action, element->neg[i]) ? -value : value;
    }
}
