/* SPDX-License-Identifier: Apache-2.0 */
/* Formats whose numbers are no steps: places in a list of values, or digits of base
 * three. */
#include <string.h>

#include "model/gguf_split.h"

struct code {
    int8_t value;
    uint8_t below; /* distance of the next smaller value, 0: there is none */
    uint8_t above;
};

/* Denser around zero, as weights are. */
static const struct code non_linear[16] = {
    {-127, 0, 23}, {-104, 23, 21}, {-83, 21, 18}, {-65, 18, 16},
    {-49, 16, 14}, {-35, 14, 13},  {-22, 13, 12}, {-10, 12, 11},
    {1, 11, 12},   {13, 12, 12},   {25, 12, 13},  {38, 13, 15},
    {53, 15, 16},  {69, 16, 20},   {89, 20, 24},  {113, 24, 0}};

/* Twice the numbers of a sign, two bits of exponent and one of mantissa. */
static const struct code two_one[16] = {{0, 1, 1},  {1, 1, 1},  {2, 1, 1},  {3, 1, 1},
                                        {4, 1, 2},  {6, 2, 2},  {8, 2, 4},  {12, 4, 0},
                                        {0, 1, 1},  {-1, 1, 1}, {-2, 1, 1}, {-3, 1, 1},
                                        {-4, 2, 1}, {-6, 2, 2}, {-8, 4, 2}, {-12, 0, 4}};

static void look_up(const struct code *codes, const uint8_t *qs,
                    struct ww_gguf_block *out, unsigned first)
{
    ww_gguf_nibbles(qs, 0, out->q + first);
    for (unsigned e = first; e < first + 32; e++) {
        const struct code c = codes[out->q[e]];
        out->q[e] = c.value;
        out->below[e] = c.below;
        out->above[e] = c.above;
    }
    out->uneven = true;
}

void ww_gguf_split_iq4_nl(const uint8_t *b, struct ww_gguf_block *out)
{
    out->step[0] = out->late = ww_gguf_half(b);
    look_up(non_linear, b + 2, out, 0);
}

/* Eight scales of six bits: the upper two in 16 bits, the low four in four bytes. */
void ww_gguf_split_iq4_xs(const uint8_t *b, struct ww_gguf_block *out)
{
    const float d = ww_gguf_half(b);
    const int upper = b[2] | b[3] << 8;

    out->late = d;
    for (unsigned j = 0; j < 8; j++) {
        const int low = b[4 + j / 2] >> j % 2 * 4 & 15;
        out->step[j] = d * (float)((low | (upper >> 2 * j & 3) << 4) - 32);
        look_up(non_linear, b + 8 + 16 * j, out, 32 * j);
    }
}

/* The scale is a power of two, half of what its exponent says since values are doubled;
 * of the least two exponents that is subnormal. */
void ww_gguf_split_mxfp4(const uint8_t *b, struct ww_gguf_block *out)
{
    const uint32_t exponent = b[0];
    const uint32_t bits =
        exponent < 2 ? UINT32_C(0x00200000) << exponent : (exponent - 1) << 23;

    memcpy(&out->step[0], &bits, sizeof(bits));
    look_up(two_one, b + 1, out, 0);
}

/* Five digits of base three in a byte, as a fraction of 256: the n-th is the whole part
 * of three times what is left after n of them. */
static int digit(uint8_t byte, unsigned n)
{
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};

    return ((uint8_t)(byte * powers[n]) * 3 >> 8) - 1;
}

void ww_gguf_split_tq1_0(const uint8_t *b, struct ww_gguf_block *out)
{
    static const struct {
        unsigned bytes;
        unsigned digits;
    } parts[] = {{32, 5}, {16, 5}, {4, 4}};
    unsigned e = 0;
    const uint8_t *at = b;

    for (unsigned p = 0; p < 3; p++) {
        for (unsigned n = 0; n < parts[p].digits; n++) {
            for (unsigned i = 0; i < parts[p].bytes; i++) {
                out->q[e++] = digit(at[i], n);
            }
        }
        at += parts[p].bytes;
    }
    out->step[0] = ww_gguf_half(at);
}

void ww_gguf_split_tq2_0(const uint8_t *b, struct ww_gguf_block *out)
{
    for (unsigned e = 0; e < 256; e++) {
        out->q[e] = (b[e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3) - 1;
    }
    out->step[0] = ww_gguf_half(b + 64);
}
