/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers, configurations and tables of members: some thousand bytes of JSON, names and
 * digits, of which the byte before says most.
 */
#include <string.h>

#include "rmm/chunk.h"
#include "rmm/chunk_adaptive.h"
#include "util/fail.h"

enum ww_err ww_chunk_text_encode(struct ww_bit *work, const uint8_t *bytes, size_t n,
                                 struct ww_buf *out, struct ww_error *err)
{
    static const uint8_t head[] = {WW_CHUNK_ADAPTIVE, WW_ADAPTIVE_IS, WW_CHUNK_SPLIT};
    struct ww_bits_out bits;
    const enum ww_err rc = ww_buf_add(out, head, sizeof(head), err);

    if (rc) {
        return rc;
    }
    memset(work, 0, WW_ADAPTIVE_TEXT * sizeof(*work));
    ww_bits_out_begin(&bits, out, err);
    ww_adaptive_put_text(work, &bits, bytes, n);
    return ww_bits_out_end(&bits);
}

bool ww_chunk_text_decode(struct ww_bit *work, const uint8_t *coded, size_t len,
                          uint8_t *out, size_t n)
{
    struct ww_bits_in bits;

    if (n > WW_ADAPTIVE_MOST) {
        return false;
    }
    memset(work, 0, WW_ADAPTIVE_TEXT * sizeof(*work));
    ww_bits_in_begin(&bits, coded, len);
    ww_adaptive_get_text(work, &bits, out, n);
    return ww_bits_done(&bits);
}
