/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Many rANS coders side by side on one run of words, as in Giesen, "Interleaved entropy
 * coders" (arXiv 1402.3392): number i belongs to lane i % lanes, and a lane that needs a
 * word takes the next one. So there are no lengths to store, and vector instructions
 * decode eight or sixteen lanes at a time; plain C gives the same numbers.
 *
 *   message  u32le states of the lanes | u16le words, in the decoder's order
 *
 * A number is a symbol of its context's table (codec/rans.h), and raw low bits of which
 * the symbol says how many: at most 15 in a step, high ones first. Numbers are taken a
 * group of one for each lane at a time: the symbols of all lanes, then the raw bits of
 * more than 15, then the others. A raw step takes the low bits of the state away.
 */
#ifndef WW_CODEC_RANS_LANES_H
#define WW_CODEC_RANS_LANES_H

#include "codec/rans.h"
#include "crypto/sha.h"

#define WW_LANES_MOST 32u
#define WW_LANES_RAW 15u
#define WW_LANES_SYMBOLS 256
#define WW_LANES_CONTEXTS 16 /* at most */

/** Lanes for n numbers: a state each is little only beside many. */
static inline unsigned ww_lanes_for(size_t n)
{
    return n >= 4096 ? WW_LANES_MOST : 4;
}

/** A table for decoding by one look-up: freq - 1 << 20 | slot - start << 8 | symbol. */
struct ww_lanes_slots {
    uint32_t slot[WW_RANS_TOTAL];
};
void ww_lanes_slots_fill(const struct ww_rans_table *table, struct ww_lanes_slots *out);
/** Slots of a context that no number may have, for codes with holes, whose tables do not
 *  have this symbol: a message that comes to it is not one of an encoder. */
#define WW_LANES_NONE 128u
void ww_lanes_slots_none(struct ww_lanes_slots *out);

/** What a symbol stands for: its number is bits << n_raw | raw bits. */
struct ww_lanes_lead {
    uint8_t bits;
    uint8_t n_raw;
};

/** Which word belongs to which of eight lanes, by the mask of those that take or give
 *  one: see rans_lanes_x86.c. */
struct ww_lanes_spread {
    uint8_t take[256][32];
    uint64_t give[256];
    bool wide; /* vectors of 512 bits instead, where this machine has them */
};
void ww_lanes_spread_make(struct ww_lanes_spread *spread);

enum ww_lanes_kind {
    WW_LANES_PLAIN, /* the symbol is the number */
    WW_LANES_SHORT, /* a symbol from 16 on is 4 | symbol % 4 before symbol / 4 - 2 raw
                       bits, 15 at most */
    WW_LANES_ANY    /* whatever the leads say */
};

struct ww_lanes_code {
    const struct ww_lanes_slots *slots;   /* of each context */
    const struct ww_lanes_lead *leads;    /* of each symbol */
    const struct ww_lanes_spread *spread; /* NULL: plain C, whatever the machine has */
    bool holes;                           /* some slots are those of none */
    enum ww_lanes_kind kind;              /* what a fast path may rely on */
    struct ww_sha_rest *beside;           /* NULL, or what is hashed on the way, a block
                                             with each group, where that is faster */
};

struct ww_lanes_in {
    uint32_t state[WW_LANES_MOST];
    unsigned n;
    const uint8_t *at;
    const uint8_t *end;
    bool over; /* a word was wanted behind the end, or a context has no symbols */
};

/** n lanes: 4 or WW_LANES_MOST. */
void ww_lanes_begin(struct ww_lanes_in *in, unsigned n, const uint8_t *bytes, size_t len);
/** The next n numbers, a multiple of the lanes but for the last time. contexts: of each,
 *  NULL for the first always; every one of them has slots. Safe for any bytes. */
void ww_lanes_decode(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                     const uint8_t *contexts, uint32_t *out, size_t n);
/** Was this exactly one encoder's message? */
bool ww_lanes_done(const struct ww_lanes_in *in);

/** What ww_lanes_decode does where AVX2 is: as many groups as surely have their words,
 *  of 32 lanes; how many numbers that were. */
size_t ww_lanes_decode_x86(struct ww_lanes_in *in, const struct ww_lanes_code *code,
                           const uint8_t *contexts, uint32_t *out, size_t n);

struct ww_lanes_text {
    const struct ww_lanes_spread *spread; /* NULL: plain C */
    enum ww_lanes_kind kind;
    const uint32_t *numbers;
    const uint8_t *symbols;  /* of each */
    const uint8_t *contexts; /* of each, NULL: 0 */
    const struct ww_lanes_lead *leads;
    const struct ww_rans_push (*push)[WW_LANES_SYMBOLS]; /* of each context */
};
/** What ww_lanes_encode does where AVX2 is, of n numbers, whole groups of 32 lanes. The
 *  states and the place are moved on. False: not here. */
bool ww_lanes_encode_x86(const struct ww_lanes_text *text, size_t n,
                         uint32_t state[WW_LANES_MOST], uint8_t **at);

/** Append the message of n numbers. Words are written downwards from the end of `room`,
 *  which must hold them: less than 13 bits and the raw ones for each number, and a word
 *  for each lane, and 16 bytes. */
enum ww_err ww_lanes_encode(const struct ww_lanes_text *text, size_t n, uint8_t *room,
                            size_t room_bytes, struct ww_buf *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
