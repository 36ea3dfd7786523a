/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a folder, in steps that each leave the model releasable: list the folder, read
 * config.json, choose the weight files, open them all, join their tensors under one name
 * table, hold the index against them, look for copies. Descriptors stay open: what was
 * checked is what is read later.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/adapter.h"
#include "model/config.h"
#include "model/elements.h"
#include "model/shown.h"
#include "model/st_file.h"
#include "model/weights.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/reader.h"

#define MAX_TENSORS (4 * WW_ST_MAX_TENSORS) /* of all files together */

typedef unsigned long long ull;

/* What a model owns and does not show. */
struct impl {
    char *path;
    char *name;
    struct ww_folder folder;
    struct ww_weights weights;
    struct ww_st_file *parsed; /* one per ww_model.files */
    uint32_t n_parsed;
    struct ww_names by_name;
    struct ww_findings findings;
    struct ww_strlist renamed;   /* names that no file has */
    bool or_adapter;             /* an adapter alone will do */
    void (*free)(void *payload); /* what a recast model is made of */
    void *payload;
};

/* Quantisers of old wrote a file of their own instead of a key in config.json. */
struct quant_file {
    const char *name;
    const char *method;
};
static const struct quant_file quant_files[] = {
    {"quantize_config.json", "gptq"},
    {"quant_config.json", "awq"},
    {"hf_quant_config.json", "modelopt"},
};

static enum ww_err set_names(struct ww_model *model, struct impl *impl, const char *path,
                             struct ww_error *err)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    impl->path = ww_strndup(path, len);
    if (!impl->path) {
        return WW_FAIL_MEMORY(err, "a model");
    }
    char *resolved = realpath(impl->path, NULL);
    impl->name = ww_strdup(ww_path_base(resolved ? resolved : impl->path));
    ww_free(resolved);
    if (!impl->name) {
        return WW_FAIL_MEMORY(err, "a model");
    }
    model->path = impl->path;
    model->name = impl->name;
    return WW_OK;
}

static enum ww_err read_config(struct ww_model *model, struct impl *impl,
                               struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;
    ww_buf_init(&text, ww_json_limits_config.max_bytes);
    if (!ww_folder_find(&impl->folder, "config.json")) {
        goto out;
    }
    rc = ww_file_read_at(model->dirfd, "config.json", WW_LINKS_HUB, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_config_parse(text.data, text.len, &model->config, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < WW_LEN(quant_files); i++) {
        if (!model->config->quant_method &&
            ww_folder_find(&impl->folder, quant_files[i].name)) {
            model->config->quant_method = quant_files[i].method;
        }
    }
out:
    ww_buf_release(&text);
    return rc;
}

static enum ww_err open_files(struct ww_model *model, struct impl *impl,
                              struct ww_error *err)
{
    const struct ww_strlist *names = &impl->weights.files;
    impl->parsed = ww_calloc(names->n, sizeof(*impl->parsed));
    model->files = ww_calloc(names->n, sizeof(*model->files));
    if (!impl->parsed || !model->files) {
        return WW_FAIL_MEMORY(err, "a model");
    }
    for (size_t i = 0; i < names->n; i++) {
        struct ww_st_file *file = &impl->parsed[i];
        enum ww_err rc = ww_st_file_open(model->dirfd, names->items[i], file, err);
        if (rc) {
            return rc;
        }
        impl->n_parsed++;
        model->files[i] =
            (struct ww_weight_file){.name = names->items[i],
                                    .fd = file->fd,
                                    .size_bytes = (uint64_t)file->st.st_size,
                                    .header = file->header,
                                    .header_bytes = file->header_bytes,
                                    .n_tensors = file->parsed.n_tensors};
        model->n_files++;
        if (file->header_bytes > WW_ST_HUB_HEADER_BYTES) {
            rc = ww_findings_add(&impl->findings, WW_OK, err,
                                 "'%s': header of %llu bytes; the hub's viewer reads at "
                                 "most %d",
                                 names->items[i], (ull)file->header_bytes,
                                 WW_ST_HUB_HEADER_BYTES);
            if (rc) {
                return rc;
            }
        }
    }
    return WW_OK;
}

static enum ww_err build_names(struct ww_model *model, struct impl *impl,
                               struct ww_error *err)
{
    uint32_t twice;
    enum ww_err rc =
        ww_names_build(&impl->by_name, model->tensors, sizeof(*model->tensors),
                       model->n_tensors, &twice, err);
    if (rc || twice == WW_NONE) {
        return rc;
    }
    const struct ww_tensor *second = &model->tensors[twice];
    uint32_t first = ww_names_find(&impl->by_name, second->name);
    return WW_FAIL(err, WW_E_INDEX, "tensor '%.160s' is in '%s' and in '%s'",
                   second->name, model->files[model->tensors[first].file].name,
                   model->files[second->file].name);
}

/* All tensors under one table. The parsed records are let go, only the names are kept. */
static enum ww_err join_tensors(struct ww_model *model, struct impl *impl,
                                struct ww_error *err)
{
    uint64_t total = 0;
    for (uint32_t f = 0; f < model->n_files; f++) {
        total += model->files[f].n_tensors;
    }
    if (total > MAX_TENSORS) {
        return WW_FAIL(err, WW_E_LIMIT, "model of %llu tensors, at most %d are read",
                       (ull)total, MAX_TENSORS);
    }
    model->tensors = ww_calloc((size_t)total, sizeof(*model->tensors));
    if (!model->tensors) {
        return WW_FAIL_MEMORY(err, "a model");
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        struct ww_st_header *parsed = &impl->parsed[f].parsed;
        model->files[f].first_tensor = model->n_tensors;
        for (uint32_t i = 0; i < parsed->n_tensors; i++) {
            ww_st_tensor_fill(&model->tensors[model->n_tensors++], &parsed->tensors[i],
                              model->files[f].header_bytes, f);
        }
        ww_free(parsed->tensors);
        parsed->tensors = NULL;
    }
    return build_names(model, impl, err);
}

static enum ww_err hold_index(struct ww_model *model, struct impl *impl,
                              struct ww_error *err)
{
    const struct ww_weights *weights = &impl->weights;
    uint64_t total = 0;
    if (!weights->index_name) {
        return WW_OK;
    }
    model->has_index = true;
    enum ww_err rc =
        ww_index_check(&weights->index, weights->index_name, model, &impl->by_name, err);
    if (rc || !weights->index.has_total) {
        return rc;
    }
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        total += model->tensors[i].n_bytes;
    }
    if (total == weights->index.total_bytes) {
        return WW_OK;
    }
    return ww_findings_add(&impl->findings, WW_OK, err,
                           "'%s': total_size is %llu, the tensors have %llu bytes",
                           weights->index_name, (ull)weights->index.total_bytes,
                           (ull)total);
}

static enum ww_err list_side_files(struct ww_model *model, struct impl *impl,
                                   struct ww_error *err)
{
    model->side = ww_calloc(impl->folder.n, sizeof(*model->side));
    if (!model->side) {
        return WW_FAIL_MEMORY(err, "a model");
    }
    for (size_t i = 0; i < impl->folder.n; i++) {
        const struct ww_entry *entry = &impl->folder.items[i];
        if (entry->is_regular && !entry->is_weights) {
            model->side[model->n_side++] =
                (struct ww_side_file){entry->path, entry->size_bytes};
        }
    }
    return WW_OK;
}

/* The steps, in order; each needs what the ones before it left. */
static enum ww_err choose_weights(struct ww_model *model, struct impl *impl,
                                  struct ww_error *err)
{
    if (impl->or_adapter && ww_folder_find(&impl->folder, WW_ADAPTER_CONFIG) &&
        !ww_folder_find(&impl->folder, "config.json")) {
        return ww_weights_take(&impl->folder, WW_ADAPTER_WEIGHTS, &impl->weights, err);
    }
    enum ww_err rc = ww_weights_choose(model->dirfd, &impl->folder, &impl->weights,
                                       &impl->findings, err);
    if (rc) {
        ww_error_context(err, "folder '%s'", model->path);
    }
    return rc;
}

static enum ww_err find_copies(struct ww_model *model, struct impl *impl,
                               struct ww_error *err)
{
    return ww_copies_find(&impl->folder, model, &impl->by_name, &impl->findings, err);
}

static enum ww_err scan(struct ww_model *model, struct impl *impl, struct ww_error *err)
{
    return ww_folder_scan(model->dirfd, &impl->folder, err);
}

typedef enum ww_err (*step_fn)(struct ww_model *, struct impl *, struct ww_error *);
static const step_fn steps[] = {scan,        choose_weights, read_config,
                                open_files,  join_tensors,   hold_index,
                                find_copies, list_side_files};

/* A model with its names and nothing else; *out is the caller's also after a failure. */
static enum ww_err new_model(const char *path, struct ww_model **out,
                             struct ww_error *err)
{
    struct ww_model *model = ww_calloc(1, sizeof(*model));
    struct impl *impl = ww_calloc(1, sizeof(*impl));

    *out = NULL;
    if (!model || !impl) {
        ww_free(impl);
        ww_free(model);
        return WW_FAIL_MEMORY(err, "a model");
    }
    model->impl = impl;
    model->dirfd = -1;
    *out = model;
    return set_names(model, impl, path, err);
}

static enum ww_err open_folder(const char *path, bool or_adapter, struct ww_model **out,
                               struct ww_error *err)
{
    struct ww_model *model = NULL;
    enum ww_err rc = new_model(path, &model, err);

    *out = NULL;
    if (rc) {
        goto out;
    }
    struct impl *impl = model->impl;
    impl->or_adapter = or_adapter;
    rc = ww_dir_open(impl->path, &model->dirfd, err);
    for (size_t i = 0; i < WW_LEN(steps) && !rc; i++) {
        rc = steps[i](model, impl, err);
    }
    if (rc) {
        goto out;
    }
    model->findings = impl->findings.items;
    model->n_findings = impl->findings.n;
    *out = model;
    model = NULL;
out:
    ww_model_close(model);
    return rc;
}

enum ww_err ww_model_open(const char *path, struct ww_model **out, struct ww_error *err)
{
    return open_folder(path, false, out, err);
}

enum ww_err ww_weights_open(const char *path, struct ww_model **out, struct ww_error *err)
{
    return open_folder(path, true, out, err);
}

enum ww_err ww_model_shown(const char *path, const struct ww_tensor *tensors, uint32_t n,
                           struct ww_model **out, struct ww_error *err)
{
    struct ww_model *model = NULL;
    uint32_t twice = WW_NONE;
    enum ww_err rc = new_model(path, &model, err);

    *out = NULL;
    if (!rc) {
        model->tensors = ww_calloc(n, sizeof(*model->tensors));
        rc = model->tensors ? WW_OK : WW_FAIL_MEMORY(err, "a model");
    }
    if (!rc && n > 0) {
        memcpy(model->tensors, tensors, n * sizeof(*tensors));
    }
    if (!rc) {
        model->n_tensors = n;
        rc = ww_names_build(&((struct impl *)model->impl)->by_name, model->tensors,
                            sizeof(*model->tensors), n, &twice, err);
    }
    if (!rc && twice != WW_NONE) {
        rc =
            WW_FAIL(err, WW_E_TENSOR, "'%s' has two tensors that both stand for '%.160s'",
                    path, model->tensors[twice].name);
    }
    if (rc) {
        ww_model_close(model);
        return rc;
    }
    *out = model;
    return WW_OK;
}

enum ww_err ww_model_rename(struct ww_model *model, const char *const *names,
                            struct ww_error *err)
{
    struct impl *impl = model->impl;
    uint32_t twice = WW_NONE;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        if (names[t]) {
            rc = ww_strlist_add(&impl->renamed, names[t], err);
            model->tensors[t].name =
                rc ? model->tensors[t].name : impl->renamed.items[impl->renamed.n - 1];
        }
    }
    ww_names_release(&impl->by_name);
    if (!rc) {
        rc = ww_names_build(&impl->by_name, model->tensors, sizeof(*model->tensors),
                            model->n_tensors, &twice, err);
    }
    if (!rc && twice != WW_NONE) {
        rc =
            WW_FAIL(err, WW_E_TENSOR, "'%s' has two tensors that both stand for '%.160s'",
                    model->path, model->tensors[twice].name);
    }
    return rc;
}

enum ww_err ww_model_recast(struct ww_model *model, struct ww_tensor *tensors, uint32_t n,
                            struct ww_weight_file *files, uint32_t n_files,
                            void (*free)(void *payload), void *payload,
                            struct ww_error *err)
{
    struct impl *impl = model->impl;
    uint32_t twice = WW_NONE;

    model->tensors = tensors;
    model->n_tensors = n;
    model->files = files;
    model->n_files = n_files;
    impl->free = free;
    impl->payload = payload;
    ww_names_release(&impl->by_name);
    return ww_names_build(&impl->by_name, tensors, sizeof(*tensors), n, &twice, err);
}

void ww_model_close(struct ww_model *model)
{
    if (!model) {
        return;
    }
    struct impl *impl = model->impl;
    if (impl->free) {
        impl->free(impl->payload);
    }
    for (uint32_t i = 0; i < impl->n_parsed; i++) {
        ww_st_file_close(&impl->parsed[i]);
    }
    ww_free(impl->parsed);
    ww_names_release(&impl->by_name);
    ww_weights_release(&impl->weights);
    ww_folder_release(&impl->folder);
    ww_findings_release(&impl->findings);
    ww_strlist_release(&impl->renamed);
    ww_config_free(model->config);
    ww_free(model->files);
    ww_free(model->tensors);
    ww_free(model->side);
    if (model->dirfd >= 0) {
        close(model->dirfd);
    }
    ww_free(impl->path);
    ww_free(impl->name);
    ww_free(impl);
    ww_free(model);
}

uint32_t ww_model_find(const struct ww_model *model, const char *name)
{
    const struct impl *impl = model->impl;
    return ww_names_find(&impl->by_name, name);
}

enum ww_err ww_model_check_lockable(const struct ww_model *model, struct ww_error *err)
{
    for (uint32_t i = 0; i < model->n_findings; i++) {
        if (model->findings[i].code != WW_OK) {
            return WW_FAIL(err, model->findings[i].code, "%s", model->findings[i].text);
        }
    }
    return WW_OK;
}

enum ww_err ww_model_read(const struct ww_model *model, uint32_t tensor, void *out,
                          struct ww_error *err)
{
    if (tensor >= model->n_tensors) {
        return WW_FAIL(err, WW_E_USAGE, "tensor %lu of a model that has %lu",
                       (unsigned long)tensor, (unsigned long)model->n_tensors);
    }
    const struct ww_tensor *t = &model->tensors[tensor];
    return ww_weight_bytes(&model->files[t->file], t->offset, out, (size_t)t->n_bytes,
                           err);
}

enum ww_err ww_model_unchanged(const struct ww_model *model, struct ww_error *err)
{
    const struct impl *impl = model->impl;
    for (uint32_t i = 0; i < impl->n_parsed; i++) {
        enum ww_err rc = ww_file_unchanged(impl->parsed[i].fd, &impl->parsed[i].st,
                                           model->files[i].name, err);
        if (rc) {
            ww_error_context(err, "model '%s'", model->path);
            return rc;
        }
    }
    return WW_OK;
}
