/* SPDX-License-Identifier: Apache-2.0 */
/* Nonce of a piece: number, three zero bytes, whether it is the last. */
#ifndef WW_RMM_SECTION_NONCE_H
#define WW_RMM_SECTION_NONCE_H

#include <stdbool.h>
#include <string.h>

#include "crypto/aead.h"
#include "util/num.h"

static inline void ww_section_nonce(uint64_t index, bool last,
                                    uint8_t out[WW_AEAD_NONCE_BYTES])
{
    memset(out, 0, WW_AEAD_NONCE_BYTES);
    ww_put_u64le(out, index);
    out[WW_AEAD_NONCE_BYTES - 1] = last;
}

#endif
