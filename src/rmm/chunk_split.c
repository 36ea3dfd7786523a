/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without a prediction only the exponents of weights can be coded: signs and mantissas
 * are close to uniform. Rotating a number by one bit puts the whole exponent of bf16 and
 * fp32, and the exponent with the highest mantissa bits of fp16, into one byte.
 */
#include <string.h>

#include "codec/ordered.h"
#include "rmm/chunk_forms.h"
#include "util/fail.h"

#define ESCAPE (WW_RANS_MAX_SYMBOLS - 1)

static uint64_t rotate(uint64_t bits, unsigned width)
{
    const unsigned n = 8 * width;

    return (bits << 1 | bits >> (n - 1)) & (~UINT64_C(0) >> (64 - n));
}

static uint64_t unrotate(uint64_t bits, unsigned width)
{
    return bits >> 1 | (bits & 1) << (8 * width - 1);
}

static unsigned high_byte(const uint8_t *at, unsigned width)
{
    return (unsigned)(rotate(ww_ordered_load(at, width), width) >> (8 * (width - 1)));
}

static enum ww_err code_lane(struct ww_chunk_room *room, unsigned width,
                             const uint8_t *bytes, size_t n, unsigned lane, size_t at,
                             struct ww_buf *out, struct ww_error *err)
{
    size_t first = 0;
    const size_t len = ww_chunk_lane(n, lane, &first);
    size_t n_steps = 0;

    for (size_t i = first; i < first + len; i++) {
        const unsigned high = high_byte(bytes + i * width, width);
        const unsigned symbol = high < ESCAPE ? high : ESCAPE;
        room->steps[n_steps++] = ww_rans_step_of(&room->tables[0], symbol);
        if (symbol == ESCAPE) {
            room->steps[n_steps++] = ww_rans_raw(high - ESCAPE, 1);
        }
    }
    return ww_chunk_lane_add(room, n_steps, lane, at, out, err);
}

static enum ww_err add_low_bytes(unsigned width, const uint8_t *bytes, size_t n,
                                 struct ww_buf *out, struct ww_error *err)
{
    const unsigned low = width - 1;
    uint8_t *to = NULL;
    enum ww_err rc = ww_buf_reserve(out, n * low, err);

    if (rc || low == 0) {
        return rc;
    }
    to = out->data + out->len;
    for (size_t i = 0; i < n; i++) {
        const uint64_t bits = rotate(ww_ordered_load(bytes + i * width, width), width);
        memcpy(to + i * low, &bits, low);
    }
    out->len += n * low;
    return WW_OK;
}

enum ww_err ww_chunk_split_encode(struct ww_chunk_room *room, struct ww_chunk_type type,
                                  const uint8_t *bytes, size_t n_bytes,
                                  struct ww_buf *out, struct ww_error *err)
{
    const size_t n = n_bytes / type.width;
    uint64_t *counts = room->counts[0];
    size_t at = 0;
    enum ww_err rc = WW_OK;

    memset(counts, 0, sizeof(room->counts[0]));
    counts[0] = n == 0; /* a table needs something to count */
    for (size_t i = 0; i < n; i++) {
        const unsigned high = high_byte(bytes + i * type.width, type.width);
        counts[high < ESCAPE ? high : ESCAPE]++;
    }
    ww_rans_table_make(&room->tables[0], counts, WW_RANS_MAX_SYMBOLS);
    rc = ww_rans_table_write(&room->tables[0], out, err);
    if (!rc) {
        rc = ww_chunk_lengths_add(out, &at, err);
    }
    for (unsigned l = 0; l < WW_CHUNK_LANES && !rc; l++) {
        rc = code_lane(room, type.width, bytes, n, l, at, out, err);
    }
    return rc ? rc : add_low_bytes(type.width, bytes, n, out, err);
}

static inline void decode_number(struct ww_rans_in *in, const struct ww_rans_table *table,
                                 unsigned width, const uint8_t *low, size_t i,
                                 uint8_t *out)
{
    uint64_t high = ww_rans_symbol(in, table);
    uint64_t bits = 0;

    if (high == ESCAPE) {
        high += ww_rans_bits(in, 1);
    }
    memcpy(&bits, low + i * (width - 1), width - 1);
    bits = unrotate(bits | high << (8 * (width - 1)), width);
    memcpy(out + i * width, &bits, width);
}

static inline void decode_width(struct ww_rans_in *lanes,
                                const struct ww_rans_table *table, unsigned width,
                                const uint8_t *low, size_t n, uint8_t *out)
{
    size_t first[WW_CHUNK_LANES];
    const size_t most = ww_chunk_lane(n, 0, &first[0]);
    const size_t least = n / WW_CHUNK_LANES;

    for (unsigned l = 1; l < WW_CHUNK_LANES; l++) {
        (void)ww_chunk_lane(n, l, &first[l]);
    }
    for (size_t i = 0; i < least; i++) {
        for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
            decode_number(&lanes[l], table, width, low, first[l] + i, out);
        }
    }
    for (unsigned l = 0; l < n % WW_CHUNK_LANES; l++) {
        decode_number(&lanes[l], table, width, low, first[l] + most - 1, out);
    }
}

bool ww_chunk_split_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, uint8_t *out, size_t n_bytes)
{
    const size_t n = n_bytes / type.width;
    struct ww_rans_in lanes[WW_CHUNK_LANES];
    struct ww_rans_table *table = &room->tables[0];
    size_t used = 0;
    size_t lanes_used = 0;

    if (!ww_rans_table_read(table, coded, len, &used) ||
        !ww_chunk_lanes_begin(lanes, coded + used, len - used, &lanes_used) ||
        len - used - lanes_used != n * (type.width - 1)) {
        return false;
    }
    const uint8_t *low = coded + used + lanes_used;
    switch (type.width) { /* constants, so that copies become moves */
    case 1:
        decode_width(lanes, table, 1, low, n, out);
        break;
    case 2:
        decode_width(lanes, table, 2, low, n, out);
        break;
    case 4:
        decode_width(lanes, table, 4, low, n, out);
        break;
    default:
        decode_width(lanes, table, 8, low, n, out);
        break;
    }
    return ww_chunk_lanes_done(lanes);
}
