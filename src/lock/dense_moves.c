/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which symmetry an attention has beyond signed permutations. Whatever shares an element
 * (layers that reuse keys and values) is mixed together or not at all, and a space that
 * is only permuted somewhere (gates, gains) or whose tensors no kernel can mix stays.
 */
#include <string.h>

#include "lock/dense_gauge.h"
#include "util/alloc.h"
#include "util/fail.h"

const char *ww_dense_wrong_name(enum ww_dense_wrong wrong)
{
    static const char *const names[] = {
#define WW_DENSE_WRONG_NAME(name, text) text,
        WW_DENSE_WRONG_LIST(WW_DENSE_WRONG_NAME)
#undef WW_DENSE_WRONG_NAME
    };
    return names[wrong];
}

static struct ww_dense_moves by_class(const struct ww_attention *att)
{
    const bool mla = att->qk_class == WW_QK_MLA;
    const uint64_t rotary = att->rope.style == WW_ROPE_NONE ? 0 : att->rope.dims;
    const uint64_t rest = mla ? att->mla_nope : att->head_dim - rotary;
    const bool free_qk = att->qk_class == WW_QK_GL || att->qk_class == WW_QK_ROPE || mla;

    return (struct ww_dense_moves){.qk = free_qk && rest > 1 && rest <= WW_MAX_CELL,
                                   .phases = free_qk && rotary > 1,
                                   .vo = att->vo_class == WW_VO_GL && att->v_dim > 1 &&
                                         att->v_dim <= WW_MAX_CELL};
}

/* Take away from an attention what a space of this kind would mix. */
static void forbid(struct ww_dense_moves *moves, enum ww_space_kind kind)
{
    switch (kind) {
    case WW_SPACE_QUERY:
    case WW_SPACE_KEY:
        moves->qk = moves->phases = false;
        break;
    case WW_SPACE_MLA_Q_NOPE:
    case WW_SPACE_MLA_K_NOPE:
        moves->qk = false;
        break;
    case WW_SPACE_MLA_Q_ROPE:
    case WW_SPACE_MLA_K_ROPE:
        moves->phases = false;
        break;
    case WW_SPACE_VALUE:
    case WW_SPACE_CONTEXT:
        moves->vo = false;
        break;
    case WW_SPACE_RESIDUAL:
    case WW_SPACE_QUERY_HEAD:
    case WW_SPACE_KV_HEAD:
    case WW_SPACE_QK_GAIN:
    case WW_SPACE_NEURON:
    case WW_SPACE_EXPERT:
    case WW_SPACE_LATENT:
    case WW_SPACE_Q_LATENT:
        break;
    }
}

static bool in_attention(enum ww_space_kind kind)
{
    return kind != WW_SPACE_RESIDUAL && kind != WW_SPACE_NEURON &&
           kind != WW_SPACE_EXPERT;
}

static void check_axis(const struct ww_layout *layout, uint32_t tensor, unsigned axis,
                       struct ww_dense_moves *moves)
{
    const struct ww_binding *binding = &layout->bindings[tensor];
    const struct ww_axis *a = &binding->axis[axis];
    const bool odd =
        layout->model->tensors[tensor].rank > 2 || binding->name_space != WW_NONE;

    for (uint32_t i = 0; i < a->n_segments; i++) {
        const struct ww_segment *segment = &layout->segments[a->first_segment + i];
        const struct ww_space *space = &layout->spaces[segment->space];
        if (in_attention(space->kind) && (odd || segment->action == WW_ACT_PERMUTE)) {
            forbid(&moves[space->owner], space->kind);
        }
    }
}

static void share(const struct ww_layout *layout, struct ww_dense_moves *moves)
{
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < layout->n_attentions; i++) {
            struct ww_dense_moves *mine = &moves[i];
            struct ww_dense_moves *owner = &moves[layout->attentions[i].element_owner];
            mine->qk = owner->qk = mine->qk && owner->qk;
            mine->phases = owner->phases = mine->phases && owner->phases;
            mine->vo = owner->vo = mine->vo && owner->vo;
        }
    }
}

enum ww_err ww_dense_moves(const struct ww_layout *layout, struct ww_dense_moves **out,
                           struct ww_error *err)
{
    struct ww_dense_moves *moves = ww_calloc(layout->n_attentions, sizeof(*moves));

    *out = moves;
    if (!moves) {
        return WW_FAIL_MEMORY(err, "a list of moves");
    }
    for (uint32_t i = 0; i < layout->n_attentions; i++) {
        moves[i] = by_class(&layout->attentions[i]);
    }
    for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
        for (unsigned a = 0; a < layout->model->tensors[t].rank; a++) {
            check_axis(layout, t, a, moves);
        }
    }
    share(layout, moves);
    return WW_OK;
}

bool ww_dense_wrong_applies(const struct ww_attention *att,
                            const struct ww_dense_moves *moves, enum ww_dense_wrong wrong)
{
    switch (wrong) {
    case WW_DENSE_WRONG_OUTPUT:
        return moves->vo;
    case WW_DENSE_WRONG_PAIRING:
        return moves->phases && att->rope.dims >= 4;
    case WW_DENSE_WRONG_GROUP:
        return att->n_kv_heads > 1 && ww_dense_any(moves);
    case WW_DENSE_WRONG_NONE:
    case WW_DENSE_WRONG_COUNT:
        break;
    }
    return false;
}
