/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fine-tuning moves a weight by about the same amount wherever it is, and a stored number
 * counts in steps of its exponent: so how many steps it moved follows from the exponent
 * of the base's number, which the decoder has. That exponent chooses the table.
 * Differences of ordered integers (codec/ordered.h) are used and not XOR, where a carry
 * flips many bits.
 */
#include <string.h>

#include "rmm/chunk_folded.h"
#include "rmm/rank.h"
#include "util/clones.h"
#include "util/fail.h"

struct steps {
    uint32_t (*largest)(struct ww_chunk_type type, const uint8_t *prediction, size_t n);
    uint32_t (*contexts)(struct ww_chunk_type type, uint32_t largest,
                         const uint8_t *prediction, size_t n, uint8_t *contexts);
    void (*fold)(const uint8_t *bytes, const uint8_t *prediction, size_t n,
                 uint32_t *folded);
    void (*unfold)(const uint32_t *folded, const uint8_t *prediction, size_t n,
                   uint8_t *out);
};

#define TARGET
#define NUMBER uint16_t
#define SIGN 0x8000u
#define NAME(x) x##_16
#include "rmm/chunk_order_steps.h"
#undef NUMBER
#undef SIGN
#undef NAME
#define NUMBER uint32_t
#define SIGN 0x80000000u
#define NAME(x) x##_32
#include "rmm/chunk_order_steps.h"
#undef TARGET

#if defined(__x86_64__) && defined(__GNUC__)
#undef NUMBER
#undef SIGN
#undef NAME
#define TARGET __attribute__((target("avx2")))
#define NUMBER uint16_t
#define SIGN 0x8000u
#define NAME(x) x##_16_avx2
#include "rmm/chunk_order_steps.h"
#undef NUMBER
#undef SIGN
#undef NAME
#define NUMBER uint32_t
#define SIGN 0x80000000u
#define NAME(x) x##_32_avx2
#include "rmm/chunk_order_steps.h"

#undef TARGET
#undef NUMBER
#undef SIGN
#undef NAME
#define TARGET WW_TARGET_512
#define NUMBER uint16_t
#define SIGN 0x8000u
#define NAME(x) x##_16_avx512
#include "rmm/chunk_order_steps.h"

static const struct steps *steps_of(unsigned width)
{
    if (width == 2 && ww_has_512()) {
        return &steps_16_avx512;
    }
    if (__builtin_cpu_supports("avx2")) {
        return width == 2 ? &steps_16_avx2 : &steps_32_avx2;
    }
    return width == 2 ? &steps_16 : &steps_32;
}
#else
static const struct steps *steps_of(unsigned width)
{
    return width == 2 ? &steps_16 : &steps_32;
}
#endif

uint32_t ww_chunk_order_largest(struct ww_chunk_type type, const uint8_t *prediction,
                                size_t n)
{
    return steps_of(type.width)->largest(type, prediction, n);
}

void ww_chunk_order_contexts(struct ww_chunk_type type, uint32_t largest,
                             const uint8_t *prediction, size_t n, uint8_t *contexts)
{
    (void)steps_of(type.width)->contexts(type, largest, prediction, n, contexts);
}

enum ww_err ww_chunk_order_encode(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain, struct ww_buf *out,
                                  struct ww_error *err)
{
    const struct ww_chunk_type type = plain->type;
    const struct steps *steps = steps_of(type.width);
    const size_t n = plain->n / type.width;
    const uint32_t largest = steps->largest(type, plain->prediction, n);
    const uint8_t byte = (uint8_t)largest;
    const enum ww_err rc = ww_buf_add(out, &byte, 1, err);

    ww_folded_begin_count(room);
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        const uint8_t *base = plain->prediction + at * type.width;
        (void)steps->contexts(type, largest, base, some, room->contexts + at);
        steps->fold(plain->bytes + at * type.width, base, some, room->folded + at);
        ww_folded_count(room, at, some, 8 * type.width);
    }
    return rc ? rc : ww_folded_finish(room, n, 8 * type.width, out, err);
}

/* Contexts of hints around where differences begin to occur, and the numbers turned so
 * that one more is the nearer neighbour. */
static void use_hints(const uint16_t *hints, uint32_t edge, size_t n, uint8_t *contexts)
{
    const uint32_t last = WW_CHUNK_CONTEXTS - 1;

    for (size_t i = 0; i < n; i++) {
        const uint32_t at = (hints[i] >> 1) + last;
        contexts[i] = (uint8_t)(at < edge + 1          ? 0
                                : at - edge - 1 < last ? at - edge - 1
                                                       : last);
    }
}

/* The folded opposite; of the one number without, itself. */
static void turn(const uint16_t *hints, uint32_t most, uint32_t *folded, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = folded[i];
        if ((hints[i] & 1) && u != 0 && u != most) {
            folded[i] = u & 1 ? u + 1 : u - 1;
        }
    }
}

static uint32_t most_of(struct ww_chunk_type type)
{
    return UINT32_MAX >> (32 - 8 * type.width);
}

/* Beyond this hint few numbers differ. */
static uint32_t edge_of(const uint16_t *hints, const uint32_t *folded, size_t n)
{
    uint32_t counts[WW_RANK_HINTS] = {0};
    size_t differ = 0;
    uint32_t edge = WW_RANK_HINTS - 1;

    for (size_t i = 0; i < n; i++) {
        counts[hints[i] >> 1] += folded[i] != 0;
        differ += folded[i] != 0;
    }
    for (size_t beyond = counts[edge]; edge > 0 && beyond * 128 <= differ;) {
        beyond += counts[--edge];
    }
    return edge;
}

static enum ww_err try_mode(struct ww_chunk_room *room, uint32_t largest, uint32_t edge,
                            unsigned mode, size_t n, struct ww_buf *best,
                            struct ww_error *err)
{
    const uint8_t head[] = {WW_CHUNK_ORDER, (uint8_t)largest, (uint8_t)edge,
                            (uint8_t)(edge >> 8)};
    enum ww_err rc = WW_OK;

    ww_buf_clear(&room->second);
    rc = ww_folded_adaptive(room, n, mode, head, mode & WW_ADAPTIVE_NEAR ? 4 : 2,
                            &room->second, err);
    if (!rc && (best->len == 0 || room->second.len < best->len)) {
        ww_buf_clear(best);
        rc = ww_buf_add(best, room->second.data, room->second.len, err);
    }
    return rc;
}

enum ww_err ww_chunk_order_adaptive(struct ww_chunk_room *room, struct ww_chunk_type type,
                                    const uint8_t *prediction, size_t n,
                                    struct ww_buf *out, struct ww_error *err)
{
    static const unsigned modes[] = {0, WW_ADAPTIVE_ACTIVE, WW_ADAPTIVE_ONE,
                                     WW_ADAPTIVE_ONE | WW_ADAPTIVE_ACTIVE};
    const uint32_t largest = steps_of(type.width)->largest(type, prediction, n);
    uint32_t edge = 0;
    enum ww_err rc = WW_OK;

    ww_buf_clear(out);
    for (size_t i = 0; i < WW_LEN(modes) && !rc; i++) {
        rc = try_mode(room, largest, 0, WW_ADAPTIVE_IS | modes[i], n, out, err);
    }
    if (rc || !room->has_hints) {
        return rc;
    }
    edge = edge_of(room->hints, room->folded, n);
    use_hints(room->hints, edge, n, room->contexts);
    turn(room->hints, most_of(type), room->folded, n);
    return try_mode(room, largest, edge, WW_ADAPTIVE_IS | WW_ADAPTIVE_NEAR, n, out, err);
}

bool ww_chunk_order_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n_bytes)
{
    const struct steps *steps = steps_of(type.width);
    const size_t n = n_bytes / type.width;
    const bool near = (room->mode & WW_ADAPTIVE_NEAR) != 0;
    const size_t head = near ? 3 : 1;
    struct ww_folded_in in;
    uint32_t largest = 0;
    uint32_t edge = 0;

    if (len < head || (near && !room->has_hints) ||
        !ww_folded_begin(room, 8 * type.width, n, coded + head, len - head, &in)) {
        return false;
    }
    edge = near ? (uint32_t)coded[1] | (uint32_t)coded[2] << 8 : 0;
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        const uint8_t *base = prediction + at * type.width;
        const uint32_t here =
            steps->contexts(type, coded[0], base, some, room->block_contexts);
        largest = here > largest ? here : largest;
        if (near) {
            use_hints(room->hints + at, edge, some, room->block_contexts);
        }
        ww_folded_next(&in, room->mode & WW_ADAPTIVE_ONE ? NULL : room->block_contexts,
                       room->block, some);
        if (near) {
            turn(room->hints + at, most_of(type), room->block, some);
        }
        steps->unfold(room->block, base, some, out + at * type.width);
    }
    return coded[0] == largest && ww_folded_done(&in);
}
