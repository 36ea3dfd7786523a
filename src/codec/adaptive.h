/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A binary range coder with probabilities that follow what was coded, integers only, for
 * messages too short to be worth tables (Martin, "Range encoding", 1979; carries as in
 * Schindler's form of it). 32-bit range, at least 2^24 before a step; bytes, high ones
 * first.
 *
 *   message  bytes of the lowest number of the last interval, all 32 bits of it
 *
 * A probability is the mean of what was seen, with a quarter of each counted before (an
 * estimate as Krichevsky and Trofimov's, for more certain bits), until WW_BIT_MOST were
 * seen, and then moves by as much as it did last.
 * Decoding hostile bytes is safe: reads stay inside, and ww_bits_done tells whether the
 * message ended where and how an encoder would have ended it.
 */
#ifndef WW_CODEC_ADAPTIVE_H
#define WW_CODEC_ADAPTIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

#define WW_BIT_MOST 254u
#define WW_BIT_LEAST 32u /* of 65536: no bit is taken to be certain */
#define WW_BITS_RAW 8u   /* raw bits of a step */

/** All-zero is one of which nothing was seen. */
struct ww_bit {
    int16_t over; /* probability of 1, of 65536, beyond one half */
    uint8_t seen;
};

static inline uint32_t ww_bit_chance(const struct ww_bit *bit)
{
    return (uint32_t)((int32_t)bit->over + 32768);
}

/* By 1 / (seen + 1.5) of the way, rounded down. */
static inline void ww_bit_saw(struct ww_bit *bit, bool value)
{
    const int32_t now = (int32_t)ww_bit_chance(bit);
    const int32_t step = 2 * (int32_t)bit->seen + 3;
    const int32_t way = value ? 65536 - now : now;
    const int32_t moved = now + (value ? 1 : -1) * (2 * way / step);
    const int32_t least = (int32_t)WW_BIT_LEAST;
    const int32_t most = 65536 - least;

    bit->over = (int16_t)((moved < least ? least : moved > most ? most : moved) - 32768);
    bit->seen = (uint8_t)(bit->seen < WW_BIT_MOST ? bit->seen + 1 : bit->seen);
}

struct ww_bits_out {
    uint64_t low; /* 32 bits and a carry */
    uint32_t range;
    uint64_t held; /* bytes that a carry would change: `last`, and 255s behind it */
    uint8_t last;
    bool begun;
    struct ww_buf *out;
    enum ww_err rc; /* the first failure; nothing is written after it */
    struct ww_error *err;
};
void ww_bits_out_begin(struct ww_bits_out *o, struct ww_buf *out, struct ww_error *err);
void ww_bits_put(struct ww_bits_out *o, struct ww_bit *bit, bool value);
/** n <= WW_BITS_RAW bits, each as likely as not. */
void ww_bits_put_raw(struct ww_bits_out *o, uint32_t value, unsigned n);
enum ww_err ww_bits_out_end(struct ww_bits_out *o) WW_MUST_USE;

struct ww_bits_in {
    uint32_t code;
    uint32_t range;
    const uint8_t *at;
    const uint8_t *end;
    bool over; /* a byte was wanted behind the end, or no encoder wrote this */
};
void ww_bits_in_begin(struct ww_bits_in *in, const uint8_t *bytes, size_t len);

static inline void ww_bits_refill(struct ww_bits_in *in)
{
    while (in->range < UINT32_C(1) << 24) {
        in->range <<= 8;
        in->code <<= 8;
        if (in->at < in->end) {
            in->code |= *in->at++;
        } else {
            in->over = true;
        }
    }
}

static inline bool ww_bits_get(struct ww_bits_in *in, struct ww_bit *bit)
{
    const uint32_t bound = (in->range >> 16) * ww_bit_chance(bit);
    const bool value = in->code < bound;

    if (value) {
        in->range = bound;
    } else {
        in->code -= bound;
        in->range -= bound;
    }
    ww_bit_saw(bit, value);
    ww_bits_refill(in);
    return value;
}

static inline uint32_t ww_bits_get_raw(struct ww_bits_in *in, unsigned n)
{
    const uint32_t each = in->range >> n;
    uint32_t value = in->code / each;

    if (value >> n != 0) {
        in->over = true;
        value = 0;
    }
    in->code -= value * each;
    in->range = each;
    ww_bits_refill(in);
    return value;
}

/** Was this exactly one encoder's message? */
static inline bool ww_bits_done(const struct ww_bits_in *in)
{
    return !in->over && in->at == in->end && in->code == 0;
}

#endif
