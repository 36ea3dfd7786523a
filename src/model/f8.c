/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "FP8 formats for deep learning" (arXiv 2209.05433): E4M3 has no infinity and one NaN,
 * E5M2 is IEEE-like. Both have subnormals.
 */
#include "model/f8.h"

#include <math.h>
#include <string.h>

struct format {
    int mantissa; /* bits */
    int bias;
    double unbias; /* 2^(127 - bias) */
};

static struct format format_of(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_F8_E4M3 ? (struct format){3, 7, 0x1p120}
                                     : (struct format){2, 15, 0x1p112};
}

bool ww_is_eight_bit(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_F8_E4M3 || dtype == WW_DTYPE_F8_E5M2 || dtype == WW_DTYPE_I8;
}

/* Exponent of the last mantissa bit. */
static int last_bit(struct format f, unsigned exponent)
{
    return (int)(exponent ? exponent : 1) - f.bias - f.mantissa;
}

double ww_eight_bit_value(enum ww_dtype dtype, uint8_t byte)
{
    const struct format f = format_of(dtype);
    const unsigned body = byte & 127;
    const unsigned exponent = body >> f.mantissa;
    const unsigned fraction = body & ((1u << f.mantissa) - 1);
    uint32_t bits = 0;
    float narrow = 0;
    double v = 0;

    if (dtype == WW_DTYPE_I8) {
        return (int8_t)byte;
    }
    if (dtype == WW_DTYPE_F8_E4M3 ? body == 127 : exponent == 31) {
        return dtype == WW_DTYPE_F8_E4M3 || fraction ? (double)NAN : (double)INFINITY;
    }
    /* As a float of the same bits, which is too small by the biases' difference. */
    bits = body << (23 - f.mantissa);
    memcpy(&narrow, &bits, sizeof(narrow));
    v = (double)narrow * f.unbias;
    return byte & 128 ? -v : v;
}

double ww_eight_bit_step(enum ww_dtype dtype, uint8_t byte)
{
    const struct format f = format_of(dtype);

    return dtype == WW_DTYPE_I8 ? 1 : ldexp(1, last_bit(f, (byte & 127u) >> f.mantissa));
}

static bool is_last(enum ww_dtype dtype, uint8_t byte)
{
    const unsigned body = byte & 127;

    return dtype == WW_DTYPE_I8        ? body == 127 || byte == 128 || byte == 129
           : dtype == WW_DTYPE_F8_E4M3 ? body >= 126
                                       : body >= 123;
}

void ww_eight_bit_cell(enum ww_dtype dtype, uint8_t byte, double *low, double *high)
{
    const double v = ww_eight_bit_value(dtype, byte);
    const double out = ww_eight_bit_step(dtype, byte) / 2;
    const uint8_t body = byte & 127;
    /* To the next one of smaller magnitude; of zero to that of the other sign. */
    const double in = dtype == WW_DTYPE_I8 || body == 0
                          ? out
                          : ww_eight_bit_step(dtype, (uint8_t)(body - 1)) / 2;
    const bool minus = dtype == WW_DTYPE_I8 ? v < 0 : (byte & 128) != 0;
    const double far = is_last(dtype, byte) ? HUGE_VAL : out;

    *low = v - (minus ? far : in);
    *high = v + (minus ? in : far);
}
