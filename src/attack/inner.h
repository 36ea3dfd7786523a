/* SPDX-License-Identifier: Apache-2.0 */
/* In-head elements from the products of heads: what a lock of each class may have done.
 */
#ifndef WW_ATTACK_INNER_H
#define WW_ATTACK_INNER_H

#include "attack/cross.h"

/** The elements of n heads of d dimensions, indices counted inside the head. */
struct ww_inner {
    const struct ww_cross *crosses;
    size_t n;
    size_t d;
    struct ww_element *out; /* n * d */
};

/** A signed permutation of dimensions first .. first + count of every head. */
struct ww_inner_signed {
    size_t first;
    size_t count;
    bool perm;
    bool shared_perm;
    bool signs;
    bool scale;
};
enum ww_err ww_inner_find_signed(const struct ww_inner *inner,
                                 const struct ww_inner_signed *how,
                                 struct ww_error *err) WW_MUST_USE;

/** Quarter turns of rotary pairs; shared_odd: whether a pair turns by an odd number is
 * one choice for all heads. */
void ww_inner_find_turns(const struct ww_inner *inner, const struct ww_rope *rope,
                         bool shared_odd, bool scale);

/** One sign for each whole head. */
void ww_inner_find_head_sign(const struct ww_inner *inner);

/** Rows of rotary pair f. */
static inline void ww_inner_pair(const struct ww_rope *rope, size_t f, size_t *i,
                                 size_t *j)
{
    *i = rope->style == WW_ROPE_ADJACENT ? 2 * f : f;
    *j = rope->style == WW_ROPE_ADJACENT ? 2 * f + 1 : f + (size_t)rope->dims / 2;
}

/** Sums of a head after its element is undone. */
struct ww_likeness ww_inner_likeness(const struct ww_inner *inner, size_t head);

#endif
