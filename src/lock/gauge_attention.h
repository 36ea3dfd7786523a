/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of the spaces that belong to an attention; part of the gauge. */
#ifndef WW_LOCK_GAUGE_ATTENTION_H
#define WW_LOCK_GAUGE_ATTENTION_H

#include "lock/gauge.h"

/** The two dimensions of rotary pair f. */
static inline void ww_rope_pair(enum ww_rope_style style, uint64_t rotary, uint64_t f,
                                uint64_t *i, uint64_t *j)
{
    *i = style == WW_ROPE_ADJACENT ? 2 * f : f;
    *j = style == WW_ROPE_ADJACENT ? 2 * f + 1 : f + rotary / 2;
}

/** space.owner is the attention. */
enum ww_err ww_gauge_attention(const struct ww_gauge *gauge, const struct ww_space *space,
                               struct ww_element *out, struct ww_error *err) WW_MUST_USE;

/* In-head elements. out comes as n_heads identities, perm counted inside the head
 * (0 .. width-1), and leaves with one element per KV head. */
enum ww_err ww_inner_qk(const struct ww_gauge *gauge, const struct ww_attention *att,
                        struct ww_element *out, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_inner_vo(const struct ww_gauge *gauge, const struct ww_attention *att,
                        struct ww_element *out, struct ww_error *err) WW_MUST_USE;
/* Latent attention: the part without rotary embedding, the rope part (one element for all
 * heads), the latents (out is one head as wide as the latent). */
enum ww_err ww_inner_nope(const struct ww_gauge *gauge, const struct ww_attention *att,
                          struct ww_element *out, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_inner_mla_rope(const struct ww_gauge *gauge,
                              const struct ww_attention *att, struct ww_element *out,
                              struct ww_error *err) WW_MUST_USE;
enum ww_err ww_inner_latent(const struct ww_gauge *gauge, const struct ww_attention *att,
                            bool query, struct ww_element *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
