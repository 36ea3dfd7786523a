/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From role to field. Linear maps are recognised by their segments (an axis that runs
 * over the query space makes a query projection, whether fused, transposed or stacked),
 * so one rule serves every storage layout; what has no space of its own goes by its
 * role's name.
 */
#include "arch/roles.h"

#include <stddef.h>
#include <string.h>

#include "arch/builder.h"
#include "util/fail.h"
#include "util/str.h"

enum field { F_NONE, F_NORM, F_TENSOR, F_LINEAR, F_BIAS, F_POSITION };
enum holder { H_LAYOUT, H_STACK, H_BLOCK, H_ATTENTION, H_MLP, H_MOE };

#define NORM(role, holder, type, member)                                                 \
    {                                                                                    \
        role, F_NORM, holder, offsetof(struct type, member)                              \
    }
#define TENSOR(role, holder, type, member)                                               \
    {                                                                                    \
        role, F_TENSOR, holder, offsetof(struct type, member)                            \
    }
#define LINEAR(role, holder, type, member)                                               \
    {                                                                                    \
        role, F_LINEAR, holder, offsetof(struct type, member)                            \
    }
#define BIAS(role, holder, type, member)                                                 \
    {                                                                                    \
        role, F_BIAS, holder, offsetof(struct type, member)                              \
    }

#define POSITION(role, holder, type, member)                                             \
    {                                                                                    \
        role, F_POSITION, holder, offsetof(struct type, member)                          \
    }

/* Field rows first; F_NONE rows are known roles that fill no field by name. */
static const struct role {
    const char *role;
    enum field field;
    enum holder holder;
    size_t offset;
} roles[] = {
    NORM("norm.self", H_BLOCK, ww_block, norm_self),
    NORM("norm.cross", H_BLOCK, ww_block, norm_cross),
    NORM("norm.mlp", H_BLOCK, ww_block, norm_mlp),
    NORM("post.self", H_BLOCK, ww_block, post_self),
    NORM("post.mlp", H_BLOCK, ww_block, post_mlp),
    NORM("embed.norm", H_STACK, ww_stack, embed_norm),
    NORM("final.norm", H_STACK, ww_stack, final_norm),
    NORM("head.norm", H_LAYOUT, ww_layout, head_norm),
    NORM("self.q_norm", H_ATTENTION, ww_attention, q_norm),
    NORM("self.k_norm", H_ATTENTION, ww_attention, k_norm),
    NORM("self.q_a_norm", H_ATTENTION, ww_attention, q_a_norm),
    NORM("self.kv_a_norm", H_ATTENTION, ww_attention, kv_a_norm),
    NORM("cross.q_norm", H_ATTENTION, ww_attention, q_norm),
    NORM("cross.k_norm", H_ATTENTION, ww_attention, k_norm),
    TENSOR("scale.self", H_BLOCK, ww_block, scale_self),
    TENSOR("scale.mlp", H_BLOCK, ww_block, scale_mlp),
    TENSOR("self.sinks", H_ATTENTION, ww_attention, sinks),
    TENSOR("moe.correction", H_MOE, ww_moe, correction),
    TENSOR("self.relative_bias", H_ATTENTION, ww_attention, relative_bias),
    TENSOR("embed", H_LAYOUT, ww_layout, embed),
    TENSOR("embed.position", H_LAYOUT, ww_layout, embed_position),
    TENSOR("embed.type", H_LAYOUT, ww_layout, embed_type),
    POSITION("embed.own_position", H_STACK, ww_stack, position),
    LINEAR("head", H_LAYOUT, ww_layout, head),
    BIAS("head.bias", H_LAYOUT, ww_layout, head),
    LINEAR("head.dense", H_LAYOUT, ww_layout, head_transform),
    BIAS("head.dense.bias", H_LAYOUT, ww_layout, head_transform),
    LINEAR("moe.router", H_MOE, ww_moe, router),
    BIAS("moe.router.bias", H_MOE, ww_moe, router),
    LINEAR("moe.shared_gate", H_MOE, ww_moe, shared_gate),
    LINEAR("self.q_a", H_ATTENTION, ww_attention, q_a),
    LINEAR("self.q_b", H_ATTENTION, ww_attention, q),
    LINEAR("self.kv_a", H_ATTENTION, ww_attention, kv_a),
    LINEAR("self.kv_b", H_ATTENTION, ww_attention, kv_b),
    BIAS("self.q_a.bias", H_ATTENTION, ww_attention, q_a),
    BIAS("self.kv_a.bias", H_ATTENTION, ww_attention, kv_a),
    BIAS("self.o.bias", H_ATTENTION, ww_attention, o),
    BIAS("cross.o.bias", H_ATTENTION, ww_attention, o),
    BIAS("mlp.down.bias", H_MLP, ww_mlp, down),
    BIAS("expert.down.bias", H_MLP, ww_mlp, down),
    BIAS("shared.down.bias", H_MLP, ww_mlp, down),
};

/* Roles that fill fields by their segments, or none at all. */
static const char *const others[] = {
    "self.q",           "self.q.bias",
    "self.k",           "self.k.bias",
    "self.v",           "self.v.bias",
    "self.o",           "self.qkv",
    "self.qkv.bias",    "self.gate",
    "self.gate.bias",   "self.sub_norm",
    "self.other",       "cross.q",
    "cross.q.bias",     "cross.k",
    "cross.k.bias",     "cross.v",
    "cross.v.bias",     "cross.o",
    "mlp.gate",         "mlp.gate.bias",
    "mlp.up",           "mlp.up.bias",
    "mlp.gate_up",      "mlp.gate_up.bias",
    "mlp.down",         "expert.gate",
    "expert.up",        "expert.gate_up",
    "expert.down",      "expert.gate_up.bias",
    "expert.gate.bias", "expert.up.bias",
    "shared.gate",      "shared.up",
    "shared.gate_up",   "shared.gate_up.bias",
    "shared.down",      "shared.gate.bias",
    "shared.up.bias",   "other",
};

static const struct {
    const char *word;
    enum ww_role_group group;
} groups[] = {
    {"self.", WW_ROLE_SELF},     {"cross.", WW_ROLE_CROSS},   {"mlp.", WW_ROLE_MLP},
    {"expert.", WW_ROLE_EXPERT}, {"shared.", WW_ROLE_SHARED}, {"moe.", WW_ROLE_MOE},
    {"norm.", WW_ROLE_BLOCK},    {"post.", WW_ROLE_BLOCK},    {"scale.", WW_ROLE_BLOCK},
};

enum ww_role_group ww_role_group(const char *role)
{
    for (size_t i = 0; i < WW_LEN(groups); i++) {
        if (ww_str_starts(role, groups[i].word)) {
            return groups[i].group;
        }
    }
    return WW_ROLE_MODEL;
}

/* The role without ".bias" when it is a norm's, so that one row serves gain and bias. */
static const struct role *find(const char *role, bool *norm_bias)
{
    size_t len = strlen(role);

    *norm_bias = false;
    for (size_t i = 0; i < WW_LEN(roles); i++) {
        size_t n = strlen(roles[i].role);
        if (strcmp(roles[i].role, role) == 0) {
            return &roles[i];
        }
        if (roles[i].field == F_NORM && len == n + 5 &&
            strncmp(role, roles[i].role, n) == 0 && strcmp(role + n, ".bias") == 0) {
            *norm_bias = true;
            return &roles[i];
        }
    }
    return NULL;
}

enum ww_err ww_role_check(const char *role, struct ww_error *err)
{
    const char *names[WW_LEN(roles) + WW_LEN(others)];
    const char *near = NULL;
    bool norm_bias = false;
    size_t n = 0;

    if (find(role, &norm_bias)) {
        return WW_OK;
    }
    for (size_t i = 0; i < WW_LEN(others); i++) {
        if (strcmp(others[i], role) == 0) {
            return WW_OK;
        }
        names[n++] = others[i];
    }
    for (size_t i = 0; i < WW_LEN(roles); i++) {
        names[n++] = roles[i].role;
    }
    near = ww_str_nearest(role, names, n);
    return WW_FAIL(err, WW_E_DESCRIPTOR, "role '%s' is unknown%s%s", role,
                   near ? "; nearest is " : "", near ? near : "");
}

void ww_linear_none(struct ww_linear *linear)
{
    memset(linear, 0, sizeof(*linear));
    linear->weight = WW_NONE;
    linear->in_axis = 1;
    linear->out_segment = WW_NONE;
    linear->in_segment = WW_NONE;
    linear->bias = WW_NONE;
    linear->bias_segment = WW_NONE;
    linear->expert_axis = UINT8_MAX;
}

void ww_norm_none(struct ww_norm *norm)
{
    memset(norm, 0, sizeof(*norm));
    norm->gain = WW_NONE;
    norm->bias = WW_NONE;
}

static void *holder_of(struct ww_builder *b, const struct ww_place *place,
                       enum holder holder)
{
    struct ww_layout *layout = b->layout;

    switch (holder) {
    case H_LAYOUT:
        return layout;
    case H_STACK:
        return &layout->stacks[place->stack == WW_NONE ? 0 : place->stack];
    case H_BLOCK:
        return place->block == WW_NONE ? NULL : &layout->blocks[place->block];
    case H_ATTENTION:
        return place->attention == WW_NONE ? NULL : &layout->attentions[place->attention];
    case H_MLP:
        return place->mlp == WW_NONE ? NULL : &layout->mlps[place->mlp];
    case H_MOE:
        return place->moe == WW_NONE ? NULL : &layout->moes[place->moe];
    }
    return NULL;
}

/* The first name of several that is stored wins: a tied weight can lie there twice. */
static void set_once(uint32_t *slot, uint32_t tensor)
{
    if (*slot == WW_NONE) {
        *slot = tensor;
    }
}

static void assign_field(const struct role *role, bool norm_bias, void *holder,
                         uint32_t tensor)
{
    char *at = (char *)holder + role->offset;
    struct ww_norm *norm = (struct ww_norm *)(void *)at;
    struct ww_linear *linear = (struct ww_linear *)(void *)at;

    switch (role->field) {
    case F_NORM:
        set_once(norm_bias ? &norm->bias : &norm->gain, tensor);
        break;
    case F_TENSOR:
        set_once((uint32_t *)(void *)at, tensor);
        break;
    case F_POSITION:
        ((struct ww_stack *)holder)->has_position = true;
        *(uint32_t *)(void *)at = tensor;
        break;
    case F_LINEAR:
        set_once(&linear->weight, tensor);
        break;
    case F_BIAS:
        set_once(&linear->bias, tensor);
        break;
    case F_NONE:
        break;
    }
}

struct target {
    struct ww_linear *linear;
    bool reads; /* the segment's axis is the input */
};

static struct target target_in_attention(struct ww_attention *att,
                                         const struct ww_segment *seg)
{
    struct target t = {NULL, false};

    if (seg->space == att->query && seg->action == WW_ACT_DIRECT) {
        t.linear = &att->q;
    } else if (seg->space == att->key && seg->action == WW_ACT_INVERSE) {
        t.linear = &att->k;
    } else if (seg->space == att->value && seg->action == WW_ACT_DIRECT) {
        t.linear = &att->v;
    } else if (seg->space == att->context && seg->action == WW_ACT_INVERSE) {
        t.linear = &att->o;
        t.reads = true;
    } else if (seg->space == att->context && seg->action == WW_ACT_PERMUTE) {
        t.linear = &att->gate;
    }
    return t;
}

static struct target target_in_mlp(struct ww_mlp *mlp, const struct ww_segment *seg)
{
    struct target t = {NULL, false};

    if (seg->space == mlp->neuron) {
        t.linear = seg->action == WW_ACT_PERMUTE  ? &mlp->gate
                   : seg->action == WW_ACT_DIRECT ? &mlp->up
                                                  : &mlp->down;
        t.reads = seg->action == WW_ACT_INVERSE;
    }
    return t;
}

/* The axis that counts stacked experts, UINT8_MAX without one. */
static uint8_t expert_axis(const struct ww_builder *b, uint32_t tensor)
{
    const struct ww_layout *layout = b->layout;
    const struct ww_binding *bind = &layout->bindings[tensor];

    for (unsigned a = 0; a < b->model->tensors[tensor].rank; a++) {
        const struct ww_segment *seg = &layout->segments[bind->axis[a].first_segment];
        if (bind->axis[a].n_segments &&
            layout->spaces[seg->space].kind == WW_SPACE_EXPERT) {
            return (uint8_t)a;
        }
    }
    return UINT8_MAX;
}

static void enter_linear(struct ww_builder *b, const struct target *t, uint32_t tensor,
                         unsigned axis, uint32_t segment, uint64_t expert)
{
    const struct ww_tensor *tn = &b->model->tensors[tensor];
    const struct ww_segment *seg = &b->layout->segments[segment];
    uint8_t experts = expert_axis(b, tensor);
    unsigned rank = tn->rank - (experts != UINT8_MAX);
    uint32_t whole = seg->count * seg->width == tn->shape[axis] ? WW_NONE : segment;
    unsigned other = 0;

    if (rank == 1) {
        set_once(&t->linear->bias, tensor);
        t->linear->bias_segment = whole;
        return;
    }
    while (other == axis || other == experts) {
        other++;
    }
    set_once(&t->linear->weight, tensor);
    t->linear->expert_axis = experts;
    t->linear->expert = experts == UINT8_MAX ? 0 : expert;
    *(t->reads ? &t->linear->in_axis : &t->linear->out_axis) = (uint8_t)axis;
    *(t->reads ? &t->linear->out_axis : &t->linear->in_axis) = (uint8_t)other;
    *(t->reads ? &t->linear->in_segment : &t->linear->out_segment) = whole;
}

static void assign_by_segments(struct ww_builder *b, const struct ww_place *place,
                               uint32_t mlp, uint64_t expert, uint32_t tensor)
{
    struct ww_layout *layout = b->layout;

    for (unsigned a = 0; a < b->model->tensors[tensor].rank; a++) {
        const struct ww_axis *axis = &layout->bindings[tensor].axis[a];
        for (uint32_t i = 0; i < axis->n_segments; i++) {
            uint32_t s = axis->first_segment + i;
            struct target t = {NULL, false};
            if (place->attention != WW_NONE) {
                t = target_in_attention(&layout->attentions[place->attention],
                                        &layout->segments[s]);
            } else if (mlp != WW_NONE) {
                t = target_in_mlp(&layout->mlps[mlp], &layout->segments[s]);
            }
            if (t.linear) {
                enter_linear(b, &t, tensor, a, s, expert);
            }
        }
    }
}

/* A stacked expert tensor serves every expert of its block. */
static void assign_experts(struct ww_builder *b, const struct ww_place *place,
                           const struct role *role, uint32_t tensor)
{
    const struct ww_moe *moe = &b->layout->moes[place->moe];
    struct ww_place one = *place;

    for (uint64_t e = 0; e < moe->n_experts; e++) {
        one.mlp = moe->first_mlp + (uint32_t)e;
        b->layout->mlps[one.mlp].neuron = b->layout->mlps[moe->first_mlp].neuron;
        if (role) {
            assign_field(role, false, &b->layout->mlps[one.mlp], tensor);
        } else {
            assign_by_segments(b, &one, one.mlp, e, tensor);
        }
    }
}

/* True when an axis runs over the neurons of several experts, each with its own space. */
static bool joins_experts(const struct ww_builder *b, uint32_t tensor)
{
    const struct ww_layout *layout = b->layout;
    bool joins = false;

    for (unsigned a = 0; a < b->model->tensors[tensor].rank; a++) {
        const struct ww_axis *axis = &layout->bindings[tensor].axis[a];
        const struct ww_segment *seg = &layout->segments[axis->first_segment];
        joins = joins || (axis->n_segments > 1 && seg[0].space != seg[1].space &&
                          layout->spaces[seg[0].space].kind == WW_SPACE_NEURON);
    }
    return joins;
}

void ww_role_assign(struct ww_builder *b, const struct ww_place *place, const char *role,
                    uint32_t tensor)
{
    bool norm_bias = false;
    const struct role *known = find(role, &norm_bias);
    void *holder = known ? holder_of(b, place, known->holder) : NULL;

    if (place->moe != WW_NONE && ww_role_group(role) == WW_ROLE_EXPERT &&
        expert_axis(b, tensor) != UINT8_MAX) {
        assign_experts(b, place, known, tensor);
    } else if (place->moe != WW_NONE && ww_role_group(role) == WW_ROLE_EXPERT &&
               joins_experts(b, tensor)) {
        const struct ww_moe *moe = &b->layout->moes[place->moe];
        for (uint64_t e = 0; e < moe->n_experts; e++) {
            uint32_t mlp = moe->first_mlp + (uint32_t)e;
            assign_by_segments(b, place, mlp, 0, tensor);
        }
    } else if (holder) {
        assign_field(known, norm_bias, holder, tensor);
    } else if (!known && strcmp(role, "self.other") != 0) {
        assign_by_segments(b, place, place->mlp, 0, tensor);
    }
}
