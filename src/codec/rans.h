/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Entropy coding by rANS (Duda, arXiv 1311.2540) with static tables: integers only, so
 * that the bytes are the same everywhere. 32-bit state in [2^16, 2^32), 16-bit words,
 * frequencies that sum to 4096.
 *
 *   message  u32le final state of the encoder | u16le words, in the decoder's order
 *   table    u8 n | n frequencies, each u8 below 128 or u16 (low 7 bits | 128, rest)
 *
 * Decoding hostile bytes is safe: reads stay inside, and ww_rans_done tells whether the
 * message ended where and how an encoder would have ended it.
 */
#ifndef WW_CODEC_RANS_H
#define WW_CODEC_RANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define WW_RANS_BITS 12
#define WW_RANS_TOTAL (1u << WW_RANS_BITS)
#define WW_RANS_MAX_SYMBOLS 255
#define WW_RANS_LOW (UINT32_C(1) << 16)

struct ww_rans_table {
    unsigned n; /* symbols 0 .. n-1 */
    uint16_t freq[WW_RANS_MAX_SYMBOLS];
    uint16_t start[WW_RANS_MAX_SYMBOLS];
    uint8_t symbol[WW_RANS_TOTAL]; /* of each slot */
};

/** A table for n symbols that occurred so often; a symbol that occurred can be coded.
 *  At least one count is not zero. */
void ww_rans_table_make(struct ww_rans_table *table, const uint64_t *counts, unsigned n);
enum ww_err ww_rans_table_write(const struct ww_rans_table *table, struct ww_buf *out,
                                struct ww_error *err) WW_MUST_USE;
/** Read one at bytes; *used is its length. False unless it is a table that sums up. */
bool ww_rans_table_read(struct ww_rans_table *table, const uint8_t *bytes, size_t len,
                        size_t *used) WW_MUST_USE;

/** One step of coding: an interval of the 4096 slots. */
struct ww_rans_step {
    uint16_t start;
    uint16_t freq; /* 1 .. 4096 */
};

static inline struct ww_rans_step ww_rans_step_of(const struct ww_rans_table *table,
                                                  unsigned symbol)
{
    return (struct ww_rans_step){table->start[symbol], table->freq[symbol]};
}

/** n_bits <= 12 raw bits as a step. */
static inline struct ww_rans_step ww_rans_raw(uint32_t value, unsigned n_bits)
{
    const unsigned shift = WW_RANS_BITS - n_bits;
    return (struct ww_rans_step){(uint16_t)(value << shift), (uint16_t)(1u << shift)};
}

/** Append the message of n steps. scratch: n words. */
enum ww_err ww_rans_encode(const struct ww_rans_step *steps, size_t n, uint16_t *scratch,
                           struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

__extension__ typedef unsigned __int128 ww_rans_wide;

/** A symbol for the encoder, which needs no division. */
struct ww_rans_push {
    uint64_t reciprocal;
    uint32_t freq;
    uint32_t rest; /* total - freq */
    uint32_t bias;
};
/** freq is not zero. */
struct ww_rans_push ww_rans_push_of(struct ww_rans_step step);

/* Words are written downwards from *at, which has room for one; without a branch, since
 * whether one is due is as good as random. */
static inline uint32_t ww_rans_emit(uint32_t state, uint64_t limit, uint8_t **at)
{
    const unsigned due = state >= limit;

    (*at)[-2] = (uint8_t)state;
    (*at)[-1] = (uint8_t)(state >> 8);
    *at -= 2 * due;
    return state >> 16 * due;
}

/** The state before a symbol from the one behind it. With q = floor(state / freq) it is
 *  q total + state - q freq + start; of freq 1 the reciprocal gives state - 1, which the
 *  bias makes up for. */
static inline uint32_t ww_rans_push(uint32_t state, const struct ww_rans_push *push,
                                    uint8_t **at)
{
    uint32_t quotient = 0;

    state = ww_rans_emit(state, (uint64_t)push->freq << 20, at);
    quotient = (uint32_t)((ww_rans_wide)state * push->reciprocal >> 64);
    return state + quotient * push->rest + push->bias;
}

struct ww_rans_in {
    uint32_t state;
    const uint8_t *at;
    const uint8_t *end;
    bool over; /* a word was wanted behind the end */
};

void ww_rans_begin(struct ww_rans_in *in, const uint8_t *bytes, size_t len);

static inline uint32_t ww_rans_slot(const struct ww_rans_in *in)
{
    return in->state & (WW_RANS_TOTAL - 1);
}

/** Take a step whose interval holds the slot. */
static inline void ww_rans_take(struct ww_rans_in *in, struct ww_rans_step step)
{
    in->state =
        (uint32_t)step.freq * (in->state >> WW_RANS_BITS) + ww_rans_slot(in) - step.start;
    if (in->state < WW_RANS_LOW) {
        if (in->end - in->at < 2) {
            in->over = true;
            in->state |= WW_RANS_LOW;
            return;
        }
        in->state = in->state << 16 | (uint32_t)in->at[0] | (uint32_t)in->at[1] << 8;
        in->at += 2;
    }
}

static inline unsigned ww_rans_symbol(struct ww_rans_in *in,
                                      const struct ww_rans_table *table)
{
    const unsigned symbol = table->symbol[ww_rans_slot(in)];
    ww_rans_take(in, ww_rans_step_of(table, symbol));
    return symbol;
}

static inline uint32_t ww_rans_bits(struct ww_rans_in *in, unsigned n_bits)
{
    const uint32_t value = ww_rans_slot(in) >> (WW_RANS_BITS - n_bits);
    ww_rans_take(in, ww_rans_raw(value, n_bits));
    return value;
}

/** Was this exactly one encoder's message? */
bool ww_rans_done(const struct ww_rans_in *in);

#endif
