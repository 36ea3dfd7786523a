/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256's compression of whole 64-byte blocks, for one or two messages at once. */
#ifndef WW_STREAM_SHA_BLOCKS_H
#define WW_STREAM_SHA_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Has this processor the instructions? Without them the others must not be called. */
bool ww_sha_fast(void);

void ww_sha_blocks(uint32_t state[8], const uint8_t *p, size_t n);
void ww_sha_blocks_2(uint32_t state_a[8], const uint8_t *p, uint32_t state_b[8],
                     const uint8_t *q, size_t n);

#endif
