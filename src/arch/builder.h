/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A layout under construction: growing arrays, names, and where a row stands. Private to
 * the resolver. Things refer to each other by index, because the arrays move.
 */
#ifndef WW_ARCH_BUILDER_H
#define WW_ARCH_BUILDER_H

#include "arch/descriptor.h"
#include "arch/expr.h"
#include "util/str.h"

/** What a layout owns beside its public arrays. */
struct ww_layout_impl {
    struct ww_strlist names;
    uint32_t cap_spaces, cap_segments, cap_stacks, cap_blocks, cap_attentions, cap_mlps;
    uint32_t cap_moes;
};

/** How often an optional row was found over the layers of one kind. */
struct ww_tally {
    const struct ww_row *row;
    const char *kind;
    uint32_t present;
    uint32_t absent;
    const char *present_name;
    const char *absent_name;
};

struct ww_builder {
    const struct ww_model *model;
    const struct ww_descriptor *desc;
    struct ww_layout *layout;
    struct ww_layout_impl *impl;
    struct ww_scope scope;         /* of the stack and layer at work */
    const struct ww_jnode *config; /* the model's section; a stack may have its own */
    bool *bound;                   /* per tensor */
    uint32_t n_families;
    struct ww_tally *tallies;
    uint32_t n_tallies;
    uint32_t cap_tallies;
    bool part_missing; /* what is missing belongs to layers of which there are none */
};

/** Where a row stands: indices into the layout's arrays, WW_NONE outside. */
struct ww_place {
    uint32_t stack;
    uint32_t block;
    uint32_t attention;
    uint32_t mlp;
    uint32_t moe;
};

/** Make room for one more element of an array and count it; it is zeroed. */
enum ww_err ww_builder_grow(void **array, uint32_t *n, uint32_t *capacity, size_t size,
                            struct ww_error *err) WW_MUST_USE;

/** printf into a string that lives as long as the layout. */
enum ww_err ww_builder_name(struct ww_builder *b, const char **out, struct ww_error *err,
                            const char *fmt, ...) WW_MUST_USE WW_PRINTF(4, 5);

/* blocks.c: make the objects of a layer from facts. */
enum ww_err ww_build_stack(struct ww_builder *b, const struct ww_stack_desc *desc,
                           uint32_t *stack, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_build_block(struct ww_builder *b, uint32_t stack, uint64_t layer,
                           uint32_t *block, struct ww_error *err) WW_MUST_USE;
/** Fills attention, mlp and moe of the place for a row of that role, making what is not
 *  there yet. expert is the number in the tensor's name, WW_NONE without one. */
enum ww_err ww_build_place(struct ww_builder *b, const char *role, uint32_t expert,
                           struct ww_place *place, struct ww_error *err) WW_MUST_USE;

/* bind.c: cut the axes of a tensor into segments. */
enum ww_err ww_bind_axes(struct ww_builder *b, const struct ww_place *place,
                         const struct ww_row *row, uint32_t tensor,
                         struct ww_error *err) WW_MUST_USE;
uint64_t ww_space_size(const struct ww_builder *b, const struct ww_place *place,
                       enum ww_space_kind kind);
enum ww_err ww_space_get(struct ww_builder *b, const struct ww_place *place,
                         enum ww_space_kind kind, uint32_t *space,
                         struct ww_error *err) WW_MUST_USE;

/* match.c: rows to tensors. */
enum ww_err ww_match_rows(struct ww_builder *b, const struct ww_rows *rows,
                          uint32_t stack, uint32_t block, const char *layer,
                          struct ww_error *err) WW_MUST_USE;
enum ww_err ww_match_rest(struct ww_builder *b, struct ww_error *err) WW_MUST_USE;

/* layers.c: prefix and number of layers. */
enum ww_err ww_find_prefix(struct ww_builder *b, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_count_layers(struct ww_builder *b, struct ww_error *err) WW_MUST_USE;
/** Numbers of the stack's layers, none when it is not present; enters its scope. */
enum ww_err ww_stack_range(struct ww_builder *b, const struct ww_stack_desc *stack,
                           uint64_t *first, uint64_t *count,
                           struct ww_error *err) WW_MUST_USE;
/** "layers.{l}." with the number put in. */
enum ww_err ww_layer_name(struct ww_builder *b, const char *template_text, uint64_t layer,
                          const char **out, struct ww_error *err) WW_MUST_USE;
/** Use the facts of a stack from here on; NULL: those of the model only. */
void ww_scope_stack(struct ww_builder *b, const struct ww_stack_desc *stack);
void ww_scope_layer(struct ww_builder *b, uint64_t layer, const char *layer_prefix);

/* finish.c: classes, shared heads, what needs the whole block. */
enum ww_err ww_finish_block(struct ww_builder *b, uint32_t block,
                            struct ww_error *err) WW_MUST_USE;
enum ww_err ww_finish_stack(struct ww_builder *b, uint32_t stack,
                            struct ww_error *err) WW_MUST_USE;
enum ww_err ww_finish_model(struct ww_builder *b, struct ww_error *err) WW_MUST_USE;

/* blocks.c */
enum ww_err ww_build_act(struct ww_builder *b, enum ww_act_kind *act,
                         struct ww_error *err) WW_MUST_USE;

/* headed.c: may the residual stream move at all? */
enum ww_err ww_decide_residual(struct ww_builder *b, struct ww_error *err) WW_MUST_USE;
/** The same of a stack's own stream; the scope is the stack's. */
enum ww_err ww_decide_stream(struct ww_builder *b, const struct ww_stack_desc *desc,
                             uint32_t stack, struct ww_error *err) WW_MUST_USE;

/** Is the head the embedding? config.json, else the descriptor's default. */
enum ww_err ww_tied(struct ww_builder *b, bool *tied, struct ww_error *err) WW_MUST_USE;

/* quant.c */
enum ww_err ww_refuse_quantised(const struct ww_model *model,
                                struct ww_error *err) WW_MUST_USE;

/* catalogue.c: which descriptor serves the model. */
enum ww_err ww_descriptor_choose(const struct ww_model *model,
                                 const struct ww_layout_options *options,
                                 struct ww_descriptor **out,
                                 struct ww_error *err) WW_MUST_USE;

#endif
