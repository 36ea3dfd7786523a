/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May the residual stream move? Only when every answer of the model is read off it by a
 * tensor that can move along. A bare encoder's answer is the stream itself.
 */
#include "arch/builder.h"

#include <stdio.h>
#include <string.h>

#include "arch/facts.h"
#include "model/config.h"
#include "util/fail.h"

enum ww_err ww_tied(struct ww_builder *b, bool *tied, struct ww_error *err)
{
    if (b->model->config->tie_present) {
        *tied = b->model->config->tie;
        return WW_OK;
    }
    return ww_fact_bool(&b->scope, "tie", tied, err);
}

static bool is_stored(const struct ww_builder *b, const char *name)
{
    char full[1100];
    const char *front = *name == '/' ? "" : b->scope.prefix;
    int n = snprintf(full, sizeof(full), "%s%s", front, name + (*name == '/'));

    return n > 0 && (size_t)n < sizeof(full) && ww_model_find(b->model, full) != WW_NONE;
}

/* The task that a stored head tensor means, NULL without one. */
static const char *task_by_tensor(const struct ww_builder *b)
{
    const char *task = NULL;

    for (const struct ww_jnode *n = ww_jfirst(b->desc->heads); n; n = ww_jnext(n)) {
        if (is_stored(b, ww_jkey(n)) && ww_jstr(n, &task)) {
            return task;
        }
    }
    return NULL;
}

/* The task that the config's architectures mean; *class_name is the entry. */
static const char *task_by_class(const struct ww_builder *b, const char **class_name)
{
    const char *task = NULL;

    for (size_t i = 0;; i++) {
        *class_name = ww_config_architecture(b->model->config, i);
        if (!*class_name) {
            return NULL;
        }
        for (const struct ww_jnode *n = ww_jfirst(b->desc->head_classes); n;
             n = ww_jnext(n)) {
            if (ww_str_glob(ww_jkey(n), *class_name) && ww_jstr(n, &task)) {
                return task;
            }
        }
    }
}

/* Does the config name the bare model, whose answer is the stream, and no class with a
 * head? */
static bool named_bare(const struct ww_builder *b)
{
    const char *name = ww_config_architecture(b->model->config, 0);

    return name && ww_str_glob("*Model", name) && !ww_str_glob("*LMHeadModel", name) &&
           !ww_config_architecture(b->model->config, 1);
}

/* Classes named Model may well have other heads: CLIP's, or reward models. */
static bool says_tokens(const char *task)
{
    return strcmp(task, "causal-lm") == 0 || strcmp(task, "masked-lm") == 0 ||
           strcmp(task, "seq2seq") == 0;
}

static bool has_modules_json(const struct ww_model *model)
{
    for (uint32_t i = 0; i < model->n_side; i++) {
        if (strcmp(model->side[i].path, "modules.json") == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err find_task(struct ww_builder *b, struct ww_error *err)
{
    const char *class_name = NULL;
    const char *by_class = task_by_class(b, &class_name);
    const char *by_tensor = task_by_tensor(b);
    const char *head = ww_jkey(ww_jfirst(b->desc->heads));
    bool tied = false;
    enum ww_err rc = ww_tied(b, &tied, err);

    if (rc) {
        return rc;
    }
    if (by_tensor && !by_class && says_tokens(by_tensor) && named_bare(b)) {
        by_tensor = NULL;
    }
    b->layout->task = by_tensor ? by_tensor : by_class ? by_class : "headless";
    if (!by_tensor && by_class && !tied) {
        return WW_FAIL(err, WW_E_TENSOR,
                       "config.json says '%s' and untied embeddings, but no head such as "
                       "'%s' is stored; is a shard missing?",
                       class_name, head ? head + (*head == '/') : "");
    }
    return WW_OK;
}

static const char *reason_of(enum ww_residual_group group, const char *own)
{
    if (own) {
        return own;
    }
    switch (group) {
    case WW_RESIDUAL_FIXED:
        return "";
    case WW_RESIDUAL_PERM:
        return "coordinates may change places";
    case WW_RESIDUAL_PERM_SIGN:
        return "LayerNorm stream: coordinates may change places, all signs together";
    case WW_RESIDUAL_SIGNED:
        return "RMSNorm stream: coordinates may change places and signs";
    }
    return "";
}

enum ww_err ww_decide_residual(struct ww_builder *b, struct ww_error *err)
{
    struct ww_residual *r = &b->layout->residual;
    enum ww_err rc = ww_fact_size(&b->scope, "hidden", &r->width, err);

    rc = rc ? rc : find_task(b, err);
    if (rc) {
        return rc;
    }
    r->group = b->desc->group;
    r->reason = reason_of(r->group, b->desc->reason);
    if (strcmp(b->layout->task, "headless") == 0) {
        r->group = WW_RESIDUAL_FIXED;
        r->reason = "headless: the output is the residual stream";
    }
    if (has_modules_json(b->model)) {
        r->group = WW_RESIDUAL_FIXED;
        r->reason = "sentence-transformers: the output is the residual stream";
    }
    return rc;
}

enum ww_err ww_decide_stream(struct ww_builder *b, const struct ww_stack_desc *desc,
                             uint32_t stack, struct ww_error *err)
{
    struct ww_stack *s = &b->layout->stacks[stack];
    struct ww_value value = {0};
    enum ww_err rc = WW_OK;

    if (!desc->own_stream) {
        return WW_OK;
    }
    s->own_stream = true;
    for (uint32_t i = 0; desc->stream_of && i < stack; i++) {
        if (strcmp(b->layout->stacks[i].name, desc->stream_of) == 0) {
            s->stream = *ww_layout_stream(b->layout, i);
            return WW_OK;
        }
    }
    if (desc->stream_of) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "stack '%s' reads stack '%s', which is none",
                       s->name, desc->stream_of);
    }
    s->stream = (struct ww_residual){.space = WW_NONE,
                                     .group = desc->group,
                                     .reason = reason_of(desc->group, desc->reason)};
    rc = ww_fact_size(&b->scope, "hidden", &s->stream.width, err);
    if (rc == WW_OK && desc->moves) {
        rc = ww_expr_eval(desc->moves, &b->scope, &value, err);
        if (!ww_value_true(&value)) {
            s->stream.group = WW_RESIDUAL_FIXED;
            s->stream.reason = "headless: the output is the residual stream";
        }
    }
    return rc;
}
