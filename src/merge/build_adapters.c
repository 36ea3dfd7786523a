/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "base+adapter" in a recipe: the base's tensors, but for those that the adapter changes,
 * which come from a file that lies nowhere. The sum goes into the merge as float32, where
 * mergekit 0.1.5 rounds it to the base's dtype on a disk first.
 */
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "merge/build.h"
#include "merge/hub_cache.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define LABEL "weightward.adapter-added/1"

/* "org/name" of the hub, not a path. */
static bool is_hub_name(const char *name)
{
    const char *slash = strchr(name, '/');

    return slash && slash != name && slash[1] != '\0' && !strchr(slash + 1, '/') &&
           name[0] != '.' && name[0] != '~';
}

static bool same_name(const char *a, const char *b)
{
    return strcasecmp(ww_path_base(a), ww_path_base(b)) == 0;
}

/* The adapter says what it was made for, the base may say what it is. */
static enum ww_err check_name(struct ww_build *build, uint32_t m,
                              const struct ww_adapter *adapter, struct ww_error *err)
{
    const struct ww_build_model *model = &build->models[m];
    const struct ww_config *config = model->model->config;
    const char *own = NULL;
    char *folder = NULL;
    bool fits = false;
    enum ww_err rc = WW_OK;

    if (!adapter->base || adapter->base[0] == '\0') {
        return WW_OK;
    }
    rc = ww_path_last(model->model->path, &folder, err);
    if (rc) {
        return rc;
    }
    if (!config || !ww_jstr(ww_jget(config->root, "_name_or_path"), &own) || !own[0]) {
        own = NULL;
    }
    fits = same_name(adapter->base, folder) || (own && same_name(adapter->base, own));
    ww_free(folder);
    if (fits) {
        return WW_OK;
    }
    if (own && is_hub_name(own) && is_hub_name(adapter->base) &&
        !build->options->allow_mixed) {
        return WW_FAIL(
            err, WW_E_WRONG_MODEL,
            "adapter '%s' was made for '%.200s', '%s' says that it is '%.200s'; "
            "to add it all the same say --allow-mixed",
            adapter->path, adapter->base, model->text, own);
    }
    return ww_build_warn(build, err,
                         "adapter '%s' was made for '%.200s': that '%s' is this model is "
                         "not checked beyond names and shapes",
                         adapter->path, adapter->base, build->recipe->models[m].path);
}

static enum ww_err check_locks(const struct ww_build *build, uint32_t m,
                               const struct ww_adapter *adapter, struct ww_error *err)
{
    if (faccessat(adapter->dirfd, WW_ADAPTER_LOCK, F_OK, 0) == 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "adapter '%s' follows a lock; unlock it and its base first",
                       adapter->path);
    }
    if (build->plan->locked) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "model '%s' is locked, and an adapter is not added to a locked model; "
            "give the key by --unlock-with",
            build->models[m].text);
    }
    return WW_OK;
}

/* What decides the sum beside the weights themselves: settings and layout. */
static enum ww_err digest_facts(struct ww_build *build, const struct ww_adapter *adapter,
                                const uint8_t **out, struct ww_error *err)
{
    uint8_t *digest = ww_pool_calloc(build->pool, 1, WW_SHA256_BYTES);
    struct ww_sha256 *h = NULL;
    struct ww_buf config;
    enum ww_err rc = digest ? WW_OK : ww_build_no_memory(err);

    ww_buf_init(&config, ww_json_limits_config.max_bytes);
    if (!rc) {
        rc = ww_file_read_at(adapter->dirfd, WW_ADAPTER_CONFIG, WW_LINKS_HUB, &config,
                             err);
    }
    if (!rc) {
        rc = ww_sha256_new(&h, err);
    }
    if (!rc) {
        ww_sha256_update(h, LABEL, sizeof(LABEL));
        ww_sha256_update(h, config.data, config.len);
        ww_sha256_update(h, adapter->file.header, adapter->file.header_bytes);
        ww_sha256_final(h, digest);
        ww_sha256_free(h);
    }
    *out = digest;
    ww_buf_release(&config);
    return rc;
}

/* How the base is read: as it lies there, or opened with a key. */
static enum ww_err open_bake(struct ww_build *build, uint32_t m,
                             struct ww_plan_adapter *own, struct ww_error *err)
{
    struct ww_build_model *model = &build->models[m];
    const struct ww_merge_input *inputs = &build->plan->inputs[model->first_input];
    const struct ww_reader **readers = ww_calloc(model->model->n_files, sizeof(*readers));
    enum ww_err rc = readers ? WW_OK : ww_build_no_memory(err);

    for (uint32_t f = 0; f < model->model->n_files && !rc; f++) {
        readers[f] = inputs[f].reader;
    }
    if (!rc) {
        rc = ww_bake_open(model->model, readers, own->adapter, &own->bake, err);
    }
    ww_free(readers);
    model->bake = own->bake;
    return rc;
}

/* The adapter's file, read for its digest, and the sum. */
static enum ww_err add_inputs(struct ww_build *build, uint32_t m,
                              struct ww_plan_adapter *own, struct ww_error *err)
{
    struct ww_merge_plan *plan = build->plan;
    struct ww_build_model *model = &build->models[m];
    const struct ww_st_file *file = &own->adapter->file;
    const char *folder = build->recipe->models[m].adapter;
    char *name = ww_pool_keep(build->pool, ww_asprintf("%s/" WW_ADAPTER_WEIGHTS, folder));
    const uint8_t *facts = NULL;
    enum ww_err rc =
        name ? digest_facts(build, own->adapter, &facts, err) : ww_build_no_memory(err);

    if (rc) {
        return rc;
    }
    own->input = plan->n_inputs;
    plan->inputs[plan->n_inputs++] =
        (struct ww_merge_input){.name = name,
                                .fd = file->fd,
                                .size_bytes = (uint64_t)file->st.st_size,
                                .want_sha256 = true};
    model->bake_input = plan->n_inputs;
    plan->inputs[plan->n_inputs++] =
        (struct ww_merge_input){.name = model->text,
                                .fd = -1,
                                .size_bytes = ww_bake_bytes(own->bake),
                                .reader = ww_bake_reader(own->bake),
                                .lock_id = facts};
    return WW_OK;
}

static enum ww_err add_one(struct ww_build *build, uint32_t m, const char *path,
                           struct ww_plan_adapter *own, struct ww_error *err)
{
    enum ww_err rc = ww_adapter_open_plain(path, &own->adapter, err);

    if (!rc) {
        rc = check_locks(build, m, own->adapter, err);
    }
    if (!rc) {
        rc = check_name(build, m, own->adapter, err);
    }
    if (!rc) {
        rc = open_bake(build, m, own, err);
    }
    if (!rc && ww_bake_doubt(own->bake)) {
        rc = ww_build_warn(build, err, "adapter '%s' %s", path, ww_bake_doubt(own->bake));
    }
    if (!rc) {
        rc = add_inputs(build, m, own, err);
    }
    if (rc) {
        ww_error_context(err, "line %zu: model '%s'", build->recipe->models[m].line,
                         build->models[m].text);
    }
    return rc;
}

enum ww_err ww_build_adapters(struct ww_build *build, struct ww_error *err)
{
    const char *const *paths = build->use->adapters;
    struct ww_plan_impl *impl = build->plan->impl;
    const uint32_t n = build->recipe->n_models;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < n && !rc; i++) {
        const struct ww_recipe_model *named = &build->recipe->models[i];
        if (!named->adapter) {
            continue;
        }
        if (!paths || !paths[i]) {
            return WW_FAIL(err, WW_E_NOTFOUND, "line %zu: adapter '%s' is not there",
                           named->line, named->adapter);
        }
        if (!impl->adapters) {
            impl->adapters = ww_pool_calloc(build->pool, n, sizeof(*impl->adapters));
            if (!impl->adapters) {
                return ww_build_no_memory(err);
            }
            impl->n_adapters = n;
        }
        if (named->adapter_revision && !ww_hub_has(build->options->hub_cache, paths[i])) {
            rc = ww_build_warn(
                build, err, "revision '%s' of '%s' is not checked: it is a folder here",
                named->adapter_revision, named->adapter);
        }
        if (!rc) {
            rc = add_one(build, i, paths[i], &impl->adapters[i], err);
        }
    }
    return rc;
}
