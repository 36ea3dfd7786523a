/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Factors of an adapter as integers with a scale for each latent index. The decoder makes
 * one product and one rounding of each number, so what comes back has the same bytes on
 * every machine, however the integers were found.
 */
#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "rmm/chunk_folded.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define N_BITS 17 /* of a folded integer */
#define HEAD_BYTES 21
#define AT_RANK 1
#define AT_ROW 5
#define AT_FIRST 13
#define SHORT_BYTES 3 /* head of the form adaptive */
#define SIZES 64      /* there */

/* Latent indices of n numbers from number `at` of the chunk on. */
static void latents_of(const struct ww_chunk_scales *s, size_t at, size_t n,
                       uint16_t *latents)
{
    const uint64_t first = s->first + at;
    const uint64_t length = s->axis ? s->rank : s->row;
    uint64_t k = s->axis ? first % s->rank : first / s->row;
    uint64_t left = s->axis ? 1 : length - first % s->row;

    for (size_t i = 0; i < n; i++) {
        latents[i] = (uint16_t)k;
        if (--left == 0) {
            k = k + 1 == s->rank && s->axis ? 0 : k + 1;
            left = s->axis ? 1 : length;
        }
    }
}

static enum ww_err add_scales(const struct ww_chunk_scales *s, struct ww_buf *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t k = 0; k < s->rank && !rc; k++) {
        uint32_t bits = 0;
        memcpy(&bits, &s->scales[k], sizeof(bits));
        rc = ww_buf_add_u32le(out, bits, err);
    }
    return rc;
}

static enum ww_err add_head(const struct ww_chunk_scales *s, struct ww_buf *out,
                            struct ww_error *err)
{
    uint8_t head[HEAD_BYTES];
    const uint8_t form = s->near ? WW_CHUNK_KLT : WW_CHUNK_OWN;
    enum ww_err rc = ww_buf_add(out, &form, 1, err);

    head[0] = (uint8_t)s->axis;
    ww_put_u32le(head + AT_RANK, s->rank);
    ww_put_u64le(head + AT_ROW, s->row);
    ww_put_u64le(head + AT_FIRST, s->first);
    if (!rc) {
        rc = ww_buf_add(out, head, sizeof(head), err);
    }
    if (!rc) {
        rc = add_scales(s, out, err);
    }
    return rc ? rc : ww_buf_add(out, s->classes, s->rank, err);
}

/* A whole factor of few numbers, whose head can be short. */
static bool may_be_short(const struct ww_chunk_scales *s, size_t n)
{
    return n <= WW_ADAPTIVE_MOST && s->first == 0 &&
           (s->axis == 1 || n == (uint64_t)s->rank * s->row);
}

/* Bits of the mean square of a latent's integers: twice those of a typical one. */
static enum ww_err find_sizes(const struct ww_chunk_scales *s, const int16_t *integers,
                              const uint16_t *latents, size_t n, uint8_t *sizes,
                              struct ww_error *err)
{
    uint64_t *sums = ww_calloc(s->rank, 2 * sizeof(*sums));
    uint64_t *counts = NULL;

    if (!sums) {
        return WW_FAIL_MEMORY(err, "coding a chunk");
    }
    counts = sums + s->rank;
    for (size_t i = 0; i < n; i++) {
        const int64_t q = integers[i];
        sums[latents[i]] += (uint64_t)(q * q);
        counts[latents[i]]++;
    }
    for (uint32_t k = 0; k < s->rank; k++) {
        const uint64_t mean = counts[k] ? sums[k] / counts[k] : 0;
        sizes[k] = mean ? (uint8_t)(64 - __builtin_clzll(mean)) : 0;
    }
    ww_free(sums);
    return WW_OK;
}

/* Integers stand folded in the room. */
static enum ww_err encode_short(struct ww_chunk_room *room,
                                const struct ww_chunk_scales *s, const int16_t *integers,
                                size_t n, struct ww_buf *out, struct ww_error *err)
{
    uint8_t sizes[WW_CHUNK_MAX_RANK];
    uint16_t *latents = ww_calloc(n + 1, sizeof(*latents));
    struct ww_buf *head = &room->third;
    const uint8_t bytes[] = {s->near ? WW_CHUNK_KLT : WW_CHUNK_OWN, (uint8_t)s->axis,
                             (uint8_t)s->rank, (uint8_t)(s->rank >> 8)};
    enum ww_err rc = latents ? WW_OK : WW_FAIL_MEMORY(err, "coding a chunk");

    if (!rc) {
        latents_of(s, 0, n, latents);
        rc = find_sizes(s, integers, latents, n, sizes, err);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        room->contexts[i] = sizes[latents[i]];
    }
    ww_free(latents);
    ww_buf_clear(head);
    if (!rc) {
        rc = ww_buf_add(head, bytes, sizeof(bytes), err);
    }
    if (!rc) {
        rc = add_scales(s, head, err);
    }
    if (!rc) {
        rc = ww_buf_add(head, sizes, s->rank, err);
    }
    return rc ? rc
              : ww_folded_adaptive(room, n, WW_ADAPTIVE_IS | WW_ADAPTIVE_SCALED,
                                   head->data, head->len, out, err);
}

enum ww_err ww_chunk_own_encode(struct ww_chunk_room *room, const int16_t *integers,
                                size_t n, const struct ww_chunk_scales *s,
                                struct ww_buf *out, struct ww_error *err)
{
    enum ww_err rc = ww_chunk_room_ready(room, err);

    if (rc) {
        return rc;
    }
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        latents_of(s, at, some, room->block_latents);
        for (size_t i = 0; i < some; i++) {
            const int32_t q = integers[at + i];
            room->folded[at + i] = q < 0 ? (uint32_t)(-2 * q - 1) : (uint32_t)(2 * q);
            room->contexts[at + i] = s->classes[room->block_latents[i]];
        }
    }
    ww_buf_clear(&room->first);
    rc = add_head(s, &room->first, err);
    if (!rc) {
        rc = ww_folded_encode(room, n, N_BITS, &room->first, err);
    }
    ww_buf_clear(&room->second);
    if (!rc && room->may_adapt && may_be_short(s, n)) {
        rc = encode_short(room, s, integers, n, &room->second, err);
    }
    const bool is_short =
        room->second.len > 0 && ww_adaptive_pays(room->second.len, room->first.len);
    const struct ww_buf *best = is_short ? &room->second : &room->first;
    return rc ? rc : ww_buf_add(out, best->data, best->len, err);
}

enum ww_dtype ww_chunk_own_dtype(struct ww_chunk_type type)
{
    if (type.exponent_shift == 7) {
        return WW_DTYPE_BF16;
    }
    return type.exponent_shift == 10 ? WW_DTYPE_F16 : WW_DTYPE_F32;
}

void ww_chunk_own_number(struct ww_chunk_type type, int32_t integer, float scale,
                         uint8_t *out)
{
    const float product = (float)integer * scale;
    const double wide = (double)product;

    ww_from_double(ww_chunk_own_dtype(type), &wide, out, 1);
}

void ww_chunk_near_number(struct ww_chunk_type type, int32_t integer, float scale,
                          const uint8_t *near, uint8_t *out)
{
    float number = 0;

    if (integer == 0) {
        memmove(out, near, type.width);
        return;
    }
    ww_to_float(ww_chunk_own_dtype(type), near, &number, 1);
    number += (float)integer * scale;
    const double wide = (double)number;
    ww_from_double(ww_chunk_own_dtype(type), &wide, out, 1);
}

/* The head of a chunk of n numbers; scales are still bits. */
static bool read_head(const uint8_t *coded, size_t len, size_t n,
                      struct ww_chunk_scales *s)
{
    uint64_t end = 0;

    if (len < HEAD_BYTES || coded[0] > 1) {
        return false;
    }
    s->axis = coded[0];
    s->rank = ww_get_u32le(coded + AT_RANK);
    s->row = ww_get_u64le(coded + AT_ROW);
    s->first = ww_get_u64le(coded + AT_FIRST);
    if (s->rank == 0 || s->rank > WW_CHUNK_MAX_RANK || s->row == 0 ||
        len - HEAD_BYTES < (size_t)5 * s->rank || !ww_add_u64(s->first, n, &end)) {
        return false;
    }
    return s->axis == 1 || n == 0 || (end - 1) / s->row < s->rank;
}

/* The same of the form adaptive. */
static bool read_short(const uint8_t *coded, size_t len, size_t n,
                       struct ww_chunk_scales *s)
{
    if (len < SHORT_BYTES || coded[0] > 1) {
        return false;
    }
    s->axis = coded[0];
    s->rank = (uint32_t)coded[1] | (uint32_t)coded[2] << 8;
    if (s->rank == 0 || s->rank > WW_CHUNK_MAX_RANK ||
        len - SHORT_BYTES < (size_t)5 * s->rank) {
        return false;
    }
    s->row = s->axis ? 1 : n / s->rank;
    s->first = 0;
    return s->axis == 1 || (s->row > 0 && n % s->rank == 0);
}

static bool read_scales(const uint8_t *coded, uint32_t rank, unsigned n_classes,
                        float *scales, const uint8_t **classes)
{
    for (uint32_t k = 0; k < rank; k++) {
        const uint32_t bits = ww_get_u32le(coded + (size_t)4 * k);
        memcpy(&scales[k], &bits, sizeof(bits));
        if (!isfinite(scales[k])) {
            return false;
        }
    }
    *classes = coded + (size_t)4 * rank;
    for (uint32_t k = 0; k < rank; k++) {
        if ((*classes)[k] >= n_classes) {
            return false;
        }
    }
    return true;
}

static void decode_all(struct ww_folded_in *in, struct ww_chunk_room *room,
                       struct ww_chunk_type type, const struct ww_chunk_scales *s,
                       const uint8_t *prediction, size_t n, uint8_t *out)
{
    for (size_t at = 0; at < n; at += WW_CHUNK_BLOCK) {
        const size_t some = n - at < WW_CHUNK_BLOCK ? n - at : WW_CHUNK_BLOCK;
        latents_of(s, at, some, room->block_latents);
        for (size_t i = 0; i < some; i++) {
            room->block_contexts[i] = s->classes[room->block_latents[i]];
        }
        ww_folded_next(in, room->block_contexts, room->block, some);
        for (size_t i = 0; i < some; i++) {
            const uint32_t u = room->block[i];
            const int32_t q = u & 1 ? -(int32_t)(u >> 1) - 1 : (int32_t)(u >> 1);
            const float scale = s->scales[room->block_latents[i]];
            uint8_t *to = out + (at + i) * type.width;
            if (prediction) {
                ww_chunk_near_number(type, q, scale, prediction + (at + i) * type.width,
                                     to);
            } else {
                ww_chunk_own_number(type, q, scale, to);
            }
        }
    }
}

bool ww_chunk_own_decode(struct ww_chunk_room *room, struct ww_chunk_type type,
                         const uint8_t *coded, size_t len, const uint8_t *prediction,
                         uint8_t *out, size_t n_bytes)
{
    const size_t n = n_bytes / type.width;
    struct ww_chunk_scales s = {0};
    struct ww_folded_in in;
    size_t used = 0;

    const bool is_short = room->mode != 0;
    const size_t head = is_short ? SHORT_BYTES : HEAD_BYTES;

    if (!type.exponent_mask ||
        !(is_short ? read_short(coded, len, n, &s) : read_head(coded, len, n, &s)) ||
        !read_scales(coded + head, s.rank, is_short ? SIZES : WW_CHUNK_CONTEXTS,
                     room->scales, &s.classes)) {
        return false;
    }
    s.scales = room->scales;
    used = head + (size_t)5 * s.rank;
    if (!ww_folded_begin(room, N_BITS, n, coded + used, len - used, &in)) {
        return false;
    }
    decode_all(&in, room, type, &s, prediction, n, out);
    return ww_folded_done(&in);
}
