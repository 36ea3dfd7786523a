/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small numbers are symbols, larger ones their highest bit with the two below it, and raw
 * bits: within a quarter of an octave counts are close to even, so little is lost, and
 * one scheme serves differences of any spread.
 */
#include "rmm/chunk_folded.h"

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

static enum ww_err code_lane(struct ww_chunk_room *room, size_t n, unsigned lane,
                             size_t at, struct ww_buf *out, struct ww_error *err)
{
    size_t first = 0;
    const size_t len = ww_chunk_lane(n, lane, &first);
    size_t n_steps = 0;

    for (size_t i = first; i < first + len; i++) {
        const uint32_t folded = room->folded[i];
        unsigned left = 0;
        const unsigned symbol = ww_folded_symbol(folded, &left);
        room->steps[n_steps++] =
            ww_rans_step_of(&room->tables[room->contexts[i]], symbol);
        while (left > 0) {
            const unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
            left -= take;
            room->steps[n_steps++] =
                ww_rans_raw(folded >> left & ((1u << take) - 1), take);
        }
    }
    return ww_chunk_lane_add(room, n_steps, lane, at, out, err);
}

enum ww_err ww_folded_encode(struct ww_chunk_room *room, size_t n, unsigned n_bits,
                             struct ww_buf *out, struct ww_error *err)
{
    size_t at = 0;
    enum ww_err rc = add_tables(room, n_bits, out, err);

    if (!rc) {
        rc = ww_chunk_lengths_add(out, &at, err);
    }
    for (unsigned l = 0; l < WW_CHUNK_LANES && !rc; l++) {
        rc = code_lane(room, n, l, at, out, err);
    }
    return rc;
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
        *used += n;
    }
    return true;
}
