/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every loop is branch-free integer and float work on unaligned loads, so that compilers
 * turn it into vector code; this is the hot path of a self-check. Narrowing from double
 * must round once. A cast to float first and a second rounding later would err on ties,
 * so the float is first rounded to odd (Boldo and Melquiond, "When double rounding is
 * odd", 2005): an inexact float keeps its last bit set, and with at least two spare bits
 * the second rounding then gives what a single one would. Assumes the default rounding
 * mode and no flush to zero.
 */
#include "model/convert.h"

#include <string.h>

#include "util/clones.h"
#include "util/fail.h"
#include "util/float_bits.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "weights are little-endian; a big-endian host needs byte swaps here");

static inline uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline uint16_t load_u16(const uint8_t *p, size_t i)
{
    uint16_t v;
    memcpy(&v, p + 2 * i, sizeof(v));
    return v;
}

/* Both sides are always computed: a conditional with float work in one branch would stay
 * a branch, because that work may raise a flag, and the loop around it would stay scalar.
 */
static inline uint32_t pick(bool first, uint32_t a, uint32_t b)
{
    uint32_t mask = (uint32_t)0 - (uint32_t)first;
    return (a & mask) | (b & ~mask);
}

static inline float float_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t body = h & 0x7fff;
    uint32_t normal = (body << 13) + (112U << 23);
    uint32_t special = body << 13 | 0x7f800000U;
    /* A subnormal is its 10 bits times 2^-24, and that product is exact. */
    uint32_t small = bits_of_float((float)(int32_t)body * 0x1p-24F);
    uint32_t bits = pick(body >= 0x7c00, special, normal);
    return ww_float_of_bits(sign | pick(body < 0x0400, small, bits));
}

static inline uint64_t magnitude(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits & 0x7fffffffffffffffU;
}

static inline bool is_nan(double d)
{
    return magnitude(d) > 0x7ff0000000000000U;
}

/* Round a double to float with the last bit as sticky bit; not for NaN. Magnitudes of
 * doubles compare like their bits. */
static inline uint32_t odd_float_bits(double d)
{
    float f = (float)d;
    uint64_t back = magnitude((double)f);
    uint64_t from = magnitude(d);
    return (bits_of_float(f) - (uint32_t)(back > from)) | (uint32_t)(back != from);
}

static inline uint16_t bf16_of_double(double d)
{
    uint32_t bits = odd_float_bits(d);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    uint32_t nan = (bits_of_float((float)d) >> 16 & 0x8000) | 0x7fc0;
    return (uint16_t)pick(is_nan(d), nan, rounded);
}

static inline uint16_t f16_of_double(double d)
{
    uint32_t bits = odd_float_bits(d);
    uint32_t sign = bits_of_float((float)d) >> 16 & 0x8000;
    uint32_t body = bits & 0x7fffffff;
    uint32_t shifted = body - (112U << 23);
    uint32_t normal = (shifted + 0xfff + (shifted >> 13 & 1)) >> 13;
    /* Adding 0.5 puts the last place at 2^-24, the grid of the subnormals. */
    uint32_t small = bits_of_float(ww_float_of_bits(body) + 0.5F) - bits_of_float(0.5F);
    uint32_t half = pick(body < 113U << 23, small, normal);
    half = pick(half > 0x7c00, 0x7c00, half);
    return (uint16_t)(sign | pick(is_nan(d), 0x7e00, half));
}

WW_CLONES static void widen_bf16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = ww_float_of_bf16(load_u16(src, i));
    }
}

WW_CLONES static void widen_f16(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = float_of_f16(load_u16(src, i));
    }
}

WW_CLONES static void widen_bf16_double(const uint8_t *src, double *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = (double)ww_float_of_bf16(load_u16(src, i));
    }
}

WW_CLONES static void widen_f16_double(const uint8_t *src, double *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dst[i] = (double)float_of_f16(load_u16(src, i));
    }
}

static void float_of_f64(const uint8_t *src, float *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double d;
        memcpy(&d, src + sizeof(d) * i, sizeof(d));
        dst[i] = (float)d;
    }
}

static void double_of_f32(const uint8_t *src, double *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, src + sizeof(f) * i, sizeof(f));
        dst[i] = (double)f;
    }
}

WW_CLONES static void narrow_any_bf16(const double *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = bf16_of_double(src[i]);
        memcpy(dst + sizeof(h) * i, &h, sizeof(h));
    }
}

/* The 24 digits of a float, the last one sticky as above: where the exponent is a normal
 * one of floats the cast is exact, and what is left are halves of vectors. Adding the
 * digits that are lost to themselves, all ones, carries a one if there is any. */
#define DIGITS_LOST ((UINT64_C(1) << 29) - 1)
#define LEAST_NORMAL 0x00800000U /* 2^-126: a smaller bfloat16 has fewer digits */
#define END_NORMAL 0x7f000000U   /* 2^127: a larger one may round to infinity */

/* False, and dst is worth nothing, when a value is neither between them nor 0. */
WW_CLONES static bool narrow_normal_bf16(const double *src, uint8_t *dst, size_t n)
{
    uint32_t least = UINT32_MAX; /* of magnitudes less one: 0 comes last */
    uint32_t most = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t wide;
        double odd;
        memcpy(&wide, &src[i], sizeof(wide));
        wide = (wide | ((wide & DIGITS_LOST) + DIGITS_LOST)) & ~DIGITS_LOST;
        memcpy(&odd, &wide, sizeof(odd));
        const uint32_t bits = bits_of_float((float)odd);
        const uint32_t body = bits & 0x7fffffff;
        const uint32_t less = body - 1;
        const uint16_t h = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        least = less < least ? less : least;
        most = body > most ? body : most;
        memcpy(dst + sizeof(h) * i, &h, sizeof(h));
    }
    return least >= LEAST_NORMAL - 1 && most < END_NORMAL;
}

#define NARROW_STEP ((size_t)256)
static void narrow_bf16(const double *src, uint8_t *dst, size_t n)
{
    for (size_t at = 0; at < n; at += NARROW_STEP) {
        const size_t step = n - at < NARROW_STEP ? n - at : NARROW_STEP;
        if (!narrow_normal_bf16(src + at, dst + 2 * at, step)) {
            narrow_any_bf16(src + at, dst + 2 * at, step);
        }
    }
}

WW_CLONES static void narrow_f16(const double *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h = f16_of_double(src[i]);
        memcpy(dst + sizeof(h) * i, &h, sizeof(h));
    }
}

static void narrow_f32(const double *src, uint8_t *dst, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float f = (float)src[i];
        memcpy(dst + sizeof(f) * i, &f, sizeof(f));
    }
}

void ww_to_float(enum ww_dtype dtype, const void *src, float *dst, size_t n)
{
    WW_INVARIANT(ww_dtype_is_plain_float(dtype));
    if (n == 0) {
        return;
    }
    if (dtype == WW_DTYPE_BF16) {
        widen_bf16(src, dst, n);
    } else if (dtype == WW_DTYPE_F16) {
        widen_f16(src, dst, n);
    } else if (dtype == WW_DTYPE_F32) {
        memcpy(dst, src, n * sizeof(*dst));
    } else {
        float_of_f64(src, dst, n);
    }
}

void ww_to_double(enum ww_dtype dtype, const void *src, double *dst, size_t n)
{
    WW_INVARIANT(ww_dtype_is_plain_float(dtype));
    if (n == 0) {
        return;
    }
    if (dtype == WW_DTYPE_BF16) {
        widen_bf16_double(src, dst, n);
    } else if (dtype == WW_DTYPE_F16) {
        widen_f16_double(src, dst, n);
    } else if (dtype == WW_DTYPE_F32) {
        double_of_f32(src, dst, n);
    } else {
        memcpy(dst, src, n * sizeof(*dst));
    }
}

void ww_from_double(enum ww_dtype dtype, const double *src, void *dst, size_t n)
{
    WW_INVARIANT(ww_dtype_is_plain_float(dtype));
    if (n == 0) {
        return;
    }
    if (dtype == WW_DTYPE_BF16) {
        narrow_bf16(src, dst, n);
    } else if (dtype == WW_DTYPE_F16) {
        narrow_f16(src, dst, n);
    } else if (dtype == WW_DTYPE_F32) {
        narrow_f32(src, dst, n);
    } else {
        memcpy(dst, src, n * sizeof(*src));
    }
}

/* One loop per width; an exponent of all ones is NaN or infinity in each format. */
WW_CLONES static uint64_t nonfinite_16(const uint8_t *src, size_t n, uint16_t exponent)
{
    uint64_t total = 0;
    while (n > 0) {
        /* A short count per block keeps the inner sum in narrow vector lanes. */
        size_t block = n < 32768 ? n : 32768;
        uint16_t count = 0;
        for (size_t i = 0; i < block; i++) {
            count = (uint16_t)(count + ((load_u16(src, i) & exponent) == exponent));
        }
        total += count;
        src += 2 * block;
        n -= block;
    }
    return total;
}

WW_CLONES static uint64_t nonfinite_32(const uint8_t *src, size_t n)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t v;
        memcpy(&v, src + sizeof(v) * i, sizeof(v));
        total += (v & 0x7f800000U) == 0x7f800000U;
    }
    return total;
}

WW_CLONES static uint64_t nonfinite_64(const uint8_t *src, size_t n)
{
    const uint64_t exponent = 0x7ff0000000000000U;
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t v;
        memcpy(&v, src + sizeof(v) * i, sizeof(v));
        total += (v & exponent) == exponent;
    }
    return total;
}

uint64_t ww_count_nonfinite(enum ww_dtype dtype, const void *src, size_t n)
{
    WW_INVARIANT(ww_dtype_is_plain_float(dtype));
    if (dtype == WW_DTYPE_BF16) {
        return nonfinite_16(src, n, 0x7f80);
    }
    if (dtype == WW_DTYPE_F16) {
        return nonfinite_16(src, n, 0x7c00);
    }
    return dtype == WW_DTYPE_F32 ? nonfinite_32(src, n) : nonfinite_64(src, n);
}
