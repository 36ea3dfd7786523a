/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The reference forward pass: plain loops in double precision over the stored weights.
 * Slow and simple on purpose: it is the definition that checks compare with.
 */
#ifndef WEIGHTWARD_FORWARD_H
#define WEIGHTWARD_FORWARD_H

#include "weightward/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Where weights come from. NULL means the model's own files. A checker passes a function
 * that transforms on the way: it gives the tensor's bytes in *bytes (to be freed with
 * release), same dtype and shape.
 */
struct ww_weights {
    enum ww_err (*get)(void *payload, uint32_t tensor, void **bytes,
                       struct ww_error *err);
    void (*release)(void *payload, uint32_t tensor, void *bytes);
    void *payload;
};

struct ww_forward;
/**
 * A forward pass of the layout's model. layout, and weights (may be NULL) with what they
 * point to, are borrowed until it is freed; *out is the caller's. Nothing is read yet.
 * One thread at a time. Sums run in a fixed order: the same numbers on every machine with
 * the same libm. WW_E_USAGE, WW_E_NOMEM.
 */
WW_API enum ww_err ww_forward_new(const struct ww_layout *layout,
                                  const struct ww_weights *weights,
                                  struct ww_forward **out,
                                  struct ww_error *err) WW_MUST_USE;
WW_API void ww_forward_free(struct ww_forward *forward);

/**
 * One block: x [n, D] (row-major) at positions[n] becomes y [n, D]. encoder [m, D] is
 * read by cross-attention and may be NULL without one. x and y may be the same array.
 * Memory: one block's weights. WW_E_USAGE, WW_E_UNSUPPORTED for a block that the pass
 * does not cover, WW_E_SHAPE, WW_E_QUANTISED, WW_E_NOMEM.
 */
WW_API enum ww_err ww_forward_block(struct ww_forward *forward, uint32_t block,
                                    const double *x, double *y, const uint64_t *positions,
                                    size_t n, const double *encoder, size_t m,
                                    struct ww_error *err) WW_MUST_USE;

/**
 * Logits [n, V] of a causal or masked language model, or of an encoder-decoder when
 * encoder_tokens is given (n_encoder of them). WW_E_UNSUPPORTED for other tasks.
 * Positions are 0 .. n-1.
 */
WW_API enum ww_err ww_forward_logits(struct ww_forward *forward, const uint32_t *tokens,
                                     size_t n, const uint32_t *encoder_tokens,
                                     size_t n_encoder, double *logits,
                                     struct ww_error *err) WW_MUST_USE;
/** Numbers in a row of logits, V. */
WW_API uint64_t ww_forward_vocab(const struct ww_forward *forward);

/** Hidden state [n, D] behind the last block and final norm (headless encoders too); of
 * the encoder when the model has an encoder and a decoder. Errors as of ww_forward_block.
 */
WW_API enum ww_err ww_forward_hidden(struct ww_forward *forward, const uint32_t *tokens,
                                     size_t n, double *hidden,
                                     struct ww_error *err) WW_MUST_USE;

/** Greedy continuation: tokens has room for n + max_new; stops behind eos (UINT32_MAX: no
 *  eos). *n_out is the new length. Keeps the weights of all blocks in memory as double
 *  when they take at most 512 MiB, else reads them again per token. WW_E_UNSUPPORTED for
 *  models that do not continue text, WW_E_USAGE without a token, else as of
 *  ww_forward_block. */
WW_API enum ww_err ww_forward_greedy(struct ww_forward *forward, uint32_t *tokens,
                                     size_t n, size_t max_new, uint32_t eos,
                                     size_t *n_out, struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
