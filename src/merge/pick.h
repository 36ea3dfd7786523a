/* SPDX-License-Identifier: Apache-2.0 */
/* The few keys that lie in a bracket, out of many. */
#ifndef WW_MERGE_PICK_H
#define WW_MERGE_PICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_PICK_SLACK 8 /* elements of room behind the last key that is picked */

/** Of n keys below 2^31: those from low to low + span, in their order, to `to`, which has
 *  room for all and WW_PICK_SLACK. Returns how many; *larger grows by how many are above.
 */
size_t ww_pick(const uint32_t *keys, size_t n, uint32_t low, uint32_t span, uint32_t *to,
               uint64_t *larger);
/** The two ways it is done. */
size_t ww_pick_plain(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                     uint32_t *to, uint64_t *larger);
bool ww_pick_fast(void);
size_t ww_pick_x86(const uint32_t *keys, size_t n, uint32_t low, uint32_t span,
                   uint32_t *to, uint64_t *larger);

#endif
