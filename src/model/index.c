/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weight_map is a list of paths chosen by whoever wrote the model, and loaders have
 * followed it out of the folder more than once; so each value must be a bare name. Then
 * map and shards must say the same, or two loaders would build two models.
 */
#include "model/index.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err add_file(struct ww_index *index, struct ww_names *seen,
                            const char *file, const char *name, struct ww_error *err)
{
    uint32_t existing;
    enum ww_err rc = ww_names_add(seen, file, &existing, err);
    if (rc || existing != WW_NONE) {
        return rc;
    }
    if (index->files.n == WW_INDEX_MAX_FILES) {
        return WW_FAIL(err, WW_E_LIMIT, "'%s': more than %d files in weight_map", name,
                       WW_INDEX_MAX_FILES);
    }
    return ww_strlist_add(&index->files, file, err);
}

static enum ww_err read_map(struct ww_index *index, const char *name,
                            struct ww_error *err)
{
    struct ww_names seen = {0};
    const char *last = NULL;
    enum ww_err rc = WW_OK;
    for (const struct ww_jnode *n = ww_jfirst(index->map); n && !rc; n = ww_jnext(n)) {
        const char *file = NULL;
        if (!ww_jstr(n, &file)) {
            rc = WW_FAIL(err, WW_E_INDEX, "'%s': weight_map of '%.160s' is no string",
                         name, ww_jkey(n));
        } else if (last && strcmp(last, file) == 0) {
            continue;
        } else if (!ww_path_is_bare(file)) {
            rc = WW_FAIL(err, WW_E_INDEX,
                         "'%s': weight_map sends '%.160s' to '%.160s', expected a file "
                         "name without folders",
                         name, ww_jkey(n), file);
        } else {
            rc = add_file(index, &seen, file, name, err);
        }
        last = file;
    }
    ww_names_release(&seen);
    ww_strlist_sort(&index->files);
    return rc;
}

enum ww_err ww_index_parse(const uint8_t *text, size_t len, const char *name,
                           struct ww_index *out, struct ww_error *err)
{
    enum ww_err rc;
    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(text, len, &ww_json_limits_bundle, &out->json, err);
    if (rc) {
        ww_error_context(err, "'%s'", name);
        goto out;
    }
    const struct ww_jnode *root = ww_json_root(out->json);
    out->map = ww_jget(root, "weight_map");
    if (ww_jtype(out->map) != WW_J_OBJECT || ww_jsize(out->map) == 0) {
        rc = WW_FAIL(err, WW_E_INDEX, "'%s': weight_map is missing, empty or no object",
                     name);
        goto out;
    }
    out->has_total =
        ww_ju64(ww_jget(ww_jget(root, "metadata"), "total_size"), &out->total_bytes);
    rc = read_map(out, name, err);
out:
    if (rc) {
        ww_index_release(out);
    }
    return rc;
}

void ww_index_release(struct ww_index *index)
{
    ww_strlist_release(&index->files);
    ww_json_free(index->json);
    memset(index, 0, sizeof(*index));
}

static enum ww_err first_unmapped(const struct ww_model *model, const uint8_t *mapped,
                                  const char *name, struct ww_error *err)
{
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        if (!mapped[i]) {
            return WW_FAIL(
                err, WW_E_INDEX, "'%s': tensor '%.160s' of '%s' is not in weight_map",
                name, model->tensors[i].name, model->files[model->tensors[i].file].name);
        }
    }
    return WW_OK;
}

enum ww_err ww_index_check(const struct ww_index *index, const char *name,
                           const struct ww_model *model, const struct ww_names *by_name,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    uint8_t *mapped = ww_calloc(model->n_tensors, 1);
    if (!mapped) {
        return WW_FAIL_MEMORY(err, "checking '%s'", name);
    }
    for (const struct ww_jnode *n = ww_jfirst(index->map); n; n = ww_jnext(n)) {
        const char *file = "";
        (void)ww_jstr(n, &file);
        uint32_t i = ww_names_find(by_name, ww_jkey(n));
        const char *where =
            i == WW_NONE ? NULL : model->files[model->tensors[i].file].name;
        if (!where || strcmp(where, file) != 0) {
            rc = WW_FAIL(err, WW_E_INDEX,
                         "'%s': tensor '%.160s' is said to be in '%s', found in %s%s%s",
                         name, ww_jkey(n), file, where ? "'" : "", where ? where : "none",
                         where ? "'" : "");
            goto out;
        }
        mapped[i] = 1;
    }
    rc = first_unmapped(model, mapped, name, err);
out:
    ww_free(mapped);
    return rc;
}
