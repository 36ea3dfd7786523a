/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fine-tuning moves a weight by about the same amount wherever it is, and a stored number
 * counts in steps of its exponent: so how many steps it moved follows from the exponent
 * of the base's number, which the decoder has. That exponent chooses the table.
 * Differences of ordered integers are used and not XOR, where a carry flips many bits.
 */
#include <string.h>

#include "codec/ordered.h"
#include "rmm/chunk_forms.h"
#include "util/fail.h"

#define DIRECT 16u
#define FIRST_TOP 4u /* highest bit of the first number that is no symbol of its own */

/* Symbols of numbers of this width. */
static unsigned n_symbols(unsigned width)
{
    return DIRECT + (8 * width - FIRST_TOP) * 4;
}

static inline unsigned symbol_of(uint32_t folded, unsigned *n_raw)
{
    unsigned top = 0;

    *n_raw = 0;
    if (folded < DIRECT) {
        return folded;
    }
    top = 31u - (unsigned)__builtin_clz(folded);
    *n_raw = top - 2;
    return DIRECT + (top - FIRST_TOP) * 4 + (folded >> (top - 2) & 3);
}

static inline uint32_t exponent_of(struct ww_chunk_type type, uint64_t bits)
{
    return (uint32_t)(bits >> type.exponent_shift) & type.exponent_mask;
}

static inline unsigned context_of(struct ww_chunk_type type, uint32_t largest,
                                  uint64_t bits)
{
    const uint32_t below = largest - exponent_of(type, bits);

    return below < WW_CHUNK_CONTEXTS ? below : WW_CHUNK_CONTEXTS - 1;
}

static uint32_t largest_exponent(struct ww_chunk_type type, const uint8_t *prediction,
                                 size_t n)
{
    uint32_t largest = 0;

    for (size_t i = 0; i < n; i++) {
        const uint32_t e =
            exponent_of(type, ww_ordered_load(prediction + i * type.width, type.width));
        largest = e > largest ? e : largest;
    }
    return largest;
}

static void fold_all(struct ww_chunk_room *room, struct ww_chunk_type type,
                     uint32_t largest, const uint8_t *bytes, const uint8_t *prediction,
                     size_t n)
{
    const unsigned width = type.width;
    unsigned n_raw = 0;

    memset(room->counts, 0, sizeof(room->counts));
    for (size_t i = 0; i < n; i++) {
        const uint64_t p = ww_ordered_load(prediction + i * width, width);
        const uint64_t b = ww_ordered_load(bytes + i * width, width);
        const unsigned context = context_of(type, largest, p);
        room->folded[i] = (uint32_t)ww_ordered_fold(ww_ordered_of(b, width),
                                                    ww_ordered_of(p, width), width);
        room->contexts[i] = (uint8_t)context;
        room->counts[context][symbol_of(room->folded[i], &n_raw)]++;
    }
}

static enum ww_err add_tables(struct ww_chunk_room *room, unsigned width,
                              struct ww_buf *out, struct ww_error *err)
{
    static const uint8_t none = 0;
    const unsigned n = n_symbols(width);
    enum ww_err rc = WW_OK;

    for (unsigned c = 0; c < WW_CHUNK_CONTEXTS && !rc; c++) {
        unsigned used = 0;
        for (unsigned s = 0; s < n; s++) {
            used = room->counts[c][s] ? s + 1 : used;
        }
        if (used == 0) {
            rc = ww_buf_add(out, &none, 1, err);
        } else {
            ww_rans_table_make(&room->tables[c], room->counts[c], used);
            rc = ww_rans_table_write(&room->tables[c], out, err);
        }
    }
    return rc;
}

static enum ww_err code_lane(struct ww_chunk_room *room, size_t n, unsigned lane,
                             size_t at, struct ww_buf *out, struct ww_error *err)
{
    size_t first = 0;
    const size_t len = ww_chunk_lane(n, lane, &first);
    size_t n_steps = 0;

    for (size_t i = first; i < first + len; i++) {
        const uint32_t folded = room->folded[i];
        unsigned left = 0;
        const unsigned symbol = symbol_of(folded, &left);
        room->steps[n_steps++] =
            ww_rans_step_of(&room->tables[room->contexts[i]], symbol);
        while (left > 0) {
            const unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
            left -= take;
            room->steps[n_steps++] =
                ww_rans_raw(folded >> left & ((1u << take) - 1), take);
        }
    }
    return ww_chunk_lane_add(room, n_steps, lane, at, out, err);
}

enum ww_err ww_chunk_order_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const uint8_t *bytes, const uint8_t *prediction,
                                  size_t n_bytes, struct ww_buf *out,
                                  struct ww_error *err)
{
    const size_t n = n_bytes / type.width;
    const uint32_t largest = largest_exponent(type, prediction, n);
    const uint8_t byte = (uint8_t)largest;
    size_t at = 0;
    enum ww_err rc = ww_buf_add(out, &byte, 1, err);

    fold_all(room, type, largest, bytes, prediction, n);
    if (!rc) {
        rc = add_tables(room, type.width, out, err);
    }
    if (!rc) {
        rc = ww_chunk_lengths_add(out, &at, err);
    }
    for (unsigned l = 0; l < WW_CHUNK_LANES && !rc; l++) {
        rc = code_lane(room, n, l, at, out, err);
    }
    return rc;
}

static bool read_tables(struct ww_chunk_room *room, unsigned width, const uint8_t *coded,
                        size_t len, size_t *used)
{
    for (unsigned c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        struct ww_rans_table *table = &room->tables[c];
        size_t n = 0;
        if (*used >= len) {
            return false;
        }
        if (coded[*used] == 0) {
            table->n = 0;
            (*used)++;
            continue;
        }
        if (!ww_rans_table_read(table, coded + *used, len - *used, &n) ||
            table->n > n_symbols(width)) {
            return false;
        }
        *used += n;
    }
    return true;
}

static inline uint32_t decode_folded(struct ww_rans_in *in,
                                     const struct ww_rans_table *table)
{
    const unsigned symbol = ww_rans_symbol(in, table);
    unsigned left = 0;
    uint32_t folded = 0;

    if (symbol < DIRECT) {
        return symbol;
    }
    left = FIRST_TOP - 2 + (symbol - DIRECT) / 4;
    folded = 4 | ((symbol - DIRECT) & 3);
    while (left > 0) {
        const unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
        folded = folded << take | ww_rans_bits(in, take);
        left -= take;
    }
    return folded;
}

/* Gives 1 when the number's context has no table. */
static inline unsigned decode_number(struct ww_rans_in *in,
                                     const struct ww_chunk_room *room,
                                     struct ww_chunk_type type, uint32_t largest,
                                     const uint8_t *prediction, size_t i, uint8_t *out)
{
    const unsigned width = type.width;
    const uint64_t p = ww_ordered_load(prediction + i * width, width);
    const struct ww_rans_table *table = &room->tables[context_of(type, largest, p)];
    uint64_t bits = 0;

    if (table->n == 0) {
        return 1;
    }
    bits = ww_ordered_bits(
        ww_ordered_unfold(decode_folded(in, table), ww_ordered_of(p, width), width),
        width);
    memcpy(out + i * width, &bits, width);
    return 0;
}

static inline bool decode_type(struct ww_rans_in *lanes, const struct ww_chunk_room *room,
                               struct ww_chunk_type type, uint32_t largest,
                               const uint8_t *prediction, size_t n, uint8_t *out)
{
    size_t first[WW_CHUNK_LANES];
    const size_t most = ww_chunk_lane(n, 0, &first[0]);
    const size_t least = n / WW_CHUNK_LANES;
    unsigned missing = 0;

    for (unsigned l = 1; l < WW_CHUNK_LANES; l++) {
        (void)ww_chunk_lane(n, l, &first[l]);
    }
    for (size_t i = 0; i < least; i++) {
        for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
            missing |= decode_number(&lanes[l], room, type, largest, prediction,
                                     first[l] + i, out);
        }
    }
    for (unsigned l = 0; l < n % WW_CHUNK_LANES; l++) {
        missing |= decode_number(&lanes[l], room, type, largest, prediction,
                                 first[l] + most - 1, out);
    }
    return missing == 0;
}

bool ww_chunk_order_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n_bytes)
{
    static const struct ww_chunk_type bf16 = {2, 7, 0xff};
    const size_t n = n_bytes / type.width;
    const uint32_t largest = largest_exponent(type, prediction, n);
    struct ww_rans_in lanes[WW_CHUNK_LANES];
    size_t used = 1;
    size_t lanes_used = 0;
    bool good = false;

    if (len < 1 || coded[0] != largest ||
        !read_tables(room, type.width, coded, len, &used) ||
        !ww_chunk_lanes_begin(lanes, coded + used, len - used, &lanes_used) ||
        used + lanes_used != len) {
        return false;
    }
    if (memcmp(&type, &bf16, sizeof(type)) == 0) { /* constants for the common case */
        good = decode_type(lanes, room, bf16, largest, prediction, n, out);
    } else {
        good = decode_type(lanes, room, type, largest, prediction, n, out);
    }
    return good && ww_chunk_lanes_done(lanes);
}
