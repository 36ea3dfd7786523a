/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights are sealed with their headers in the clear, so that tools can say what lies in
 * a folder. Signatures and attestations of the source are sealed whole: they list digests
 * of the plain weights, by which anyone could tell a known model.
 */
#include "seal/seal_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "seal/seal_manifest.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/seal.h"

static enum ww_err add_sealed(const char *path, uint64_t size_bytes,
                              const struct ww_seal_spec *spec, struct ww_seal_items *out,
                              struct ww_seal_item **item, struct ww_error *err)
{
    const size_t name_len = strlen(path);
    char *stored = NULL;
    enum ww_err rc = WW_OK;

    if (name_len > WW_SEAL_MAX_NAME) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "file '%.60s...' has a path of %zu bytes, at most "
                       "%d can be sealed",
                       path, name_len, WW_SEAL_MAX_NAME);
    }
    rc = ww_seal_stored_path(path, &stored, err);
    if (!rc) {
        rc = ww_seal_items_add(out, WW_SEAL_CLOSE, path, stored, item, err);
    }
    ww_free(stored);
    if (rc) {
        return rc;
    }
    struct ww_seal_head *head = &(*item)->head;
    (*item)->size_bytes = size_bytes;
    head->cipher = spec->cipher;
    head->chunk_bytes = spec->chunk_bytes;
    head->plain_bytes = size_bytes;
    memcpy(head->seal_id, spec->seal_id, WW_SEAL_ID_BYTES);
    memcpy(head->name, path, name_len + 1);
    return WW_OK;
}

static enum ww_err add_weights(const struct ww_weight_file *file,
                               const struct ww_seal_spec *spec, struct ww_secret *prk,
                               struct ww_seal_items *out, struct ww_error *err)
{
    struct ww_seal_item *item = NULL;
    enum ww_err rc = add_sealed(file->name, file->size_bytes, spec, out, &item, err);

    if (rc) {
        return rc;
    }
    item->fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    if (item->fd < 0) {
        const int sys = errno;
        return WW_FAIL_SYS(err, WW_E_IO, sys, "cannot use the descriptor of '%s'",
                           file->name);
    }
    item->head.clear_bytes = file->header_bytes;
    item->clear = file->header;
    return ww_seal_item_close(item, prk, err);
}

static enum ww_err open_side(const struct ww_model *model,
                             const struct ww_side_file *side, struct ww_seal_item *item,
                             struct ww_error *err)
{
    struct stat st;
    enum ww_err rc =
        ww_file_open_at(model->dirfd, side->path, WW_LINKS_HUB, &item->fd, &st, err);

    if (!rc && (uint64_t)st.st_size != side->size_bytes) {
        rc = WW_FAIL(err, WW_E_CHANGED, "file '%s' has %llu bytes, expected %llu",
                     side->path, (unsigned long long)st.st_size,
                     (unsigned long long)side->size_bytes);
    }
    item->size_bytes = side->size_bytes;
    return rc;
}

static enum ww_err add_evidence(const struct ww_model *model,
                                const struct ww_side_file *side,
                                const struct ww_seal_spec *spec, struct ww_secret *prk,
                                struct ww_seal_items *out, struct ww_error *err)
{
    struct ww_seal_item *item = NULL;
    enum ww_err rc = add_sealed(side->path, side->size_bytes, spec, out, &item, err);

    if (!rc) {
        rc = open_side(model, side, item, err);
    }
    return rc ? rc : ww_seal_item_close(item, prk, err);
}

static enum ww_err add_plain(const struct ww_model *model,
                             const struct ww_side_file *side, struct ww_seal_items *out,
                             struct ww_error *err)
{
    struct ww_seal_item *item = NULL;
    enum ww_err rc =
        ww_seal_items_add(out, WW_SEAL_COPY, side->path, side->path, &item, err);

    return rc ? rc : open_side(model, side, item, err);
}

/* Two outputs of one name: only a hostile or an already sealed folder gets here. */
static enum ww_err check_names(const struct ww_seal_items *list, struct ww_error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        bool taken = strcmp(list->items[i]->to, WW_SEAL_MANIFEST_FILE) == 0;
        for (size_t j = 0; j < i && !taken; j++) {
            taken = list->items[i]->action == WW_SEAL_COPY &&
                    strcmp(list->items[i]->to, list->items[j]->to) == 0;
        }
        if (taken) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "model has a file '%s', where a sealed folder keeps its own; "
                           "rename it",
                           list->items[i]->to);
        }
    }
    return WW_OK;
}

enum ww_err ww_seal_source_items(const struct ww_model *model,
                                 const struct ww_seal_spec *spec, struct ww_secret *prk,
                                 struct ww_seal_items *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        rc = add_weights(&model->files[f], spec, prk, out, err);
    }
    for (uint32_t i = 0; i < model->n_side && !rc; i++) {
        if (ww_seal_is_evidence(model->side[i].path)) {
            rc = add_evidence(model, &model->side[i], spec, prk, out, err);
        }
    }
    for (uint32_t i = 0; i < model->n_side && !rc; i++) {
        if (!ww_seal_is_evidence(model->side[i].path)) {
            rc = add_plain(model, &model->side[i], out, err);
        }
    }
    if (!rc) {
        rc = check_names(out, err);
    }
    if (rc) {
        ww_seal_items_release(out);
    }
    return rc;
}
