/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half of the distance between neighbours is read off the exponent, in bits, and whether
 * all is finite is asked once for the largest exponent: no choice within a loop, so that
 * vectors are made of it. Bits are entropies by the tables that form order would have,
 * but for the four lowest bits of the exponent in place of its distance to the largest.
 */
#include "rmm/rank_block.h"

#include <string.h>

#include "model/convert.h"
#include "rmm/chunk_folded.h"
#include "codec/ordered.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/float_bits.h"
#include "util/fs.h"

#define SYMBOLS 128 /* of 32-bit numbers */
#define LN_2 0.693147180559945309

enum ww_err ww_rank_block_init(struct ww_rank_block *b, enum ww_dtype dtype, size_t room,
                               size_t d, struct ww_error *err)
{
    *b = (struct ww_rank_block){
        .dtype = dtype, .width = ww_dtype_bits(dtype) / 8, .room = room, .d = d};
    b->tune = ww_calloc(room, b->width * d);
    b->base = ww_calloc(room, b->width * d);
    b->delta = ww_calloc(room, d * sizeof(*b->delta));
    b->half = ww_calloc(room, d * sizeof(*b->half));
    if (!b->tune || !b->base || !b->delta || !b->half) {
        ww_rank_block_release(b);
        return WW_FAIL_MEMORY(err, "the rows of a tensor");
    }
    return WW_OK;
}

void ww_rank_block_release(struct ww_rank_block *b)
{
    ww_free(b->tune);
    ww_free(b->base);
    ww_free(b->delta);
    ww_free(b->half);
    memset(b, 0, sizeof(*b));
}

enum ww_err ww_rank_block_read(struct ww_rank_block *b, const struct ww_rank_pair *p,
                               size_t row, size_t column, size_t i, size_t n,
                               struct ww_error *err)
{
    const uint64_t at = b->width * ((uint64_t)row * p->d + column);
    const size_t row_bytes = b->width * b->d;
    const enum ww_err rc = ww_pread_full(p->fd, b->tune + i * row_bytes, n * row_bytes,
                                         p->at + at, p->name, err);

    return rc ? rc
              : ww_base_read(&p->base, p->dtype, at, b->base + i * row_bytes,
                             n * row_bytes, err);
}

/* Half the distance between numbers of an exponent, as bits of a float: the smallest
 * exponents, of numbers that no weight has, have none. */
static uint32_t half_bits(uint32_t exponent, uint32_t mantissa_bits)
{
    const uint32_t below = mantissa_bits + 1;

    return exponent > below ? (exponent - below) << 23 : 0;
}

/* True when all numbers are finite, as below. Of these bits vectors are made. */
static bool widen_bf16(const uint8_t *tune, const uint8_t *base, size_t n, float *delta,
                       float *half)
{
    uint32_t worst = 0;

    for (size_t i = 0; i < n; i++) {
        uint16_t t = 0;
        uint16_t b = 0;
        memcpy(&t, tune + 2 * i, sizeof(t));
        memcpy(&b, base + 2 * i, sizeof(b));
        const uint32_t e = (uint32_t)t >> 7 & 0xff;
        const uint32_t of_base = (uint32_t)b >> 7 & 0xff;
        worst = e > worst ? e : worst;
        worst = of_base > worst ? of_base : worst;
        delta[i] =
            ww_float_of_bits((uint32_t)t << 16) - ww_float_of_bits((uint32_t)b << 16);
        half[i] = ww_float_of_bits(half_bits(e, 7));
    }
    return worst < 0xff;
}

static bool widen_f32(const uint8_t *tune, const uint8_t *base, size_t n, float *delta,
                      float *half)
{
    uint32_t worst = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t t = 0;
        uint32_t b = 0;
        memcpy(&t, tune + 4 * i, sizeof(t));
        memcpy(&b, base + 4 * i, sizeof(b));
        const uint32_t e = t >> 23 & 0xff;
        const uint32_t of_base = b >> 23 & 0xff;
        worst = e > worst ? e : worst;
        worst = of_base > worst ? of_base : worst;
        delta[i] = ww_float_of_bits(t) - ww_float_of_bits(b);
        half[i] = ww_float_of_bits(half_bits(e, 23));
    }
    return worst < 0xff;
}

/* The exponent of fp16 is one of fp32 that is larger by 112; that of its smallest numbers
 * is 1. */
static bool widen_f16(const uint8_t *tune, const uint8_t *base, size_t n, float *delta,
                      float *half)
{
    ww_to_float(WW_DTYPE_F16, tune, delta, n);
    ww_to_float(WW_DTYPE_F16, base, half, n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t e = (uint32_t)ww_ordered_load(tune + 2 * i, 2) >> 10 & 0x1f;
        delta[i] -= half[i];
        half[i] = ww_float_of_bits(half_bits((e > 0 ? e : 1) + 112, 10));
    }
    return ww_count_nonfinite(WW_DTYPE_F16, tune, n) == 0 &&
           ww_count_nonfinite(WW_DTYPE_F16, base, n) == 0;
}

void ww_rank_block_widen(struct ww_rank_block *b, size_t n_rows)
{
    const size_t n = n_rows * b->d;

    if (b->dtype == WW_DTYPE_BF16) {
        b->finite = widen_bf16(b->tune, b->base, n, b->delta, b->half);
    } else if (b->dtype == WW_DTYPE_F32) {
        b->finite = widen_f32(b->tune, b->base, n, b->delta, b->half);
    } else {
        b->finite = widen_f16(b->tune, b->base, n, b->delta, b->half);
    }
}

static double entropy(const uint32_t *counts, size_t n)
{
    double total = 0;
    double sum = 0;

    for (size_t s = 0; s < n; s++) {
        total += counts[s];
    }
    for (size_t s = 0; s < n; s++) {
        if (counts[s] > 0) {
            sum += counts[s] * ww_fix_log(total / counts[s]);
        }
    }
    return sum / LN_2;
}

double ww_rank_bits(enum ww_dtype dtype, const uint8_t *bytes, const uint8_t *prediction,
                    const uint8_t *base, size_t n)
{
    const struct ww_chunk_type type = ww_chunk_type_of(dtype);
    const unsigned width = type.width;
    uint32_t counts[WW_CHUNK_CONTEXTS][SYMBOLS] = {{0}};
    uint64_t n_raw = 0;
    double bits = 0;

    for (size_t i = 0; i < n; i++) {
        const uint64_t p = ww_ordered_load(prediction + width * i, width);
        const uint64_t e =
            ww_ordered_load(base + width * i, width) >> type.exponent_shift;
        const uint32_t folded = (uint32_t)ww_ordered_fold(
            ww_ordered_of(ww_ordered_load(bytes + width * i, width), width),
            ww_ordered_of(p, width), width);
        const unsigned symbol = ww_folded_symbol(folded);
        counts[e & (WW_CHUNK_CONTEXTS - 1)][symbol]++;
        n_raw += symbol < WW_FOLDED_DIRECT ? 0 : symbol / 4 - 2;
    }
    for (size_t c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        bits += entropy(counts[c], SYMBOLS);
    }
    return bits + (double)n_raw;
}
