/* SPDX-License-Identifier: Apache-2.0 */
/* Random masks without a state: every element's number can be computed on its own. */
#ifndef WW_MERGE_MASK_H
#define WW_MERGE_MASK_H

#include "merge/kernel.h"

/** The key of a merge's masks: by seed and tensor name, or by seed alone where masks go
 * by content (plan.order_free), as locked models may hold a tensor under another name. */
uint64_t ww_mask_key(const struct ww_merge_job *job);
uint64_t ww_mask_key_of(uint64_t seed, const char *name);

/** out[i]: uniform in [0, 2^32) for element first + i of a source. With hashes (one per
 *  element, of its content) position does not enter. */
void ww_mask_draw(uint64_t key, uint32_t source, uint64_t first, size_t n,
                  const uint64_t *hashes, uint32_t *out);
/** Bit i of bits, from the lowest of a byte: is that of element first + i up to last? By
 *  position. False, and nothing is done, where it is not faster so. */
bool ww_mask_draw_bits(uint64_t key, uint32_t source, uint64_t first, size_t n,
                       uint32_t last, uint8_t *bits);

/** A hash of each element's values in all models: equal for x and -x, so that a locked
 *  model's elements have those of the unlocked. */
void ww_mask_hash(const struct ww_merge_job *job, const struct ww_merge_block *block,
                  uint64_t *hashes);

/** Bytes of 0 and 1 as bits, and back. bits: ceil(n / 8) bytes. */
void ww_mask_pack(const uint8_t *mask, size_t n, uint8_t *bits);
void ww_mask_unpack(const uint8_t *bits, size_t n, uint8_t *mask);
/** The places of the ones, in order; returns how many. */
size_t ww_mask_places(const uint8_t *mask, size_t n, uint32_t *to);

#endif
