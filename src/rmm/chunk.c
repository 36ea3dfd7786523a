/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shortest form is found by trying: what a chunk is like is decided by its own bytes,
 * not by the tensor it is part of, and a chunk that nothing helps is stored.
 */
#include "rmm/chunk.h"

#include <string.h>

#include "rmm/chunk_folded.h"
#include "rmm/rank.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct ww_chunk_type ww_chunk_type_of(enum ww_dtype dtype)
{
    const unsigned bits = ww_dtype_bits(dtype);

    switch ((int)dtype) {
    case WW_DTYPE_BF16:
        return (struct ww_chunk_type){2, 7, 0xff};
    case WW_DTYPE_F16:
        return (struct ww_chunk_type){2, 10, 0x1f};
    case WW_DTYPE_F32:
        return (struct ww_chunk_type){4, 23, 0xff};
    default:
        break;
    }
    return (struct ww_chunk_type){bits < 16 ? 1 : bits / 8, 0, 0};
}

enum ww_err ww_chunk_room_new(struct ww_chunk_room **out, struct ww_error *err)
{
    struct ww_chunk_room *room = ww_calloc(1, sizeof(*room));

    *out = room;
    if (room) {
        room->recast = ww_alloc_pages(WW_CHUNK_BYTES);
    }
    if (!room || !room->recast) {
        ww_free(room);
        *out = NULL;
        return WW_FAIL_MEMORY(err, "coding a chunk");
    }
    for (unsigned u = 0; u < WW_CHUNK_SMALL; u++) {
        room->small[u] = (uint8_t)ww_folded_symbol(u);
    }
    ww_folded_leads(room->folded_leads);
    ww_split_leads(room->byte_leads);
    ww_lanes_spread_make(&room->spread);
    ww_buf_init(&room->first, 2 * WW_CHUNK_BYTES + (WW_CHUNK_BYTES >> 2));
    ww_buf_init(&room->second, 2 * WW_CHUNK_BYTES + (WW_CHUNK_BYTES >> 2));
    ww_buf_init(&room->third, 2 * WW_CHUNK_BYTES + (WW_CHUNK_BYTES >> 2));
    return WW_OK;
}

static void free_numbers(struct ww_chunk_room *room)
{
    ww_free(room->folded);
    ww_free(room->contexts);
    ww_free(room->symbols);
    ww_free(room->words);
    ww_free(room->narrow);
    room->folded = NULL;
    room->contexts = room->symbols = room->words = room->narrow = NULL;
}

void ww_chunk_room_free(struct ww_chunk_room *room)
{
    if (room) {
        free_numbers(room);
        ww_free(room->recast);
        ww_buf_release(&room->first);
        ww_buf_release(&room->second);
        ww_buf_release(&room->third);
        ww_free(room);
    }
}

void ww_chunk_room_adapt(struct ww_chunk_room *room)
{
    room->may_adapt = true;
}

void ww_chunk_room_beside(struct ww_chunk_room *room, struct ww_sha_rest *beside)
{
    room->beside = beside;
}

void ww_chunk_room_hints(struct ww_chunk_room *room, const struct ww_rank *rank,
                         uint64_t at, const uint8_t *base, size_t n)
{
    room->has_hints = rank && n / 2 <= WW_ADAPTIVE_MOST &&
                      ww_rank_hints(rank, at, base, room->hints, n);
}

enum ww_chunk_form ww_chunk_form_of(const uint8_t *coded, size_t len)
{
    const size_t skip = coded[0] == WW_CHUNK_NARROW && len > 2 ? 2 : 0;
    const uint8_t *at = coded + skip;

    return (enum ww_chunk_form)(at[0] == WW_CHUNK_ADAPTIVE && len - skip > 2 ? at[2]
                                                                             : at[0]);
}

bool ww_chunk_goes_back(const uint8_t *coded, size_t len)
{
    return len > 2 && coded[0] == WW_CHUNK_ADAPTIVE && (coded[1] & WW_ADAPTIVE_AGAIN) &&
           coded[2] == WW_CHUNK_SPLIT;
}

enum ww_err ww_chunk_room_ready(struct ww_chunk_room *room, struct ww_error *err)
{
    if (room->words) {
        return WW_OK;
    }
    /* Numbers may be bytes. Pages that are not touched cost nothing. */
    room->folded = ww_alloc_pages(WW_CHUNK_BYTES * sizeof(*room->folded));
    room->contexts = ww_alloc_pages(WW_CHUNK_BYTES);
    room->symbols = ww_alloc_pages(WW_CHUNK_BYTES);
    room->words = ww_alloc_pages(WW_CHUNK_WORDS);
    room->narrow = ww_alloc_pages(WW_CHUNK_BYTES);
    if (!room->folded || !room->contexts || !room->symbols || !room->words ||
        !room->narrow) {
        free_numbers(room);
        return WW_FAIL_MEMORY(err, "coding a chunk");
    }
    return WW_OK;
}

static enum ww_err add_form(struct ww_buf *out, enum ww_chunk_form form,
                            struct ww_error *err)
{
    const uint8_t byte = (uint8_t)form;

    return ww_buf_add(out, &byte, 1, err);
}

/* Above this share of the bytes a prediction may be worse than none. */
static bool hardly_predicted(size_t coded, size_t n)
{
    return coded > n / 2;
}

/* Numbers of the form order, or bytes, as they stand: few enough for a form without
 * tables. */
static enum ww_err try_adaptive(struct ww_chunk_room *room,
                                const struct ww_chunk_plain *plain, struct ww_error *err)
{
    const struct ww_chunk_type type = plain->type;

    if (!room->may_adapt || plain->n / type.width > WW_ADAPTIVE_MOST) {
        return WW_OK;
    }
    if (plain->prediction && type.exponent_mask) {
        return ww_chunk_order_adaptive(room, type, plain->prediction,
                                       plain->n / type.width, &room->third, err);
    }
    return type.width == 1 ? ww_chunk_text_encode(&room->text, plain->bytes, plain->n,
                                                  &room->third, err)
                           : WW_OK;
}

static enum ww_err try_forms(struct ww_chunk_room *room,
                             const struct ww_chunk_plain *plain, struct ww_error *err)
{
    enum ww_err rc = ww_chunk_room_ready(room, err);

    ww_buf_clear(&room->first);
    ww_buf_clear(&room->second);
    ww_buf_clear(&room->third);
    if (!rc && plain->prediction && plain->type.exponent_mask) {
        rc = add_form(&room->first, WW_CHUNK_ORDER, err);
        if (!rc) {
            rc = ww_chunk_order_encode(room, plain, &room->first, err);
        }
    }
    if (!rc) {
        rc = try_adaptive(room, plain, err);
    }
    ww_buf_clear(&room->second);
    if (!rc && (room->first.len == 0 || hardly_predicted(room->first.len, plain->n))) {
        rc = add_form(&room->second, WW_CHUNK_SPLIT, err);
        if (!rc) {
            rc = ww_chunk_split_encode(room, plain, &room->second, err);
        }
    }
    return rc;
}

/* The shortest of the forms, but for same and narrow. */
static enum ww_err encode_shortest(struct ww_chunk_room *room,
                                   const struct ww_chunk_plain *plain, size_t few,
                                   struct ww_buf *out, struct ww_error *err)
{
    const struct ww_buf *best = NULL;
    enum ww_err rc = try_forms(room, plain, err);

    if (rc) {
        return rc;
    }
    best = room->first.len > 0 ? &room->first : &room->second;
    if (room->second.len > 0 && room->second.len < best->len) {
        best = &room->second;
    }
    if (room->third.len > 0 && ww_adaptive_pays(room->third.len, best->len)) {
        best = &room->third;
    }
    if (few > 0 && few < best->len && few < plain->n) {
        rc = add_form(out, WW_CHUNK_FEW, err);
        return rc ? rc : ww_chunk_few_encode(plain, out, err);
    }
    if (best->len <= plain->n) {
        return ww_buf_add(out, best->data, best->len, err);
    }
    rc = add_form(out, WW_CHUNK_STORED, err);
    return rc ? rc : ww_buf_add(out, plain->bytes, plain->n, err);
}

static enum ww_err encode(struct ww_chunk_room *room, const struct ww_chunk_plain *plain,
                          bool may_narrow, struct ww_buf *out, struct ww_error *err)
{
    size_t few = 0;
    bool narrow = false;
    enum ww_err rc = WW_OK;

    if (plain->prediction && memcmp(plain->bytes, plain->prediction, plain->n) == 0) {
        return add_form(out, WW_CHUNK_SAME, err);
    }
    if (!ww_chunk_is_few(plain, &few)) {
        few = 0;
        rc = may_narrow ? ww_chunk_narrow_encode(room, plain, &narrow, out, err) : WW_OK;
    }
    return rc || narrow ? rc : encode_shortest(room, plain, few, out, err);
}

enum ww_err ww_chunk_encode(struct ww_chunk_room *room,
                            const struct ww_chunk_plain *plain, struct ww_buf *out,
                            struct ww_error *err)
{
    return encode(room, plain, true, out, err);
}

enum ww_err ww_chunk_encode_as_is(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain, struct ww_buf *out,
                                  struct ww_error *err)
{
    return encode(room, plain, false, out, err);
}

/* Forms that have one without tables, and the modes of that. */
static bool knows_mode(unsigned form, unsigned mode)
{
    const unsigned rest = mode & ~WW_ADAPTIVE_IS;

    if (!(mode & WW_ADAPTIVE_IS)) {
        return false;
    }
    switch (form) {
    case WW_CHUNK_ORDER:
        return rest == WW_ADAPTIVE_NEAR ||
               (rest & ~(WW_ADAPTIVE_ACTIVE | WW_ADAPTIVE_ONE)) == 0;
    case WW_CHUNK_DENSE:
        return (rest & ~WW_ADAPTIVE_ACTIVE) == 0;
    case WW_CHUNK_OWN:
    case WW_CHUNK_KLT:
        return rest == WW_ADAPTIVE_SCALED;
    default:
        return form == WW_CHUNK_SPLIT && (rest & ~WW_ADAPTIVE_AGAIN) == 0;
    }
}

static bool decode_form(struct ww_chunk_room *room, struct ww_chunk_type type,
                        const uint8_t *coded, size_t len, const uint8_t *prediction,
                        uint8_t *out, size_t n)
{
    switch (coded[0]) {
    case WW_CHUNK_STORED:
        if (len != n + 1) {
            return false;
        }
        memcpy(out, coded + 1, n);
        return true;
    case WW_CHUNK_SAME:
        if (len != 1 || !prediction) {
            return false;
        }
        memmove(out, prediction, n);
        return true;
    case WW_CHUNK_ORDER:
        return prediction && type.exponent_mask &&
               ww_chunk_order_decode(room, type, coded + 1, len - 1, prediction, out, n);
    case WW_CHUNK_SPLIT:
        if (room->mode != 0) {
            return type.width == 1 && ww_chunk_text_decode(&room->text, room->mode,
                                                           coded + 1, len - 1, out, n);
        }
        return ww_chunk_split_decode(room, type, coded + 1, len - 1, out, n);
    case WW_CHUNK_OWN:
        return ww_chunk_own_decode(room, type, coded + 1, len - 1, NULL, out, n);
    case WW_CHUNK_KLT:
        return prediction &&
               ww_chunk_own_decode(room, type, coded + 1, len - 1, prediction, out, n);
    case WW_CHUNK_FEW:
        return ww_chunk_few_decode(type, coded + 1, len - 1, out, n);
    case WW_CHUNK_NARROW:
        return ww_chunk_narrow_decode(room, type, coded + 1, len - 1, prediction, out, n);
    case WW_CHUNK_DENSE:
        return prediction &&
               ww_chunk_dense_decode(room, type, coded + 1, len - 1, prediction, out, n);
    default:
        return false;
    }
}

bool ww_chunk_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                     const uint8_t *coded, size_t len, const uint8_t *prediction,
                     uint8_t *out, size_t n)
{
    if (len < 1 || n > WW_CHUNK_BYTES || n % type.width != 0) {
        return false;
    }
    room->mode = 0;
    if (coded[0] == WW_CHUNK_ADAPTIVE) {
        if (len < 3 || !knows_mode(coded[2], coded[1])) {
            return false;
        }
        room->mode = coded[1];
        return decode_form(room, type, coded + 2, len - 2, prediction, out, n);
    }
    return decode_form(room, type, coded, len, prediction, out, n);
}
