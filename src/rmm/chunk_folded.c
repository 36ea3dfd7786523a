/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small numbers are symbols, larger ones their highest bit with the two below it, and raw
 * bits: within a quarter of an octave counts are close to even, so little is lost, and
 * one scheme serves differences of any spread.
 */
#include "rmm/chunk_folded.h"

#include <string.h>

#include "util/num.h"

static enum ww_err add_tables(struct ww_chunk_room *room, unsigned n_bits,
                              struct ww_buf *out, struct ww_error *err)
{
    static const uint8_t none = 0;
    const unsigned n = ww_folded_symbols(n_bits);
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

static void make_pushes(struct ww_chunk_room *room, unsigned n)
{
    for (unsigned c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        for (unsigned s = 0; s < n; s++) {
            if (room->counts[c][s] > 0) {
                room->push[c][s] = ww_rans_push_of(ww_rans_step_of(&room->tables[c], s));
            }
        }
    }
}

/* Low ones first; the decoder takes twelve at a time from the top, so the short step is
 * the last of them. */
static uint32_t push_raw(uint32_t state, uint32_t folded, unsigned n_raw, uint8_t **at)
{
    unsigned take = (n_raw - 1) % WW_RANS_BITS + 1;

    for (unsigned low = 0; low < n_raw; take = WW_RANS_BITS) {
        state = ww_rans_push_bits(state, folded >> low & ((1u << take) - 1), take, at);
        low += take;
    }
    return state;
}

/* The last of its steps first. */
static inline uint32_t push_number(const struct ww_chunk_room *room, size_t i,
                                   uint32_t state, uint8_t **at)
{
    const uint32_t folded = room->folded[i];
    const unsigned symbol = ww_folded_symbol_in(room, folded);
    const unsigned n_raw = room->leads[symbol].n_raw;

    if (n_raw > WW_RANS_BITS) {
        state = push_raw(state, folded, n_raw, at);
    } else if (n_raw > 0) {
        state = ww_rans_push_bits(state, folded & ((1u << n_raw) - 1), n_raw, at);
    }
    return ww_rans_push(state, &room->push[room->contexts[i]][symbol], at);
}

/* All lanes at once: each one is a chain, and four chains run beside each other. */
static void push_lanes(struct ww_chunk_room *room, size_t n, uint32_t *states,
                       uint8_t **ends)
{
    uint32_t state[WW_CHUNK_LANES];
    uint8_t *at[WW_CHUNK_LANES];
    size_t first[WW_CHUNK_LANES];
    const size_t least = n / WW_CHUNK_LANES;

    for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
        const size_t len = ww_chunk_lane(n, l, &first[l]);
        state[l] = WW_RANS_LOW;
        at[l] = room->words + (l + 1) * WW_CHUNK_WORDS;
        if (len > least) {
            state[l] = push_number(room, first[l] + least, state[l], &at[l]);
        }
    }
    for (size_t i = least; i-- > 0;) {
#pragma GCC unroll 4
        for (unsigned l = 0; l < WW_CHUNK_LANES; l++) {
            state[l] = push_number(room, first[l] + i, state[l], &at[l]);
        }
    }
    memcpy(states, state, sizeof(state));
    memcpy(ends, at, sizeof(at));
}

static enum ww_err add_lanes(struct ww_chunk_room *room, size_t n, struct ww_buf *out,
                             struct ww_error *err)
{
    uint32_t states[WW_CHUNK_LANES];
    uint8_t *ends[WW_CHUNK_LANES];
    size_t at = 0;
    enum ww_err rc = ww_chunk_lengths_add(out, &at, err);

    push_lanes(room, n, states, ends);
    for (unsigned l = 0; l < WW_CHUNK_LANES && !rc; l++) {
        const size_t len = (size_t)(room->words + (l + 1) * WW_CHUNK_WORDS - ends[l]);
        ww_put_u32le(out->data + at + (size_t)4 * l, (uint32_t)(4 + len));
        rc = ww_buf_add_u32le(out, states[l], err);
        if (!rc) {
            rc = ww_buf_add(out, ends[l], len, err);
        }
    }
    return rc;
}

enum ww_err ww_folded_encode(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err)
{
    const enum ww_err rc = add_tables(room, n_bits, out, err);

    if (rc) {
        return rc;
    }
    make_pushes(room, ww_folded_symbols(n_bits));
    return add_lanes(room, n, out, err);
}

bool ww_folded_tables_read(struct ww_chunk_room *room, unsigned n_bits,
                           const uint8_t *coded, size_t len, size_t *used)
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
            table->n > ww_folded_symbols(n_bits)) {
            return false;
        }
        ww_rans_slots_fill(table, &room->slots[c]);
        *used += n;
    }
    return true;
}
