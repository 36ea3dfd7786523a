/* SPDX-License-Identifier: Apache-2.0 */
/* Folded integers in up to sixteen contexts: what the forms order and own share. Numbers
 * and contexts stand in the room. */
#ifndef WW_RMM_CHUNK_FOLDED_H
#define WW_RMM_CHUNK_FOLDED_H

#include "rmm/chunk_forms.h"
#include "util/fail.h"

#define WW_FOLDED_DIRECT 16u
/* The highest bit of the first number that is no symbol of its own. */
#define WW_FOLDED_TOP 4u

/** Symbols of numbers of so many bits. */
static inline unsigned ww_folded_symbols(unsigned n_bits)
{
    return WW_FOLDED_DIRECT + (n_bits - WW_FOLDED_TOP) * 4;
}

static inline unsigned ww_folded_symbol(uint32_t folded)
{
    unsigned top = 0;

    if (folded < WW_FOLDED_DIRECT) {
        return folded;
    }
    top = 31u - (unsigned)__builtin_clz(folded);
    return WW_FOLDED_DIRECT + (top - WW_FOLDED_TOP) * 4 + (folded >> (top - 2) & 3);
}

/** The same by a table where it can be. */
static inline unsigned ww_folded_symbol_in(const struct ww_chunk_room *room,
                                           uint32_t folded)
{
    return folded < WW_CHUNK_SMALL ? room->small[folded] : ww_folded_symbol(folded);
}

/** What the symbols that a table may have stand for. */
void ww_folded_leads(struct ww_lanes_lead leads[WW_LANES_SYMBOLS]);

/** Append tables and message of n numbers of at most n_bits: room->folded, in
 *  room->contexts. Their symbols are counted here. */
enum ww_err ww_folded_encode(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** The same in steps, for who has numbers a block at a time: begin, count each block when
 *  it stands in the room, finish. */
void ww_folded_begin_count(struct ww_chunk_room *room);
void ww_folded_count(struct ww_chunk_room *room, size_t at, size_t n, unsigned n_bits);
enum ww_err ww_folded_finish(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** The same without tables, by the mode (rmm/chunk_adaptive.h): appends the form
 *  adaptive's head and what `head` has, then the message. */
enum ww_err ww_folded_adaptive(struct ww_chunk_room *room, size_t n, unsigned mode,
                               const uint8_t *head, size_t head_bytes, struct ww_buf *out,
                               struct ww_error *err) WW_MUST_USE;

struct ww_folded_in {
    struct ww_lanes_in lanes;
    struct ww_lanes_code code;
    struct ww_adaptive *adaptive; /* NULL: by tables, in lanes */
    struct ww_bits_in bits;
    unsigned n_bits;
};
/** Read the tables of n numbers and begin the message, which takes the rest. */
bool ww_folded_begin(struct ww_chunk_room *room, unsigned n_bits, size_t n,
                     const uint8_t *coded, size_t len,
                     struct ww_folded_in *in) WW_MUST_USE;
/** The next n numbers, WW_CHUNK_BLOCK or fewer at the end. A context without a table is
 *  found out at the end. */
void ww_folded_next(struct ww_folded_in *in, const uint8_t *contexts, uint32_t *out,
                    size_t n);
bool ww_folded_done(const struct ww_folded_in *in) WW_MUST_USE;

#endif
