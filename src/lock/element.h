/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A signed permutation with powers of two: x'[i] = sign[i] * 2^exp[i] * x[perm[i]].
 *
 * The element of a space, and also the map of a tensor axis (there perm is the index in
 * the source). perm NULL stands for the identity of length n, with no arrays at all.
 */
#ifndef WW_LOCK_ELEMENT_H
#define WW_LOCK_ELEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "weightward/layout.h"

struct ww_element {
    uint32_t n;
    uint32_t *perm;
    uint8_t *neg; /* 1: the sign is minus */
    int8_t *exp;
};

/** The identity with arrays, to be written to. */
enum ww_err ww_element_init(struct ww_element *element, uint64_t n,
                            struct ww_error *err) WW_MUST_USE;
/** The identity without arrays. */
void ww_element_none(struct ww_element *element, uint32_t n);
void ww_element_release(struct ww_element *element);

/** Replace a map by the one that undoes it. */
enum ww_err ww_element_invert(struct ww_element *element,
                              struct ww_error *err) WW_MUST_USE;

/** y = A x where the action of the element S is A: S, S^-T (exponents negated) or |S|.
 *  Arrays of n doubles that do not overlap. */
void ww_element_apply(const struct ww_element *element, enum ww_action action,
                      const double *x, double *y);

/** What the action leaves of sign and exponent at an index. */
static inline bool ww_action_neg(enum ww_action action, uint8_t neg)
{
    return action != WW_ACT_PERMUTE && neg;
}

static inline int ww_action_exp(enum ww_action action, int exp)
{
    return action == WW_ACT_DIRECT ? exp : action == WW_ACT_INVERSE ? -exp : 0;
}

#endif
