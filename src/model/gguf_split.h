/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of GGUF taken apart: one function for each format. */
#ifndef WW_MODEL_GGUF_SPLIT_H
#define WW_MODEL_GGUF_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#define WW_GGUF_MAX_BLOCK 256
#define WW_GGUF_LEAST_RUN 16

/** value = step * q - least; without an offset least is 0 and not subtracted, because
 *  -0.0 - 0 and -0.0 + 0 differ. */
struct ww_gguf_block {
    float step[WW_GGUF_MAX_BLOCK / WW_GGUF_LEAST_RUN]; /* per run of `run` elements */
    float least[WW_GGUF_MAX_BLOCK / WW_GGUF_LEAST_RUN];
    int q[WW_GGUF_MAX_BLOCK];
    unsigned run;
    bool has_least;
    bool uneven; /* q comes from a list of values that are not evenly spaced: */
    uint8_t below[WW_GGUF_MAX_BLOCK]; /* from the next smaller value, 0: there is none */
    uint8_t above[WW_GGUF_MAX_BLOCK];
    float late; /* scale that was rounded to half precision after elements had been
                   divided by it; 0: before, or it is a power of two */
};

/** A half-precision number at any address. */
float ww_gguf_half(const uint8_t *at);
/** 32 numbers of four bits, the low ones first, less shift. */
void ww_gguf_nibbles(const uint8_t *qs, int shift, int *q);

/** Blocks of 256 with scales in them. */
void ww_gguf_split_q2_k(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_q3_k(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_q4_k(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_q5_k(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_q6_k(const uint8_t *b, struct ww_gguf_block *out);

/** Numbers that stand for values of a list, or are powers of three. */
void ww_gguf_split_iq4_nl(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_iq4_xs(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_mxfp4(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_tq1_0(const uint8_t *b, struct ww_gguf_block *out);
void ww_gguf_split_tq2_0(const uint8_t *b, struct ww_gguf_block *out);

#endif
