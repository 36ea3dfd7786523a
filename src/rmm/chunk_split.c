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

void ww_split_leads(struct ww_lanes_lead leads[WW_LANES_SYMBOLS])
{
    for (unsigned s = 0; s < ESCAPE; s++) {
        leads[s] = (struct ww_lanes_lead){(uint8_t)s, 0};
    }
    leads[ESCAPE] = (struct ww_lanes_lead){ESCAPE / 2, 1};
}

static enum ww_err add_table(struct ww_chunk_room *room, size_t n, struct ww_buf *out,
                             struct ww_error *err)
{
    struct ww_rans_table *table = &room->tables[0];
    uint64_t *counts = room->counts[0];

    for (unsigned s = 0; s < WW_RANS_MAX_SYMBOLS; s++) {
        counts[s] = (uint64_t)room->tally[0][0][s] + room->tally[1][0][s];
    }
    counts[0] += n == 0; /* a table needs something to count */
    ww_rans_table_make(table, counts, WW_RANS_MAX_SYMBOLS);
    for (unsigned s = 0; s < table->n; s++) {
        if (counts[s] > 0) {
            room->push[0][s] = ww_rans_push_of(ww_rans_step_of(table, s));
        }
    }
    return ww_rans_table_write(table, out, err);
}

enum ww_err ww_chunk_split_encode(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain, struct ww_buf *out,
                                  struct ww_error *err)
{
    const struct ww_chunk_type type = plain->type;
    const uint8_t *bytes = plain->bytes;
    const size_t n_bytes = plain->n;
    struct ww_lanes_text text = {.spread = &room->spread,
                                 .kind = WW_LANES_PLAIN,
                                 .numbers = room->folded,
                                 .symbols = room->symbols,
                                 .leads = room->byte_leads,
                                 .push = room->push};
    const size_t n = n_bytes / type.width;
    enum ww_err rc = WW_OK;

    memset(room->tally[0][0], 0, sizeof(room->tally[0][0]));
    memset(room->tally[1][0], 0, sizeof(room->tally[1][0]));
    for (size_t i = 0; i < n; i++) {
        const unsigned high = high_byte(bytes + i * type.width, type.width);
        const unsigned symbol = high < ESCAPE ? high : ESCAPE;
        room->folded[i] = high;
        room->symbols[i] = (uint8_t)symbol;
        room->tally[i & 1][0][symbol]++;
    }
    rc = add_table(room, n, out, err);
    if (!rc) {
        rc = add_low_bytes(type.width, bytes, n, out, err);
    }
    text.kind = room->tables[0].n > ESCAPE ? WW_LANES_ANY : WW_LANES_PLAIN;
    return rc ? rc : ww_lanes_encode(&text, n, room->words, WW_CHUNK_WORDS, out, err);
}

static inline __attribute__((always_inline)) void
join(const uint32_t *high, const uint8_t *low, unsigned width, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, low + i * (width - 1), width - 1);
        bits = unrotate(bits | (uint64_t)high[i] << (8 * (width - 1)), width);
        memcpy(out + i * width, &bits, width);
    }
}

/* Constants, so that copies become moves. */
static void join_width(const uint32_t *high, const uint8_t *low, unsigned width, size_t n,
                       uint8_t *out)
{
    switch (width) {
    case 1:
        join(high, low, 1, n, out);
        break;
    case 2:
        join(high, low, 2, n, out);
        break;
    case 4:
        join(high, low, 4, n, out);
        break;
    default:
        join(high, low, 8, n, out);
        break;
    }
}

bool ww_chunk_split_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, uint8_t *out, size_t n_bytes)
{
    const size_t n = n_bytes / type.width;
    const size_t low = type.width - 1;
    struct ww_rans_table *table = &room->tables[0];
    struct ww_lanes_code code = {.slots = room->slots,
                                 .leads = room->byte_leads,
                                 .spread = &room->spread,
                                 .beside = room->beside};
    struct ww_lanes_in in;
    size_t used = 0;

    if (!ww_rans_table_read(table, coded, len, &used) || len - used < n * low) {
        return false;
    }
    ww_lanes_slots_fill(table, &room->slots[0]);
    code.kind = table->n > ESCAPE ? WW_LANES_ANY : WW_LANES_PLAIN;
    ww_lanes_begin(&in, ww_lanes_for(n), coded + used + n * low, len - used - n * low);
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        ww_lanes_decode(&in, &code, NULL, room->block, some);
        join_width(room->block, coded + used + at * low, type.width, some,
                   out + at * type.width);
    }
    return ww_lanes_done(&in);
}
