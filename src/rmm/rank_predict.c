/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over k are those of la/exact.h: each element by itself and in order, so vectors of
 * any length give the same numbers as a plain loop.
 */
#include "rmm/rank.h"

#include <math.h>
#include <string.h>

#include "codec/ordered.h"
#include "la/exact.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define SPAN ((size_t)256) /* columns at a time, */
#define TALL ((size_t)32)  /* of so many rows */
#define INLINE static inline __attribute__((always_inline))

bool ww_rank_dtype(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_BF16 || dtype == WW_DTYPE_F16 || dtype == WW_DTYPE_F32;
}

uint64_t ww_rank_b_bytes(const struct ww_pack_rank *shape)
{
    return 4 * shape->rows * shape->rank;
}

uint64_t ww_rank_a_bytes(const struct ww_pack_rank *shape, uint64_t columns)
{
    return 4 * columns * shape->rank;
}

enum ww_err ww_rank_init(struct ww_rank *rank, const struct ww_pack_rank *shape,
                         uint64_t columns, enum ww_dtype dtype, struct ww_error *err)
{
    *rank = (struct ww_rank){.shape = *shape, .columns = columns, .dtype = dtype};
    rank->b = ww_calloc((size_t)shape->rows, shape->rank * sizeof(float));
    rank->a = ww_calloc((size_t)columns, shape->rank * sizeof(float));
    if (!rank->b || !rank->a) {
        ww_rank_release(rank);
        return WW_FAIL_MEMORY(err, "the factors of a tensor");
    }
    return WW_OK;
}

void ww_rank_release(struct ww_rank *rank)
{
    ww_free(rank->b);
    ww_free(rank->a);
    memset(rank, 0, sizeof(*rank));
}

/* To nearest even; what is no number becomes 0. */
INLINE uint32_t round_bf16(float x)
{
    uint32_t bits = 0;

    memcpy(&bits, &x, sizeof(bits));
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (bits & 0x7fffffff) > 0x7f800000 ? 0 : rounded;
}

INLINE float widen_bf16(uint32_t bits)
{
    const uint32_t wide = bits << 16;
    float x = 0;

    memcpy(&x, &wide, sizeof(x));
    return x;
}

INLINE void add_bf16(const float *delta, bool product, const uint8_t *from, uint8_t *out,
                     size_t n)
{
    for (size_t j = 0; j < n; j++) {
        uint16_t base = 0;
        memcpy(&base, from + 2 * j, sizeof(base));
        const float d = product ? widen_bf16(round_bf16(delta[j])) : delta[j];
        const uint16_t bits = (uint16_t)round_bf16(widen_bf16(base) + d);
        memcpy(out + 2 * j, &bits, sizeof(bits));
    }
}

static void round_f16(double x, uint8_t out[2])
{
    x = x == x ? x : 0;
    ww_from_double(WW_DTYPE_F16, &x, out, 1);
}

static void add_f16(const float *delta, bool product, const uint8_t *from, uint8_t *out,
                    size_t n)
{
    for (size_t j = 0; j < n; j++) {
        uint8_t bits[2];
        float base = 0;
        float d = delta[j];
        ww_to_float(WW_DTYPE_F16, from + 2 * j, &base, 1);
        if (product) {
            round_f16((double)d, bits);
            ww_to_float(WW_DTYPE_F16, bits, &d, 1);
        }
        round_f16((double)(base + d), out + 2 * j);
    }
}

static void add_f32(const float *delta, const uint8_t *from, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        float base = 0;
        memcpy(&base, from + 4 * j, sizeof(base));
        const float sum = base + delta[j];
        const float number = sum == sum ? sum : 0;
        memcpy(out + 4 * j, &number, sizeof(number));
    }
}

INLINE void add_row(enum ww_dtype dtype, bool product, const float *delta,
                    const uint8_t *from, uint8_t *out, size_t n)
{
    if (dtype == WW_DTYPE_F16) {
        add_f16(delta, product, from, out, n);
    } else if (dtype == WW_DTYPE_F32) {
        add_f32(delta, from, out, n);
    } else if (product) {
        add_bf16(delta, true, from, out, n);
    } else {
        add_bf16(delta, false, from, out, n);
    }
}

/* What is made of a row's products and the base's numbers. */
typedef void (*add_fn)(enum ww_dtype dtype, bool product, const float *delta,
                       const uint8_t *from, uint8_t *out, size_t n);

static void add_any(enum ww_dtype dtype, bool product, const float *delta,
                    const uint8_t *from, uint8_t *out, size_t n)
{
    add_row(dtype, product, delta, from, out, n);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void add_avx2(enum ww_dtype dtype, bool product,
                                                     const float *delta,
                                                     const uint8_t *from, uint8_t *out,
                                                     size_t n)
{
    add_row(dtype, product, delta, from, out, n);
}

static add_fn add_of_this_machine(void)
{
    return __builtin_cpu_supports("avx2") ? add_avx2 : add_any;
}
#else
static add_fn add_of_this_machine(void)
{
    return add_any;
}
#endif

/* Some columns of some rows. */
struct area {
    uint64_t row;
    uint64_t n_rows;
    uint64_t column;
    uint64_t n;
};

/* An area of TALL rows and SPAN columns at most; from and out begin at its first number.
 */
static void predict_block(const struct ww_rank *t, add_fn add, const struct area *at,
                          const uint8_t *from, uint8_t *out)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    const size_t columns = (size_t)t->columns;
    float delta[TALL * SPAN];

    ww_exact_gemm_f32((size_t)at->n_rows, (size_t)at->n, t->shape.rank,
                      t->b + at->row * t->shape.rank, t->shape.rank, t->a + at->column,
                      columns, 0, delta, SPAN);
    for (size_t i = 0; i < at->n_rows; i++) {
        add(t->dtype, t->shape.product, delta + i * SPAN, from + i * columns * width,
            out + i * columns * width, (size_t)at->n);
    }
}

/* An area in blocks that stay in the cache. */
static void predict_area(const struct ww_rank *t, add_fn add, const struct area *area,
                         const uint8_t *from, uint8_t *out)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;

    for (uint64_t i = 0; i < area->n_rows; i += TALL) {
        for (uint64_t j = 0; j < area->n; j += SPAN) {
            const struct area block = {area->row + i, ww_min_u64(TALL, area->n_rows - i),
                                       area->column + j, ww_min_u64(SPAN, area->n - j)};
            const size_t at = (size_t)(i * t->columns + j) * width;
            predict_block(t, add, &block, from + at, out + at);
        }
    }
}

static void predict_with(const struct ww_rank *t, add_fn add, uint64_t at,
                         const uint8_t *from, uint8_t *out, size_t n_bytes)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    const uint64_t n = n_bytes / width;

    for (uint64_t i = 0; i < n;) {
        const uint64_t column = (at / width + i) % t->columns;
        const bool whole = column == 0 && n - i >= t->columns;
        const struct area area = {.row = (at / width + i) / t->columns,
                                  .n_rows = whole ? (n - i) / t->columns : 1,
                                  .column = column,
                                  .n = whole ? t->columns
                                             : ww_min_u64(t->columns - column, n - i)};
        predict_area(t, add, &area, from + i * width, out + i * width);
        i += area.n_rows * area.n;
    }
}

void ww_rank_predict(const struct ww_rank *t, uint64_t at, const uint8_t *from,
                     uint8_t *out, size_t n_bytes)
{
    predict_with(t, add_of_this_machine(), at, from, out, n_bytes);
}

/* Of a product that is rounded to BF16 first, where it goes over x: the middle of the
 * cell that x lies in. x is seldom within one, since sums have fewer bits than products;
 * on a number of BF16 the middle is above it or below. */
static float middle_of_cell(float x, bool above)
{
    const uint32_t half = 0x8000;
    uint32_t bits = 0;

    memcpy(&bits, &x, sizeof(bits));
    if ((bits & 0xffff) != 0) {
        bits = (bits & 0xffff0000U) | half;
    } else if (above == (bits >> 31 == 0)) {
        bits |= half;
    } else {
        bits = bits << 1 == 0 ? (bits ^ 0x80000000U) | half : bits - half;
    }
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* Where the product would have to lie for the number to be on the edge between p and the
 * neighbour above or below it. A sum on the edge is rounded to the even one of both. */
static float edge_to(enum ww_dtype dtype, bool product, float base, uint16_t p, bool up)
{
    const uint64_t order = ww_ordered_of(p, 2) + (up ? 1 : 0xffff);
    const uint16_t neighbour = (uint16_t)ww_ordered_bits(order & 0xffff, 2);
    float one = 0;
    float other = 0;

    ww_to_float(dtype, (const uint8_t *)&p, &one, 1);
    ww_to_float(dtype, (const uint8_t *)&neighbour, &other, 1);
    const float edge = (one + other) * 0.5F - base;
    return product && dtype == WW_DTYPE_BF16 ? middle_of_cell(edge, up == (p % 2 == 0))
                                             : edge;
}

static uint16_t hint_of(enum ww_dtype dtype, bool product, float d, const uint8_t *from)
{
    uint16_t bits = 0;
    float base = 0;
    uint32_t distance = 0;

    if (dtype == WW_DTYPE_F16) {
        add_f16(&d, product, from, (uint8_t *)&bits, 1);
    } else {
        add_bf16(&d, product, from, (uint8_t *)&bits, 1);
    }
    ww_to_float(dtype, from, &base, 1);
    const float up = fabsf(edge_to(dtype, product, base, bits, true) - d);
    const float down = fabsf(edge_to(dtype, product, base, bits, false) - d);
    const float near = down < up ? down : up;
    if (!(near >= 0)) {
        return 2 * (WW_RANK_HINTS - 1);
    }
    memcpy(&distance, &near, sizeof(distance));
    return (uint16_t)(distance >> 22 << 1 | (down < up));
}

static void hint_row(enum ww_dtype dtype, bool product, const float *delta,
                     const uint8_t *from, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        const uint16_t hint = hint_of(dtype, product, delta[j], from + 2 * j);
        memcpy(out + 2 * j, &hint, sizeof(hint));
    }
}

bool ww_rank_hints(const struct ww_rank *t, uint64_t at, const uint8_t *from,
                   uint16_t *hints, size_t n_bytes)
{
    if (ww_dtype_bits(t->dtype) != 16) {
        return false;
    }
    predict_with(t, hint_row, at, from, (uint8_t *)hints, n_bytes);
    return true;
}
