/* SPDX-License-Identifier: Apache-2.0 */
/* Folded integers in up to sixteen contexts: what the forms order and own share. Numbers
 * and contexts stand in the room. */
#ifndef WW_RMM_CHUNK_FOLDED_H
#define WW_RMM_CHUNK_FOLDED_H

#include "rmm/chunk_forms.h"
#include "util/fail.h"

#define WW_FOLDED_DIRECT 16u
#define WW_FOLDED_TOP                                                                    \
    4u /* highest bit of the first number that is no symbol of its own */

/** Symbols of numbers of so many bits. */
static inline unsigned ww_folded_symbols(unsigned n_bits)
{
    return WW_FOLDED_DIRECT + (n_bits - WW_FOLDED_TOP) * 4;
}

static inline unsigned ww_folded_symbol(uint32_t folded, unsigned *n_raw)
{
    unsigned top = 0;

    *n_raw = 0;
    if (folded < WW_FOLDED_DIRECT) {
        return folded;
    }
    top = 31u - (unsigned)__builtin_clz(folded);
    *n_raw = top - 2;
    return WW_FOLDED_DIRECT + (top - WW_FOLDED_TOP) * 4 + (folded >> (top - 2) & 3);
}

static inline uint32_t ww_folded_decode(struct ww_rans_in *in,
                                        const struct ww_rans_table *table)
{
    const unsigned symbol = ww_rans_symbol(in, table);
    unsigned left = 0;
    uint32_t folded = 0;

    if (symbol < WW_FOLDED_DIRECT) {
        return symbol;
    }
    left = WW_FOLDED_TOP - 2 + (symbol - WW_FOLDED_DIRECT) / 4;
    folded = 4 | ((symbol - WW_FOLDED_DIRECT) & 3);
    while (left > 0) {
        const unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
        folded = folded << take | ww_rans_bits(in, take);
        left -= take;
    }
    return folded;
}

/* What a symbol begins with, and how many raw bits follow. */
static inline struct ww_folded_lead ww_folded_lead_of(unsigned symbol)
{
    if (symbol < WW_FOLDED_DIRECT) {
        return (struct ww_folded_lead){(uint8_t)symbol, 0};
    }
    return (struct ww_folded_lead){
        (uint8_t)(4 | (symbol & 3)),
        (uint8_t)(WW_FOLDED_TOP - 2 + (symbol - WW_FOLDED_DIRECT) / 4)};
}

static inline unsigned ww_folded_symbol_in(const struct ww_chunk_room *room,
                                           uint32_t folded)
{
    unsigned n_raw = 0;

    return folded < WW_LEN(room->symbols) ? room->symbols[folded]
                                          : ww_folded_symbol(folded, &n_raw);
}

/** As ww_folded_decode where WW_FOLDED_MOST bytes are left. */
#define WW_FOLDED_MOST 8
static inline uint32_t ww_folded_decode_within(struct ww_rans_in *in,
                                               const struct ww_rans_slots *slots,
                                               const struct ww_folded_lead *leads)
{
    const unsigned symbol = ww_rans_symbol_within(in, slots);
    uint32_t folded = symbol;

    if (symbol >= WW_FOLDED_DIRECT) {
        unsigned left = leads[symbol].n_raw;
        unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
        folded = (uint32_t)leads[symbol].bits << take | ww_rans_bits_within(in, take);
        for (left -= take; left > 0; left -= take) {
            take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
            folded = folded << take | ww_rans_bits_within(in, take);
        }
    }
    return folded;
}

/** Append tables, lengths and messages of n numbers: room->folded, room->contexts, and
 *  room->counts of their symbols, which have at most n_bits. */
enum ww_err ww_folded_encode(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** Read the tables at coded + *used, which moves behind them. */
bool ww_folded_tables_read(struct ww_chunk_room *room, unsigned n_bits,
                           const uint8_t *coded, size_t len, size_t *used) WW_MUST_USE;

#endif
