/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/recut.h"

#include "model/config.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

static uint64_t row_bytes(const struct ww_tensor *t)
{
    return t->rank > 0 && t->shape[0] > 0 ? t->n_bytes / t->shape[0] : t->n_bytes;
}

/* Parts follow each other. */
static enum ww_err read_recut(void *payload, uint32_t t, uint64_t at, void *out, size_t n,
                              struct ww_error *err)
{
    const struct ww_recut *recut = payload;
    const struct ww_recut_tensor *tensor = &recut->tensors[t];
    uint8_t *to = out;
    enum ww_err rc = WW_OK;

    for (unsigned p = 0; p < tensor->n_parts && n > 0 && !rc; p++) {
        const struct ww_recut_part *part = &tensor->parts[p];
        const struct ww_tensor *of = &recut->from->tensors[part->tensor];
        const uint64_t all = part->n * row_bytes(of);
        const size_t here = at < all ? (size_t)ww_min_u64(n, all - at) : 0;
        if (here > 0) {
            rc = ww_weight_bytes(&recut->from->files[of->file],
                                 of->offset + part->first * row_bytes(of) + at, to, here,
                                 err);
        }
        at -= ww_min_u64(at, all);
        to += here;
        n -= here;
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
        ww_free(recut);
    }
}

/* What the parts make together. */
static void put_together(const struct ww_model *from, const struct ww_recut_tensor *parts,
                         struct ww_tensor *out)
{
    const struct ww_tensor *first = &from->tensors[parts->parts[0].tensor];
    uint64_t rows = 0;

    *out = *first;
    for (unsigned p = 0; p < parts->n_parts; p++) {
        rows += parts->parts[p].n;
    }
    out->name = parts->name;
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
    uint32_t k = 0;
    enum ww_err rc = shown ? WW_OK : WW_FAIL_MEMORY(err, "a model");

    for (uint32_t t = 0; t < n && !rc; t++) {
        if (tensors[t].n_parts > 0) {
            recut->tensors[k] = tensors[t];
            put_together(recut->from, &tensors[t], &shown[k++]);
        }
    }
    rc = rc ? rc
            : ww_unwritten_model(recut->from->path, shown, k, "weights in another place",
                                 read_recut, recut, &recut->file, &recut->model, err);
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
