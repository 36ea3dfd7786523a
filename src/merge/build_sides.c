/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies beside the weights. config.json is the donor's with the members changed that
 * the merge changed; tokenizer and the like are copied from the model whose vocabulary
 * the output has; what the donor says about itself (card, signature, attestations) stays
 * behind.
 */
#include <string.h>

#include "merge/build.h"
#include "merge/card.h"
#include "merge/chat_template.h"
#include "merge/layer_lists.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define CONFIG "config.json"
#define TOKENIZER "tokenizer.json"
#define TOKENIZER_CONFIG "tokenizer_config.json"
#define TEMPLATE "chat_template.jinja"

/* Copied from the donor when it has them; a '/' at the end takes all below, but for
 * weights. What lies in the folders of modules.json is build_modules_json.c's. */
static const char *const carried[] = {"generation_config.json",
                                      "tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "tokenizer.model",
                                      "spiece.model",
                                      "sentencepiece.bpe.model",
                                      "source.spm",
                                      "target.spm",
                                      "vocab.json",
                                      "vocab.txt",
                                      "merges.txt",
                                      "tekken.json",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "additional_chat_templates/",
                                      "preprocessor_config.json",
                                      "processor_config.json",
                                      "video_preprocessor_config.json",
                                      "image_processor_config.json",
                                      "modules.json",
                                      "sentence_bert_config.json",
                                      "config_sentence_transformers.json",
                                      "LICENSE",
                                      "LICENSE.txt",
                                      "LICENSE.md",
                                      "NOTICE",
                                      "NOTICE.txt",
                                      "USE_POLICY.md"};

static bool is_carried(const struct ww_model *from, const char *path)
{
    if (strcmp(path, "params.json") == 0) { /* config.json of Mistral's own layout */
        return from->n_files > 0 && ww_str_starts(from->files[0].name, "consolidated");
    }
    for (size_t i = 0; i < WW_LEN(carried); i++) {
        if (strcmp(path, carried[i]) == 0 ||
            (ww_str_ends(carried[i], "/") && ww_str_starts(path, carried[i]) &&
             !ww_str_ends(path, ".safetensors"))) {
            return true;
        }
    }
    return false;
}

static const char *torch_name(enum ww_dtype dtype)
{
    switch ((int)dtype) {
    case WW_DTYPE_BF16:
        return "\"bfloat16\"";
    case WW_DTYPE_F16:
        return "\"float16\"";
    case WW_DTYPE_F64:
        return "\"float64\"";
    default:
        return "\"float32\"";
    }
}

/* The dtype of most of the output's bytes: what config.json speaks of. */
static enum ww_dtype main_dtype(const struct ww_merge_plan *plan)
{
    double bytes[WW_DTYPE_COUNT] = {0};
    enum ww_dtype best = WW_DTYPE_F32;

    for (uint32_t i = 0; i < plan->n_tensors; i++) {
        const struct ww_merge_tensor *t = &plan->tensors[i];
        double n = ww_dtype_bits(t->dtype);
        for (unsigned a = 0; a < t->rank; a++) {
            n *= (double)t->shape[a];
        }
        if (ww_dtype_is_plain_float(t->dtype)) {
            bytes[t->dtype] += n;
            best = bytes[t->dtype] > bytes[best] ? t->dtype : best;
        }
    }
    return best;
}

static const char *section_name(const struct ww_config *config)
{
    return config->text != config->root ? ww_jkey(config->text) : NULL;
}

/* The key that a fact is under in the donor's config. */
static const char *key_of(const struct ww_config *config, enum ww_fact fact)
{
    size_t n = 0;
    const char *const *keys = ww_fact_keys(fact, &n);

    for (size_t i = 0; i < n; i++) {
        const struct ww_jnode *node = ww_jget(config->text, keys[i]);
        if (ww_jtype(node) == WW_J_NUMBER) {
            return keys[i];
        }
    }
    return n > 0 ? keys[0] : "";
}

static enum ww_err number_text(struct ww_build *build, uint64_t v, const char **out,
                               struct ww_error *err)
{
    *out = ww_pool_keep(build->pool, ww_asprintf("%llu", (unsigned long long)v));
    return *out ? WW_OK : ww_build_no_memory(err);
}

static enum ww_err edit_config(struct ww_build *build, const struct ww_config *config,
                               const struct ww_buf *text, struct ww_buf *out,
                               struct ww_error *err)
{
    const char *dtype = torch_name(main_dtype(build->plan));
    const bool old_name = ww_jget(config->root, "torch_dtype") != NULL;
    const char *layers = NULL;
    const char *vocab = NULL;
    struct ww_json_edit items[5 + WW_MOST_LAYER_LISTS] = {
        {.key = "dtype", .value = dtype, .insert = !old_name},
        {.key = "torch_dtype", .value = dtype},
        {.key = key_of(config, WW_FACT_LAYERS)},
        {.key = key_of(config, WW_FACT_VOCAB)},
        {.key = "tie_word_embeddings",
         .value = build->unties ? "false" : NULL,
         .insert = build->unties},
    };
    size_t n_lists = 0;
    const struct ww_layer_list *lists = ww_layer_lists(&n_lists);
    struct ww_json_edits edits = {.items = items,
                                  .n = 5,
                                  .section = section_name(config),
                                  .layer_from = build->layer_from,
                                  .new_layers = build->n_layers};
    const struct ww_build_model *donor = &build->models[build->donor];
    enum ww_err rc = WW_OK;

    if (build->sliced) {
        edits.old_layers = ww_build_count_layers(donor);
        for (size_t i = 0; i < n_lists; i++) {
            items[edits.n++] =
                (struct ww_json_edit){.key = lists[i].key, .list = lists[i].kind};
        }
        rc = number_text(build, build->n_layers, &layers, err);
        items[2].value = layers;
        items[2].insert = true;
    }
    if (!rc && build->grows) {
        rc = number_text(build, build->vocab_size, &vocab, err);
        items[3].value = vocab;
        items[3].insert = true;
    }
    return rc ? rc : ww_json_edit(text->data, text->len, &edits, out, err);
}

static enum ww_err add_config(struct ww_build *build, struct ww_error *err)
{
    const struct ww_model *donor = build->models[build->donor].model;
    struct ww_buf text;
    struct ww_buf out;
    enum ww_err rc = WW_OK;

    if (!donor->config) {
        return ww_build_warn(build, err,
                             "'%s' has no config.json, so the output has none",
                             build->models[build->donor].text);
    }
    ww_buf_init(&text, WW_BUILD_MAX_SIDE);
    ww_buf_init(&out, WW_BUILD_MAX_SIDE);
    rc = ww_file_read_at(donor->dirfd, CONFIG, WW_LINKS_HUB, &text, err);
    if (!rc) {
        rc = edit_config(build, donor->config, &text, &out, err);
    }
    if (!rc && build->sliced) {
        rc = ww_build_kinds(build, err);
        rc = rc ? rc : ww_build_stacked(build, &out, err);
    }
    if (!rc) {
        rc = ww_build_add_file(build, CONFIG, out.data, out.len, err);
    }
    ww_buf_release(&text);
    ww_buf_release(&out);
    return rc;
}

bool ww_build_has_side(const struct ww_model *model, const char *path)
{
    for (uint32_t i = 0; i < model->n_side; i++) {
        if (strcmp(model->side[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* A model may have several by names, in a list; the one for chats is "default". */
static const char *default_template(const struct ww_jnode *node)
{
    const char *name = NULL;
    const char *text = NULL;

    if (ww_jtype(node) != WW_J_ARRAY) {
        (void)ww_jstr(node, &text);
        return text;
    }
    for (const struct ww_jnode *one = ww_jfirst(node); one && !text;
         one = ww_jnext(one)) {
        if (ww_jstr(ww_jget(one, "name"), &name) && strcmp(name, "default") == 0) {
            (void)ww_jstr(ww_jget(one, "template"), &text);
        }
    }
    return text;
}

/* The chat template of a model into buf; nothing when it has none. */
static enum ww_err read_template(const struct ww_model *model, struct ww_buf *buf,
                                 struct ww_error *err)
{
    struct ww_json *json = NULL;
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    ww_buf_clear(buf);
    if (ww_build_has_side(model, TEMPLATE)) {
        return ww_file_read_at(model->dirfd, TEMPLATE, WW_LINKS_HUB, buf, err);
    }
    if (!ww_build_has_side(model, TOKENIZER_CONFIG)) {
        return WW_OK;
    }
    rc = ww_file_read_at(model->dirfd, TOKENIZER_CONFIG, WW_LINKS_HUB, buf, err);
    if (!rc) {
        rc = ww_json_parse(buf->data, buf->len, &ww_json_limits_config, &json, err);
    }
    ww_buf_clear(buf);
    if (rc) {
        ww_error_context(err, TOKENIZER_CONFIG " of '%s'", model->path);
    }
    text = default_template(ww_jget(ww_json_root(json), "chat_template"));
    if (!rc && text) {
        rc = ww_buf_add_str(buf, text, err);
    }
    ww_json_free(json);
    return rc;
}

/* The template that most parents have, the first of those as common. */
static enum ww_err most_common(struct ww_build *build, const char **out,
                               struct ww_error *err)
{
    const uint32_t n = build->recipe->n_models;
    char **texts = ww_pool_calloc(build->pool, n, sizeof(*texts));
    uint32_t most = 0;
    struct ww_buf buf;
    enum ww_err rc = texts ? WW_OK : ww_build_no_memory(err);

    *out = NULL;
    ww_buf_init(&buf, WW_BUILD_MAX_SIDE);
    for (uint32_t i = 0; i < n && !rc; i++) {
        rc = read_template(build->models[i].model, &buf, err);
        if (!rc && buf.len > 0) {
            texts[i] = ww_pool_keep(build->pool, ww_strdup(ww_buf_cstr(&buf)));
            rc = texts[i] ? WW_OK : ww_build_no_memory(err);
        }
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        uint32_t count = 0;
        for (uint32_t k = 0; k < n && texts[i]; k++) {
            count += texts[k] && strcmp(texts[k], texts[i]) == 0;
        }
        if (count > most) {
            most = count;
            *out = texts[i];
        }
    }
    ww_buf_release(&buf);
    return rc;
}

/* What chat_template asks for; *out NULL: leave the donor's. */
static enum ww_err choose_template(struct ww_build *build, const char **out,
                                   struct ww_error *err)
{
    const char *wanted = build->recipe->chat_template;

    *out = NULL;
    if (!wanted) {
        return WW_OK;
    }
    if (strcmp(wanted, "auto") == 0) {
        return most_common(build, out, err);
    }
    *out = ww_chat_template(wanted);
    *out = *out ? *out : wanted;
    if (!strchr(*out, '{')) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "chat_template '%s' is none of auto, alpaca, chatml, exaone, "
                       "llama3 and mistral, and no Jinja text; write the text itself "
                       "into the recipe",
                       wanted);
    }
    return WW_OK;
}

static enum ww_err drop_template(const struct ww_buf *text, struct ww_buf *out,
                                 struct ww_error *err)
{
    struct ww_json_edit edit = {.key = "chat_template", .value = "null"};
    struct ww_json_edits edits = {.items = &edit, .n = 1};
    return ww_json_edit(text->data, text->len, &edits, out, err);
}

static enum ww_err copy_side(struct ww_build *build, const struct ww_model *from,
                             const char *path, bool new_template, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_buf out;
    enum ww_err rc = WW_OK;

    if (build->tokenizer_json && strcmp(path, TOKENIZER) == 0) {
        return ww_build_add_file(build, path, build->tokenizer_json,
                                 build->tokenizer_json_len, err);
    }
    ww_buf_init(&text, WW_BUILD_MAX_SIDE);
    ww_buf_init(&out, WW_BUILD_MAX_SIDE);
    rc = ww_file_read_at(from->dirfd, path, WW_LINKS_HUB, &text, err);
    if (!rc && new_template && strcmp(path, TOKENIZER_CONFIG) == 0) {
        rc = drop_template(&text, &out, err);
        if (rc) {
            ww_error_context(err, TOKENIZER_CONFIG " of '%s'", from->path);
        } else {
            rc = ww_build_add_file(build, path, out.data, out.len, err);
        }
    } else if (!rc) {
        rc = ww_build_add_file(build, path, text.data, text.len, err);
    }
    ww_buf_release(&text);
    ww_buf_release(&out);
    return rc;
}

/* Files that would speak of another vocabulary than tokenizer.json does. */
static bool is_stale(const struct ww_build *build, const char *path)
{
    static const char *const other[] = {"tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "added_tokens.json",
                                        "spiece.model",
                                        "sentencepiece.bpe.model"};

    for (size_t i = 0; build->tokenizer_json && i < WW_LEN(other); i++) {
        if (strcmp(path, other[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_build_sides(struct ww_build *build, struct ww_error *err)
{
    const struct ww_recipe_vocab *vocab = &build->recipe->vocab;
    const struct ww_model *from =
        build->models[vocab->source == WW_VOCAB_MODEL ? vocab->model : build->donor]
            .model;
    const char *template = NULL;
    const bool alone = build->use->open.n > 0; /* nothing but weights is looked at */
    enum ww_err rc = alone && !build->sliced ? WW_OK : add_config(build, err);

    if (alone) {
        return rc;
    }
    if (!rc) {
        rc = choose_template(build, &template, err);
    }
    for (uint32_t i = 0; i < from->n_side && !rc; i++) {
        const char *path = from->side[i].path;
        if (is_carried(from, path) && !is_stale(build, path) &&
            !(template && strcmp(path, TEMPLATE) == 0)) {
            rc = copy_side(build, from, path, template != NULL, err);
        }
    }
    if (!rc) {
        rc = ww_build_modules_json(build, from, err);
    }
    if (!rc && template) {
        rc = ww_build_add_file(build, TEMPLATE, template, strlen(template), err);
    }
    if (!rc) {
        rc = ww_build_card(build, err);
    }
    return rc ? rc
              : ww_build_add_file(build, WW_MERGE_RECIPE_FILE, build->use->text,
                                  build->use->len, err);
}
