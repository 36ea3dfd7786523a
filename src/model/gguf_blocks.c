/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block formats of GGUF, in single precision and the order of operations of the reference
 * implementation, so that results are equal bit for bit. A block format is one function
 * that gives every element a quantum (the step of its block), an integer and an offset.
 */
#include <math.h>

#include "model/convert.h"
#include "model/f8.h"
#include "model/gguf.h"
#include "model/gguf_split.h"

struct type_row {
    const char *name;
    unsigned elements;
    unsigned bytes;
};

static const struct type_row types[WW_GGUF_TYPE_COUNT] = {
#define TYPE_ROW(name, number, elements, bytes)                                          \
    [WW_GGUF_##name] = {#name, elements, bytes},
    WW_GGUF_TYPE_LIST(TYPE_ROW)
#undef TYPE_ROW
};

const char *ww_gguf_type_name(enum ww_gguf_type type)
{
    return (unsigned)type < WW_GGUF_TYPE_COUNT ? types[type].name : "?";
}

unsigned ww_gguf_block_elements(enum ww_gguf_type type)
{
    return types[type].elements;
}

unsigned ww_gguf_block_bytes(enum ww_gguf_type type)
{
    return types[type].bytes;
}

float ww_gguf_half(const uint8_t *at)
{
    float v = 0;
    ww_to_float(WW_DTYPE_F16, at, &v, 1);
    return v;
}

void ww_gguf_nibbles(const uint8_t *qs, int shift, int *q)
{
    for (unsigned i = 0; i < 16; i++) {
        q[i] = (qs[i] & 15) - shift;
        q[i + 16] = (qs[i] >> 4) - shift;
    }
}

/* The fifth bits of 32 elements. */
static void add_fifth(const uint8_t *qh, int *q)
{
    for (unsigned i = 0; i < 32; i++) {
        q[i] += (qh[i / 8] >> i % 8 & 1) << 4;
    }
}

static void split_q4_0(const uint8_t *b, struct ww_gguf_block *out)
{
    out->step[0] = out->late = ww_gguf_half(b);
    ww_gguf_nibbles(b + 2, 8, out->q);
}

static void split_q4_1(const uint8_t *b, struct ww_gguf_block *out)
{
    out->step[0] = out->late = ww_gguf_half(b);
    out->least[0] = -ww_gguf_half(b + 2);
    out->has_least = true;
    ww_gguf_nibbles(b + 4, 0, out->q);
}

static void split_q5_0(const uint8_t *b, struct ww_gguf_block *out)
{
    out->step[0] = out->late = ww_gguf_half(b);
    ww_gguf_nibbles(b + 6, 16, out->q);
    add_fifth(b + 2, out->q);
}

static void split_q5_1(const uint8_t *b, struct ww_gguf_block *out)
{
    out->step[0] = out->late = ww_gguf_half(b);
    out->least[0] = -ww_gguf_half(b + 2);
    out->has_least = true;
    ww_gguf_nibbles(b + 8, 0, out->q);
    add_fifth(b + 4, out->q);
}

static void split_q8_0(const uint8_t *b, struct ww_gguf_block *out)
{
    out->step[0] = out->late = ww_gguf_half(b);
    for (unsigned i = 0; i < 32; i++) {
        out->q[i] = (int8_t)b[2 + i];
    }
}

static const struct {
    void (*split)(const uint8_t *block, struct ww_gguf_block *out);
    unsigned run;
    int least; /* of the numbers; beyond them values are cut off */
    int most;
} formats[WW_GGUF_TYPE_COUNT] = {
    [WW_GGUF_Q4_0] = {split_q4_0, 32, -8, 7},
    [WW_GGUF_Q4_1] = {split_q4_1, 32, 0, 15},
    [WW_GGUF_Q5_0] = {split_q5_0, 32, -16, 15},
    [WW_GGUF_Q5_1] = {split_q5_1, 32, 0, 31},
    [WW_GGUF_Q8_0] = {split_q8_0, 32, -127, 127},
    [WW_GGUF_Q2_K] = {ww_gguf_split_q2_k, 16, 0, 3},
    [WW_GGUF_Q3_K] = {ww_gguf_split_q3_k, 16, -4, 3},
    [WW_GGUF_Q4_K] = {ww_gguf_split_q4_k, 32, 0, 15},
    [WW_GGUF_Q5_K] = {ww_gguf_split_q5_k, 32, 0, 31},
    [WW_GGUF_Q6_K] = {ww_gguf_split_q6_k, 16, -32, 31},
    [WW_GGUF_IQ4_NL] = {ww_gguf_split_iq4_nl, 32, 0, 0},
    [WW_GGUF_IQ4_XS] = {ww_gguf_split_iq4_xs, 32, 0, 0},
    [WW_GGUF_TQ1_0] = {ww_gguf_split_tq1_0, 256, -1, 1},
    [WW_GGUF_TQ2_0] = {ww_gguf_split_tq2_0, 256, -1, 1},
    [WW_GGUF_MXFP4] = {ww_gguf_split_mxfp4, 32, 0, 0},
};

static enum ww_dtype plain(enum ww_gguf_type type)
{
    return type == WW_GGUF_F32   ? WW_DTYPE_F32
           : type == WW_GGUF_F16 ? WW_DTYPE_F16
                                 : WW_DTYPE_BF16;
}

void ww_gguf_to_float(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                      float *out)
{
    if (!formats[type].split) {
        ww_to_float(plain(type), blocks, out, n_blocks);
        return;
    }
    for (size_t i = 0; i < n_blocks; i++, blocks += types[type].bytes) {
        struct ww_gguf_block b = {.run = formats[type].run};
        formats[type].split(blocks, &b);
        for (unsigned e = 0; e < types[type].elements; e++) {
            const float v = b.step[e / b.run] * (float)b.q[e];
            *out++ = b.has_least ? v - b.least[e / b.run] : v;
        }
    }
}

/* Distances to the neighbours below and above, in steps; 0: there is none. */
static void neighbours(const struct ww_gguf_block *b, enum ww_gguf_type type, unsigned e,
                       double *below, double *above)
{
    *below = b->uneven ? b->below[e] : b->q[e] > formats[type].least;
    *above = b->uneven ? b->above[e] : b->q[e] < formats[type].most;
}

void ww_gguf_steps(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   double *out)
{
    for (size_t i = 0; i < n_blocks && !formats[type].split; i++) {
        out[i] = 0;
    }
    for (size_t i = 0; i < n_blocks && formats[type].split; i++) {
        struct ww_gguf_block b = {.run = formats[type].run};
        formats[type].split(blocks + i * types[type].bytes, &b);
        for (unsigned e = 0; e < types[type].elements; e++) {
            double below = 0;
            double above = 0;
            neighbours(&b, type, e, &below, &above);
            const double step =
                fabs((double)b.step[e / b.run]) *
                (below > 0 && above > 0 ? (below + above) / 2 : below + above);
            *out++ = step > 0 ? step : WW_STEP_LOST;
        }
    }
}

/* A scale below zero turns sides around; one of zero leaves nothing of a value. */
void ww_gguf_cells(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   const float *values, double *low, double *high)
{
    size_t at = 0;

    for (size_t i = 0; i < n_blocks && !formats[type].split; i++, at++) {
        low[at] = high[at] = (double)values[at];
    }
    for (size_t i = 0; i < n_blocks && formats[type].split; i++) {
        struct ww_gguf_block b = {.run = formats[type].run};
        formats[type].split(blocks + i * types[type].bytes, &b);
        for (unsigned e = 0; e < types[type].elements; e++, at++) {
            const double step = (double)b.step[e / b.run];
            double below = 0;
            double above = 0;
            neighbours(&b, type, e, &below, &above);
            const double left = step > 0 ? below : above;
            const double right = step > 0 ? above : below;
            const double half = fabs(step) / 2;
            low[at] = half * left > 0 ? (double)values[at] - half * left : -HUGE_VAL;
            high[at] = half * right > 0 ? (double)values[at] + half * right : HUGE_VAL;
        }
    }
}

/* Half of the last bit of a half-precision number. */
static double half_error(float v)
{
    return v > 0 || v < 0 ? ldexp(1, (int)fmax(ilogb((double)v), -14) - 11) : 0x1p-25;
}

void ww_gguf_slack(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   double *out)
{
    for (size_t i = 0; i < n_blocks && !formats[type].split; i++) {
        out[i] = 0;
    }
    for (size_t i = 0; i < n_blocks && formats[type].split; i++) {
        struct ww_gguf_block b = {.run = formats[type].run};
        formats[type].split(blocks + i * types[type].bytes, &b);
        const bool late = b.late > 0 || b.late < 0;
        const double part = late ? half_error(b.late) / fabs((double)b.late) : 0;
        const double least = late && b.has_least ? half_error(b.least[0]) : 0;
        for (unsigned e = 0; e < types[type].elements; e++) {
            *out++ = fabs((double)b.step[e / b.run] * b.q[e]) * part + least;
        }
    }
}
