/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte that would be held back is always zero, as the lowest number begins
 * there, and is not written.
 */
#include "codec/adaptive.h"

#define TOP (UINT32_C(1) << 24)
#define CARRY (UINT64_C(1) << 32)

void ww_bits_out_begin(struct ww_bits_out *o, struct ww_buf *out, struct ww_error *err)
{
    *o = (struct ww_bits_out){.range = UINT32_MAX, .held = 1, .out = out, .err = err};
}

static void put_byte(struct ww_bits_out *o, uint8_t byte)
{
    if (o->begun && !o->rc) {
        o->rc = ww_buf_add(o->out, &byte, 1, o->err);
    }
    o->begun = true;
}

/* The highest byte leaves: it can still become one more as long as those behind it are
 * 255. */
static void shift(struct ww_bits_out *o)
{
    if (o->low < UINT64_C(255) << 24 || o->low >= CARRY) {
        const uint8_t carry = (uint8_t)(o->low >> 32);
        for (; o->held > 0; o->held--) {
            put_byte(o, (uint8_t)(o->last + carry));
            o->last = 255;
        }
        o->last = (uint8_t)(o->low >> 24);
    }
    o->held++;
    o->low = (o->low & (TOP - 1)) << 8;
}

static void refill(struct ww_bits_out *o)
{
    while (o->range < TOP) {
        o->range <<= 8;
        shift(o);
    }
}

void ww_bits_put(struct ww_bits_out *o, struct ww_bit *bit, bool value)
{
    const uint32_t bound = (o->range >> 16) * ww_bit_chance(bit);

    if (value) {
        o->range = bound;
    } else {
        o->low += bound;
        o->range -= bound;
    }
    ww_bit_saw(bit, value);
    refill(o);
}

void ww_bits_put_raw(struct ww_bits_out *o, uint32_t value, unsigned n)
{
    o->range >>= n;
    o->low += (uint64_t)value * o->range;
    refill(o);
}

enum ww_err ww_bits_out_end(struct ww_bits_out *o)
{
    for (unsigned i = 0; i < 5; i++) {
        shift(o);
    }
    return o->rc;
}

void ww_bits_in_begin(struct ww_bits_in *in, const uint8_t *bytes, size_t len)
{
    *in = (struct ww_bits_in){.range = UINT32_MAX, .at = bytes, .end = bytes + len};
    for (unsigned i = 0; i < 4; i++) {
        in->code <<= 8;
        if (in->at < in->end) {
            in->code |= *in->at++;
        } else {
            in->over = true;
        }
    }
}
