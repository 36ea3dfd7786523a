/* SPDX-License-Identifier: Apache-2.0 */
#include "rmm/rank_block.h"

#include <string.h>

#include "model/convert.h"
#include "rmm/chunk_folded.h"
#include "codec/ordered.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define SYMBOLS 64 /* of 16-bit numbers */
#define LN_2 0.693147180559945309

enum ww_err ww_rank_block_init(struct ww_rank_block *b, size_t room, size_t d,
                               struct ww_error *err)
{
    *b = (struct ww_rank_block){.room = room, .d = d};
    b->tune = ww_calloc(room, 2 * d);
    b->base = ww_calloc(room, 2 * d);
    b->delta = ww_calloc(room, d * sizeof(double));
    b->half = ww_calloc(room, d * sizeof(double));
    if (!b->tune || !b->base || !b->delta || !b->half) {
        ww_rank_block_release(b);
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for the rows of a tensor");
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
                               size_t row, size_t column, size_t i, struct ww_error *err)
{
    const uint64_t at = 2 * ((uint64_t)row * p->d + column);
    const enum ww_err rc =
        ww_pread_full(p->fd, b->tune + 2 * i * b->d, 2 * b->d, p->at + at, p->name, err);

    return rc ? rc
              : ww_pread_full(p->base_fd, b->base + 2 * i * b->d, 2 * b->d,
                              p->base_at + at, p->name, err);
}

/* Half the distance between numbers of each exponent. */
static void half_steps(struct ww_chunk_type type, double half[256])
{
    const int mantissa = (int)type.exponent_shift;
    const int bias = type.exponent_mask == 0xff ? 127 : 15;

    for (int e = 0; e <= (int)type.exponent_mask; e++) {
        const int power = (e > 0 ? e : 1) - bias - mantissa - 1;
        double x = 1;
        for (int i = 0; i < power; i++) {
            x *= 2;
        }
        for (int i = 0; i > power; i--) {
            x /= 2;
        }
        half[e] = x;
    }
}

void ww_rank_block_widen(struct ww_rank_block *b, enum ww_dtype dtype, size_t n_rows)
{
    const struct ww_chunk_type type = ww_chunk_type_of(dtype);
    const size_t n = n_rows * b->d;
    double half[256];

    half_steps(type, half);
    b->finite = ww_count_nonfinite(dtype, b->tune, n) == 0 &&
                ww_count_nonfinite(dtype, b->base, n) == 0;
    ww_to_double(dtype, b->tune, b->delta, n);
    ww_to_double(dtype, b->base, b->half, n);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)b->tune[2 * i] | (uint32_t)b->tune[2 * i + 1]
                                                             << 8;
        b->delta[i] -= b->half[i];
        b->half[i] = half[bits >> type.exponent_shift & type.exponent_mask];
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
    uint32_t counts[WW_CHUNK_CONTEXTS][SYMBOLS] = {{0}};
    uint64_t n_raw = 0;
    double bits = 0;

    for (size_t i = 0; i < n; i++) {
        const uint64_t p = ww_ordered_load(prediction + 2 * i, 2);
        const uint64_t e = ww_ordered_load(base + 2 * i, 2) >> type.exponent_shift;
        const uint32_t folded = (uint32_t)ww_ordered_fold(
            ww_ordered_of(ww_ordered_load(bytes + 2 * i, 2), 2), ww_ordered_of(p, 2), 2);
        const unsigned symbol = ww_folded_symbol(folded);
        counts[e & (WW_CHUNK_CONTEXTS - 1)][symbol]++;
        n_raw += symbol < WW_FOLDED_DIRECT ? 0 : symbol / 4 - 2;
    }
    for (size_t c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        bits += entropy(counts[c], SYMBOLS);
    }
    return bits + (double)n_raw;
}
