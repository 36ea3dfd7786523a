/* SPDX-License-Identifier: Apache-2.0 */
/* Bit patterns that sort like the numbers, and back. */
#include "merge/select.h"

#include <math.h>
#include <string.h>

#include "util/clones.h"
#include "util/float_bits.h"

static inline uint64_t key_of_double(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits & 0x7fffffffffffffffU;
}

static inline uint32_t key_of_float(double v)
{
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits & 0x7fffffff;
}

uint64_t ww_key_magnitude(double v, bool wide)
{
    return wide ? key_of_double(v) : key_of_float(v);
}

WW_CLONES void ww_key_magnitudes(const double *x, size_t n, bool wide, uint64_t *keys)
{
    if (wide) {
        for (size_t i = 0; i < n; i++) {
            keys[i] = key_of_double(x[i]);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        keys[i] = key_of_float(x[i]);
    }
}

WW_CLONES void ww_key_magnitudes32(const double *x, size_t n, uint32_t *keys)
{
    for (size_t i = 0; i < n; i++) {
        keys[i] = key_of_float(x[i]);
    }
}

uint64_t ww_key_signed(double v)
{
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

double ww_key_signed_value(uint64_t key)
{
    uint32_t bits = (uint32_t)key;
    float f;
    bits = bits & 0x80000000U ? bits & 0x7fffffff : ~bits;
    memcpy(&f, &bits, sizeof(f));
    return (double)f;
}

#define SIGN_BIT ((uint64_t)1 << 63)

uint64_t ww_key_signed_wide(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

double ww_key_signed_wide_value(uint64_t key)
{
    uint64_t bits = key & SIGN_BIT ? key ^ SIGN_BIT : ~key;
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

WW_CLONES uint32_t ww_keys_equal(const uint64_t *keys, size_t n, uint64_t key)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += keys[i] == key;
    }
    return (uint32_t)count;
}

static double double_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* The value of a key; infinity counts as the number that follows the largest. */
static double value_of(uint32_t key)
{
    const float f = ww_float_of_bits(key);
    return isinf(f) ? 0x1p128 : (double)f;
}

/* Between two floats the middle goes to the even one; sums of two floats are exact. */
double ww_key_least(uint64_t key)
{
    const uint64_t infinite = 0x7f800000;

    if (key == 0 || key > infinite) {
        return key == 0 ? 0 : (double)INFINITY;
    }
    const double middle = (value_of((uint32_t)key) + value_of((uint32_t)key - 1)) / 2;
    uint64_t bits;
    memcpy(&bits, &middle, sizeof(bits));
    return double_of(bits + (key & 1));
}
