/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is that of the base and a level that is chosen by an integer. The product and
 * the sums are of doubles and are rounded once more to the type, so what comes back has
 * the same bytes on every machine. Integer 0 is the base's number bit for bit. Where
 * the type is coarse a small change was rounded away and the integer is mostly 0, so the
 * base's exponent may choose the table as in the form order; elsewhere one table for all
 * is shorter. Both are tried.
 */
#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "rmm/chunk_folded.h"
#include "util/fail.h"
#include "util/num.h"

#define N_BITS 17 /* of a folded integer */
#define BLOCK 256
#define AT_LEVELS 3

/* What is coded with its levels, and the largest exponent of its predictions. */
struct coding {
    const struct ww_chunk_plain *plain;
    const struct ww_chunk_levels *levels;
    uint32_t largest;
};

/* one: all by the first table. */
static void contexts_of(struct ww_chunk_type type, uint32_t largest, bool one,
                        const uint8_t *prediction, size_t n, uint8_t *contexts)
{
    if (one) {
        memset(contexts, 0, n);
    } else {
        ww_chunk_order_contexts(type, largest, prediction, n, contexts);
    }
}

int32_t ww_chunk_dense_cell(const struct ww_chunk_levels *levels, double change)
{
    const double cells = floor(fabs(change) / (double)levels->step + 0.5);
    const int32_t q = cells < WW_CHUNK_MOST ? (int32_t)cells : WW_CHUNK_MOST;

    return change < 0 ? -q : q;
}

double ww_chunk_dense_level(const struct ww_chunk_levels *levels, int32_t q)
{
    const uint32_t k = (uint32_t)(q < 0 ? -q : q);
    double level = 0;

    if (k == 0) {
        return 0;
    }
    level = (double)levels->levels[(k < levels->n ? k : levels->n) - 1];
    if (k > levels->n) {
        level += (double)(k - levels->n) * (double)levels->step;
    }
    return q < 0 ? -level : level;
}

/* The head, which begins with the form, and the contexts behind it. */
static enum ww_err begin(struct ww_chunk_room *room, const struct coding *c, bool one,
                         struct ww_buf *out, struct ww_error *err)
{
    const struct ww_chunk_levels *s = c->levels;
    const struct ww_chunk_plain *plain = c->plain;
    const uint8_t head[] = {WW_CHUNK_DENSE, (uint8_t)c->largest, one, (uint8_t)s->n};
    uint32_t bits = 0;
    enum ww_err rc = ww_buf_add(out, head, sizeof(head), err);

    contexts_of(plain->type, c->largest, one, plain->prediction,
                plain->n / plain->type.width, room->contexts);

    for (unsigned k = 0; k < s->n && !rc; k++) {
        memcpy(&bits, &s->levels[k], sizeof(bits));
        rc = ww_buf_add_u32le(out, bits, err);
    }
    memcpy(&bits, &s->step, sizeof(bits));
    return rc ? rc : ww_buf_add_u32le(out, bits, err);
}

/* True when every integer is 0. */
static bool fold(struct ww_chunk_room *room, const struct ww_chunk_plain *plain,
                 const struct ww_chunk_levels *s)
{
    const enum ww_dtype dtype = ww_chunk_own_dtype(plain->type);
    const size_t width = plain->type.width;
    const size_t n = plain->n / width;
    double weights[BLOCK];
    double base[BLOCK];
    uint32_t any = 0;

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t count = n - at < BLOCK ? n - at : BLOCK;
        ww_to_double(dtype, plain->bytes + at * width, weights, count);
        ww_to_double(dtype, plain->prediction + at * width, base, count);
        for (size_t i = 0; i < count; i++) {
            const int32_t q = ww_chunk_dense_cell(s, weights[i] - base[i]);
            const uint32_t u = q < 0 ? (uint32_t)(-2 * q - 1) : (uint32_t)(2 * q);
            room->folded[at + i] = u;
            any |= u;
        }
    }
    return any == 0;
}

/* The same integers without tables; room->first is the head. */
static enum ww_err try_adaptive(struct ww_chunk_room *room, const struct coding *c,
                                struct ww_buf *best, struct ww_error *err)
{
    const size_t n = c->plain->n / c->plain->type.width;
    const size_t with_tables = best->len;
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < 4 && !rc && n <= WW_ADAPTIVE_MOST; i++) {
        const unsigned mode = WW_ADAPTIVE_IS | (i & 2 ? WW_ADAPTIVE_ACTIVE : 0);
        ww_buf_clear(&room->first);
        ww_buf_clear(&room->second);
        rc = begin(room, c, i & 1, &room->first, err);
        if (!rc) {
            rc = ww_folded_adaptive(room, n, mode, room->first.data, room->first.len,
                                    &room->second, err);
        }
        if (!rc && room->second.len < best->len &&
            ww_adaptive_pays(room->second.len, with_tables)) {
            ww_buf_clear(best);
            rc = ww_buf_add(best, room->second.data, room->second.len, err);
        }
    }
    return rc;
}

enum ww_err ww_chunk_dense_encode(struct ww_chunk_room *room,
                                  const struct ww_chunk_plain *plain,
                                  const struct ww_chunk_levels *levels,
                                  struct ww_buf *out, struct ww_error *err)
{
    static const uint8_t same = WW_CHUNK_SAME;
    const size_t n = plain->n / plain->type.width;
    const struct coding coding = {
        plain, levels, ww_chunk_order_largest(plain->type, plain->prediction, n)};
    struct ww_buf *tried[] = {&room->first, &room->second};
    enum ww_err rc = ww_chunk_room_ready(room, err);

    if (rc) {
        return rc;
    }
    if (fold(room, plain, levels)) {
        return ww_buf_add(out, &same, 1, err);
    }
    for (unsigned one = 0; one < WW_LEN(tried) && !rc; one++) {
        ww_buf_clear(tried[one]);
        rc = begin(room, &coding, one, tried[one], err);
        if (!rc) {
            rc = ww_folded_encode(room, n, N_BITS, tried[one], err);
        }
    }
    const struct ww_buf *best = tried[tried[1]->len <= tried[0]->len];
    ww_buf_clear(&room->third);
    if (!rc) {
        rc = ww_buf_add(&room->third, best->data, best->len, err);
    }
    if (!rc && room->may_adapt) {
        rc = try_adaptive(room, &coding, &room->third, err);
    }
    return rc ? rc : ww_buf_add(out, room->third.data, room->third.len, err);
}

static bool read_levels(const uint8_t *coded, size_t len, struct ww_chunk_levels *s,
                        size_t *used)
{
    float all[WW_CHUNK_LEVELS + 1];

    s->n = len > 2 ? coded[2] : 0;
    *used = AT_LEVELS + sizeof(float) * ((size_t)s->n + 1);
    if (s->n == 0 || s->n > WW_CHUNK_LEVELS || *used > len || coded[1] > 1) {
        return false;
    }
    for (unsigned k = 0; k <= s->n; k++) {
        const uint32_t bits = ww_get_u32le(coded + AT_LEVELS + sizeof(float) * k);
        memcpy(&all[k], &bits, sizeof(bits));
        if (!isfinite(all[k]) || !(all[k] >= 0)) {
            return false;
        }
    }
    memcpy(s->levels, all, s->n * sizeof(float));
    s->step = all[s->n];
    return true;
}

/* prediction and out may be the same bytes. */
static void add_levels(struct ww_chunk_type type, const struct ww_chunk_levels *s,
                       const uint32_t *folded, const uint8_t *prediction, size_t n,
                       uint8_t *out)
{
    const enum ww_dtype dtype = ww_chunk_own_dtype(type);
    double values[BLOCK];
    uint8_t rounded[BLOCK * sizeof(float)];

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t count = n - at < BLOCK ? n - at : BLOCK;
        ww_to_double(dtype, prediction + at * type.width, values, count);
        for (size_t i = 0; i < count; i++) {
            const uint32_t u = folded[at + i];
            const int32_t q = u & 1 ? -(int32_t)(u >> 1) - 1 : (int32_t)(u >> 1);
            values[i] += ww_chunk_dense_level(s, q);
        }
        ww_from_double(dtype, values, rounded, count);
        for (size_t i = 0; i < count; i++) {
            const uint8_t *from = folded[at + i] == 0 ? prediction + (at + i) * type.width
                                                      : rounded + i * type.width;
            memmove(out + (at + i) * type.width, from, type.width);
        }
    }
}

bool ww_chunk_dense_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                           const uint8_t *coded, size_t len, const uint8_t *prediction,
                           uint8_t *out, size_t n_bytes)
{
    const size_t n = n_bytes / type.width;
    struct ww_chunk_levels levels = {0};
    struct ww_folded_in in;
    size_t used = 0;

    if (!type.exponent_mask || !read_levels(coded, len, &levels, &used) ||
        coded[0] != ww_chunk_order_largest(type, prediction, n) ||
        !ww_folded_begin(room, N_BITS, n, coded + used, len - used, &in)) {
        return false;
    }
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        const uint8_t *base = prediction + at * type.width;
        contexts_of(type, coded[0], coded[1], base, some, room->block_contexts);
        ww_folded_next(&in, room->block_contexts, room->block, some);
        add_levels(type, &levels, room->block, base, some, out + at * type.width);
    }
    return ww_folded_done(&in);
}
