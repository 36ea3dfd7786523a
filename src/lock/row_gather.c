/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs are flipped by XOR and factors added to the exponent field, so no value is ever
 * rounded. A value is finite iff its exponent field is not all ones: adding one unit of
 * that field to the magnitude then does not carry into the sign bit, which costs an AND,
 * an ADD and an OR per element and no branch.
 *
 * Gathers run in blocks: all loads of a block, then signs, check and store as vectors.
 * Measured on rows of 1536 to 8960 bf16 elements that is 2 to 3 times as fast as one
 * element at a time; 16-bit column numbers save cache where the row is short enough.
 */
#include "lock/row_gather.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define BLOCK 8

/* name, element type, index type, magnitude bits, one unit of the exponent field */
#define DEFINE_GATHER(name, T, I)                                                        \
    static T name(T *restrict out, const uint8_t *restrict in, const I *restrict index,  \
                  const T *restrict mask, T flip, T unit, size_t n)                      \
    {                                                                                    \
        const T magnitude = (T)((T)-1 >> 1);                                             \
        T carry[BLOCK] = {0};                                                            \
        T all = 0;                                                                       \
        size_t j = 0;                                                                    \
        for (; j + BLOCK <= n; j += BLOCK) {                                             \
            T x[BLOCK];                                                                  \
            for (size_t k = 0; k < BLOCK; k++) {                                         \
                memcpy(&x[k], in + sizeof(T) * (size_t)index[j + k], sizeof(T));         \
            }                                                                            \
            for (size_t k = 0; k < BLOCK; k++) {                                         \
                x[k] = (T)(x[k] ^ mask[j + k] ^ flip);                                   \
                carry[k] = (T)(carry[k] | (T)((x[k] & magnitude) + unit));               \
            }                                                                            \
            memcpy(out + j, x, sizeof(x));                                               \
        }                                                                                \
        for (size_t k = 0; k < BLOCK; k++) {                                             \
            all = (T)(all | carry[k]);                                                   \
        }                                                                                \
        for (; j < n; j++) {                                                             \
            T x;                                                                         \
            memcpy(&x, in + sizeof(T) * (size_t)index[j], sizeof(T));                    \
            x = (T)(x ^ mask[j] ^ flip);                                                 \
            all = (T)(all | (T)((x & magnitude) + unit));                                \
            out[j] = x;                                                                  \
        }                                                                                \
        return all;                                                                      \
    }

DEFINE_GATHER(gather_16_narrow, uint16_t, uint16_t)
DEFINE_GATHER(gather_16_wide, uint16_t, uint32_t)
DEFINE_GATHER(gather_32_narrow, uint32_t, uint16_t)
DEFINE_GATHER(gather_32_wide, uint32_t, uint32_t)
DEFINE_GATHER(gather_64_narrow, uint64_t, uint16_t)
DEFINE_GATHER(gather_64_wide, uint64_t, uint32_t)

/* Columns stay: signs and the check in place, on the copied row. */
#define DEFINE_FLIP(name, T)                                                             \
    static T name(T *restrict out, const T *restrict mask, T flip, T unit, size_t n)     \
    {                                                                                    \
        const T magnitude = (T)((T)-1 >> 1);                                             \
        T all = 0;                                                                       \
        for (size_t j = 0; j < n; j++) {                                                 \
            const T x = (T)(out[j] ^ mask[j] ^ flip);                                    \
            all = (T)(all | (T)((x & magnitude) + unit));                                \
            out[j] = x;                                                                  \
        }                                                                                \
        return all;                                                                      \
    }

DEFINE_FLIP(flip_16, uint16_t)
DEFINE_FLIP(flip_32, uint32_t)
DEFINE_FLIP(flip_64, uint64_t)

static unsigned width_of(enum ww_dtype dtype)
{
    return ww_dtype_bits(dtype) / 8;
}

/* Bits of the mantissa field. */
static unsigned mantissa_of(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_BF16  ? 7
           : dtype == WW_DTYPE_F16 ? 10
           : dtype == WW_DTYPE_F32 ? 23
                                   : 52;
}

static enum ww_err fill_mask(struct ww_row_gather *gather, const struct ww_element *cols,
                             struct ww_error *err)
{
    const unsigned width = width_of(gather->dtype);
    uint8_t *mask = ww_calloc(gather->n, width);

    gather->mask = mask;
    if (!mask) {
        return WW_FAIL_MEMORY(err, "the signs of a row");
    }
    for (size_t j = 0; j < gather->n && cols->perm; j++) {
        mask[(j + 1) * width - 1] = cols->neg[j] ? 0x80 : 0;
    }
    return WW_OK;
}

static enum ww_err fill_index(struct ww_row_gather *gather, const struct ww_element *cols,
                              struct ww_error *err)
{
    const bool narrow = gather->n <= UINT16_MAX + UINT64_C(1);

    if (narrow) {
        gather->narrow = ww_calloc(gather->n, sizeof(*gather->narrow));
    } else {
        gather->wide = ww_calloc(gather->n, sizeof(*gather->wide));
    }
    if (!gather->narrow && !gather->wide) {
        return WW_FAIL_MEMORY(err, "the columns of a row");
    }
    for (size_t j = 0; j < gather->n; j++) {
        if (narrow) {
            gather->narrow[j] = (uint16_t)cols->perm[j];
        } else {
            gather->wide[j] = cols->perm[j];
        }
    }
    return WW_OK;
}

static enum ww_err fill_exponents(struct ww_row_gather *gather,
                                  const struct ww_element *cols, struct ww_error *err)
{
    gather->exp = ww_calloc(gather->n, 1);
    if (!gather->exp) {
        return WW_FAIL_MEMORY(err, "the factors of a row");
    }
    memcpy(gather->exp, cols->exp, gather->n);
    return WW_OK;
}

enum ww_err ww_row_gather_init(struct ww_row_gather *gather, enum ww_dtype dtype,
                               const struct ww_element *cols, struct ww_error *err)
{
    bool moves = false;
    bool scales = false;
    enum ww_err rc = WW_OK;

    memset(gather, 0, sizeof(*gather));
    gather->dtype = dtype;
    gather->n = cols->n;
    for (uint32_t j = 0; j < cols->n && cols->perm; j++) {
        moves = moves || cols->perm[j] != j;
        scales = scales || cols->exp[j] != 0;
    }
    rc = fill_mask(gather, cols, err);
    if (!rc && moves) {
        rc = fill_index(gather, cols, err);
    }
    if (!rc && scales) {
        rc = fill_exponents(gather, cols, err);
    }
    if (rc) {
        ww_row_gather_release(gather);
    }
    return rc;
}

void ww_row_gather_release(struct ww_row_gather *gather)
{
    ww_free(gather->narrow);
    ww_free(gather->wide);
    ww_free(gather->mask);
    ww_free(gather->exp);
    memset(gather, 0, sizeof(*gather));
}

static bool run_16(const struct ww_row_gather *g, bool neg, const void *in, uint16_t *out)
{
    const uint16_t flip = neg ? 0x8000 : 0;
    const uint16_t unit = (uint16_t)(1u << mantissa_of(g->dtype));
    const uint16_t carry =
        g->narrow ? gather_16_narrow(out, in, g->narrow, g->mask, flip, unit, g->n)
        : g->wide ? gather_16_wide(out, in, g->wide, g->mask, flip, unit, g->n)
                  : flip_16(memcpy(out, in, 2 * g->n), g->mask, flip, unit, g->n);
    return !(carry & 0x8000);
}

static bool run_32(const struct ww_row_gather *g, bool neg, const void *in, uint32_t *out)
{
    const uint32_t flip = neg ? UINT32_C(1) << 31 : 0;
    const uint32_t unit = UINT32_C(1) << mantissa_of(g->dtype);
    const uint32_t carry =
        g->narrow ? gather_32_narrow(out, in, g->narrow, g->mask, flip, unit, g->n)
        : g->wide ? gather_32_wide(out, in, g->wide, g->mask, flip, unit, g->n)
                  : flip_32(memcpy(out, in, 4 * g->n), g->mask, flip, unit, g->n);
    return !(carry >> 31);
}

static bool run_64(const struct ww_row_gather *g, bool neg, const void *in, uint64_t *out)
{
    const uint64_t flip = neg ? UINT64_C(1) << 63 : 0;
    const uint64_t unit = UINT64_C(1) << mantissa_of(g->dtype);
    const uint64_t carry =
        g->narrow ? gather_64_narrow(out, in, g->narrow, g->mask, flip, unit, g->n)
        : g->wide ? gather_64_wide(out, in, g->wide, g->mask, flip, unit, g->n)
                  : flip_64(memcpy(out, in, 8 * g->n), g->mask, flip, unit, g->n);
    return !(carry >> 63);
}

bool ww_row_gather(const struct ww_row_gather *gather, bool neg, const void *in,
                   void *out)
{
    switch (width_of(gather->dtype)) {
    case 2:
        return run_16(gather, neg, in, out);
    case 4:
        return run_32(gather, neg, in, out);
    default:
        return run_64(gather, neg, in, out);
    }
}

static uint64_t load(const void *row, unsigned width, size_t j)
{
    uint64_t bits = 0;
    memcpy(&bits, (const uint8_t *)row + j * width, width); /* little-endian */
    return bits;
}

bool ww_row_scale(const struct ww_row_gather *gather, int exp, void *out, size_t *at)
{
    const unsigned width = width_of(gather->dtype);
    const unsigned mantissa = mantissa_of(gather->dtype);
    const uint64_t sign = UINT64_C(1) << (8 * width - 1);
    const int64_t top = (int64_t)((sign - 1) >> mantissa); /* infinity's field */

    for (size_t j = 0; j < gather->n; j++) {
        const int64_t by = exp + (gather->exp ? gather->exp[j] : 0);
        const uint64_t bits = load(out, width, j);
        const uint64_t magnitude = bits & (sign - 1);
        const int64_t field = (int64_t)(magnitude >> mantissa);
        if (by == 0 || magnitude == 0) {
            continue;
        }
        if (field == 0 || field + by < 1 || field + by >= top) {
            *at = j;
            return false;
        }
        const uint64_t moved = bits + (uint64_t)by * (UINT64_C(1) << mantissa);
        memcpy((uint8_t *)out + j * width, &moved, width);
    }
    return true;
}

size_t ww_row_first_nonfinite(enum ww_dtype dtype, const void *row, size_t n)
{
    const unsigned width = width_of(dtype);
    const uint64_t sign = UINT64_C(1) << (8 * width - 1);
    const uint64_t unit = UINT64_C(1) << mantissa_of(dtype);

    for (size_t j = 0; j < n; j++) {
        if (((load(row, width, j) & (sign - 1)) + unit) & sign) {
            return j;
        }
    }
    return n;
}
