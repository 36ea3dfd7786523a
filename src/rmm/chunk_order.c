/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fine-tuning moves a weight by about the same amount wherever it is, and a stored number
 * counts in steps of its exponent: so how many steps it moved follows from the exponent
 * of the base's number, which the decoder has. That exponent chooses the table.
 * Differences of ordered integers are used and not XOR, where a carry flips many bits.
 */
#include <string.h>

#include "codec/ordered.h"
#include "rmm/chunk_folded.h"
#include "util/fail.h"

/* Inlined where the width is a constant, so that copies of a number become moves. */
#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t exponent_of(struct ww_chunk_type type, uint64_t bits)
{
    return (uint32_t)(bits >> type.exponent_shift) & type.exponent_mask;
}

INLINE unsigned context_of(struct ww_chunk_type type, uint32_t largest, uint64_t bits)
{
    const uint32_t below = largest - exponent_of(type, bits);

    return below < WW_CHUNK_CONTEXTS ? below : WW_CHUNK_CONTEXTS - 1;
}

INLINE uint32_t largest_of(struct ww_chunk_type type, unsigned width,
                           const uint8_t *prediction, size_t n)
{
    uint32_t largest = 0;

    for (size_t i = 0; i < n; i++) {
        const uint32_t e =
            exponent_of(type, ww_ordered_load(prediction + i * width, width));
        largest = e > largest ? e : largest;
    }
    return largest;
}

static uint32_t largest_exponent(struct ww_chunk_type type, const uint8_t *prediction,
                                 size_t n)
{
    return type.width == 2 ? largest_of(type, 2, prediction, n)
                           : largest_of(type, 4, prediction, n);
}

INLINE void fold_width(struct ww_chunk_room *room, struct ww_chunk_type type,
                       unsigned width, uint32_t largest, const uint8_t *bytes,
                       const uint8_t *prediction, size_t n)
{
    uint32_t *folded = room->folded;
    uint8_t *contexts = room->contexts;

    memset(room->counts, 0, sizeof(room->counts));
    for (size_t i = 0; i < n; i++) {
        const uint64_t p = ww_ordered_load(prediction + i * width, width);
        const uint64_t b = ww_ordered_load(bytes + i * width, width);
        const unsigned context = context_of(type, largest, p);
        const uint32_t u = (uint32_t)ww_ordered_fold(ww_ordered_of(b, width),
                                                     ww_ordered_of(p, width), width);
        folded[i] = u;
        contexts[i] = (uint8_t)context;
        room->counts[context][ww_folded_symbol_in(room, u)]++;
    }
}

static void fold_all(struct ww_chunk_room *room, struct ww_chunk_type type,
                     uint32_t largest, const uint8_t *bytes, const uint8_t *prediction,
                     size_t n)
{
    if (type.width == 2) {
        fold_width(room, type, 2, largest, bytes, prediction, n);
    } else {
        fold_width(room, type, 4, largest, bytes, prediction, n);
    }
}

enum ww_err ww_chunk_order_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const uint8_t *bytes, const uint8_t *prediction,
                                  size_t n_bytes, struct ww_buf *out,
                                  struct ww_error *err)
{
    const size_t n = n_bytes / type.width;
    const uint32_t largest = largest_exponent(type, prediction, n);
    const uint8_t byte = (uint8_t)largest;
    enum ww_err rc = ww_buf_add(out, &byte, 1, err);

    fold_all(room, type, largest, bytes, prediction, n);
    return rc ? rc : ww_folded_encode(room, n, 8 * type.width, out, err);
}

/* Gives 1 when the number's context has no table. */
INLINE unsigned decode_number(struct ww_rans_in *in, const struct ww_chunk_room *room,
                              struct ww_chunk_type type, unsigned width, uint32_t largest,
                              const uint8_t *prediction, size_t i, uint8_t *out)
{
    const uint64_t p = ww_ordered_load(prediction + i * width, width);
    const struct ww_rans_table *table = &room->tables[context_of(type, largest, p)];
    uint64_t bits = 0;

    if (table->n == 0) {
        return 1;
    }
    bits = ww_ordered_bits(
        ww_ordered_unfold(ww_folded_decode(in, table), ww_ordered_of(p, width), width),
        width);
    memcpy(out + i * width, &bits, width);
    return 0;
}

/* Numbers of each lane that can be decoded before any of them may want a byte that is not
 * there. */
INLINE size_t within(const struct ww_rans_in lanes[WW_CHUNK_LANES])
{
    size_t n = SIZE_MAX;

    for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
        const size_t lane = (size_t)(lanes[l].end - lanes[l].at) / WW_FOLDED_MOST;
        n = lane < n ? lane : n;
    }
    return n;
}

/* As decode_number; slots: by exponent field. */
INLINE void decode_within(struct ww_rans_in *in, const struct ww_rans_slots *const *slots,
                          const struct ww_folded_lead *leads, struct ww_chunk_type type,
                          unsigned width, const uint8_t *prediction, size_t i,
                          uint8_t *out)
{
    const uint64_t p = ww_ordered_load(prediction + i * width, width);
    const uint32_t folded =
        ww_folded_decode_within(in, slots[exponent_of(type, p)], leads);
    const uint64_t bits =
        ww_ordered_bits(ww_ordered_unfold(folded, ww_ordered_of(p, width), width), width);

    memcpy(out + i * width, &bits, width);
}

/* The table of every exponent that the prediction has; false when one has none. */
INLINE bool find_slots(const struct ww_chunk_room *room, struct ww_chunk_type type,
                       unsigned width, uint32_t largest, const uint8_t *prediction,
                       size_t n, const struct ww_rans_slots **slots)
{
    bool seen[256] = {false};
    bool found = true;

    for (size_t i = 0; i < n; i++) {
        seen[exponent_of(type, ww_ordered_load(prediction + i * width, width))] = true;
    }
    for (uint32_t e = 0; e <= largest; e++) {
        const unsigned context =
            largest - e < WW_CHUNK_CONTEXTS ? largest - e : WW_CHUNK_CONTEXTS - 1;
        slots[e] = &room->slots[context];
        found = found && (!seen[e] || room->tables[context].n > 0);
    }
    return found;
}

INLINE bool decode_width(const struct ww_rans_in *begun, const struct ww_chunk_room *room,
                         struct ww_chunk_type type, unsigned width, uint32_t largest,
                         const uint8_t *prediction, size_t n, uint8_t *out)
{
    struct ww_rans_in lanes[WW_CHUNK_LANES] = {begun[0], begun[1], begun[2], begun[3]};
    size_t first[WW_CHUNK_LANES];
    const size_t most = ww_chunk_lane(n, 0, &first[0]);
    const size_t least = n / WW_CHUNK_LANES;
    const struct ww_rans_slots *slots[256];
    unsigned missing = 0;

    if (!find_slots(room, type, width, largest, prediction, n, slots)) {
        return false;
    }
    for (unsigned l = 1; l < WW_CHUNK_LANES; l++) {
        (void)ww_chunk_lane(n, l, &first[l]);
    }
    for (size_t i = 0; i < least;) {
        const size_t safe = within(lanes);
        const size_t end = safe < least - i ? i + safe : least;
        for (; i < end; i++) {
#pragma GCC unroll 4
            for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
                decode_within(&lanes[l], slots, room->leads, type, width, prediction,
                              first[l] + i, out);
            }
        }
        if (safe == 0) {
            for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
                missing |= decode_number(&lanes[l], room, type, width, largest,
                                         prediction, first[l] + i, out);
            }
            i++;
        }
    }
    for (unsigned l = 0; l < n % WW_CHUNK_LANES; l++) {
        missing |= decode_number(&lanes[l], room, type, width, largest, prediction,
                                 first[l] + most - 1, out);
    }
    return missing == 0 && ww_chunk_lanes_done(lanes);
}

bool ww_chunk_order_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n_bytes)
{
    const size_t n = n_bytes / type.width;
    const uint32_t largest = largest_exponent(type, prediction, n);
    struct ww_rans_in lanes[WW_CHUNK_LANES];
    size_t used = 1;
    size_t lanes_used = 0;

    if (len < 1 || coded[0] != largest ||
        !ww_folded_tables_read(room, 8 * type.width, coded, len, &used) ||
        !ww_chunk_lanes_begin(lanes, coded + used, len - used, &lanes_used) ||
        used + lanes_used != len) {
        return false;
    }
    return type.width == 2
               ? decode_width(lanes, room, type, 2, largest, prediction, n, out)
               : decode_width(lanes, room, type, 4, largest, prediction, n, out);
}
