/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/rowsettle.h"

#include "merge/mask.h"
#include "util/clones.h"

WW_CLONES static void compare(const uint32_t *restrict draws, size_t n,
                              struct ww_row_limit below, struct ww_row_limit above,
                              uint8_t *restrict keep, uint8_t *restrict doubt)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t kept = draws[i] <= below.last ? below.any : 0;
        const uint32_t either = draws[i] <= above.last ? above.any : 0;
        keep[i] = (uint8_t)(kept & 1);
        doubt[i] = (uint8_t)(either & ~kept & 1);
    }
}

size_t ww_row_settle_plain(const uint32_t *draws, size_t n, struct ww_row_limit below,
                           struct ww_row_limit above, uint8_t *scratch, uint8_t *keep,
                           uint32_t *open)
{
    compare(draws, n, below, above, keep, scratch);
    return ww_mask_places(scratch, n, open);
}

size_t ww_row_settle(const uint32_t *draws, size_t n, struct ww_row_limit below,
                     struct ww_row_limit above, uint8_t *scratch, uint8_t *keep,
                     uint32_t *open)
{
    if (ww_row_settle_wide()) {
        return ww_row_settle_512(draws, n, below, above, keep, open);
    }
    return ww_row_settle_fast()
               ? ww_row_settle_x86(draws, n, below, above, keep, open)
               : ww_row_settle_plain(draws, n, below, above, scratch, keep, open);
}
