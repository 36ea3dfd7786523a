/* SPDX-License-Identifier: Apache-2.0 */
/* Draws of a row that decide whatever the ranks are, and those that do not. */
#ifndef WW_MERGE_ROWSETTLE_H
#define WW_MERGE_ROWSETTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Draws are whole numbers: below a bound is up to the last whole number before it. */
struct ww_row_limit {
    uint32_t last;
    uint32_t any; /* 0 or all bits: is there such a number? */
};

/** keep[i]: 1 for draws up to the first limit, else 0. open: the elements of those that
 * are not, and are up to the second one, in order; returns how many. open and keep have
 * room for n, scratch n bytes. */
size_t ww_row_settle(const uint32_t *draws, size_t n, struct ww_row_limit below,
                     struct ww_row_limit above, uint8_t *scratch, uint8_t *keep,
                     uint32_t *open);
/** The three ways it is done. */
size_t ww_row_settle_plain(const uint32_t *draws, size_t n, struct ww_row_limit below,
                           struct ww_row_limit above, uint8_t *scratch, uint8_t *keep,
                           uint32_t *open);
bool ww_row_settle_fast(void);
size_t ww_row_settle_x86(const uint32_t *draws, size_t n, struct ww_row_limit below,
                         struct ww_row_limit above, uint8_t *keep, uint32_t *open);
bool ww_row_settle_wide(void); /* with AVX-512 */
size_t ww_row_settle_512(const uint32_t *draws, size_t n, struct ww_row_limit below,
                         struct ww_row_limit above, uint8_t *keep, uint32_t *open);

#endif
