/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 of several messages in one go, where the processor can do that. */
#ifndef WW_STREAM_SHA_H
#define WW_STREAM_SHA_H

#include <stdbool.h>

#include "crypto/hash.h"

/** All-zero may be released. */
struct ww_sha {
    struct ww_sha256 *plain; /* used when the processor has no SHA instructions */
    uint32_t state[8];
    uint64_t n_bytes;
    uint8_t tail[64]; /* the n_bytes % 64 bytes of a block not full yet */
};

/** Start with the empty message; fast: ww_sha_fast(), or false to go through OpenSSL. */
enum ww_err ww_sha_init(struct ww_sha *s, bool fast, struct ww_error *err) WW_MUST_USE;
void ww_sha_release(struct ww_sha *s);
void ww_sha_reset(struct ww_sha *s);
void ww_sha_update(struct ww_sha *s, const uint8_t *p, uint64_t n);
/** Add n bytes to each of two messages. */
void ww_sha_update_2(struct ww_sha *a, const uint8_t *p, struct ww_sha *b,
                     const uint8_t *q, uint64_t n);
/** Add n bytes to each of k messages; up to WW_SHA_AT_ONCE (crypto/sha_blocks.h) go side
 * by side. */
void ww_sha_update_all(struct ww_sha *const s[], const uint8_t *const p[], unsigned k,
                       uint64_t n);
/** What is left of a run of bytes of one message. */
struct ww_sha_rest {
    struct ww_sha *sha;
    const uint8_t *p;
    uint64_t n;
};
struct ww_sha_quarters;
/** How many whole blocks of the rest can be hashed by quarters (crypto/sha_blocks.h), and
 *  their beginning; 0: none, for want of bytes or instructions, or rest is NULL. Begun
 *  with some, it has to be ended, behind any number of whole blocks. */
uint64_t ww_sha_rest_begin(struct ww_sha_rest *rest, struct ww_sha_quarters *q);
void ww_sha_rest_end(struct ww_sha_rest *rest, const struct ww_sha_quarters *q);

/** Digest of what was added; reset before further use. */
void ww_sha_final(struct ww_sha *s, uint8_t out[WW_SHA256_BYTES]);

#endif
