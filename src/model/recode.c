/* SPDX-License-Identifier: Apache-2.0 */
/* All pairs by way of the bits of an F32, which holds either of the others exactly: so
 * there is one rounding at most. */
#include "model/recode.h"

#include <string.h>

#include "util/fail.h"

#define SIGN 0x80000000U
#define INFINITE 0x7f800000U
#define F16_BIAS (112U << 23)         /* what exponents differ by */
#define F16_LEAST_NORMAL (113U << 23) /* 2^-14, as bits of an F32 */
#define F16_LEAST (102U << 23)        /* 2^-25: half of the smallest subnormal */
#define F16_OVER 0x477ff000U          /* 65520: from here on infinity is nearest */

static inline uint32_t load_bf16(const uint8_t *at)
{
    uint16_t bits = 0;

    memcpy(&bits, at, sizeof(bits));
    return (uint32_t)bits << 16;
}

static inline uint32_t load_f16(const uint8_t *at)
{
    uint16_t bits = 0;

    memcpy(&bits, at, sizeof(bits));
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    const uint32_t body = bits & 0x7fff;
    if (body >= 0x7c00) {
        return sign | INFINITE | body << 13;
    }
    if (body >= 0x0400 || body == 0) {
        return sign | (body ? (body << 13) + F16_BIAS : 0);
    }
    const unsigned top = 31 - (unsigned)__builtin_clz(body);
    return sign | (top + 103) << 23 | (body << (23 - top) & 0x7fffff);
}

static inline uint32_t load_f32(const uint8_t *at)
{
    uint32_t bits = 0;

    memcpy(&bits, at, sizeof(bits));
    return bits;
}

/* Without the lowest bits, to nearest even. */
static inline uint32_t round_off(uint32_t bits, unsigned n)
{
    return (bits + (1U << (n - 1)) - 1 + (bits >> n & 1)) >> n;
}

static inline void store_bf16(uint32_t bits, uint8_t *at)
{
    const uint16_t nan = (uint16_t)((bits >> 16 & 0x8000) | 0x7fc0);
    const uint16_t rounded = (uint16_t)round_off(bits, 16);
    const uint16_t out = (bits & ~SIGN) > INFINITE ? nan : rounded;

    memcpy(at, &out, sizeof(out));
}

static inline uint32_t f16_of(uint32_t body)
{
    if (body > INFINITE) {
        return 0x7e00;
    }
    if (body >= F16_OVER) {
        return 0x7c00;
    }
    if (body >= F16_LEAST_NORMAL) {
        return round_off(body - F16_BIAS, 13);
    }
    return body < F16_LEAST ? 0
                            : round_off((body & 0x7fffff) | 0x800000, 126 - (body >> 23));
}

static inline void store_f16(uint32_t bits, uint8_t *at)
{
    const uint16_t out = (uint16_t)((bits >> 16 & 0x8000) | f16_of(bits & ~SIGN));

    memcpy(at, &out, sizeof(out));
}

static inline void store_f32(uint32_t bits, uint8_t *at)
{
    memcpy(at, &bits, sizeof(bits));
}

#define PAIR(from, n_from, to, n_to)                                                     \
    static void from##_to_##to(const uint8_t *src, uint8_t *dst, size_t n)               \
    {                                                                                    \
        for (size_t i = 0; i < n; i++) {                                                 \
            store_##to(load_##from(src + (n_from)*i), dst + (n_to)*i);                   \
        }                                                                                \
    }
PAIR(bf16, 2, f16, 2)
PAIR(bf16, 2, f32, 4)
PAIR(f16, 2, bf16, 2)
PAIR(f16, 2, f32, 4)
PAIR(f32, 4, bf16, 2)
PAIR(f32, 4, f16, 2)

static const struct pair {
    enum ww_dtype from;
    enum ww_dtype to;
    void (*recode)(const uint8_t *src, uint8_t *dst, size_t n);
} pairs[] = {
    {WW_DTYPE_BF16, WW_DTYPE_F16, bf16_to_f16},
    {WW_DTYPE_BF16, WW_DTYPE_F32, bf16_to_f32},
    {WW_DTYPE_F16, WW_DTYPE_BF16, f16_to_bf16},
    {WW_DTYPE_F16, WW_DTYPE_F32, f16_to_f32},
    {WW_DTYPE_F32, WW_DTYPE_BF16, f32_to_bf16},
    {WW_DTYPE_F32, WW_DTYPE_F16, f32_to_f16},
};

static const struct pair *find(enum ww_dtype from, enum ww_dtype to)
{
    for (size_t i = 0; i < WW_LEN(pairs); i++) {
        if (pairs[i].from == from && pairs[i].to == to) {
            return &pairs[i];
        }
    }
    return NULL;
}

bool ww_recodes(enum ww_dtype from, enum ww_dtype to)
{
    return find(from, to) != NULL;
}

void ww_recode(enum ww_dtype from, enum ww_dtype to, const uint8_t *src, uint8_t *dst,
               size_t n)
{
    const struct pair *pair = find(from, to);

    WW_INVARIANT(pair != NULL);
    pair->recode(src, dst, n);
}
