/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of two numbers of BF16 are exact in fp64, so that what is left to the order of
 * a sum is little; the order is fixed all the same, since a factor has to be the same
 * bytes everywhere.
 */
#include "rmm/shared.h"

#include <string.h>

#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define MOST_NUMBERS (UINT64_C(1) << 28) /* of basis and part, a gibibyte of floats */
#define BLOCK ((size_t)256)

/* Numbers of a place. */
static uint64_t each(const struct ww_pack_shared *s, uint64_t n)
{
    return n / s->places;
}

static uint64_t basis_numbers(const struct ww_pack_shared *s, uint64_t n)
{
    return s->codec == WW_SHARED_ROWS ? (s->directions + UINT64_C(1)) * n
                                      : s->places * s->directions;
}

static uint64_t own_numbers(const struct ww_pack_shared *s, uint64_t n)
{
    return s->codec == WW_SHARED_ROWS ? s->places * s->directions
                                      : each(s, n) * s->directions;
}

bool ww_shared_fits(const struct ww_pack_shared *s, uint64_t n)
{
    return n > 0 && n <= MOST_NUMBERS && s->places > 0 && n % s->places == 0 &&
           s->directions > 0 && s->directions <= WW_SHARED_MOST &&
           basis_numbers(s, n) + own_numbers(s, n) <= MOST_NUMBERS;
}

uint64_t ww_shared_basis_bytes(const struct ww_pack_shared *s, uint64_t n)
{
    return 2 * basis_numbers(s, n);
}

uint64_t ww_shared_own_bytes(const struct ww_pack_shared *s, uint64_t n)
{
    return 2 * own_numbers(s, n);
}

enum ww_err ww_shared_init(struct ww_shared *t, const struct ww_pack_shared *shape,
                           enum ww_dtype dtype, uint64_t n, struct ww_error *err)
{
    *t = (struct ww_shared){.shape = *shape, .dtype = dtype, .n = n};
    t->basis = ww_calloc((size_t)basis_numbers(shape, n), sizeof(*t->basis));
    t->own = ww_calloc((size_t)own_numbers(shape, n), sizeof(*t->own));
    if (!t->basis || !t->own) {
        ww_shared_release(t);
        return WW_FAIL_MEMORY(err, "what adapters share");
    }
    return WW_OK;
}

void ww_shared_release(struct ww_shared *t)
{
    ww_free(t->basis);
    ww_free(t->own);
    memset(t, 0, sizeof(*t));
}

static double number(const struct ww_shared *t, uint64_t e)
{
    const uint64_t place =
        t->shape.is_b ? e / each(&t->shape, t->n) : e % t->shape.places;
    const float *own = t->own + place * t->shape.directions;
    double sum = (double)t->basis[e];

    for (uint32_t j = 0; j < t->shape.directions; j++) {
        sum += (double)own[j] * (double)t->basis[(j + UINT64_C(1)) * t->n + e];
    }
    return sum == sum ? sum : 0;
}

static void predict_rows(const struct ww_shared *t, uint64_t first, uint8_t *out,
                         size_t n)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    double block[BLOCK];

    for (size_t at = 0; at < n; at += BLOCK) {
        const size_t some = n - at < BLOCK ? n - at : BLOCK;
        for (size_t i = 0; i < some; i++) {
            block[i] = number(t, first + at + i);
        }
        ww_from_double(t->dtype, block, out + at * width, some);
    }
}

static void predict_core(const struct ww_shared *t, uint64_t at, uint8_t *out, size_t n)
{
    const bool is_b = t->shape.is_b;
    const uint64_t inner = each(&t->shape, t->n);
    const struct ww_rank product = {
        .shape = {.rank = t->shape.directions, .rows = is_b ? t->shape.places : inner},
        .columns = is_b ? inner : t->shape.places,
        .dtype = t->dtype,
        .b = is_b ? t->basis : t->own,
        .a = is_b ? t->own : t->basis};

    memset(out, 0, n);
    ww_rank_predict(&product, at, out, out, n);
}

void ww_shared_predict(const struct ww_shared *t, uint64_t at, uint8_t *out, size_t n)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;

    if (t->shape.codec == WW_SHARED_ROWS) {
        predict_rows(t, at / width, out, n / width);
    } else {
        predict_core(t, at, out, n);
    }
}
