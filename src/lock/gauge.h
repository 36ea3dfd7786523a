/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A gauge: the transform that a lock key means on a layout. It hands out the element of
 * any space, drawn when asked for, so that its memory does not grow with the model.
 *
 * Not for concurrent use. Borrows the layout.
 */
#ifndef WW_LOCK_GAUGE_H
#define WW_LOCK_GAUGE_H

#include "crypto/secret.h"
#include "lock/cells.h"
#include "lock/element.h"

/* X(name, text): structural faults. Checks apply them on purpose and demand that the
 * model then answers differently; a lock never has one. */
#define WW_WRONG_LIST(X)                                                                 \
    X(NONE, "none")                                                                      \
    X(PAIRING, "pairing")   /* quarter turns on the other rotary pairing */              \
    X(FLIP, "flip")         /* one element of each rotary pair changes sign */           \
    X(HEADS, "heads")       /* query heads change their KV group; ALiBi heads move */    \
    X(GATE, "gate")         /* signs on the gate; on neurons without one */              \
    X(RESIDUAL, "residual") /* signs under LayerNorm, factors under RMSNorm */           \
    X(EXPERTS, "experts")   /* experts move, router rows stay */

enum ww_wrong {
#define WW_WRONG_ENUM(name, text) WW_WRONG_##name,
    WW_WRONG_LIST(WW_WRONG_ENUM)
#undef WW_WRONG_ENUM
        WW_WRONG_COUNT
};
const char *ww_wrong_name(enum ww_wrong wrong);

/** Elements that were not drawn from a key but found by comparing weights. Those without
 *  arrays stay. */
struct ww_gauge_given {
    struct ww_element *spaces;  /* n_spaces */
    struct ww_element *neurons; /* n_mlps: experts in one tensor share a space */
};

struct ww_gauge {
    const struct ww_layout *layout;
    struct ww_secret *prk;
    const struct ww_gauge_given *given; /* borrowed; then the rest below is not used */
    bool scale;                         /* powers of two */
    bool even_heads; /* one factor for all dimensions that a dense lock mixes, so that
                        the condition of its matrices stays what it is */
    enum ww_wrong wrong;
    const struct ww_cell_source *cells; /* matrices on top; NULL: none */
    struct ww_element residual;         /* of the model's stream */
    /* per stack; those without a stream of their own are empty */
    struct ww_element *towers;
};

/** Draw the residual element and keep the PRK. secret is borrowed for the call. With
 * scale, WW_E_UNSUPPORTED when a tensor that moves is F16, which has no room for factors.
 */
enum ww_err ww_gauge_init(struct ww_gauge *gauge, const struct ww_layout *layout,
                          struct ww_secret *secret, bool scale, enum ww_wrong wrong,
                          struct ww_error *err) WW_MUST_USE;
void ww_gauge_release(struct ww_gauge *gauge);

/** The element of the stream that a stack's blocks read and write. */
const struct ww_element *ww_gauge_stream(const struct ww_gauge *gauge, uint32_t stack);

/** The element of a space; release it. A space that stays gives the identity. */
enum ww_err ww_gauge_space(const struct ww_gauge *gauge, uint32_t space,
                           struct ww_element *out, struct ww_error *err) WW_MUST_USE;
/** The element on the neurons of one MLP or expert (the place it ends up at). */
enum ww_err ww_gauge_neurons(const struct ww_gauge *gauge, uint32_t mlp,
                             struct ww_element *out, struct ww_error *err) WW_MUST_USE;
/** The element on the experts of a mixture: a permutation. */
enum ww_err ww_gauge_experts(const struct ww_gauge *gauge, uint32_t moe,
                             struct ww_element *out, struct ww_error *err) WW_MUST_USE;

/** Which classes of in-head moves an attention allows. */
struct ww_qk_moves {
    bool turns;       /* quarter turns of rotary pairs */
    bool shared_odd;  /* whether a pair turns is one choice for all heads */
    bool perm;        /* permutation of the dimensions that do not rotate */
    bool shared_perm; /* the same one for all heads */
    bool signs;       /* signs of those dimensions, per KV head */
    bool head_sign;   /* one sign for the whole head */
    bool scale;       /* powers of two */
    uint64_t rotary;  /* r, 0 without rotary embedding */
    uint64_t rest;    /* d - r */
};
void ww_qk_moves_of(const struct ww_attention *att, struct ww_qk_moves *moves);
/** Powers of two on values. */
bool ww_vo_scales(const struct ww_attention *att);

#endif
