/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The non-linear cores of a block, on activations alone: what the reference forward pass
 * and the lock's self-check share. Double precision, fixed order of operations.
 */
#ifndef WW_ARCH_CORE_H
#define WW_ARCH_CORE_H

#include "weightward/layout.h"

/** Gains and biases of a norm, widened; arrays of width doubles or NULL. */
struct ww_norm_values {
    const double *gain;
    const double *bias;
};

/** y [width] = norm(x [width]); RMS or LayerNorm as the norm says. x may equal y. */
void ww_core_norm(const struct ww_norm *norm, struct ww_norm_values values,
                  const double *x, double *y, size_t width);

/** Rotary frequencies of an attention: cos and sin [n, r/2] for the positions, with the
 *  type's scaling (attention factor included). Reads the config once. */
struct ww_rope_table;
enum ww_err ww_rope_table_new(const struct ww_layout *layout,
                              const struct ww_attention *att, const uint64_t *positions,
                              size_t n, size_t sequence_length,
                              struct ww_rope_table **out,
                              struct ww_error *err) WW_MUST_USE;
void ww_rope_table_free(struct ww_rope_table *table);

/** What attention needs beside q, k, v. Arrays may be NULL when the model has none. */
struct ww_attention_values {
    struct ww_norm_values q_norm, k_norm;
    const double *sinks;         /* [H] */
    const double *relative_bias; /* [buckets, H] */
    const double *gate;          /* [n, H*d_v] gate activations before the sigmoid */
};

/**
 * Context [n, H*d_v] from projected q [n, H*d], k [m, G*d], v [m, G*d_v] (biases already
 * added): QK norm, clip, rotary, scores, cap, bias, mask, softmax, values. Everything
 * between the input projections and the output projection. q and k are overwritten.
 */
enum ww_err ww_core_attention(const struct ww_attention *att,
                              const struct ww_attention_values *values,
                              const struct ww_rope_table *q_rope,
                              const struct ww_rope_table *k_rope,
                              const uint64_t *q_positions, const uint64_t *k_positions,
                              double *q, double *k, const double *v, double *context,
                              size_t n, size_t m, struct ww_error *err) WW_MUST_USE;

/** h [n_neurons] = act(gate) * up, or act(up) when not gated (gate NULL). */
void ww_core_mlp(const struct ww_mlp *mlp, const double *gate, const double *up,
                 double *h);

/** Expert weights [n_experts] from the router's outputs: zero for those not chosen. Ties
 * at the border go to the lower index. correction [n_experts] may be NULL. */
void ww_core_route(const struct ww_moe *moe, const double *scores,
                   const double *correction, double *weights);

#endif
