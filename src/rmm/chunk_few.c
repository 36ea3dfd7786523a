/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masks have two values and cost a bit for each number, whatever type they are stored in.
 * Values are looked for until there are too many, which in weights is after some dozen
 * numbers; there is one way to write a chunk, so that a decoder can refuse all others.
 */
#include <string.h>

#include "codec/ordered.h"
#include "rmm/chunk_forms.h"

#define MOST 16u

/* Bits of a place among k values. */
static unsigned bits_for(unsigned k)
{
    return k <= 1 ? 0 : k <= 2 ? 1 : k <= 4 ? 2 : 4;
}

static size_t packed_bytes(size_t n, unsigned bits)
{
    return (n * bits + 7) / 8;
}

/* Where value stands, or would stand. */
static unsigned place_of(const uint64_t *values, unsigned k, uint64_t value)
{
    unsigned at = 0;

    while (at < k && values[at] < value) {
        at++;
    }
    return at;
}

/* The values of n numbers, ascending; more than MOST: MOST + 1. */
static unsigned find_values(const uint8_t *bytes, size_t n, unsigned width,
                            uint64_t values[MOST])
{
    uint64_t last = 0;
    unsigned k = 0;

    for (size_t i = 0; i < n; i++) {
        const uint64_t value = ww_ordered_load(bytes + i * width, width);
        if (k > 0 && value == last) {
            continue;
        }
        const unsigned at = place_of(values, k, value);
        last = value;
        if (at < k && values[at] == value) {
            continue;
        }
        if (k == MOST) {
            return MOST + 1;
        }
        memmove(values + at + 1, values + at, (k - at) * sizeof(*values));
        values[at] = value;
        k++;
    }
    return k;
}

bool ww_chunk_is_few(const struct ww_chunk_plain *plain, size_t *coded)
{
    const struct ww_chunk_type type = plain->type;
    uint64_t values[MOST];
    const size_t n = plain->n / type.width;
    const unsigned k = find_values(plain->bytes, n, type.width, values);

    *coded = 1 + (size_t)k * type.width + packed_bytes(n, bits_for(k));
    return k > 0 && k <= MOST;
}

enum ww_err ww_chunk_few_encode(const struct ww_chunk_plain *plain, struct ww_buf *out,
                                struct ww_error *err)
{
    const struct ww_chunk_type type = plain->type;
    const uint8_t *bytes = plain->bytes;
    uint64_t values[MOST];
    const size_t n = plain->n / type.width;
    const unsigned k = find_values(bytes, n, type.width, values);
    const unsigned bits = bits_for(k);
    const uint8_t count = (uint8_t)k;
    enum ww_err rc = ww_buf_add(out, &count, 1, err);

    for (unsigned v = 0; v < k && !rc; v++) {
        rc = ww_buf_add(out, &values[v], type.width, err);
    }
    if (!rc) {
        rc = ww_buf_reserve(out, packed_bytes(n, bits), err);
    }
    if (rc) {
        return rc;
    }
    uint8_t *to = out->data + out->len;
    memset(to, 0, packed_bytes(n, bits));
    for (size_t i = 0; bits > 0 && i < n; i++) {
        const uint64_t value = ww_ordered_load(bytes + i * type.width, type.width);
        const unsigned place = place_of(values, k, value);
        to[i * bits / 8] |= (uint8_t)(place << (i * bits % 8));
    }
    out->len += packed_bytes(n, bits);
    return WW_OK;
}

/* As an encoder has them: ascending. */
static bool read_values(const uint8_t *at, unsigned k, unsigned width,
                        uint64_t values[MOST])
{
    for (unsigned v = 0; v < k; v++) {
        values[v] = ww_ordered_load(at + (size_t)v * width, width);
        if (v > 0 && values[v] <= values[v - 1]) {
            return false;
        }
    }
    return true;
}

bool ww_chunk_few_decode(struct ww_chunk_type type, const uint8_t *coded, size_t len,
                         uint8_t *out, size_t n_bytes)
{
    const size_t n = n_bytes / type.width;
    const unsigned k = len > 0 ? coded[0] : 0;
    const unsigned bits = bits_for(k);
    uint64_t values[MOST];
    uint32_t seen = 0;

    if (k == 0 || k > MOST || len != 1 + (size_t)k * type.width + packed_bytes(n, bits) ||
        !read_values(coded + 1, k, type.width, values)) {
        return false;
    }
    const uint8_t *from = coded + 1 + (size_t)k * type.width;
    const unsigned mask = (1u << bits) - 1;
    for (size_t i = 0; i < n; i++) {
        const unsigned place =
            bits ? (unsigned)from[i * bits / 8] >> (i * bits % 8) & mask : 0;
        if (place >= k) {
            return false;
        }
        seen |= 1u << place;
        memcpy(out + i * type.width, &values[place], type.width);
    }
    if (n * bits % 8 && from[n * bits / 8] >> (n * bits % 8)) {
        return false;
    }
    return seen == (1u << k) - 1;
}
