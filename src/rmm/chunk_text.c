/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers, configurations, tables of members and manifests: some thousand bytes of JSON,
 * names and digits, of which the byte before says most, and that say much the same over
 * and over: a bit says whether the next byte is the one that came behind the same four.
 */
#include <string.h>

#include "rmm/chunk.h"
#include "rmm/chunk_adaptive.h"
#include "util/num.h"

#define SAME 4u /* bytes */

/* The place that is read along, and how often it was right. */
struct along {
    size_t at; /* 0: none */
    unsigned length;
};

/* Before byte i: read along where the same four bytes stood last. */
static void look(struct ww_text *work, const uint8_t *text, size_t i, struct along *a)
{
    if (i < SAME) {
        return;
    }
    const uint8_t *four = text + i - SAME;
    uint32_t *const last = &work->last[ww_get_u32le(four) * UINT32_C(2654435761) >> 16];
    if (a->at == 0 && *last > 0 && memcmp(text + *last - SAME, four, SAME) == 0) {
        a->at = *last;
    }
    *last = (uint32_t)i;
}

static void went(struct along *a, bool again)
{
    const unsigned length = a->length < WW_TEXT_LENGTHS - 1 ? a->length + 1 : a->length;

    *a = again ? (struct along){a->at + 1, length} : (struct along){0};
}

static void put_byte(struct ww_bit *bits, struct ww_bits_out *out, uint8_t byte)
{
    for (unsigned node = 1, b = 8; b-- > 0;) {
        const bool bit = byte >> b & 1;
        ww_bits_put(out, &bits[node], bit);
        node = 2 * node + bit;
    }
}

static uint8_t get_byte(struct ww_bit *bits, struct ww_bits_in *in)
{
    unsigned node = 1;

    while (node < 256) {
        node = 2 * node + ww_bits_get(in, &bits[node]);
    }
    return (uint8_t)node;
}

enum ww_err ww_chunk_text_encode(struct ww_text *work, const uint8_t *bytes, size_t n,
                                 struct ww_buf *out, struct ww_error *err)
{
    static const uint8_t head[] = {WW_CHUNK_ADAPTIVE, WW_ADAPTIVE_IS | WW_ADAPTIVE_AGAIN,
                                   WW_CHUNK_SPLIT};
    struct ww_bits_out bits;
    struct along a = {0};
    const enum ww_err rc = ww_buf_add(out, head, sizeof(head), err);

    if (rc) {
        return rc;
    }
    memset(work, 0, sizeof(*work));
    ww_bits_out_begin(&bits, out, err);
    for (size_t i = 0; i < n; i++) {
        look(work, bytes, i, &a);
        const bool again = a.at > 0 && bytes[i] == bytes[a.at];
        if (a.at > 0) {
            ww_bits_put(&bits, &work->again[a.length], again);
        }
        if (!again) {
            put_byte(work->bytes[i ? bytes[i - 1] : 0], &bits, bytes[i]);
        }
        went(&a, again);
    }
    return ww_bits_out_end(&bits);
}

bool ww_chunk_text_decode(struct ww_text *work, unsigned mode, const uint8_t *coded,
                          size_t len, uint8_t *out, size_t n)
{
    struct ww_bits_in bits;
    struct along a = {0};

    if (n > WW_ADAPTIVE_MOST) {
        return false;
    }
    memset(work, 0, sizeof(*work));
    ww_bits_in_begin(&bits, coded, len);
    for (size_t i = 0; i < n; i++) {
        if (mode & WW_ADAPTIVE_AGAIN) {
            look(work, out, i, &a);
        }
        const bool again = a.at > 0 && ww_bits_get(&bits, &work->again[a.length]);
        out[i] = again ? out[a.at] : get_byte(work->bytes[i ? out[i - 1] : 0], &bits);
        went(&a, again);
    }
    return ww_bits_done(&bits);
}
