/* SPDX-License-Identifier: Apache-2.0 */
/* The K formats: super-blocks of 256, whose scales are small integers times a half. */
#include "model/gguf_split.h"

/* Two bits of each of 256 elements: two runs of 32 bytes, in which each pair of bits is a
 * run of 32 elements. */
static unsigned two_bits(const uint8_t *qs, unsigned e)
{
    return (unsigned)qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3u;
}

void ww_gguf_split_q2_k(const uint8_t *b, struct ww_gguf_block *out)
{
    const float d = ww_gguf_half(b + 80);
    const float least = ww_gguf_half(b + 82);

    for (unsigned j = 0; j < 16; j++) {
        out->step[j] = d * (float)(b[j] & 15);
        out->least[j] = least * (float)(b[j] >> 4);
    }
    for (unsigned e = 0; e < 256; e++) {
        out->q[e] = (int)two_bits(b + 16, e);
    }
    out->has_least = true;
}

/* Sixteen scales of six bits: eight bytes hold the low four of two each, four bytes the
 * upper two of four each. */
void ww_gguf_split_q3_k(const uint8_t *b, struct ww_gguf_block *out)
{
    const uint8_t *s = b + 96;
    const float d = ww_gguf_half(b + 108);

    for (unsigned j = 0; j < 16; j++) {
        const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
        const int high = s[8 + j % 4] >> j / 4 * 2 & 3;
        out->step[j] = d * (float)((low | high << 4) - 32);
    }
    for (unsigned e = 0; e < 256; e++) {
        const int third = b[e % 32] >> e / 32 & 1;
        out->q[e] = (int)two_bits(b + 32, e) - (third ? 0 : 4);
    }
}

/* Eight pairs of six-bit scales and minima in twelve bytes: the first four whole, the
 * others with their upper two bits in the first eight bytes. */
static void split_scales(const uint8_t *b, struct ww_gguf_block *out)
{
    const float d = ww_gguf_half(b);
    const float least = ww_gguf_half(b + 2);
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

void ww_gguf_split_q4_k(const uint8_t *b, struct ww_gguf_block *out)
{
    split_scales(b, out);
    for (unsigned e = 0; e < 256; e++) {
        const uint8_t byte = b[16 + e / 64 * 32 + e % 32];
        out->q[e] = e / 32 % 2 ? byte >> 4 : byte & 15;
    }
}

void ww_gguf_split_q5_k(const uint8_t *b, struct ww_gguf_block *out)
{
    split_scales(b, out);
    for (unsigned e = 0; e < 256; e++) {
        const uint8_t byte = b[48 + e / 64 * 32 + e % 32];
        out->q[e] =
            (e / 32 % 2 ? byte >> 4 : byte & 15) + ((b[16 + e % 32] >> e / 32 & 1) << 4);
    }
}

void ww_gguf_split_q6_k(const uint8_t *b, struct ww_gguf_block *out)
{
    const float d = ww_gguf_half(b + 208);

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
