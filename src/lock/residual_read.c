/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections come out of authenticated encryption, and are parsed as if they did not:
 * every length is compared with what is left before it is used.
 */
#include <string.h>

#include "codec/rans.h"
#include "lock/residual.h"
#include "lock/residual_symbol.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define HEAD_BYTES 20

struct ww_residual_reader {
    struct ww_residual_shape shape;
    unsigned width;
    uint8_t *bytes;
    struct ww_rans_table *tables;
    uint64_t *ends; /* of each line in bytes; [0] is the start of the first */
};

/* A cursor over the section. */
struct cursor {
    const uint8_t *bytes;
    size_t len;
    size_t at;
};

static bool read_varint(struct cursor *c, uint32_t *out)
{
    uint32_t v = 0;

    for (unsigned shift = 0; shift < 32 && c->at < c->len; shift += 7) {
        const uint32_t byte = c->bytes[c->at++];
        if (shift == 28 && byte > 15) {
            return false;
        }
        v |= (byte & 127) << shift;
        if (byte < 128) {
            *out = v;
            return byte > 0 || shift == 0;
        }
    }
    return false;
}

static bool read_head(struct cursor *c, const struct ww_residual_reader *r)
{
    if (c->len < HEAD_BYTES || ww_get_u32le(c->bytes) != r->width ||
        ww_get_u64le(c->bytes + 4) != r->shape.n_lines ||
        ww_get_u64le(c->bytes + 12) != r->shape.line) {
        return false;
    }
    c->at = HEAD_BYTES;
    return true;
}

static bool read_tables(struct cursor *c, struct ww_residual_reader *r)
{
    for (unsigned i = 0; i < WW_RESIDUAL_CONTEXTS; i++) {
        size_t used = 1;
        if (c->at >= c->len) {
            return false;
        }
        if (c->bytes[c->at] != 0 && (!ww_rans_table_read(&r->tables[i], c->bytes + c->at,
                                                         c->len - c->at, &used) ||
                                     r->tables[i].n > WW_RESIDUAL_TOKENS)) {
            return false;
        }
        c->at += used;
    }
    return true;
}

static bool read_lengths(struct cursor *c, struct ww_residual_reader *r)
{
    uint64_t end = 0;

    for (uint64_t l = 0; l < r->shape.n_lines; l++) {
        uint32_t length = 0;
        if (!read_varint(c, &length)) {
            return false;
        }
        r->ends[l + 1] = length;
    }
    end = c->at;
    r->ends[0] = end;
    for (uint64_t l = 0; l < r->shape.n_lines; l++) {
        end += r->ends[l + 1];
        r->ends[l + 1] = end;
    }
    return end == c->len;
}

enum ww_err ww_residual_reader_new(const struct ww_residual_shape *shape, uint8_t *bytes,
                                   size_t len, struct ww_residual_reader **out,
                                   struct ww_error *err)
{
    struct ww_residual_reader *r = ww_calloc(1, sizeof(*r));
    struct cursor c = {bytes, len, 0};
    enum ww_err rc = WW_OK;

    *out = NULL;
    /* A line takes a byte at least: no more lines than bytes, before memory is taken. */
    if (r && shape->n_lines <= len) {
        r->shape = *shape;
        r->width = ww_dtype_bits(shape->dtype) / 8;
        r->tables = ww_calloc(WW_RESIDUAL_CONTEXTS, sizeof(*r->tables));
        r->ends = ww_calloc((size_t)shape->n_lines + 1, sizeof(*r->ends));
    }
    if (!r || (shape->n_lines <= len && (!r->tables || !r->ends))) {
        rc = WW_FAIL_MEMORY(err, "the residual of a tensor");
    } else if (shape->n_lines > len || !read_head(&c, r) || !read_tables(&c, r) ||
               !read_lengths(&c, r)) {
        rc =
            WW_FAIL(err, WW_E_SEALED,
                    "the residual of a tensor of %llu lines of %llu numbers is malformed",
                    (unsigned long long)shape->n_lines, (unsigned long long)shape->line);
    }
    if (rc) {
        ww_residual_reader_free(r);
        return rc;
    }
    r->bytes = bytes;
    *out = r;
    return WW_OK;
}

void ww_residual_reader_free(struct ww_residual_reader *r)
{
    if (r) {
        ww_free(r->bytes);
        ww_free(r->tables);
        ww_free(r->ends);
        ww_free(r);
    }
}

/* The folded difference of a token; its raw bits follow. */
static uint64_t read_folded(struct ww_rans_in *in, unsigned token)
{
    uint64_t f = 1;
    unsigned left = 0;

    if (token < WW_RESIDUAL_DIRECT) {
        return token;
    }
    left = token - WW_RESIDUAL_DIRECT + 4;
    while (left > 0) {
        const unsigned take = left < WW_RANS_BITS ? left : WW_RANS_BITS;
        f = f << take | ww_rans_bits(in, take);
        left -= take;
    }
    return f;
}

bool ww_residual_restore(const struct ww_residual_reader *r, uint64_t line,
                         uint8_t *numbers, const int16_t *levels)
{
    const unsigned width = r->width;
    struct ww_rans_in in;

    ww_rans_begin(&in, r->bytes + r->ends[line],
                  (size_t)(r->ends[line + 1] - r->ends[line]));
    for (uint64_t i = 0; i < r->shape.line; i++) {
        uint8_t *at = numbers + i * width;
        double value = 0;
        ww_to_double(r->shape.dtype, at, &value, 1);
        const unsigned c = ww_residual_context(r->shape.dtype, value, levels[i]);
        if (r->tables[c].n == 0) {
            return false;
        }
        const uint64_t f = read_folded(&in, ww_rans_symbol(&in, &r->tables[c]));
        const uint64_t p = ww_ordered_of(ww_ordered_load(at, width), width);
        const uint64_t bits = ww_ordered_bits(ww_ordered_unfold(f, p, width), width);
        memcpy(at, &bits, width);
    }
    return ww_rans_done(&in);
}
