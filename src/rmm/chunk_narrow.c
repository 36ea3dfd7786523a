/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models are often stored in more bits than they were computed in. Such a chunk is coded
 * as what it was computed in, and becomes what it was when it comes back: the bits that
 * are always zero would be raw ones in most other forms. The prediction is rounded to
 * that dtype.
 */
#include <string.h>

#include "model/recode.h"
#include "rmm/chunk_forms.h"
#include "util/fail.h"

static const enum ww_dtype kinds[] = {WW_DTYPE_BF16, WW_DTYPE_F16};

/* Kinds that numbers of a type may be: F32 of both, F16 of the first. */
static unsigned n_kinds(struct ww_chunk_type type)
{
    if (!type.exponent_mask) {
        return 0;
    }
    return type.width == 4 ? 2 : type.exponent_mask == 0x1f;
}

/* Bytes as numbers of a dtype at out, if they come back as they are. */
static bool narrow_all(enum ww_dtype wide, enum ww_dtype dtype, const uint8_t *bytes,
                       size_t n, uint8_t *out)
{
    const unsigned times = ww_dtype_bits(wide) / 16;
    uint8_t back[4 * WW_CHUNK_BLOCK];

    for (size_t at = 0; at < n; at += sizeof(back)) {
        const size_t some = n - at < sizeof(back) ? n - at : sizeof(back);
        const size_t count = some / 2 / times;
        ww_recode(wide, dtype, bytes + at, out + at / times, count);
        ww_recode(dtype, wide, out + at / times, back, count);
        if (memcmp(back, bytes + at, some) != 0) {
            return false;
        }
    }
    return true;
}

enum ww_err ww_chunk_narrow_encode(struct ww_chunk_room *room,
                                   const struct ww_chunk_plain *plain, bool *is,
                                   struct ww_buf *out, struct ww_error *err)
{
    const size_t n = plain->n;
    const unsigned most = n_kinds(plain->type);
    enum ww_err rc = most > 0 ? ww_chunk_room_ready(room, err) : WW_OK;
    uint8_t kind = 0;

    *is = false;
    if (rc || most == 0 || n == 0) {
        return rc;
    }
    const enum ww_dtype wide = ww_chunk_own_dtype(plain->type);
    while (kind < most && !narrow_all(wide, kinds[kind], plain->bytes, n, room->narrow)) {
        kind++;
    }
    if (kind == most) {
        return WW_OK;
    }
    const uint8_t head[] = {WW_CHUNK_NARROW, kind};
    const size_t before = out->len;
    const size_t count = n / plain->type.width;
    const struct ww_chunk_plain narrow = {ww_chunk_type_of(kinds[kind]), room->narrow,
                                          plain->prediction ? room->recast : NULL,
                                          2 * count};
    if (plain->prediction) {
        ww_recode(wide, kinds[kind], plain->prediction, room->recast, count);
    }
    rc = ww_buf_add(out, head, sizeof(head), err);
    if (!rc) {
        rc = ww_chunk_encode_as_is(room, &narrow, out, err);
    }
    *is = !rc && out->len - before <= n;
    if (!rc && !*is) {
        out->len = before;
    }
    return rc;
}

/* The last numbers of out, of 16 bits, become all of it: what is written is never what is
 * still to be read but within one block, which is taken out first. */
static void widen_all(enum ww_dtype dtype, enum ww_dtype wide, uint8_t *out, size_t n)
{
    const unsigned times = ww_dtype_bits(wide) / 16;
    const size_t half = n / times;
    uint8_t block[2 * WW_CHUNK_BLOCK];

    for (size_t at = 0; at < half; at += sizeof(block)) {
        const size_t some = half - at < sizeof(block) ? half - at : sizeof(block);
        memcpy(block, out + n - half + at, some);
        ww_recode(dtype, wide, block, out + times * at, some / 2);
    }
}

bool ww_chunk_narrow_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                            const uint8_t *coded, size_t len, const uint8_t *prediction,
                            uint8_t *out, size_t n)
{
    const size_t half = 2 * (n / type.width);

    if (len < 2 || coded[0] >= n_kinds(type) || coded[1] == WW_CHUNK_NARROW) {
        return false;
    }
    const enum ww_dtype dtype = kinds[coded[0]];
    const enum ww_dtype wide = ww_chunk_own_dtype(type);
    if (prediction) {
        ww_recode(wide, dtype, prediction, room->recast, n / type.width);
    }
    if (!ww_chunk_decode(room, ww_chunk_type_of(dtype), coded + 1, len - 1,
                         prediction ? room->recast : NULL, out + n - half, half)) {
        return false;
    }
    widen_all(dtype, wide, out, n);
    return true;
}
