/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums over k are made for many columns at once, each column by itself, so vectors of any
 * length give the same numbers as a plain loop.
 */
#include "rmm/rank.h"

#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define SPAN ((size_t)1024) /* columns at a time */
#define INLINE static inline __attribute__((always_inline))

bool ww_rank_dtype(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_BF16 || dtype == WW_DTYPE_F16;
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
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for the factors of a tensor");
    }
    return WW_OK;
}

void ww_rank_release(struct ww_rank *rank)
{
    ww_free(rank->b);
    ww_free(rank->a);
    memset(rank, 0, sizeof(*rank));
}

/* delta[j] = sum of b[k] a[k][j]; two at a time, in the same order, to load less. */
INLINE void sum_span(const float *b, const float *a, size_t stride, uint32_t r, size_t n,
                     float *delta)
{
    uint32_t k = 0;

    memset(delta, 0, n * sizeof(*delta));
    for (; k + 2 <= r; k += 2) {
        const float x = b[k];
        const float y = b[k + 1];
        const float *p = a + k * stride;
        const float *q = p + stride;
        for (size_t j = 0; j < n; j++) {
            const float one = delta[j] + x * p[j];
            delta[j] = one + y * q[j];
        }
    }
    for (; k < r; k++) {
        const float x = b[k];
        const float *p = a + k * stride;
        for (size_t j = 0; j < n; j++) {
            delta[j] += x * p[j];
        }
    }
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

/* n columns of one row. */
INLINE void predict_span(const struct ww_rank *t, uint64_t row, uint64_t column,
                         const uint8_t *from, uint8_t *out, size_t n)
{
    const uint32_t r = t->shape.rank;
    float delta[SPAN];

    sum_span(t->b + row * r, t->a + column, (size_t)t->columns, r, n, delta);
    if (t->dtype == WW_DTYPE_F16) {
        add_f16(delta, t->shape.product, from, out, n);
    } else if (t->shape.product) {
        add_bf16(delta, true, from, out, n);
    } else {
        add_bf16(delta, false, from, out, n);
    }
}

typedef void (*span_fn)(const struct ww_rank *t, uint64_t row, uint64_t column,
                        const uint8_t *from, uint8_t *out, size_t n);

static void span_any(const struct ww_rank *t, uint64_t row, uint64_t column,
                     const uint8_t *from, uint8_t *out, size_t n)
{
    predict_span(t, row, column, from, out, n);
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void span_avx2(const struct ww_rank *t,
                                                      uint64_t row, uint64_t column,
                                                      const uint8_t *from, uint8_t *out,
                                                      size_t n)
{
    predict_span(t, row, column, from, out, n);
}

static span_fn span_of_this_machine(void)
{
    return __builtin_cpu_supports("avx2") ? span_avx2 : span_any;
}
#else
static span_fn span_of_this_machine(void)
{
    return span_any;
}
#endif

void ww_rank_predict(const struct ww_rank *t, uint64_t at, const uint8_t *from,
                     uint8_t *out, size_t n_bytes)
{
    const span_fn span = span_of_this_machine();
    uint64_t row = at / 2 / t->columns;
    uint64_t column = at / 2 % t->columns;

    for (size_t i = 0; i < n_bytes / 2;) {
        const size_t n =
            (size_t)ww_min_u64(ww_min_u64(SPAN, t->columns - column), n_bytes / 2 - i);
        span(t, row, column, from + 2 * i, out + 2 * i, n);
        i += n;
        column += n;
        if (column == t->columns) {
            column = 0;
            row++;
        }
    }
}
