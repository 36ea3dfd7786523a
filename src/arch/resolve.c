/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolving a model: choose the descriptor, decide what the residual stream may do, then
 * walk stacks and layers, binding rows to tensors. The builder's arrays become the
 * layout's and are not touched again.
 */
#include <string.h>

#include "arch/builder.h"
#include "arch/facts.h"
#include "arch/lacks.h"
#include "arch/roles.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err allocate(struct ww_builder *b, struct ww_error *err)
{
    struct ww_layout *l = ww_calloc(1, sizeof(*l));
    struct ww_layout_impl *impl = ww_calloc(1, sizeof(*impl));
    uint32_t n = b->model->n_tensors;

    b->layout = l;
    b->impl = impl;
    b->bound = ww_calloc(n, sizeof(*b->bound));
    if (l) {
        l->impl = impl;
        l->bindings = ww_calloc(n, sizeof(*l->bindings));
    }
    if (!l || !impl || !b->bound || !l->bindings) {
        if (!l) {
            ww_free(impl);
        }
        return WW_FAIL_MEMORY(err, "a layout");
    }
    for (uint32_t i = 0; i < n; i++) {
        l->bindings[i].block = WW_NONE;
        l->bindings[i].name_space = WW_NONE;
    }
    l->model = b->model;
    l->residual.space = WW_NONE;
    l->embed = l->embed_position = l->embed_type = WW_NONE;
    ww_linear_none(&l->head);
    ww_linear_none(&l->head_transform);
    ww_norm_none(&l->head_norm);
    memcpy(l->descriptor_sha256, b->desc->sha256, sizeof(l->descriptor_sha256));
    return WW_OK;
}

static enum ww_err set_section(struct ww_builder *b, struct ww_error *err)
{
    const struct ww_config *config = b->model->config;
    const char *section = b->desc->section;

    if (strcmp(section, "text") == 0) {
        b->scope.config = config->text;
    } else if (strcmp(section, "root") == 0) {
        b->scope.config = config->root;
    } else {
        b->scope.config = ww_config_at(config->root, section);
    }
    if (!b->scope.config) {
        return WW_FAIL(err, WW_E_CONFIG, "config.json has no section '%s'", section);
    }
    b->config = b->scope.config;
    b->scope.defaults = b->desc->defaults;
    b->scope.facts = b->desc->facts;
    b->scope.model = b->model;
    return WW_OK;
}

static enum ww_err run_checks(struct ww_builder *b, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (const struct ww_jnode *n = ww_jfirst(b->desc->checks); n && !rc;
         n = ww_jnext(n)) {
        struct ww_value value = {0};
        const char *text = NULL;
        rc = ww_expr_node(ww_jat(n, 0), &b->scope, &value, err);
        if (rc == WW_OK && !ww_value_true(&value)) {
            (void)ww_jstr(ww_jat(n, 1), &text);
            rc = WW_FAIL(err, WW_E_ARCH, "descriptor '%s' does not cover %s", b->desc->id,
                         text);
        }
    }
    return rc;
}

static enum ww_err resolve_layer(struct ww_builder *b, const struct ww_stack_desc *desc,
                                 uint32_t stack, uint64_t layer, struct ww_error *err)
{
    const char *name = NULL, *full = NULL;
    uint32_t block = WW_NONE;
    enum ww_err rc = ww_layer_name(b, desc->layer, layer, &name, err);

    if (rc) {
        return rc;
    }
    rc = *name == '/' ? ww_builder_name(b, &full, err, "%s", name + 1)
                      : ww_builder_name(b, &full, err, "%s%s", b->scope.prefix, name);
    if (rc) {
        return rc;
    }
    ww_scope_layer(b, layer, full);
    rc = ww_build_block(b, stack, layer, &block, err);
    rc = rc ? rc : ww_match_rows(b, &desc->rows, stack, block, name, err);
    return rc ? rc : ww_finish_block(b, block, err);
}

static enum ww_err resolve_stack(struct ww_builder *b, const struct ww_stack_desc *desc,
                                 struct ww_error *err)
{
    uint64_t first = 0, count = 0;
    uint32_t stack = WW_NONE;
    enum ww_err rc = ww_stack_range(b, desc, &first, &count, err);

    if (rc || count == 0) {
        return rc;
    }
    rc = ww_build_stack(b, desc, &stack, err);
    rc = rc ? rc : ww_decide_stream(b, desc, stack, err);
    for (uint64_t l = first; l < first + count && rc == WW_OK; l++) {
        rc = resolve_layer(b, desc, stack, l, err);
    }
    ww_scope_stack(b, desc);
    rc = rc ? rc : ww_match_rows(b, &desc->outer, stack, WW_NONE, "", err);
    return rc ? rc : ww_finish_stack(b, stack, err);
}

/* What has to hold before rows are looked for. */
static enum ww_err prepare(struct ww_builder *b, struct ww_error *err)
{
    enum ww_err rc = set_section(b, err);

    rc = rc ? rc : ww_find_prefix(b, err);
    rc = rc ? rc : run_checks(b, err);
    rc = rc ? rc : ww_count_layers(b, err);
    ww_scope_stack(b, NULL);
    return rc ? rc : ww_decide_residual(b, err);
}

static enum ww_err match(struct ww_builder *b, struct ww_error *err)
{
    const struct ww_descriptor *d = b->desc;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < d->n_stacks && rc == WW_OK; i++) {
        ww_scope_stack(b, NULL);
        rc = resolve_stack(b, &d->stacks[i], err);
    }
    ww_scope_stack(b, NULL);
    if (rc == WW_OK && b->layout->n_stacks == 0) {
        rc = WW_FAIL(err, WW_E_CONFIG, "config.json asks for a model without layers");
    }
    return rc ? rc : ww_match_rows(b, &d->model, WW_NONE, WW_NONE, "", err);
}

static enum ww_err resolve(struct ww_builder *b, struct ww_error *err)
{
    enum ww_err rc = prepare(b, err);

    rc = rc ? rc : match(b, err);
    rc = rc ? rc : ww_match_rest(b, err);
    return rc ? rc : ww_finish_model(b, err);
}

/* The layout outlives the descriptor: strings that came from it are copied. */
static enum ww_err keep_strings(struct ww_builder *b, struct ww_error *err)
{
    struct ww_layout *l = b->layout;
    const char *type = b->model->config->model_type;
    enum ww_err rc = ww_builder_name(b, &l->descriptor, err, "%s", b->desc->id);

    rc = rc ? rc : ww_builder_name(b, &l->model_type, err, "%s", type ? type : "");
    rc = rc ? rc : ww_builder_name(b, &l->task, err, "%s", l->task);
    rc = rc ? rc : ww_builder_name(b, &l->residual.reason, err, "%s", l->residual.reason);
    for (uint32_t i = 0; i < l->n_stacks && rc == WW_OK; i++) {
        struct ww_stack *s = &l->stacks[i];
        rc = ww_builder_name(b, &s->name, err, "%s", s->name);
        if (rc == WW_OK && s->own_stream) {
            rc = ww_builder_name(b, &s->stream.reason, err, "%s", s->stream.reason);
        }
    }
    return rc;
}

enum ww_err ww_layout_resolve(const struct ww_model *model,
                              const struct ww_layout_options *options,
                              struct ww_layout **out, struct ww_error *err)
{
    struct ww_builder b = {.model = model};
    struct ww_descriptor *desc = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = ww_descriptor_choose(model, options, &desc, err);
    if (rc) {
        goto out;
    }
    b.desc = desc;
    rc = ww_refuse_quantised(model, err);
    if (rc) {
        goto out;
    }
    rc = allocate(&b, err);
    if (rc) {
        goto out;
    }
    rc = resolve(&b, err);
    if (rc) {
        goto out;
    }
    rc = keep_strings(&b, err);
    if (rc) {
        goto out;
    }
    *out = b.layout;
    b.layout = NULL;
out:
    ww_layout_free(b.layout);
    ww_free(b.tallies);
    ww_free(b.bound);
    ww_descriptor_free(desc);
    return rc;
}

enum ww_err ww_layout_lacks(const struct ww_model *model, bool *part,
                            struct ww_error *err)
{
    struct ww_builder b = {.model = model};
    struct ww_descriptor *desc = NULL;
    enum ww_err rc = ww_descriptor_choose(model, NULL, &desc, err);

    if (!rc) {
        b.desc = desc;
        rc = allocate(&b, err);
    }
    if (!rc && prepare(&b, err) == WW_OK) {
        rc = match(&b, err);
    }
    *part = b.part_missing;
    ww_layout_free(b.layout);
    ww_free(b.tallies);
    ww_free(b.bound);
    ww_descriptor_free(desc);
    return rc == WW_E_TENSOR || rc == WW_E_NOMEM ? rc : WW_OK;
}

const struct ww_residual *ww_layout_stream(const struct ww_layout *layout, uint32_t stack)
{
    const bool own = stack < layout->n_stacks && layout->stacks[stack].own_stream;

    return own ? &layout->stacks[stack].stream : &layout->residual;
}

void ww_layout_free(struct ww_layout *layout)
{
    struct ww_layout_impl *impl = NULL;

    if (!layout) {
        return;
    }
    impl = layout->impl;
    if (impl) {
        ww_strlist_release(&impl->names);
    }
    ww_free(impl);
    ww_free(layout->spaces);
    ww_free(layout->segments);
    ww_free(layout->bindings);
    ww_free(layout->stacks);
    ww_free(layout->blocks);
    ww_free(layout->attentions);
    ww_free(layout->mlps);
    ww_free(layout->moes);
    ww_free(layout);
}
