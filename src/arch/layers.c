/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which prefix the names carry, and whether the weights hold as many layers as
 * config.json says. Counted before anything is built: a config that asks for a million
 * layers costs nothing, and a surplus layer is named as such instead of as an unknown
 * tensor.
 */
#include "arch/builder.h"

#include <string.h>

#include "arch/facts.h"
#include "model/config.h"
#include "util/fail.h"

void ww_scope_stack(struct ww_builder *b, const struct ww_stack_desc *stack)
{
    const struct ww_jnode *root = b->model->config->root;

    b->scope.stack_facts = stack ? stack->facts : NULL;
    b->scope.config =
        stack && stack->section ? ww_config_at(root, stack->section) : b->config;
    b->scope.defaults = stack && stack->defaults ? stack->defaults : b->desc->defaults;
    b->scope.layer = 0;
    b->scope.layer_prefix = NULL;
}

void ww_scope_layer(struct ww_builder *b, uint64_t layer, const char *layer_prefix)
{
    b->scope.layer = layer;
    b->scope.layer_prefix = layer_prefix;
}

/* False when the stack's condition does not hold. */
static enum ww_err stack_present(struct ww_builder *b, const struct ww_stack_desc *stack,
                                 bool *present, struct ww_error *err)
{
    struct ww_value value = {0};
    enum ww_err rc = WW_OK;

    *present = true;
    if (stack->when) {
        rc = ww_expr_eval(stack->when, &b->scope, &value, err);
        *present = ww_value_true(&value);
    }
    return rc;
}

enum ww_err ww_layer_name(struct ww_builder *b, const char *template_text, uint64_t layer,
                          const char **out, struct ww_error *err)
{
    const char *at = strstr(template_text, "{l}");

    if (!at) {
        return ww_builder_name(b, out, err, "%s", template_text);
    }
    return ww_builder_name(b, out, err, "%.*s%llu%s", (int)(at - template_text),
                           template_text, (unsigned long long)layer, at + 3);
}

/* The number of a layer in a tensor's name, false when the name is no such one. */
static bool layer_of(const char *name, const char *prefix, const char *template_text,
                     uint64_t *layer)
{
    const bool whole = *template_text == '/'; /* outside of the prefix */
    template_text += whole;
    const char *at = strstr(template_text, "{l}");
    size_t head = at ? (size_t)(at - template_text) : strlen(template_text);
    size_t n = whole ? 0 : strlen(prefix);

    if ((n && strncmp(name, prefix, n) != 0) ||
        strncmp(name + n, template_text, head) != 0) {
        return false;
    }
    if (!at) { /* a stack of one layer */
        *layer = 0;
        return true;
    }
    name += n + head;
    n = strspn(name, "0123456789");
    return ww_parse_u64(name, n, layer) && ww_str_starts(name + n, at + 3);
}

static bool any_layer(const struct ww_builder *b, const char *prefix)
{
    uint64_t layer = 0;

    for (uint32_t s = 0; s < b->desc->n_stacks; s++) {
        if (b->desc->stacks[s].layer[0] == '/') {
            continue;
        }
        for (uint32_t i = 0; i < b->model->n_tensors; i++) {
            if (layer_of(b->model->tensors[i].name, prefix, b->desc->stacks[s].layer,
                         &layer)) {
                return true;
            }
        }
    }
    return false;
}

enum ww_err ww_find_prefix(struct ww_builder *b, struct ww_error *err)
{
    const char *prefix = NULL;

    for (const struct ww_jnode *n = ww_jfirst(b->desc->prefixes); n; n = ww_jnext(n)) {
        if (ww_jstr(n, &prefix) && any_layer(b, prefix)) {
            b->scope.prefix = prefix;
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_TENSOR,
        "no layer found: descriptor '%s' expects names such as '%s%s'; the first "
        "tensor is '%s'",
        b->desc->id, prefix ? prefix : "", b->desc->stacks[0].layer,
        b->model->n_tensors ? b->model->tensors[0].name : "");
}

enum ww_err ww_stack_range(struct ww_builder *b, const struct ww_stack_desc *stack,
                           uint64_t *first, uint64_t *count, struct ww_error *err)
{
    struct ww_value value = {0};
    bool present = false;
    enum ww_err rc = WW_OK;

    ww_scope_stack(b, NULL);
    rc = stack_present(b, stack, &present, err);
    *first = *count = 0;
    if (rc || !present) {
        return rc;
    }
    ww_scope_stack(b, stack);
    rc = ww_expr_node(stack->layers, &b->scope, &value, err);
    if (rc == WW_OK && !(value.kind == WW_V_NUMBER && value.number >= 0 &&
                         value.number <= (double)WW_FACT_MAX)) {
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json does not say how many layers stack '%s' "
                     "has",
                     stack->name);
    }
    *count = rc ? 0 : (uint64_t)value.number;
    if (rc == WW_OK && stack->first) {
        rc = ww_expr_node(stack->first, &b->scope, &value, err);
        if (rc == WW_OK && (value.kind != WW_V_NUMBER || value.number < 0 ||
                            value.number > (double)WW_FACT_MAX)) {
            rc = WW_FAIL(err, WW_E_CONFIG,
                         "config.json does not say where stack '%s' "
                         "begins",
                         stack->name);
        }
        *first = rc ? 0 : (uint64_t)value.number;
    }
    return rc;
}

/* Stacks that share a layer template (multi-token prediction behind the decoder) are
 * counted together. */
static enum ww_err count_template(struct ww_builder *b, const char *template_text,
                                  struct ww_error *err)
{
    uint64_t expected = 0, found = 0, layer = 0, first = 0, count = 0;
    char origin[WW_ORIGIN_BYTES];
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < b->desc->n_stacks && rc == WW_OK; i++) {
        if (strcmp(b->desc->stacks[i].layer, template_text) == 0) {
            rc = ww_stack_range(b, &b->desc->stacks[i], &first, &count, err);
            expected = first + count > expected ? first + count : expected;
        }
    }
    for (uint32_t i = 0; i < b->model->n_tensors; i++) {
        if (layer_of(b->model->tensors[i].name, b->scope.prefix, template_text, &layer) &&
            layer >= found) {
            found = layer + 1;
        }
    }
    if (rc == WW_OK && found != expected) {
        ww_fact_origin(&b->scope, "layers", origin);
        rc = WW_FAIL(err, WW_E_ARCH,
                     "the weights hold %llu layers ('%s%s'), config.json says %llu (%s)",
                     (unsigned long long)found, b->scope.prefix, template_text,
                     (unsigned long long)expected, origin);
    }
    return rc;
}

enum ww_err ww_count_layers(struct ww_builder *b, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < b->desc->n_stacks && rc == WW_OK; i++) {
        rc = count_template(b, b->desc->stacks[i].layer, err);
    }
    return rc;
}
