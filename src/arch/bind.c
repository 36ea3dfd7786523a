/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Axes to segments. A part of an axis has the size of its space; the sum of the parts
 * must be what the file says, so every projection's rows and columns are checked against
 * the config's heads and sizes here, in one place, fused or not.
 */
#include "arch/builder.h"

#include <stdio.h>
#include <string.h>

#include "arch/facts.h"
#include "util/fail.h"

static uint64_t attention_size(const struct ww_attention *a, enum ww_space_kind kind)
{
    switch (kind) {
    case WW_SPACE_QUERY:
        return a->n_heads * a->head_dim;
    case WW_SPACE_KEY:
        return a->n_kv_heads * a->head_dim;
    case WW_SPACE_VALUE:
        return a->n_kv_heads * a->v_dim;
    case WW_SPACE_CONTEXT:
        return a->n_heads * a->v_dim;
    case WW_SPACE_QUERY_HEAD:
        return a->n_heads;
    case WW_SPACE_KV_HEAD:
        return a->n_kv_heads;
    case WW_SPACE_QK_GAIN:
        return a->head_dim;
    case WW_SPACE_MLA_Q_NOPE:
    case WW_SPACE_MLA_K_NOPE:
        return a->n_heads * a->mla_nope;
    case WW_SPACE_MLA_Q_ROPE:
        return a->n_heads * a->rope.dims;
    case WW_SPACE_MLA_K_ROPE:
        return a->rope.dims;
    case WW_SPACE_LATENT:
        return a->latent;
    case WW_SPACE_Q_LATENT:
        return a->q_latent;
    case WW_SPACE_RESIDUAL:
    case WW_SPACE_NEURON:
    case WW_SPACE_EXPERT:
        break;
    }
    return 0;
}

uint64_t ww_space_size(const struct ww_builder *b, const struct ww_place *place,
                       enum ww_space_kind kind)
{
    switch (ww_token_of(kind)->owner) {
    case WW_OWN_STREAM:
    case WW_OWN_MODEL:
        return ww_layout_stream(b->layout, place->stack)->width;
    case WW_OWN_ATTENTION:
        return attention_size(&b->layout->attentions[place->attention], kind);
    case WW_OWN_MLP:
        return b->layout->mlps[place->mlp].n_neurons;
    case WW_OWN_MOE:
        return b->layout->moes[place->moe].n_experts;
    }
    return 0;
}

static uint32_t *attention_slot(struct ww_attention *a, enum ww_space_kind kind)
{
    switch (kind) {
    case WW_SPACE_QUERY:
        return &a->query;
    case WW_SPACE_KEY:
        return &a->key;
    case WW_SPACE_VALUE:
        return &a->value;
    case WW_SPACE_CONTEXT:
        return &a->context;
    case WW_SPACE_QUERY_HEAD:
        return &a->query_head;
    case WW_SPACE_KV_HEAD:
        return &a->kv_head;
    case WW_SPACE_QK_GAIN:
        return &a->qk_gain;
    case WW_SPACE_MLA_Q_NOPE:
        return &a->q_nope;
    case WW_SPACE_MLA_K_NOPE:
        return &a->k_nope;
    case WW_SPACE_MLA_Q_ROPE:
        return &a->q_rope;
    case WW_SPACE_MLA_K_ROPE:
        return &a->k_rope;
    case WW_SPACE_LATENT:
        return &a->kv_latent;
    case WW_SPACE_Q_LATENT:
        return &a->query_latent;
    case WW_SPACE_RESIDUAL:
    case WW_SPACE_NEURON:
    case WW_SPACE_EXPERT:
        break;
    }
    return NULL;
}

static uint32_t *stream_slot(struct ww_layout *l, uint32_t stack, uint32_t *owner,
                             const char **name)
{
    const bool own = stack < l->n_stacks && l->stacks[stack].own_stream;

    *owner = own ? stack : WW_NONE;
    *name = own ? l->stacks[stack].name : NULL;
    return own ? &l->stacks[stack].stream.space : &l->residual.space;
}

/* The field that holds the space's index, the object's number and name. */
static uint32_t *slot_of(struct ww_builder *b, const struct ww_place *place,
                         enum ww_space_kind kind, uint32_t *owner, const char **name)
{
    struct ww_layout *l = b->layout;

    switch (ww_token_of(kind)->owner) {
    case WW_OWN_STREAM:
    case WW_OWN_MODEL:
        return stream_slot(l, place->stack, owner, name);
    case WW_OWN_ATTENTION:
        *owner = place->attention;
        *name = l->attentions[*owner].name;
        return attention_slot(&l->attentions[*owner], kind);
    case WW_OWN_MLP:
        *owner = place->mlp;
        *name = l->mlps[*owner].name;
        return &l->mlps[*owner].neuron;
    case WW_OWN_MOE:
        *owner = place->moe;
        *name = l->moes[*owner].name;
        return &l->moes[*owner].expert;
    }
    return NULL;
}

enum ww_err ww_space_get(struct ww_builder *b, const struct ww_place *place,
                         enum ww_space_kind kind, uint32_t *space, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    const char *object = NULL, *name = NULL;
    uint32_t owner = WW_NONE;
    uint32_t *slot = slot_of(b, place, kind, &owner, &object);
    enum ww_err rc = WW_OK;

    if (*slot == WW_NONE) {
        rc = ww_builder_grow((void **)&l->spaces, &l->n_spaces, &b->impl->cap_spaces,
                             sizeof(*l->spaces), err);
        rc = rc ? rc
                : ww_builder_name(b, &name, err, "%s%s%s", object ? object : "",
                                  object ? "." : "", ww_token_of(kind)->name);
        if (rc) {
            return rc;
        }
        *slot = l->n_spaces - 1;
        l->spaces[*slot] = (struct ww_space){.kind = kind,
                                             .size = ww_space_size(b, place, kind),
                                             .owner = owner,
                                             .name = name};
    }
    *space = *slot;
    return WW_OK;
}

/* Inside a tower "main" means the model's stream. */
static struct ww_place place_of(const struct ww_place *place, const struct ww_part *part)
{
    struct ww_place at = *place;

    if (part->token && part->token->owner == WW_OWN_MODEL) {
        at.stack = WW_NONE;
    }
    return at;
}

/* A row that speaks of a space its role has no owner for: an error of the descriptor. */
static enum ww_err check_owner(const struct ww_place *place, const struct ww_row *row,
                               const struct ww_token *token, struct ww_error *err)
{
    enum ww_owner o = token->owner;

    if ((o == WW_OWN_ATTENTION && place->attention == WW_NONE) ||
        (o == WW_OWN_MLP && place->mlp == WW_NONE) ||
        (o == WW_OWN_MOE && place->moe == WW_NONE)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "row '%s': role '%s' has no axis '%s'",
                       row->name, row->role, token->word);
    }
    return WW_OK;
}

static enum ww_err part_size(struct ww_builder *b, const struct ww_place *place,
                             const struct ww_row *row, const struct ww_part *part,
                             uint64_t *size, struct ww_error *err)
{
    char fact[48];
    enum ww_err rc = WW_OK;

    if (part->token) {
        rc = check_owner(place, row, part->token, err);
        if (rc == WW_OK) {
            const struct ww_place at = place_of(place, part);
            *size = ww_space_size(b, &at, part->token->kind);
        }
        return rc;
    }
    memcpy(fact, part->gap, part->gap_len);
    fact[part->gap_len] = '\0';
    return ww_fact_u64(&b->scope, fact, size, err);
}

static uint64_t units_of(const struct ww_builder *b, const struct ww_place *place,
                         enum ww_units units, uint64_t first_size)
{
    switch (units) {
    case WW_UNITS_NONE:
        return 1;
    case WW_UNITS_HEADS:
        return b->layout->attentions[place->attention].n_heads;
    case WW_UNITS_GROUPS:
        return b->layout->attentions[place->attention].n_kv_heads;
    case WW_UNITS_FOUR:
        return 4;
    case WW_UNITS_ONES:
        return first_size;
    case WW_UNITS_TILES:
        return 1;
    case WW_UNITS_EXPERTS:
        return b->layout->moes[place->moe].n_experts;
    }
    return 1;
}

/* "[8, 16]" of the tensor. */
static void shape_text(const struct ww_tensor *t, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < t->rank && n < size; i++) {
        int k = snprintf(out + n, size - n, "%s%llu", i ? ", " : "",
                         (unsigned long long)t->shape[i]);
        n += k > 0 ? (size_t)k : 0;
    }
}

/* What a part's size was computed from: "heads 4 (num_attention_heads)". */
static void explain(struct ww_builder *b, const struct ww_part *part, char *out,
                    size_t size)
{
    static const struct {
        enum ww_space_kind kind;
        const char *facts[2];
    } of[] = {
        {WW_SPACE_RESIDUAL, {"hidden", NULL}},
        {WW_SPACE_QUERY, {"heads", "head_dim"}},
        {WW_SPACE_KEY, {"kv_heads", "head_dim"}},
        {WW_SPACE_VALUE, {"kv_heads", "v_dim"}},
        {WW_SPACE_CONTEXT, {"heads", "v_dim"}},
        {WW_SPACE_QUERY_HEAD, {"heads", NULL}},
        {WW_SPACE_KV_HEAD, {"kv_heads", NULL}},
        {WW_SPACE_QK_GAIN, {"head_dim", NULL}},
        {WW_SPACE_NEURON, {"ff", NULL}},
        {WW_SPACE_EXPERT, {"experts", NULL}},
        {WW_SPACE_MLA_Q_NOPE, {"heads", "nope"}},
        {WW_SPACE_MLA_K_NOPE, {"heads", "nope"}},
        {WW_SPACE_MLA_Q_ROPE, {"heads", "rope_dims"}},
        {WW_SPACE_MLA_K_ROPE, {"rope_dims", NULL}},
        {WW_SPACE_LATENT, {"latent", NULL}},
        {WW_SPACE_Q_LATENT, {"q_latent", NULL}},
    };
    char origin[WW_ORIGIN_BYTES];
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; part->token && i < WW_LEN(of); i++) {
        for (unsigned f = 0; of[i].kind == part->token->kind && f < 2 && of[i].facts[f];
             f++) {
            double value = 0;
            struct ww_error ignored = {0};
            if (ww_fact_double(&b->scope, of[i].facts[f], &value, &ignored) == WW_OK) {
                ww_fact_origin(&b->scope, of[i].facts[f], origin);
                int k = snprintf(out + n, size - n, "%s%s %.0f from %s", f ? ", " : "",
                                 of[i].facts[f], value, origin);
                n += k > 0 && (size_t)k < size - n ? (size_t)k : 0;
            }
        }
    }
}

static enum ww_err wrong_size(struct ww_builder *b, const struct ww_row *row,
                              const struct ww_tensor *t, unsigned axis, uint64_t expected,
                              struct ww_error *err)
{
    const struct ww_axis_expr *expr = &row->axes[axis];
    char shape[120], why[200];

    shape_text(t, shape, sizeof(shape));
    explain(b, &expr->parts[0], why, sizeof(why));
    return WW_FAIL(
        err, WW_E_SHAPE,
        "tensor '%s': shape [%s], axis %u must be %llu (%s: %s%s%s%s); the weights "
        "and config.json do not belong together",
        t->name, shape, axis, (unsigned long long)expected, expr->text,
        expr->parts[0].token ? expr->parts[0].token->what : "a fixed part",
        why[0] ? "; " : "", why, expr->n_parts > 1 ? "; first part named" : "");
}

static enum ww_err add_segment(struct ww_builder *b, const struct ww_place *place,
                               const struct ww_part *part, struct ww_axis *axis,
                               struct ww_segment seg, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    const struct ww_place at = place_of(place, part);
    enum ww_err rc = WW_OK;

    if (!part->token || (part->token->kind == WW_SPACE_RESIDUAL &&
                         ww_layout_stream(l, at.stack)->group == WW_RESIDUAL_FIXED)) {
        return WW_OK;
    }
    rc = ww_space_get(b, &at, part->token->kind, &seg.space, err);
    rc = rc ? rc
            : ww_builder_grow((void **)&l->segments, &l->n_segments,
                              &b->impl->cap_segments, sizeof(*l->segments), err);
    if (rc) {
        return rc;
    }
    seg.action = part->action;
    l->segments[l->n_segments - 1] = seg;
    axis->n_segments++;
    return WW_OK;
}

/* The neurons of all experts one behind the other: a space for each expert. */
static enum ww_err bind_experts(struct ww_builder *b, const struct ww_place *place,
                                const struct ww_row *row, const struct ww_tensor *t,
                                unsigned index, struct ww_axis *axis,
                                struct ww_error *err)
{
    const struct ww_part *part = &row->axes[index].parts[0];
    struct ww_place one = *place;
    uint64_t width = 0, n = 0;
    enum ww_err rc = WW_OK;

    if (place->moe == WW_NONE || !part->token || part->token->owner != WW_OWN_MLP) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "row '%s': '%s' needs an expert's role",
                       row->name, row->axes[index].text);
    }
    n = b->layout->moes[place->moe].n_experts;
    width = ww_space_size(b, place, part->token->kind);
    if (n * width != t->shape[index]) {
        return wrong_size(b, row, t, index, n * width, err);
    }
    for (uint64_t e = 0; e < n && rc == WW_OK; e++) {
        one.mlp = b->layout->moes[place->moe].first_mlp + (uint32_t)e;
        rc = add_segment(
            b, &one, part, axis,
            (struct ww_segment){
                .offset = e * width, .stride = width, .count = 1, .width = width},
            err);
    }
    return rc;
}

/* One part again and again: patches that are joined before they are projected. */
static enum ww_err bind_tiles(struct ww_builder *b, const struct ww_place *place,
                              const struct ww_row *row, const struct ww_tensor *t,
                              unsigned index, struct ww_axis *axis, struct ww_error *err)
{
    const struct ww_part *part = &row->axes[index].parts[0];
    const uint64_t length = t->shape[index];
    uint64_t width = 0;
    enum ww_err rc = part_size(b, place, row, part, &width, err);

    if (rc == WW_OK && (width == 0 || length == 0 || length % width != 0)) {
        rc = wrong_size(b, row, t, index, width, err);
    }
    for (uint64_t at = 0; rc == WW_OK && at < length; at += width) {
        rc = add_segment(b, place, part, axis,
                         (struct ww_segment){
                             .offset = at, .stride = width, .count = 1, .width = width},
                         err);
    }
    return rc;
}

static enum ww_err bind_axis(struct ww_builder *b, const struct ww_place *place,
                             const struct ww_row *row, const struct ww_tensor *t,
                             unsigned index, struct ww_axis *axis, struct ww_error *err)
{
    const struct ww_axis_expr *expr = &row->axes[index];
    uint64_t sizes[WW_MAX_PARTS] = {0};
    uint64_t total = 0, units = 0, offset = 0;
    enum ww_err rc = WW_OK;

    axis->first_segment = b->layout->n_segments;
    if (!expr->parts[0].token && !expr->parts[0].gap) {
        return WW_OK;
    }
    if (expr->units == WW_UNITS_TILES) {
        return bind_tiles(b, place, row, t, index, axis, err);
    }
    if (expr->units == WW_UNITS_EXPERTS) {
        return bind_experts(b, place, row, t, index, axis, err);
    }
    if (expr->units != WW_UNITS_NONE && expr->units != WW_UNITS_FOUR &&
        expr->units != WW_UNITS_ONES && place->attention == WW_NONE) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "row '%s': '%s' needs an attention's role",
                       row->name, expr->text);
    }
    for (unsigned i = 0; i < expr->n_parts && rc == WW_OK; i++) {
        rc = part_size(b, place, row, &expr->parts[i], &sizes[i], err);
        total += sizes[i];
    }
    if (rc) {
        return rc;
    }
    if (total != t->shape[index]) {
        return wrong_size(b, row, t, index, total, err);
    }
    units = units_of(b, place, expr->units, sizes[0]);
    for (unsigned i = 0; i < expr->n_parts && rc == WW_OK; i++) {
        if (units == 0 || sizes[i] % units != 0) {
            return WW_FAIL(
                err, WW_E_CONFIG,
                "tensor '%s': part %u of '%s' has %llu rows, which do not divide "
                "by %llu",
                t->name, i + 1, expr->text, (unsigned long long)sizes[i],
                (unsigned long long)units);
        }
        rc = add_segment(b, place, &expr->parts[i], axis,
                         (struct ww_segment){.offset = offset,
                                             .stride = total / units,
                                             .count = units,
                                             .width = sizes[i] / units},
                         err);
        offset += sizes[i] / units;
    }
    return rc;
}

enum ww_err ww_bind_axes(struct ww_builder *b, const struct ww_place *place,
                         const struct ww_row *row, uint32_t tensor, struct ww_error *err)
{
    const struct ww_tensor *t = &b->model->tensors[tensor];
    struct ww_binding *bind = &b->layout->bindings[tensor];
    char shape[120];
    uint32_t moving = b->layout->n_segments;
    enum ww_err rc = WW_OK;

    if (t->rank != row->n_axes) {
        shape_text(t, shape, sizeof(shape));
        return WW_FAIL(err, WW_E_SHAPE,
                       "tensor '%s': shape [%s], expected %u axes (role %s)", t->name,
                       shape, row->n_axes, row->role);
    }
    for (unsigned i = 0; i < row->n_axes && rc == WW_OK; i++) {
        rc = bind_axis(b, place, row, t, i, &bind->axis[i], err);
    }
    if (rc == WW_OK && moving < b->layout->n_segments &&
        !ww_dtype_is_plain_float(t->dtype)) {
        rc = WW_FAIL(err, WW_E_QUANTISED,
                     "'%s' is stored as %s; lock the original 16-bit checkpoint, then "
                     "quantise it",
                     t->name, ww_dtype_name(t->dtype));
    }
    return rc;
}
