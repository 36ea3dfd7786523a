/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vocabularies that differ between models. The output's tokens are the base tokenizer's,
 * then what the others have more, then what the recipe lists. In every table over the
 * vocabulary each model's rows are put into that order; a row that a model lacks is the
 * only owner's, else the base's, else the mean of the owners' rows, as in mergekit 0.1.5.
 */
#include <stdlib.h>
#include <string.h>

#include "merge/build_vocab.h"
#include "model/config.h"
#include "model/vocab_names.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MOST_HOLES 65536
#define MAX_WORDS_BYTES ((size_t)64 << 20)

/* Vocabularies in other forms than tokenizer.json, which are not read here. */
static const char *const forms[] = {"tokenizer.model", "spiece.model",
                                    "sentencepiece.bpe.model", "vocab.json", "vocab.txt"};

/* Has the model such a file, and the donor not the same? */
static enum ww_err compare_words(const struct ww_build_model *m,
                                 const struct ww_build_model *donor, const char *name,
                                 bool *differ, struct ww_error *err)
{
    struct ww_error found = {0};
    struct ww_buf own;
    struct ww_buf its;
    enum ww_err rc = WW_OK;

    *differ = false;
    ww_buf_init(&own, MAX_WORDS_BYTES);
    ww_buf_init(&its, MAX_WORDS_BYTES);
    rc = ww_file_read_at(m->model->dirfd, name, WW_LINKS_HUB, &own, &found);
    if (rc == WW_OK) {
        rc = ww_file_read_at(donor->model->dirfd, name, WW_LINKS_HUB, &its, &found);
        *differ = rc == WW_E_NOTFOUND || own.len != its.len ||
                  (own.len && memcmp(own.data, its.data, own.len) != 0);
    }
    ww_buf_release(&own);
    ww_buf_release(&its);
    return rc == WW_OK || rc == WW_E_NOTFOUND ? WW_OK
                                              : WW_FAIL(err, rc, "%s", found.text);
}

/* A model without tokenizer.json is taken to have the donor's words, unless it brings a
 * vocabulary of its own: rows would be mixed that stand for different words. */
static enum ww_err check_same_words(struct ww_build *build,
                                    const struct ww_build_model *m, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(forms) && !rc; i++) {
        bool differ = false;
        rc = compare_words(m, donor, forms[i], &differ, err);
        if (!rc && differ) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "model '%s' has no tokenizer.json, and its %s is not that of "
                         "'%s'; transformers writes a tokenizer.json when the tokenizer "
                         "is loaded and saved",
                         m->text, forms[i], donor->text);
        }
    }
    return rc ? rc
              : ww_build_warn(build, err,
                              "model '%s' has no tokenizer.json: taken to have that of "
                              "'%s'",
                              m->text, donor->text);
}

static enum ww_err read_all(struct ww_build *build, struct ww_vocab_merge *vm,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    vm->vocabs = ww_calloc(build->recipe->n_models, sizeof(*vm->vocabs));
    vm->of = ww_calloc(build->recipe->n_models, sizeof(*vm->of));
    if (!vm->vocabs || !vm->of) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < build->recipe->n_models && !rc; i++) {
        bool found = false;
        rc = ww_vocab_read(build->models[i].model->dirfd, build->models[i].text,
                           &vm->vocabs[i], &found, err);
        vm->of[i] = found ? i : build->donor;
        if (!rc && !found && i == build->donor) {
            rc = WW_FAIL(err, WW_E_NOTFOUND,
                         "model '%s' has no tokenizer.json, so no vocabulary can be made "
                         "from it; transformers writes one when the tokenizer is loaded "
                         "and saved, or leave the tokenizer out of the recipe",
                         build->models[i].text);
        } else if (!rc && !found) {
            rc = check_same_words(build, &build->models[i], err);
        }
    }
    return rc;
}

static bool same_words(const struct ww_vocab *a, const struct ww_vocab *b)
{
    bool same = a->names.n == b->names.n;

    for (uint32_t i = 0; i < a->names.n && same; i++) {
        same = ww_vocab_id(b, a->names.items[i]) == a->ids[i];
    }
    return same;
}

/* Without a base there is nobody's tokenizer to prefer, and no need to when all are one.
 */
static enum ww_err check_no_base(const struct ww_build *build,
                                 const struct ww_vocab_merge *vm, struct ww_error *err)
{
    const struct ww_recipe *recipe = build->recipe;
    const struct ww_vocab *first = &vm->vocabs[build->donor];

    if (recipe->vocab.source != WW_VOCAB_BASE || recipe->base != WW_NONE) {
        return WW_OK;
    }
    for (uint32_t i = 0; i < recipe->n_models; i++) {
        if (!same_words(first, &vm->vocabs[vm->of[i]])) {
            return WW_FAIL(
                err, WW_E_RECIPE,
                "line %zu: the base's tokenizer is wanted, there is no base_model, and "
                "'%s' and '%s' have different ones; name a base_model, or a model's path "
                "as the tokenizer's source (mergekit takes whichever model comes first "
                "in an order that changes with each run)",
                recipe->vocab.line, build->models[build->donor].text,
                build->models[i].text);
        }
    }
    return WW_OK;
}

static enum ww_err add_token(struct ww_vocab_merge *vm, const char *token,
                             const struct ww_jnode *entry, struct ww_error *err)
{
    struct ww_vocab_extra *extra = NULL;
    uint32_t existing = WW_NONE;
    enum ww_err rc = WW_OK;

    if (ww_vocab_id(vm->start, token) != UINT64_MAX) {
        return WW_OK;
    }
    rc = ww_names_add(&vm->extra_names, token, &existing, err);
    if (rc || existing != WW_NONE) {
        return rc;
    }
    if (vm->n_extra == vm->capacity) {
        vm->capacity = vm->capacity ? 2 * vm->capacity : 64;
        extra = ww_realloc_array(vm->extra, vm->capacity, sizeof(*extra));
        if (!extra) {
            return ww_build_no_memory(err);
        }
        vm->extra = extra;
    }
    vm->extra[vm->n_extra++] = (struct ww_vocab_extra){token, entry};
    return WW_OK;
}

struct by_id {
    uint64_t id;
    uint32_t index;
};

static int compare_id(const void *a, const void *b)
{
    const struct by_id *x = a;
    const struct by_id *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Tokens of one model that are new, plain ones first, each kind in the order of ids. */
static enum ww_err add_missing(struct ww_vocab_merge *vm, const struct ww_vocab *vocab,
                               uint64_t rows, struct ww_error *err)
{
    struct by_id *order = ww_calloc(vocab->names.n, sizeof(*order));
    enum ww_err rc = order ? WW_OK : ww_build_no_memory(err);

    for (uint32_t i = 0; order && i < vocab->names.n; i++) {
        order[i] = (struct by_id){vocab->ids[i], i};
    }
    if (order) {
        qsort(order, vocab->names.n, sizeof(*order), compare_id);
    }
    for (int added = 0; added < 2; added++) {
        for (uint32_t k = 0; k < vocab->names.n && !rc; k++) {
            const uint32_t i = order[k].index;
            if ((vocab->added[i] != NULL) == added && vocab->ids[i] < rows) {
                rc = add_token(vm, vocab->names.items[i], vocab->added[i], err);
            }
        }
    }
    ww_free(order);
    return rc;
}

static uint64_t embed_rows(const struct ww_build_model *m)
{
    return m->embed == WW_NONE ? 0 : m->model->tensors[m->embed].shape[0];
}

/* Every id up to the last has a row, so a few tokens with large ids could fill a disk. */
static enum ww_err check_holes(const struct ww_build *build,
                               const struct ww_vocab_merge *vm, struct ww_error *err)
{
    if (vm->start->end <= 2 * (uint64_t)vm->start->names.n + MOST_HOLES) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_LIMIT,
                   "tokenizer.json of '%s' has %u tokens and an id of %llu: most rows of "
                   "the tables would belong to none",
                   build->models[vm->start_model].text, vm->start->names.n,
                   (unsigned long long)vm->start->end - 1);
}

static enum ww_err choose_tokens(struct ww_build *build, struct ww_vocab_merge *vm,
                                 struct ww_error *err)
{
    const struct ww_recipe_vocab *want = &build->recipe->vocab;
    enum ww_err rc = WW_OK;

    vm->start_model = want->source == WW_VOCAB_MODEL ? want->model : build->donor;
    vm->start = &vm->vocabs[vm->of[vm->start_model]];
    rc = check_holes(build, vm, err);
    for (uint32_t i = 0; i < build->recipe->n_models && !rc; i++) {
        if (want->source == WW_VOCAB_UNION && vm->of[i] == i && i != build->donor) {
            rc = add_missing(vm, &vm->vocabs[i], embed_rows(&build->models[i]), err);
        }
    }
    for (uint32_t i = 0; i < want->n_tokens && !rc; i++) {
        rc = add_token(vm, want->tokens[i].token, NULL, err);
    }
    vm->n_tokens = vm->start->end + vm->n_extra;
    vm->n_rows = vm->n_tokens;
    if (!rc && want->pad_to_multiple_of > 1) {
        const uint64_t m = want->pad_to_multiple_of;
        vm->n_rows = (vm->n_tokens + m - 1) / m * m;
    }
    return rc;
}

/* Its source is for models that lack it, unless it is forced. */
static bool all_have(const struct ww_build *build, const struct ww_vocab_merge *vm,
                     const char *token)
{
    bool all = true;

    for (uint32_t i = 0; i < build->recipe->n_models && all; i++) {
        all = ww_vocab_id(&vm->vocabs[vm->of[i]], token) < embed_rows(&build->models[i]);
    }
    return all;
}

/* tokens[id], NULL for an id that no token has; and what the recipe says of each. */
static enum ww_err list_tokens(struct ww_build *build, struct ww_vocab_merge *vm,
                               struct ww_error *err)
{
    const struct ww_recipe_vocab *want = &build->recipe->vocab;

    vm->tokens = ww_calloc(vm->n_tokens, sizeof(*vm->tokens));
    vm->wishes = ww_calloc(vm->n_tokens, sizeof(*vm->wishes));
    if (!vm->tokens || !vm->wishes) {
        return ww_build_no_memory(err);
    }
    for (uint32_t i = 0; i < vm->start->names.n; i++) {
        vm->tokens[vm->start->ids[i]] = vm->start->names.items[i];
    }
    for (size_t i = 0; i < vm->n_extra; i++) {
        vm->tokens[vm->start->end + i] = vm->extra[i].token;
    }
    for (uint32_t i = 0; i < want->n_tokens; i++) {
        const struct ww_recipe_token *t = &want->tokens[i];
        uint64_t id = ww_vocab_id(vm->start, t->token);
        if (id == UINT64_MAX) {
            id = vm->start->end + ww_names_find(&vm->extra_names, t->token);
        }
        if (t->kind == WW_TOKEN_DEFAULT && t->force) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "line %zu: token '%s' is forced and has no source", t->line,
                           t->token);
        }
        vm->wishes[id] = t->kind == WW_TOKEN_DEFAULT ? NULL : t;
        if (t->kind != WW_TOKEN_DEFAULT && !t->force && all_have(build, vm, t->token)) {
            enum ww_err rc = ww_build_warn(
                build, err,
                "line %zu: every model has token '%s', so its source is not used; force: "
                "true takes it for all of them",
                t->line, t->token);
            if (rc) {
                return rc;
            }
        }
    }
    return WW_OK;
}

static enum ww_err write_tokenizer(struct ww_build *build,
                                   const struct ww_vocab_merge *vm, struct ww_error *err)
{
    struct ww_buf out;
    enum ww_err rc = WW_OK;

    if (vm->n_extra == 0) {
        return WW_OK;
    }
    ww_buf_init(&out, ww_json_limits_bundle.max_bytes);
    rc = ww_vocab_extend(vm->start, vm->extra, vm->n_extra, vm->start->end, &out, err);
    if (!rc) {
        build->tokenizer_json_len = out.len;
        build->tokenizer_json =
            ww_pool_keep(build->pool, ww_buf_take(&out, &build->tokenizer_json_len));
        rc = build->tokenizer_json ? WW_OK : ww_build_no_memory(err);
    }
    ww_buf_release(&out);
    return rc;
}

static enum ww_err set_size(struct ww_build *build, const struct ww_vocab_merge *vm,
                            struct ww_error *err)
{
    const struct ww_model *donor = build->models[build->donor].model;
    uint64_t size = 0;
    bool present = false;
    enum ww_err rc = WW_OK;

    if (donor->config) {
        rc = ww_config_fact(donor->config->text, WW_FACT_VOCAB, &present, &size, err);
    }
    build->vocab_size = vm->n_rows;
    build->grows = !present || size != vm->n_rows;
    if (!rc && present && size > vm->n_rows) {
        rc = ww_build_warn(
            build, err,
            "the vocabulary has %llu rows, '%s' has %llu: rows that belong to "
            "no token are left out, pad_to_multiple_of adds some",
            (unsigned long long)vm->n_rows, build->models[build->donor].text,
            (unsigned long long)size);
    }
    return rc;
}

static void release(struct ww_build *build, struct ww_vocab_merge *vm)
{
    for (uint32_t i = 0; vm->vocabs && i < build->recipe->n_models; i++) {
        ww_vocab_release(&vm->vocabs[i]);
    }
    ww_free(vm->vocabs);
    ww_free(vm->of);
    ww_free(vm->extra);
    ww_free(vm->tokens);
    ww_free(vm->wishes);
    ww_names_release(&vm->extra_names);
}

/* Is every table what it was, row by row? */
static bool is_same_order(const struct ww_build *build, const struct ww_vocab_merge *vm)
{
    for (uint32_t i = 0; i < build->recipe->n_models; i++) {
        if (embed_rows(&build->models[i]) != vm->n_rows ||
            !same_words(vm->start, &vm->vocabs[vm->of[i]])) {
            return false;
        }
    }
    return vm->n_extra == 0 && build->recipe->vocab.n_tokens == 0;
}

/* A tensor beside the layers that has as many rows as there are words, and is not known
 * to belong to them, would keep the old order of words without a sign of it. Where a
 * model is as wide as that, lengths tell nothing. */
static enum ww_err check_rest(const struct ww_build *build,
                              const struct ww_vocab_merge *vm, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    const uint64_t rows = embed_rows(donor);
    const uint64_t width = rows ? donor->model->tensors[donor->embed].shape[1] : 0;

    if (rows == width || is_same_order(build, vm)) {
        return WW_OK;
    }
    for (uint32_t i = 0; i < donor->model->n_tensors; i++) {
        const struct ww_tensor *t = &donor->model->tensors[i];
        bool fits = false;
        for (unsigned a = 0; a < t->rank; a++) {
            fits = fits || t->shape[a] == rows;
        }
        if (fits && donor->places[i].stack == WW_NONE && !ww_is_over_vocab(t->name)) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "tensor '%s' of '%s' has as many rows as there are words, "
                           "and it is not known whether they belong to them; leave the "
                           "tokenizer out of the recipe",
                           t->name, donor->text);
        }
    }
    return WW_OK;
}

enum ww_err ww_build_vocab(struct ww_build *build, struct ww_error *err)
{
    struct ww_vocab_merge vm = {0};
    enum ww_err rc = WW_OK;

    if (build->recipe->vocab.source == WW_VOCAB_DONOR) {
        return WW_OK;
    }
    rc = read_all(build, &vm, err);
    if (!rc) {
        rc = check_no_base(build, &vm, err);
    }
    if (!rc) {
        rc = choose_tokens(build, &vm, err);
    }
    if (!rc) {
        rc = list_tokens(build, &vm, err);
    }
    if (!rc) {
        rc = write_tokenizer(build, &vm, err);
    }
    if (!rc) {
        rc = set_size(build, &vm, err);
    }
    if (!rc) {
        rc = check_rest(build, &vm, err);
    }
    for (size_t i = 0; i < build->n_tensors && !rc; i++) {
        if (ww_is_over_vocab(build->tensors[i].tensor.name)) {
            rc = ww_build_vocab_table(build, &vm, &build->tensors[i].tensor,
                                      build->tensors[i].base, err);
        }
    }
    release(build, &vm);
    return rc;
}
