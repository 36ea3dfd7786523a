/* SPDX-License-Identifier: Apache-2.0 */
/* What a recipe says about the vocabulary: tokenizer_source, or the tokenizer block. */
#include <string.h>

#include "merge/recipe.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err read_source(struct ww_recipe *recipe, const struct ww_ynode *node,
                               struct ww_error *err)
{
    struct ww_recipe_vocab *vocab = &recipe->vocab;
    const char *text = NULL;

    if (ww_ystr(node, &text) && strcmp(text, "union") == 0) {
        vocab->source = WW_VOCAB_UNION;
        return WW_OK;
    }
    if (text && strcmp(text, "base") == 0) {
        vocab->source = WW_VOCAB_BASE;
        return WW_OK;
    }
    if (text && ww_str_starts(text, "model:")) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: a tokenizer's source is a model's path alone; write '%s'",
            ww_yline(node), text + strlen("model:"));
    }
    vocab->source = WW_VOCAB_MODEL;
    return ww_recipe_model_of(recipe, node, &vocab->model, err);
}

/* {kind: model_token, model, token | token_id} */
static enum ww_err read_other(struct ww_recipe *recipe, const struct ww_ynode *node,
                              struct ww_recipe_token *out, struct ww_error *err)
{
    static const char *const keys[] = {"kind", "model", "token", "token_id"};
    const struct ww_ynode *by_id = ww_yget(node, "token_id");
    const struct ww_ynode *by_name = ww_yget(node, "token");
    int64_t id = 0;
    enum ww_err rc =
        ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, "a token's source", err);

    if (rc) {
        return rc;
    }
    if (!by_id == !by_name) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: the source of token '%s' needs token or token_id, one of "
            "them",
            ww_yline(node), out->token);
    }
    if (by_id && (!ww_yi64(by_id, &id) || id < 0)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: token_id is no token's number",
                       ww_yline(by_id));
    }
    if (by_name && !ww_ytext(by_name, &out->other)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: token is not text",
                       ww_yline(by_name));
    }
    out->other_id = (uint64_t)id;
    out->kind = WW_TOKEN_OTHER;
    return ww_recipe_model_of(recipe, ww_yget(node, "model"), &out->model, err);
}

static enum ww_err read_token_source(struct ww_recipe *recipe,
                                     const struct ww_ynode *node,
                                     struct ww_recipe_token *out, struct ww_error *err)
{
    static const char *const zero_keys[] = {"kind"};
    const char *kind = NULL;

    if (!node) {
        return WW_OK;
    }
    if (ww_ytype(node) != WW_Y_MAP || !ww_yget(node, "kind")) {
        out->kind = WW_TOKEN_MODEL;
        return ww_recipe_model_of(recipe, node, &out->model, err);
    }
    if (!ww_ystr(ww_yget(node, "kind"), &kind)) {
        kind = "";
    }
    if (strcmp(kind, "model_token") == 0) {
        return read_other(recipe, node, out, err);
    }
    if (strcmp(kind, "zero") == 0) {
        out->kind = WW_TOKEN_ZERO;
        return ww_yonly(node, zero_keys, 1, WW_E_RECIPE, "a token's source", err);
    }
    return WW_FAIL(err, WW_E_RECIPE,
                   "line %zu: kind '%s' is neither model_token nor zero", ww_yline(node),
                   kind);
}

static enum ww_err read_tokens(struct ww_recipe *recipe, const struct ww_ynode *tokens,
                               struct ww_error *err)
{
    static const char *const keys[] = {"source", "force"};
    struct ww_recipe_vocab *vocab = &recipe->vocab;
    enum ww_err rc = WW_OK;

    if (ww_ytype(tokens) != WW_Y_MAP) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: tokens is %s, a map is expected",
                       ww_yline(tokens), ww_ytype_name(tokens));
    }
    vocab->tokens = ww_calloc(ww_ysize(tokens), sizeof(*vocab->tokens));
    if (!vocab->tokens) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    for (const struct ww_ynode *n = ww_yfirst(tokens); n && !rc; n = ww_ynext(n)) {
        struct ww_recipe_token *t = &vocab->tokens[vocab->n_tokens++];
        const struct ww_ynode *force = ww_yget(n, "force");
        *t = (struct ww_recipe_token){
            .token = ww_ykey(n), .model = WW_NONE, .line = ww_yline(n)};
        if (ww_ytype(n) == WW_Y_NULL) {
            continue;
        }
        rc = ww_yonly(n, keys, WW_LEN(keys), WW_E_RECIPE, "a token", err);
        if (!rc && force && !ww_ybool(force, &t->force)) {
            rc = WW_FAIL(err, WW_E_RECIPE, "line %zu: force is true or false",
                         ww_yline(force));
        }
        if (!rc) {
            rc = read_token_source(recipe, ww_yget(n, "source"), t, err);
        }
    }
    return rc;
}

static enum ww_err read_block(struct ww_recipe *recipe, const struct ww_ynode *block,
                              struct ww_error *err)
{
    static const char *const keys[] = {"source", "tokens", "pad_to_multiple_of"};
    const struct ww_ynode *pad = NULL;
    const char *text = NULL;
    int64_t multiple = 0;
    enum ww_err rc = WW_OK;

    if (ww_ytext(block, &text)) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: the tokenizer is text, a map is expected; write "
                       "tokenizer_source: %s",
                       ww_yline(block), text);
    }
    rc = ww_yonly(block, keys, WW_LEN(keys), WW_E_RECIPE, "the tokenizer", err);
    recipe->vocab.source = WW_VOCAB_UNION;
    if (!rc && ww_yget(block, "source")) {
        rc = read_source(recipe, ww_yget(block, "source"), err);
    }
    if (!rc && ww_yget(block, "tokens")) {
        rc = read_tokens(recipe, ww_yget(block, "tokens"), err);
    }
    pad = ww_yget(block, "pad_to_multiple_of");
    if (!rc && pad && (!ww_yi64(pad, &multiple) || multiple < 1 || multiple > 65536)) {
        rc = WW_FAIL(err, WW_E_RECIPE,
                     "line %zu: pad_to_multiple_of is not a number from 1 to 65536",
                     ww_yline(pad));
    }
    recipe->vocab.pad_to_multiple_of = (uint64_t)multiple;
    return rc;
}

enum ww_err ww_recipe_read_vocab(struct ww_recipe *recipe, struct ww_error *err)
{
    const struct ww_ynode *source = ww_yget(recipe->root, "tokenizer_source");
    const struct ww_ynode *block = ww_yget(recipe->root, "tokenizer");
    enum ww_err rc = WW_OK;

    recipe->vocab.model = WW_NONE;
    if (source && block) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: tokenizer and tokenizer_source exclude each other",
                       ww_yline(block));
    }
    recipe->vocab.line = ww_yline(source ? source : block);
    if (source) {
        rc = read_source(recipe, source, err);
    } else if (block) {
        rc = read_block(recipe, block, err);
    }
    return rc;
}
