/* SPDX-License-Identifier: Apache-2.0 */
/**
 * pick.h for changes of BF16 as they are stored: their keys are made, compared and picked
 * in registers.
 */
#ifndef WW_MERGE_STORED_PICK_H
#define WW_MERGE_STORED_PICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_STORED_PICK_MOST 256 /* elements */

/** Keys from low to low + span. One of them, `common`, is counted and not picked. */
struct ww_stored_bracket {
    uint32_t low;
    uint32_t span;
    uint32_t common;
};

struct ww_stored_picked {
    uint64_t larger; /* than all of the bracket */
    uint64_t common;
    size_t n;
    uint32_t keys[WW_STORED_PICK_MOST + 16]; /* in any order, then anything */
};

/** Of the keys of n changes, up to two brackets, which may overlap. False, and picked is
 *  worth nothing, where a change is NaN or infinite: so it is always when x or base is.
 *  Needs ww_stored_fast(). */
bool ww_stored_pick(const uint8_t *x, const uint8_t *base, size_t n,
                    const struct ww_stored_bracket *brackets, uint32_t n_brackets,
                    struct ww_stored_picked *picked);
/** The same with vectors of 512 bits, which needs ww_stored_wide(), or of 256. */
bool ww_stored_pick_with(bool wide, const uint8_t *x, const uint8_t *base, size_t n,
                         const struct ww_stored_bracket *brackets, uint32_t n_brackets,
                         struct ww_stored_picked *picked);
/** Of n a multiple of 16: the largest key; with AVX-512. */
uint32_t ww_stored_pick_wide(const uint8_t *x, const uint8_t *base, size_t n,
                             const struct ww_stored_bracket *brackets,
                             uint32_t n_brackets, struct ww_stored_picked *picked);

#endif
