/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256's compression of whole 64-byte blocks, for one to four messages at once. */
#ifndef WW_STREAM_SHA_BLOCKS_H
#define WW_STREAM_SHA_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Has this processor the instructions? Without them the others must not be called. */
bool ww_sha_fast(void);

void ww_sha_blocks(uint32_t state[8], const uint8_t *p, size_t n);
/** n blocks of each of several messages. */
#define WW_SHA_AT_ONCE 4u
void ww_sha_blocks_2(uint32_t *const state[], const uint8_t *const p[], size_t n);
void ww_sha_blocks_3(uint32_t *const state[], const uint8_t *const p[], size_t n);
void ww_sha_blocks_4(uint32_t *const state[], const uint8_t *const p[], size_t n);

/** Blocks that are hashed a quarter at a time, by who has other work to do in between: a
 *  message alone leaves the unit and all others waiting for its last round. The four are
 *  called in turn, from code that may use vectors of 256 bits (AVX is required). */
struct ww_sha_quarters {
    _Alignas(16) uint32_t abef[4];
    uint32_t cdgh[4];
    uint32_t before[2][4]; /* of the block */
    uint32_t words[4][4];
    const uint8_t *p; /* the block at hand; the fourth quarter moves on */
};
void ww_sha_quarters_begin(struct ww_sha_quarters *q, const uint32_t state[8],
                           const uint8_t *p);
void ww_sha_quarter_1(struct ww_sha_quarters *q);
void ww_sha_quarter_2(struct ww_sha_quarters *q);
void ww_sha_quarter_3(struct ww_sha_quarters *q);
void ww_sha_quarter_4(struct ww_sha_quarters *q);
void ww_sha_quarters_end(const struct ww_sha_quarters *q, uint32_t state[8]);

#endif
