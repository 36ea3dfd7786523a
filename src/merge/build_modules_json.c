/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders that modules.json names: what sentence-transformers runs behind the model, such
 * as pooling and a projection. Their settings go along. Weights in them are no tensors of
 * the merge: where all models have the same they go along, else the output would hold
 * one model's projection behind all models' mean.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json/json.h"
#include "merge/build.h"
#include "sign/statement.h"
#include "stream/stream.h"
#include "util/fail.h"
#include "util/fs.h"

#define MODULES "modules.json"

/* What is none of these may be weights, whatever wrote it. */
static const char *const settings[] = {"*.json", "*.txt",   "*.md",
                                       "*.py",   "*.jinja", "*.model"};

static bool is_weights(const char *path)
{
    bool known = false;

    for (size_t i = 0; i < WW_LEN(settings); i++) {
        known = known || ww_str_glob(settings[i], ww_path_base(path));
    }
    return !known;
}

/* Open and digested; fd is the caller's where there is no error. */
static enum ww_err open_file(const struct ww_model *model, const char *path,
                             struct ww_hash_job *out, struct ww_error *err)
{
    struct stat st;
    enum ww_err rc =
        ww_file_open_at(model->dirfd, path, WW_LINKS_HUB, &out->fd, &st, err);

    if (rc) {
        return rc;
    }
    out->name = path;
    out->size_bytes = (uint64_t)st.st_size;
    rc = ww_hash_files(out, 1, "sha256", "modules", NULL, err);
    if (rc) {
        close(out->fd);
    }
    return rc;
}

/* Has a model this file with these bytes? */
static enum ww_err compare(const struct ww_model *model, const char *path,
                           const struct ww_hash_job *own, bool *same,
                           struct ww_error *err)
{
    struct ww_hash_job other = {0};
    enum ww_err rc = WW_OK;

    *same = false;
    if (!ww_build_has_side(model, path)) {
        return WW_OK;
    }
    rc = open_file(model, path, &other, err);
    if (!rc) {
        *same = memcmp(other.digest, own->digest, WW_SHA256_BYTES) == 0;
        close(other.fd);
    }
    return rc;
}

/* Weights of a module, which all models must have alike. */
static enum ww_err check_weights(struct ww_build *build, const struct ww_model *from,
                                 const char *path, const struct ww_hash_job *own,
                                 struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < build->recipe->n_models && !rc; i++) {
        bool same = true;
        if (build->models[i].model != from && !build->recipe->models[i].is_statistics) {
            rc = compare(build->models[i].model, path, own, &same, err);
        }
        if (rc || same) {
            continue;
        }
        if (build->options->allow_mixed) {
            return ww_build_warn(build, err,
                                 "'%s' is that of '%.200s' and not merged: '%.200s' has "
                                 "another or none",
                                 path, from->path, build->models[i].text);
        }
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "'%s' is a part of the model by " MODULES ", and '%.200s' has another "
            "or none: such weights are not merged; merge that folder by a recipe "
            "of its own, and with --allow-mixed that of '%.200s' goes along here",
            path, build->models[i].text, from->path);
    }
    return rc;
}

static enum ww_err take_weights(struct ww_build *build, const struct ww_model *from,
                                const char *path, struct ww_error *err)
{
    struct ww_hash_job own = {0};
    char *name = ww_pool_keep(build->pool, ww_path_join(from->path, path));
    enum ww_err rc = name ? open_file(from, path, &own, err) : ww_build_no_memory(err);

    if (!rc) {
        rc = ww_build_own_fd(build, own.fd, err);
    }
    if (!rc) {
        rc = check_weights(build, from, path, &own, err);
    }
    const struct ww_merge_input input = {
        .name = name, .fd = own.fd, .size_bytes = own.size_bytes, .want_sha256 = true};
    return rc ? rc : ww_build_add_copy(build, path, &input, own.digest, err);
}

static enum ww_err take_settings(struct ww_build *build, const struct ww_model *from,
                                 const char *path, struct ww_error *err)
{
    struct ww_buf own;
    enum ww_err rc = WW_OK;

    ww_buf_init(&own, WW_BUILD_MAX_SIDE);
    rc = ww_file_read_at(from->dirfd, path, WW_LINKS_HUB, &own, err);
    if (!rc) {
        rc = ww_build_add_file(build, path, own.data, own.len, err);
    }
    ww_buf_release(&own);
    return rc;
}

static bool is_there(const struct ww_build *build, const char *path)
{
    bool there = false;

    for (uint32_t i = 0; i < build->plan->n_files && !there; i++) {
        there = strcmp(build->plan->files[i].name, path) == 0;
    }
    return there;
}

/* Everything below the folder of one module, once; that of the model itself is ''. What
 * was signed or said of the model is not of the merge, and what no signature would cover
 * has no place in it. */
static enum ww_err take_folder(struct ww_build *build, const struct ww_model *from,
                               const char *folder, struct ww_error *err)
{
    size_t len = 0;
    enum ww_err rc = WW_OK;

    folder += ww_str_starts(folder, "./") ? 2 : 0;
    len = strlen(folder);
    while (len > 0 && folder[len - 1] == '/') {
        len--;
    }
    for (uint32_t i = 0; i < from->n_side && !rc && len > 0; i++) {
        const char *path = from->side[i].path;
        if (strncmp(path, folder, len) == 0 && path[len] == '/' &&
            !ww_is_evidence(path) && !ww_oms_leaves_out(path) && !is_there(build, path)) {
            rc =
                (is_weights(path) ? take_weights : take_settings)(build, from, path, err);
        }
    }
    return rc;
}

enum ww_err ww_build_modules_json(struct ww_build *build, const struct ww_model *from,
                                  struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!ww_build_has_side(from, MODULES)) {
        return WW_OK;
    }
    ww_buf_init(&text, ww_json_limits_config.max_bytes);
    rc = ww_file_read_at(from->dirfd, MODULES, WW_LINKS_HUB, &text, err);
    if (!rc) {
        rc = ww_json_parse(text.data, text.len, &ww_json_limits_config, &json, err);
    }
    if (rc) {
        ww_error_context(err, MODULES " of '%s'", from->path);
    }
    for (const struct ww_jnode *one = ww_jfirst(ww_json_root(json)); one && !rc;
         one = ww_jnext(one)) {
        const char *folder = NULL;
        if (ww_jstr(ww_jget(one, "path"), &folder)) {
            rc = take_folder(build, from, folder, err);
        }
    }
    ww_json_free(json);
    ww_buf_release(&text);
    return rc;
}
