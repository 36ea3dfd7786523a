/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rANS is a stack: the encoder goes through the steps backwards so that the decoder may
 * go forwards. With a state below 2^32 and words of 16 bits a step moves at most one
 * word either way.
 */
#include "codec/rans.h"

#include <string.h>

#include "util/fail.h"
#include "util/num.h"

static void fill_slots(struct ww_rans_table *table)
{
    unsigned at = 0;

    for (unsigned s = 0; s < table->n; s++) {
        table->start[s] = (uint16_t)at;
        memset(table->symbol + at, (int)s, table->freq[s]);
        at += table->freq[s];
    }
}

static unsigned largest(const struct ww_rans_table *table)
{
    unsigned best = 0;

    for (unsigned s = 1; s < table->n; s++) {
        best = table->freq[s] > table->freq[best] ? s : best;
    }
    return best;
}

/* Floors, at least 1 for what occurs; what is over or missing goes to the largest, which
 * is large enough: 255 symbols of at least 1 leave it more than is ever missing. */
void ww_rans_table_make(struct ww_rans_table *table, const uint64_t *counts, unsigned n)
{
    uint64_t total = 0;
    unsigned sum = 0;

    WW_INVARIANT(n > 0 && n <= WW_RANS_MAX_SYMBOLS);
    memset(table, 0, sizeof(*table));
    for (unsigned s = 0; s < n; s++) {
        total += counts[s];
        table->n = counts[s] ? s + 1 : table->n;
    }
    WW_INVARIANT(total > 0 && total < UINT64_C(1) << 48);
    for (unsigned s = 0; s < table->n; s++) {
        uint64_t freq = counts[s] * WW_RANS_TOTAL / total;
        freq = counts[s] && freq == 0 ? 1 : freq;
        table->freq[s] = (uint16_t)freq;
        sum += (unsigned)freq;
    }
    while (sum > WW_RANS_TOTAL) {
        table->freq[largest(table)]--;
        sum--;
    }
    table->freq[largest(table)] =
        (uint16_t)(table->freq[largest(table)] + WW_RANS_TOTAL - sum);
    fill_slots(table);
}

enum ww_err ww_rans_table_write(const struct ww_rans_table *table, struct ww_buf *out,
                                struct ww_error *err)
{
    const uint8_t n = (uint8_t)table->n;
    enum ww_err rc = ww_buf_add(out, &n, 1, err);

    for (unsigned s = 0; s < table->n && !rc; s++) {
        const unsigned freq = table->freq[s];
        const uint8_t bytes[2] = {(uint8_t)(freq < 128 ? freq : (freq & 127) | 128),
                                  (uint8_t)(freq >> 7)};
        rc = ww_buf_add(out, bytes, freq < 128 ? 1 : 2, err);
    }
    return rc;
}

bool ww_rans_table_read(struct ww_rans_table *table, const uint8_t *bytes, size_t len,
                        size_t *used)
{
    size_t at = 1;
    unsigned sum = 0;

    memset(table, 0, sizeof(*table));
    if (len == 0 || bytes[0] == 0) {
        return false;
    }
    table->n = bytes[0];
    for (unsigned s = 0; s < table->n; s++) {
        if (at >= len) {
            return false;
        }
        unsigned freq = bytes[at++];
        if (freq >= 128) {
            if (at >= len || bytes[at] == 0) {
                return false;
            }
            freq = (freq & 127) | (unsigned)bytes[at++] << 7;
        }
        sum += freq;
        if (sum > WW_RANS_TOTAL) {
            return false;
        }
        table->freq[s] = (uint16_t)freq;
    }
    if (sum != WW_RANS_TOTAL || table->freq[table->n - 1] == 0) {
        return false;
    }
    fill_slots(table);
    *used = at;
    return true;
}

struct ww_rans_push ww_rans_push_of(struct ww_rans_step step)
{
    const uint64_t freq = step.freq;
    const bool one = freq == 1;

    /* Rounded up: exact for all states, since 2^32 times the excess is below 2^64. */
    return (struct ww_rans_push){.reciprocal = one ? UINT64_MAX : UINT64_MAX / freq + 1,
                                 .freq = (uint32_t)freq,
                                 .rest = (uint32_t)(WW_RANS_TOTAL - freq),
                                 .bias = step.start + (one ? WW_RANS_TOTAL - 1 : 0u)};
}

enum ww_err ww_rans_encode(const struct ww_rans_step *steps, size_t n, uint16_t *scratch,
                           struct ww_buf *out, struct ww_error *err)
{
    uint32_t state = WW_RANS_LOW;
    size_t n_words = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = n; i-- > 0;) {
        const uint32_t freq = steps[i].freq;
        const uint64_t limit = (uint64_t)(WW_RANS_LOW >> WW_RANS_BITS << 16) * freq;
        if (state >= limit) {
            scratch[n_words++] = (uint16_t)state;
            state >>= 16;
        }
        state = (state / freq << WW_RANS_BITS) + state % freq + steps[i].start;
    }
    rc = ww_buf_add_u32le(out, state, err);
    if (!rc) {
        rc = ww_buf_reserve(out, 2 * n_words, err);
    }
    for (uint8_t *to = rc ? NULL : out->data + out->len; to && n_words > 0; to += 2) {
        n_words--;
        to[0] = (uint8_t)scratch[n_words];
        to[1] = (uint8_t)(scratch[n_words] >> 8);
        out->len += 2;
        out->data[out->len] = 0;
    }
    return rc;
}

void ww_rans_begin(struct ww_rans_in *in, const uint8_t *bytes, size_t len)
{
    *in = (struct ww_rans_in){.state = WW_RANS_LOW, .at = bytes, .end = bytes + len};
    if (len < 4 || ww_get_u32le(bytes) < WW_RANS_LOW) {
        in->over = true;
        in->at = in->end;
        return;
    }
    in->state = ww_get_u32le(bytes);
    in->at += 4;
}

bool ww_rans_done(const struct ww_rans_in *in)
{
    return !in->over && in->state == WW_RANS_LOW && in->at == in->end;
}
