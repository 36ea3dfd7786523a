/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models are often stored in more bits than they were computed in. Such a chunk is coded
 * as what it was computed in, and widened when it comes back: the bits that are always
 * zero would be raw ones in most other forms. The prediction is rounded to that dtype.
 */
#include <string.h>

#include "model/recode.h"
#include "rmm/chunk_forms.h"
#include "util/fail.h"

#define WIDE WW_DTYPE_F32
#define HALF (WW_CHUNK_BYTES / 2)

static const enum ww_dtype kinds[] = {WW_DTYPE_BF16, WW_DTYPE_F16};

static bool is_wide(struct ww_chunk_type type)
{
    return type.exponent_mask && type.width == 4;
}

/* Bytes as numbers of a dtype at out, if they come back as they are. */
static bool narrow_all(enum ww_dtype dtype, const uint8_t *bytes, size_t n, uint8_t *out)
{
    uint8_t back[4 * WW_CHUNK_BLOCK];

    for (size_t at = 0; at < n; at += sizeof(back)) {
        const size_t some = n - at < sizeof(back) ? n - at : sizeof(back);
        ww_recode(WIDE, dtype, bytes + at, out + at / 2, some / 4);
        ww_recode(dtype, WIDE, out + at / 2, back, some / 4);
        if (memcmp(back, bytes + at, some) != 0) {
            return false;
        }
    }
    return true;
}

enum ww_err ww_chunk_narrow_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                   const uint8_t *bytes, const uint8_t *prediction,
                                   size_t n, bool *is, struct ww_buf *out,
                                   struct ww_error *err)
{
    enum ww_err rc = is_wide(type) ? ww_chunk_room_ready(room, err) : WW_OK;
    uint8_t kind = 0;

    *is = false;
    if (rc || !is_wide(type) || n == 0) {
        return rc;
    }
    while (kind < WW_LEN(kinds) && !narrow_all(kinds[kind], bytes, n, room->narrow)) {
        kind++;
    }
    if (kind == WW_LEN(kinds)) {
        return WW_OK;
    }
    const uint8_t head[] = {WW_CHUNK_NARROW, kind};
    uint8_t *const middle = room->narrow + HALF;
    *is = true;
    if (prediction) {
        ww_recode(WIDE, kinds[kind], prediction, middle, n / 4);
    }
    rc = ww_buf_add(out, head, sizeof(head), err);
    return rc ? rc
              : ww_chunk_encode(room, ww_chunk_type_of(kinds[kind]), room->narrow,
                                prediction ? middle : NULL, n / 2, out, err);
}

/* The second half of out becomes all of it: what is written is never what is still to be
 * read but within one block, which is taken out first. */
static void widen_all(enum ww_dtype dtype, uint8_t *out, size_t n)
{
    uint8_t block[2 * WW_CHUNK_BLOCK];

    for (size_t at = 0; at < n / 2; at += sizeof(block)) {
        const size_t some = n / 2 - at < sizeof(block) ? n / 2 - at : sizeof(block);
        memcpy(block, out + n / 2 + at, some);
        ww_recode(dtype, WIDE, block, out + 2 * at, some / 2);
    }
}

/* In out alone: predictions in its first half, numbers in the second. */
bool ww_chunk_narrow_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                            const uint8_t *coded, size_t len, const uint8_t *prediction,
                            uint8_t *out, size_t n)
{
    if (!is_wide(type) || len < 1 || coded[0] >= WW_LEN(kinds)) {
        return false;
    }
    const enum ww_dtype dtype = kinds[coded[0]];
    if (prediction) {
        ww_recode(WIDE, dtype, prediction, out, n / 4);
    }
    if (!ww_chunk_decode(room, ww_chunk_type_of(dtype), coded + 1, len - 1,
                         prediction ? out : NULL, out + n / 2, n / 2)) {
        return false;
    }
    widen_all(dtype, out, n);
    return true;
}
