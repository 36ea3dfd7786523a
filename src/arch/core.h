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

/** Projected queries or keys, biases added, and what they meet before the scores. */
struct ww_attention_rows {
    double *rows;              /* [n, heads*d], overwritten */
    const uint64_t *positions; /* [n]; of keys of another sequence not read */
    size_t n;
    const struct ww_rope_table *rope; /* of these positions; NULL: not turned */
    struct ww_norm_values norm;
};

/** What attention reads. Arrays behind v may be NULL when the model has none. */
struct ww_attention_inputs {
    struct ww_attention_rows q;  /* n rows of H heads */
    struct ww_attention_rows k;  /* m rows of G heads */
    const double *v;             /* [m, G*d_v] */
    const double *sinks;         /* [H] */
    const double *relative_bias; /* [buckets, H] */
    const double *gate;          /* [n, H*d_v] gate activations before the sigmoid */
};

/**
 * Context [n, H*d_v] from projected queries, keys and values: QK norm, clip, rotary,
 * scores, cap, bias, mask, softmax, values. Everything between the input projections and
 * the output projection.
 */
enum ww_err ww_core_attention(const struct ww_attention *att,
                              const struct ww_attention_inputs *in, double *context,
                              struct ww_error *err) WW_MUST_USE;

/** h [n_neurons] = act(gate) * up, or act(up) when not gated (gate NULL). */
void ww_core_mlp(const struct ww_mlp *mlp, const double *gate, const double *up,
                 double *h);

/** Expert weights [n_experts] from the router's outputs: zero for those not chosen. Ties
 * at the border go to the lower index. correction [n_experts] may be NULL. */
void ww_core_route(const struct ww_moe *moe, const double *scores,
                   const double *correction, double *weights);

#endif
