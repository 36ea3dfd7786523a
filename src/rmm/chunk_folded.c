/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small numbers are symbols, larger ones their highest bit with the two below it, and raw
 * bits: within a quarter of an octave counts are close to even, so little is lost, and
 * one scheme serves differences of any spread.
 */
#include "rmm/chunk_folded.h"

#include <string.h>

#include "util/clones.h"
#include "util/num.h"

#define INLINE static inline __attribute__((always_inline))

void ww_folded_leads(struct ww_lanes_lead leads[WW_LANES_SYMBOLS])
{
    for (unsigned s = 0; s < ww_folded_symbols(32); s++) {
        leads[s] = (struct ww_lanes_lead){(uint8_t)s, 0};
        if (s >= WW_FOLDED_DIRECT) {
            leads[s].bits = (uint8_t)(4 | (s & 3));
            leads[s].n_raw = (uint8_t)(WW_FOLDED_TOP - 2 + (s - WW_FOLDED_DIRECT) / 4);
        }
    }
}

/* A plain loop without a choice, of which vectors are made: the bits of a float are
 * exponent and mantissa, of which the symbol is the two highest. Numbers are below 2^24.
 */
INLINE void find_symbols(const uint32_t *folded, size_t n, uint8_t *symbols)
{
    for (size_t i = 0; i < n; i++) {
        const float wide = (float)(int32_t)folded[i];
        uint32_t bits = 0;
        memcpy(&bits, &wide, sizeof(bits));
        const uint32_t direct = 0U - (uint32_t)(folded[i] < WW_FOLDED_DIRECT);
        bits = (bits >> 21) - 4 * 127;
        symbols[i] = (uint8_t)((folded[i] & direct) | (bits & ~direct));
    }
}

static void symbols_any(const uint32_t *folded, size_t n, uint8_t *symbols)
{
    find_symbols(folded, n, symbols);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void symbols_avx2(const uint32_t *folded, size_t n,
                                                         uint8_t *symbols)
{
    find_symbols(folded, n, symbols);
}

WW_TARGET_512 static void symbols_avx512(const uint32_t *folded, size_t n,
                                         uint8_t *symbols)
{
    find_symbols(folded, n, symbols);
}

static void symbols_of(const uint32_t *folded, size_t n, uint8_t *symbols)
{
    if (ww_has_512()) {
        symbols_avx512(folded, n, symbols);
    } else if (__builtin_cpu_supports("avx2")) {
        symbols_avx2(folded, n, symbols);
    } else {
        symbols_any(folded, n, symbols);
    }
}
#else
static void symbols_of(const uint32_t *folded, size_t n, uint8_t *symbols)
{
    symbols_any(folded, n, symbols);
}
#endif

void ww_folded_begin_count(struct ww_chunk_room *room)
{
    memset(room->tally, 0, sizeof(room->tally));
}

/* Several tallies, since one waits for itself when a symbol follows itself. */
void ww_folded_count(struct ww_chunk_room *room, size_t at, size_t n, unsigned n_bits)
{
    uint8_t *const symbols = room->symbols + at;
    const uint8_t *const contexts = room->contexts + at;
    size_t i = 0;

    if (n_bits < 24) {
        symbols_of(room->folded + at, n, symbols);
    } else {
        for (size_t k = 0; k < n; k++) {
            symbols[k] = (uint8_t)ww_folded_symbol_in(room, room->folded[at + k]);
        }
    }
    for (; i + WW_CHUNK_TALLIES <= n; i += WW_CHUNK_TALLIES) {
        for (size_t t = 0; t < WW_CHUNK_TALLIES; t++) {
            room->tally[t][contexts[i + t]][symbols[i + t]]++;
        }
    }
    for (; i < n; i++) {
        room->tally[0][contexts[i]][symbols[i]]++;
    }
}

static void sum_tallies(struct ww_chunk_room *room)
{
    for (unsigned c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        for (unsigned s = 0; s < WW_RANS_MAX_SYMBOLS; s++) {
            room->counts[c][s] = (uint64_t)room->tally[0][c][s] + room->tally[1][c][s] +
                                 room->tally[2][c][s] + room->tally[3][c][s];
        }
    }
}

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

enum ww_err ww_folded_finish(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err)
{
    const bool is_short = n_bits - 3 <= WW_LANES_RAW;
    const struct ww_lanes_text text = {.spread = &room->spread,
                                       .kind = is_short ? WW_LANES_SHORT : WW_LANES_ANY,
                                       .numbers = room->folded,
                                       .symbols = room->symbols,
                                       .contexts = room->contexts,
                                       .leads = room->folded_leads,
                                       .push = room->push};
    enum ww_err rc = WW_OK;

    sum_tallies(room);
    rc = add_tables(room, n_bits, out, err);
    if (rc) {
        return rc;
    }
    make_pushes(room, ww_folded_symbols(n_bits));
    return ww_lanes_encode(&text, n, room->words, WW_CHUNK_WORDS, out, err);
}

enum ww_err ww_folded_encode(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err)
{
    ww_folded_begin_count(room);
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        ww_folded_count(room, at, n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK,
                        n_bits);
    }
    return ww_folded_finish(room, n, n_bits, out, err);
}

enum ww_err ww_folded_adaptive(struct ww_chunk_room *room, size_t n, unsigned mode,
                               const uint8_t *head, size_t head_bytes, struct ww_buf *out,
                               struct ww_error *err)
{
    const uint8_t bytes[] = {WW_CHUNK_ADAPTIVE, (uint8_t)mode};
    struct ww_bits_out bits;
    enum ww_err rc = ww_buf_add(out, bytes, sizeof(bytes), err);

    if (!rc) {
        rc = ww_buf_add(out, head, head_bytes, err);
    }
    if (rc) {
        return rc;
    }
    ww_adaptive_begin(&room->adaptive, mode);
    ww_bits_out_begin(&bits, out, err);
    ww_adaptive_put(&room->adaptive, &bits, room->folded,
                    mode & WW_ADAPTIVE_ONE ? NULL : room->contexts, n);
    return ww_bits_out_end(&bits);
}

static bool read_tables(struct ww_chunk_room *room, unsigned n_bits, const uint8_t *coded,
                        size_t len, struct ww_folded_in *in, size_t *used)
{
    for (unsigned c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        struct ww_rans_table *table = &room->tables[c];
        size_t n = 0;
        if (*used >= len) {
            return false;
        }
        if (coded[*used] == 0) {
            ww_lanes_slots_none(&room->slots[c]);
            in->code.holes = true;
            (*used)++;
            continue;
        }
        if (!ww_rans_table_read(table, coded + *used, len - *used, &n) ||
            table->n > ww_folded_symbols(n_bits)) {
            return false;
        }
        ww_lanes_slots_fill(table, &room->slots[c]);
        *used += n;
    }
    return true;
}

bool ww_folded_begin(struct ww_chunk_room *room, unsigned n_bits, size_t n,
                     const uint8_t *coded, size_t len, struct ww_folded_in *in)
{
    const bool is_short = n_bits - 3 <= WW_LANES_RAW;
    size_t used = 0;

    memset(in, 0, sizeof(*in));
    if (room->mode != 0) {
        in->adaptive = &room->adaptive;
        in->n_bits = n_bits;
        ww_adaptive_begin(in->adaptive, room->mode);
        ww_bits_in_begin(&in->bits, coded, len);
        return n <= WW_ADAPTIVE_MOST;
    }
    in->code = (struct ww_lanes_code){.slots = room->slots,
                                      .leads = room->folded_leads,
                                      .spread = &room->spread,
                                      .kind = is_short ? WW_LANES_SHORT : WW_LANES_ANY,
                                      .beside = room->beside};
    if (!read_tables(room, n_bits, coded, len, in, &used)) {
        return false;
    }
    ww_lanes_begin(&in->lanes, ww_lanes_for(n), coded + used, len - used);
    return true;
}

void ww_folded_next(struct ww_folded_in *in, const uint8_t *contexts, uint32_t *out,
                    size_t n)
{
    if (in->adaptive) {
        ww_adaptive_get(in->adaptive, &in->bits, contexts, in->n_bits, out, n);
    } else {
        ww_lanes_decode(&in->lanes, &in->code, contexts, out, n);
    }
}

bool ww_folded_done(const struct ww_folded_in *in)
{
    return in->adaptive ? ww_bits_done(&in->bits) : ww_lanes_done(&in->lanes);
}
