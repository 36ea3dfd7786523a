/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/recut.h"

#include <string.h>

#include "model/config.h"
#include "model/elements.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/reader.h"

#define HEADER 8 /* bytes in front of the tensors; nobody looks at them */

struct source {
    struct ww_recut *recut;
    struct ww_reader reader;
    uint8_t header[HEADER];
};

static uint64_t row_bytes(const struct ww_tensor *t)
{
    return t->rank > 0 && t->shape[0] > 0 ? t->n_bytes / t->shape[0] : t->n_bytes;
}

/* Bytes of one tensor from at on, as many as one of its parts has; how many in *n. */
static enum ww_err read_part(const struct ww_recut *recut, uint32_t t, uint64_t at,
                             uint8_t *out, size_t *n, struct ww_error *err)
{
    const struct ww_recut_tensor *tensor = &recut->tensors[t];

    for (unsigned p = 0; p < tensor->n_parts; p++) {
        const struct ww_recut_part *part = &tensor->parts[p];
        const struct ww_tensor *of = &recut->from->tensors[part->tensor];
        const uint64_t all = part->n * row_bytes(of);
        if (at < all) {
            *n = (size_t)ww_min_u64(*n, all - at);
            return ww_weight_bytes(&recut->from->files[of->file],
                                   of->offset + part->first * row_bytes(of) + at, out, *n,
                                   err);
        }
        at -= all;
    }
    return WW_FAIL(err, WW_E_INTERNAL, "a tensor was read behind its end");
}

static enum ww_err read_recut(void *payload, uint64_t offset, void *out, size_t len,
                              struct ww_error *err)
{
    const struct source *s = payload;
    const struct ww_model *model = s->recut->model;
    uint8_t *to = out;
    enum ww_err rc = WW_OK;

    while (len > 0 && !rc) {
        size_t n = len;
        if (offset < HEADER) {
            n = (size_t)ww_min_u64(len, HEADER - offset);
            memset(to, 0, n);
        } else {
            const uint32_t t = ww_tensor_at(model, offset);
            rc = read_part(s->recut, t, offset - model->tensors[t].offset, to, &n, err);
        }
        to += n;
        offset += n;
        len -= n;
    }
    return rc;
}

void ww_recut_free(struct ww_recut *recut)
{
    if (recut) {
        if (!recut->lent) {
            ww_model_close(recut->model);
        }
        ww_free(recut->tensors);
        ww_free(recut->reader);
        ww_free(recut);
    }
}

/* What the parts make together. */
static void put_together(const struct ww_model *from, const struct ww_recut_tensor *parts,
                         uint64_t offset, struct ww_tensor *out)
{
    const struct ww_tensor *first = &from->tensors[parts->parts[0].tensor];
    uint64_t rows = 0;

    *out = *first;
    for (unsigned p = 0; p < parts->n_parts; p++) {
        rows += parts->parts[p].n;
    }
    out->name = parts->name;
    out->file = 0;
    out->offset = offset;
    if (first->rank > 0 && first->shape[0] > 0) {
        out->n_bytes = rows * row_bytes(first);
        out->n_elements = rows * (first->n_elements / first->shape[0]);
        out->shape[0] = rows;
    }
}

static enum ww_err show(struct ww_recut *recut, const struct ww_recut_tensor *tensors,
                        uint32_t n, struct ww_error *err)
{
    struct ww_tensor *shown = ww_calloc(n + (size_t)1, sizeof(*shown));
    const char **names = ww_calloc(n + (size_t)1, sizeof(*names));
    struct ww_weight_file *file = ww_calloc(1, sizeof(*file));
    struct source *source = ww_calloc(1, sizeof(*source));
    uint64_t at = HEADER;
    uint32_t k = 0;
    enum ww_err rc =
        shown && names && file && source ? WW_OK : WW_FAIL_MEMORY(err, "a model");

    recut->reader = source;
    for (uint32_t t = 0; t < n && !rc; t++) {
        if (tensors[t].n_parts > 0) {
            recut->tensors[k] = tensors[t];
            put_together(recut->from, &tensors[t], at, &shown[k]);
            names[k] = shown[k].name;
            at += shown[k++].n_bytes;
        }
    }
    rc = rc ? rc : ww_model_shown(recut->from->path, shown, k, &recut->model, err);
    rc = rc ? rc : ww_model_rename(recut->model, names, err);
    if (!rc) {
        *source = (struct source){.recut = recut, .reader = {read_recut, source}};
        *file = (struct ww_weight_file){.name = "weights in another place",
                                        .fd = -1,
                                        .size_bytes = at,
                                        .header = source->header,
                                        .header_bytes = HEADER,
                                        .n_tensors = k,
                                        .reader = &source->reader};
        recut->model->files = file;
        recut->model->n_files = 1;
        file = NULL;
    }
    ww_free(file);
    ww_free(names);
    ww_free(shown);
    return rc;
}

enum ww_err ww_recut_new(const struct ww_model *from,
                         const struct ww_recut_tensor *tensors, uint32_t n,
                         struct ww_config *config, struct ww_recut **out,
                         struct ww_error *err)
{
    struct ww_recut *recut = ww_calloc(1, sizeof(*recut));
    enum ww_err rc = recut ? WW_OK : WW_FAIL_MEMORY(err, "a model");

    *out = NULL;
    if (!rc) {
        recut->from = from;
        recut->tensors = ww_calloc(n + (size_t)1, sizeof(*recut->tensors));
        rc = recut->tensors ? show(recut, tensors, n, err)
                            : WW_FAIL_MEMORY(err, "a model");
    }
    if (rc) {
        ww_config_free(config);
        ww_recut_free(recut);
        return rc;
    }
    recut->model->config = config;
    *out = recut;
    return WW_OK;
}
