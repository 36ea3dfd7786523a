/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of 512 bits, where util/clones.h says that they are there: the bytes and
 * numbers of codec/rans_lanes.h. */
#ifndef WW_CODEC_RANS_LANES_X86_H
#define WW_CODEC_RANS_LANES_X86_H

#include "codec/rans_lanes.h"
#include "crypto/sha_blocks.h"

/** As ww_lanes_decode_x86. hash: NULL, or a message that has a block for each group. */
size_t ww_lanes_decode_512(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                           const uint8_t *contexts, uint32_t *out, size_t n,
                           struct ww_sha_quarters *hash);

/** As ww_lanes_encode_x86. pushes: [context][symbol], freq - 1 << 20 | start << 8, low
 *  bits left alone. */
void ww_lanes_encode_512(const struct ww_lanes_text *text, size_t n,
                         const uint32_t *pushes, uint32_t state[WW_LANES_MOST],
                         uint8_t **at);

#endif
