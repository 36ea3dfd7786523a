/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block formats of GGUF, in single precision and the order of operations of the reference
 * implementation, so that results are equal bit for bit. A block format is one function
 * that gives every element a quantum (the step of its block), an integer and an offset.
 */
#include "model/convert.h"
#include "model/gguf.h"

#define MAX_BLOCK 256

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

/* value = step * q - least; without an offset least is 0 and not subtracted, because
 * -0.0 - 0 and -0.0 + 0 differ. */
struct block {
    float step[MAX_BLOCK / 16]; /* per run of `run` elements */
    float least[MAX_BLOCK / 16];
    int q[MAX_BLOCK];
    unsigned run;
    bool has_least;
};

static float half(const uint8_t *at)
{
    float v = 0;
    ww_to_float(WW_DTYPE_F16, at, &v, 1);
    return v;
}

static void nibbles(const uint8_t *qs, int shift, int *q)
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

static void split_q4_0(const uint8_t *b, struct block *out)
{
    out->step[0] = half(b);
    nibbles(b + 2, 8, out->q);
}

static void split_q4_1(const uint8_t *b, struct block *out)
{
    out->step[0] = half(b);
    out->least[0] = -half(b + 2);
    out->has_least = true;
    nibbles(b + 4, 0, out->q);
}

static void split_q5_0(const uint8_t *b, struct block *out)
{
    out->step[0] = half(b);
    nibbles(b + 6, 16, out->q);
    add_fifth(b + 2, out->q);
}

static void split_q5_1(const uint8_t *b, struct block *out)
{
    out->step[0] = half(b);
    out->least[0] = -half(b + 2);
    out->has_least = true;
    nibbles(b + 8, 0, out->q);
    add_fifth(b + 4, out->q);
}

static void split_q8_0(const uint8_t *b, struct block *out)
{
    out->step[0] = half(b);
    for (unsigned i = 0; i < 32; i++) {
        out->q[i] = (int8_t)b[2 + i];
    }
}

/* Eight pairs of six-bit scales and minima in twelve bytes: the first four whole, the
 * others with their upper two bits in the first eight bytes. */
static void split_scales(const uint8_t *b, struct block *out)
{
    const float d = half(b);
    const float least = half(b + 2);
    const uint8_t *s = b + 4;

    for (unsigned j = 0; j < 8; j++) {
        const unsigned scale =
            j < 4 ? s[j] & 63u : (s[j + 4] & 15u) | (unsigned)(s[j - 4] >> 6) << 4;
        const unsigned low = j < 4
                                 ? s[j + 4] & 63u
                                 : (unsigned)(s[j + 4] >> 4) | (unsigned)(s[j] >> 6) << 4;
        out->step[j] = d * (float)scale;
        out->least[j] = least * (float)low;
    }
    out->has_least = true;
}

static void split_q4_k(const uint8_t *b, struct block *out)
{
    split_scales(b, out);
    for (unsigned e = 0; e < 256; e++) {
        const uint8_t byte = b[16 + e / 64 * 32 + e % 32];
        out->q[e] = e / 32 % 2 ? byte >> 4 : byte & 15;
    }
}

static void split_q5_k(const uint8_t *b, struct block *out)
{
    split_scales(b, out);
    for (unsigned e = 0; e < 256; e++) {
        const uint8_t byte = b[48 + e / 64 * 32 + e % 32];
        out->q[e] =
            (e / 32 % 2 ? byte >> 4 : byte & 15) + ((b[16 + e % 32] >> e / 32 & 1) << 4);
    }
}

static void split_q6_k(const uint8_t *b, struct block *out)
{
    const float d = half(b + 208);

    for (unsigned j = 0; j < 16; j++) {
        out->step[j] = d * (float)(int8_t)b[192 + j];
    }
    for (unsigned e = 0; e < 256; e++) {
        const unsigned part = e % 128 / 32; /* of the half's four runs of 32 */
        const uint8_t low = b[e / 128 * 64 + part % 2 * 32 + e % 32];
        const uint8_t high = b[128 + e / 128 * 32 + e % 32];
        out->q[e] = ((part < 2 ? low & 15 : low >> 4) | (high >> 2 * part & 3) << 4) - 32;
    }
}

static const struct {
    void (*split)(const uint8_t *block, struct block *out);
    unsigned run;
} formats[WW_GGUF_TYPE_COUNT] = {
    [WW_GGUF_Q4_0] = {split_q4_0, 32}, [WW_GGUF_Q4_1] = {split_q4_1, 32},
    [WW_GGUF_Q5_0] = {split_q5_0, 32}, [WW_GGUF_Q5_1] = {split_q5_1, 32},
    [WW_GGUF_Q8_0] = {split_q8_0, 32}, [WW_GGUF_Q4_K] = {split_q4_k, 32},
    [WW_GGUF_Q5_K] = {split_q5_k, 32}, [WW_GGUF_Q6_K] = {split_q6_k, 16},
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
        struct block b = {.run = formats[type].run};
        formats[type].split(blocks, &b);
        for (unsigned e = 0; e < types[type].elements; e++) {
            const float v = b.step[e / b.run] * (float)b.q[e];
            *out++ = b.has_least ? v - b.least[e / b.run] : v;
        }
    }
}

void ww_gguf_steps(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   double *out)
{
    for (size_t i = 0; i < n_blocks && !formats[type].split; i++) {
        out[i] = 0;
    }
    for (size_t i = 0; i < n_blocks && formats[type].split; i++) {
        struct block b = {.run = formats[type].run};
        formats[type].split(blocks + i * types[type].bytes, &b);
        for (unsigned e = 0; e < types[type].elements; e++) {
            const double step = (double)b.step[e / b.run];
            *out++ = step < 0 ? -step : step;
        }
    }
}
