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

static const struct steps *steps_of(unsigned width)
{
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

enum ww_err ww_chunk_order_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const uint8_t *bytes, const uint8_t *prediction,
                                  size_t n_bytes, struct ww_buf *out,
                                  struct ww_error *err)
{
    const struct steps *steps = steps_of(type.width);
    const size_t n = n_bytes / type.width;
    const uint32_t largest = steps->largest(type, prediction, n);
    const uint8_t byte = (uint8_t)largest;
    const enum ww_err rc = ww_buf_add(out, &byte, 1, err);

    ww_folded_begin_count(room);
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        const uint8_t *base = prediction + at * type.width;
        (void)steps->contexts(type, largest, base, some, room->contexts + at);
        steps->fold(bytes + at * type.width, base, some, room->folded + at);
        ww_folded_count(room, at, some, 8 * type.width);
    }
    return rc ? rc : ww_folded_finish(room, n, 8 * type.width, out, err);
}

bool ww_chunk_order_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n_bytes)
{
    const struct steps *steps = steps_of(type.width);
    const size_t n = n_bytes / type.width;
    struct ww_folded_in in;
    uint32_t largest = 0;

    if (len < 1 || !ww_folded_begin(room, 8 * type.width, n, coded + 1, len - 1, &in)) {
        return false;
    }
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        const uint8_t *base = prediction + at * type.width;
        const uint32_t here =
            steps->contexts(type, coded[0], base, some, room->block_contexts);
        largest = here > largest ? here : largest;
        ww_folded_next(&in, room->block_contexts, room->block, some);
        steps->unfold(room->block, base, some, out + at * type.width);
    }
    return coded[0] == largest && ww_folded_done(&in);
}
