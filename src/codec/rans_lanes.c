/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes do not wait for each other, so a processor works on many of them at once; what
 * they share is only where the next word lies.
 */
#include "codec/rans_lanes.h"

#include <string.h>

#include "util/fail.h"
#include "util/num.h"

#define INLINE static inline __attribute__((always_inline))
/* Words that a group of lanes may take: one for the symbol, two for raw bits. */
#define GROUP_BYTES(lanes) ((size_t)6 * (lanes))

void ww_lanes_slots_fill(const struct ww_rans_table *table, struct ww_lanes_slots *out)
{
    for (unsigned s = 0; s < table->n; s++) {
        uint32_t *at = &out->slot[table->start[s]];
        for (uint32_t i = 0; i < table->freq[s]; i++) {
            at[i] = (uint32_t)(table->freq[s] - 1) << 20 | i << 8 | s;
        }
    }
}

void ww_lanes_slots_none(struct ww_lanes_slots *out)
{
    for (unsigned i = 0; i < WW_RANS_TOTAL; i++) {
        out->slot[i] = WW_LANES_NONE;
    }
}

void ww_lanes_begin(struct ww_lanes_in *in, unsigned n, const uint8_t *bytes, size_t len)
{
    *in = (struct ww_lanes_in){.n = n, .at = bytes + len, .end = bytes + len};
    in->over = len < (size_t)4 * n;
    for (unsigned l = 0; l < WW_LANES_MOST; l++) {
        in->state[l] = WW_RANS_LOW;
    }
    for (unsigned l = 0; l < n && !in->over; l++) {
        in->state[l] = ww_get_u32le(bytes + (size_t)4 * l);
        in->over = in->state[l] < WW_RANS_LOW;
    }
    if (!in->over) {
        in->at = bytes + (size_t)4 * n;
    }
}

INLINE uint32_t refill(struct ww_lanes_in *in, uint32_t state, bool within)
{
    if (state >= WW_RANS_LOW) {
        return state;
    }
    if (!within && in->end - in->at < 2) {
        in->over = true;
        return state | WW_RANS_LOW;
    }
    state = state << 16 | (uint32_t)in->at[0] | (uint32_t)in->at[1] << 8;
    in->at += 2;
    return state;
}

INLINE uint32_t take_raw(struct ww_lanes_in *in, unsigned l, uint32_t number, unsigned n,
                         bool within)
{
    const uint32_t state = in->state[l];

    in->state[l] = refill(in, state >> n, within);
    return number << n | (state & ((1u << n) - 1));
}

/* One number of each lane, or fewer at the end. within: there are words enough. */
INLINE void decode_group(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                         const uint8_t *contexts, uint32_t *out, unsigned n, bool within)
{
    uint8_t symbols[WW_LANES_MOST];
    unsigned most = 0;
    unsigned none = 0;

    for (unsigned l = 0; l < n; l++) {
        const struct ww_lanes_slots *slots = &code->slots[contexts ? contexts[l] : 0];
        const uint32_t state = in->state[l];
        const uint32_t entry = slots->slot[state & (WW_RANS_TOTAL - 1)];
        const uint32_t next = ((entry >> 20) + 1) * (state >> WW_RANS_BITS) +
                              (entry >> 8 & (WW_RANS_TOTAL - 1));
        symbols[l] = (uint8_t)entry;
        out[l] = code->leads[symbols[l]].bits;
        most =
            code->leads[symbols[l]].n_raw > most ? code->leads[symbols[l]].n_raw : most;
        in->state[l] = refill(in, next, within);
        none |= symbols[l];
    }
    in->over = in->over || (code->holes && (none & WW_LANES_NONE) != 0);
    for (unsigned l = 0; most > WW_LANES_RAW && l < n; l++) {
        const unsigned n_raw = code->leads[symbols[l]].n_raw;
        const unsigned high = n_raw > WW_LANES_RAW ? n_raw - WW_LANES_RAW : 0;
        out[l] = take_raw(in, l, out[l], high, within);
    }
    for (unsigned l = 0; most > 0 && l < n; l++) {
        const unsigned n_raw = code->leads[symbols[l]].n_raw;
        const unsigned low = n_raw > WW_LANES_RAW ? WW_LANES_RAW : n_raw;
        out[l] = take_raw(in, l, out[l], low, within);
    }
}

void ww_lanes_decode(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                     const uint8_t *contexts, uint32_t *out, size_t n)
{
    size_t i = 0;

    if (code->spread && code->kind != WW_LANES_ANY && in->n == WW_LANES_MOST) {
        i = ww_lanes_decode_x86(in, code, contexts, out, n);
    }
    for (; i < n; i += in->n) {
        const unsigned group = n - i < in->n ? (unsigned)(n - i) : in->n;
        const uint8_t *here = contexts ? contexts + i : NULL;
        if ((size_t)(in->end - in->at) >= GROUP_BYTES(in->n)) {
            decode_group(in, code, here, out + i, group, true);
        } else {
            decode_group(in, code, here, out + i, group, false);
        }
    }
}

bool ww_lanes_done(const struct ww_lanes_in *in)
{
    bool done = !in->over && in->at == in->end;

    for (unsigned l = 0; l < in->n; l++) {
        done = done && in->state[l] == WW_RANS_LOW;
    }
    return done;
}

INLINE uint32_t push_raw(uint32_t state, uint32_t value, unsigned n, uint8_t **at)
{
    state = ww_rans_emit(state, UINT64_C(1) << (32 - n), at);
    return state << n | (value & ((1u << n) - 1));
}

/* Steps backwards, lanes backwards: what a stack needs. */
INLINE void push_group(const struct ww_lanes_text *t, size_t first, unsigned n,
                       uint32_t *state, uint8_t **at)
{
    unsigned most = 0;

    for (unsigned l = 0; l < n; l++) {
        const unsigned n_raw = t->leads[t->symbols[first + l]].n_raw;
        most = n_raw > most ? n_raw : most;
    }
    for (unsigned l = n; most > 0 && l-- > 0;) {
        const unsigned n_raw = t->leads[t->symbols[first + l]].n_raw;
        const unsigned low = n_raw > WW_LANES_RAW ? WW_LANES_RAW : n_raw;
        state[l] = push_raw(state[l], t->numbers[first + l], low, at);
    }
    for (unsigned l = n; most > WW_LANES_RAW && l-- > 0;) {
        const unsigned n_raw = t->leads[t->symbols[first + l]].n_raw;
        const unsigned high = n_raw > WW_LANES_RAW ? n_raw - WW_LANES_RAW : 0;
        state[l] = push_raw(state[l], t->numbers[first + l] >> WW_LANES_RAW, high, at);
    }
    for (unsigned l = n; l-- > 0;) {
        const unsigned context = t->contexts ? t->contexts[first + l] : 0;
        state[l] = ww_rans_push(state[l], &t->push[context][t->symbols[first + l]], at);
    }
}

enum ww_err ww_lanes_encode(const struct ww_lanes_text *text, size_t n, uint8_t *room,
                            size_t room_bytes, struct ww_buf *out, struct ww_error *err)
{
    const unsigned lanes = ww_lanes_for(n);
    uint32_t state[WW_LANES_MOST];
    uint8_t *const end = room + room_bytes;
    uint8_t *at = end;
    enum ww_err rc = WW_OK;

    for (unsigned l = 0; l < lanes; l++) {
        state[l] = WW_RANS_LOW;
    }
    if (n % lanes) {
        push_group(text, n - n % lanes, (unsigned)(n % lanes), state, &at);
    }
    n -= n % lanes;
    if (text->spread && text->kind != WW_LANES_ANY && lanes == WW_LANES_MOST &&
        ww_lanes_encode_x86(text, n, state, &at)) {
        n = 0;
    }
    for (size_t i = n; i > 0; i -= lanes) {
        if (lanes == WW_LANES_MOST) { /* a constant, so that loops have a length */
            push_group(text, i - WW_LANES_MOST, WW_LANES_MOST, state, &at);
        } else {
            push_group(text, i - lanes, lanes, state, &at);
        }
    }
    WW_INVARIANT(at >= room);
    for (unsigned l = 0; l < lanes && !rc; l++) {
        rc = ww_buf_add_u32le(out, state[l], err);
    }
    return rc ? rc : ww_buf_add(out, at, (size_t)(end - at), err);
}
