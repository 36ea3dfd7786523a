/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the forward pass: tensors that are held, linear maps on them, stacks of blocks.
 */
#ifndef WW_ARCH_FORWARD_IMPL_H
#define WW_ARCH_FORWARD_IMPL_H

#include "weightward/forward.h"

struct ww_fw_held {
    uint32_t tensor;
    void *bytes;
};

struct ww_forward {
    const struct ww_layout *layout;
    struct ww_weights source;
    struct ww_fw_held *held; /* got from source, released together */
    size_t n_held;
    size_t held_capacity;
    double **wide; /* per tensor, widened for good; NULL: nothing is kept */
};

/** A tensor's elements; a borrow that ends with ww_fw_release. */
struct ww_fw_view {
    const struct ww_tensor *tensor;
    const void *bytes;
    enum ww_dtype dtype; /* F64 when the tensor is kept */
};

/** Get a tensor, or find it among those held. WW_E_QUANTISED for other than floats. */
enum ww_err ww_fw_get(struct ww_forward *f, uint32_t tensor, struct ww_fw_view *out,
                      struct ww_error *err) WW_MUST_USE;
/** Give back everything that is held. */
void ww_fw_release(struct ww_forward *f);
/** Keep all tensors widened when they take at most max_bytes; *kept says so. */
enum ww_err ww_fw_keep(struct ww_forward *f, uint64_t max_bytes, bool *kept,
                       struct ww_error *err) WW_MUST_USE;

/** rows * cols zeroed doubles. */
enum ww_err ww_fw_alloc(double **out, uint64_t rows, uint64_t cols,
                        struct ww_error *err) WW_MUST_USE;
/** All n elements of a tensor as fresh doubles; *out stays NULL for WW_NONE. */
enum ww_err ww_fw_vector(struct ww_forward *f, uint32_t tensor, uint64_t n, double **out,
                         struct ww_error *err) WW_MUST_USE;
/** y [n, width] = norm(x [n, width]); may be the same array. */
enum ww_err ww_fw_norm(struct ww_forward *f, const struct ww_norm *norm, const double *x,
                       double *y, size_t n, uint64_t width,
                       struct ww_error *err) WW_MUST_USE;

/** How many outputs a map has. */
enum ww_err ww_fw_linear_size(const struct ww_forward *f, const struct ww_linear *linear,
                              uint64_t *n_out, uint64_t *n_in,
                              struct ww_error *err) WW_MUST_USE;
/** y [n, n_out] = W x + b for the rows of x [n, n_in]. WW_E_SHAPE when the map has other
 *  sizes. */
enum ww_err ww_fw_linear(struct ww_forward *f, const struct ww_linear *linear,
                         const double *x, size_t n, uint64_t n_in, double *y,
                         uint64_t n_out, struct ww_error *err) WW_MUST_USE;

/** Projected keys and values of earlier positions (before norm and rotation, so that the
 *  result does not depend on how a sequence was cut into calls). */
struct ww_fw_past {
    double *k; /* [capacity, G*d] */
    double *v; /* [capacity, G*d_v] */
    uint64_t *positions;
    size_t n;
    size_t capacity;
};

/** What an attention reads: normed rows, and the rows that they look at. */
struct ww_fw_attended {
    const double *x;           /* [n, D] */
    const uint64_t *positions; /* [n] */
    size_t n;
    const double *source; /* [m, D]: x, or the encoder's output */
    size_t m;
    struct ww_fw_past *past; /* grows by n; NULL: nothing is kept */
};

/** y [n, D] = self or cross attention. */
enum ww_err ww_fw_attention(struct ww_forward *f, const struct ww_attention *att,
                            const struct ww_fw_attended *in, double *y,
                            struct ww_error *err) WW_MUST_USE;
/** The MLP or the experts of a block on normed rows. */
enum ww_err ww_fw_feed(struct ww_forward *f, const struct ww_block *block,
                       const double *x, size_t n, double *y,
                       struct ww_error *err) WW_MUST_USE;

/** What a block reads beside the stream. */
struct ww_fw_context {
    const uint64_t *positions; /* [n] */
    size_t n;
    const double *encoder; /* [m, D], for cross-attentions; NULL: none */
    size_t m;
    struct ww_fw_past *past; /* of its self-attention; NULL: nothing is kept */
};

/** Tokens that go through a stack together. */
struct ww_fw_tokens {
    const uint32_t *tokens; /* [n], at positions start, start + 1, ... */
    size_t n;
    uint64_t start;
    const double *encoder; /* [m, D], for cross-attentions; NULL: none */
    size_t m;
    struct ww_fw_past *pasts; /* one per block of the stack; NULL: nothing is kept */
};

/** As ww_forward_block, with the past of its self-attention. */
enum ww_err ww_fw_block(struct ww_forward *f, uint32_t block,
                        const struct ww_fw_context *in, const double *x, double *y,
                        struct ww_error *err) WW_MUST_USE;
/** Embeddings to final norm: hidden [n, D]. */
enum ww_err ww_fw_stack(struct ww_forward *f, uint32_t stack,
                        const struct ww_fw_tokens *in, double *hidden,
                        struct ww_error *err) WW_MUST_USE;
/** Logits [n, V] of hidden rows, which are overwritten. */
enum ww_err ww_fw_head(struct ww_forward *f, double *hidden, size_t n, double *logits,
                       struct ww_error *err) WW_MUST_USE;
/** The stack that writes the logits, and the encoder that it reads (or WW_NONE). */
enum ww_err ww_fw_roles(const struct ww_forward *f, uint32_t *main, uint32_t *encoder,
                        struct ww_error *err) WW_MUST_USE;

#endif
