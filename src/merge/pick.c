/* SPDX-License-Identifier: Apache-2.0 */
/* Without vector units: every key is stored and the place moves on for those that count.
 */
#include "merge/pick.h"

size_t ww_pick_plain(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                     uint32_t *to, uint64_t *larger)
{
    const uint32_t high = low + span;
    size_t m = 0;
    uint64_t above = 0;

    for (size_t i = 0; i < n; i++) {
        to[m] = keys[i];
        m += keys[i] - low <= span;
        above += keys[i] > high;
    }
    *larger += above;
    return m;
}

size_t ww_pick(const uint32_t *keys, size_t n, uint32_t low, uint32_t span, uint32_t *to,
               uint64_t *larger)
{
    return (ww_pick_fast() ? ww_pick_x86 : ww_pick_plain)(keys, n, low, span, to, larger);
}
