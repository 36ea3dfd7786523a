/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that write a changed copy of a model folder: its files with new tensors. */
#ifndef WW_COPY_MODEL_H
#define WW_COPY_MODEL_H

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fail.h"
#include "util/fs.h"
#include "weightward/model.h"

/** Called for every tensor of a file in order: write its bytes. */
typedef enum ww_err (*copy_tensor_fn)(void *payload, const struct ww_model *model,
                                      uint32_t tensor, FILE *out, struct ww_error *err);

static inline enum ww_err copy_weights(const struct ww_model *model, const char *to,
                                       copy_tensor_fn write, void *payload,
                                       struct ww_error *err)
{
    char path[4096];
    enum ww_err rc = WW_OK;
    for (uint32_t f = 0; f < model->n_files && rc == WW_OK; f++) {
        const struct ww_weight_file *file = &model->files[f];
        snprintf(path, sizeof path, "%s/%s", to, file->name);
        FILE *out = fopen(path, "wb");
        if (!out ||
            fwrite(file->header, 1, file->header_bytes, out) != file->header_bytes) {
            rc = WW_FAIL(err, WW_E_IO, "cannot write '%s'", path);
        }
        for (uint32_t i = 0; i < file->n_tensors && rc == WW_OK; i++) {
            rc = write(payload, model, file->first_tensor + i, out, err);
        }
        if (out && fclose(out) != 0 && rc == WW_OK) {
            rc = WW_FAIL(err, WW_E_IO, "cannot write '%s'", path);
        }
    }
    return rc;
}

/* Attestations and signatures would not fit the copy. */
static inline enum ww_err copy_side_files(const struct ww_model *model, const char *to,
                                          struct ww_error *err)
{
    int dir;
    enum ww_err rc = ww_dir_open(to, &dir, err);
    for (uint32_t i = 0; rc == WW_OK && i < model->n_side; i++) {
        const char *path = model->side[i].path;
        struct ww_buf bytes;
        if (strchr(path, '/') || strcmp(path, "model.sig") == 0) {
            continue;
        }
        ww_buf_init(&bytes, 64U << 20);
        rc = ww_file_read_at(model->dirfd, path, WW_LINKS_HUB, &bytes, err);
        if (rc == WW_OK) {
            rc = ww_file_write_at(dir, path, bytes.data, bytes.len, 0644, true, err);
        }
        ww_buf_release(&bytes);
    }
    return rc;
}

static inline enum ww_err copy_model(const struct ww_model *model, const char *to,
                                     copy_tensor_fn write, void *payload,
                                     struct ww_error *err)
{
    if (mkdir(to, 0755) != 0) {
        return WW_FAIL(err, WW_E_EXISTS, "cannot make the folder '%s'", to);
    }
    enum ww_err rc = copy_weights(model, to, write, payload, err);
    return rc ? rc : copy_side_files(model, to, err);
}

#endif
