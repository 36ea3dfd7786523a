/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/logits_head.h"

#include <string.h>

#include "model/elements.h"
#include "model/vocab_names.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/layout.h"

#define WIDTH_MOST 65536

/* A layout says which tensor is the head, tied or not, and whether logits are capped. */
static void ask_layout(struct ww_head_file *out)
{
    struct ww_layout *layout = NULL;
    struct ww_error ignored = {0};

    if (ww_layout_resolve(out->model, NULL, &layout, &ignored)) {
        return;
    }
    if (layout->head.weight != WW_NONE && layout->head.out_axis == 0) {
        out->weight = layout->head.weight;
        out->bias = layout->head.bias;
        out->softcap = layout->logit_softcap;
    }
    ww_layout_free(layout);
}

/* Separate heads first, of which other modules may have a part of the name; an embedding
 * is the head only of a model that has no other. */
static void ask_names(struct ww_head_file *out)
{
    uint32_t output = WW_NONE;

    for (uint32_t i = 0; i < out->model->n_tensors && out->weight == WW_NONE; i++) {
        const char *name = out->model->tensors[i].name;
        if (ww_str_ends(name, ".weight") && ww_is_head(name)) {
            out->weight = i;
        } else if (ww_str_ends(name, "output.weight")) {
            output = i;
        }
    }
    if (out->weight == WW_NONE) {
        out->weight = output;
    }
    if (out->weight == WW_NONE) {
        out->weight = ww_find_embedding(out->model, NULL);
    }
}

enum ww_err ww_head_open(const char *path, struct ww_head_file *out, struct ww_error *err)
{
    const struct ww_tensor *t = NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_head_file){.weight = WW_NONE, .bias = WW_NONE};
    rc = ww_model_open(path, &out->model, err);
    if (rc) {
        return rc;
    }
    ask_layout(out);
    ask_names(out);
    t = out->weight == WW_NONE ? NULL : &out->model->tensors[out->weight];
    if (!t || t->rank != 2 || !ww_dtype_is_plain_float(t->dtype) || t->shape[1] == 0 ||
        t->shape[1] > WIDTH_MOST) {
        rc = WW_FAIL(err, WW_E_TENSOR,
                     "'%s' has no head that can be read: expected a float matrix of "
                     "tokens x width",
                     path);
        ww_head_close(out);
        return rc;
    }
    out->rows = t->shape[0];
    out->width = t->shape[1];
    out->dtype = t->dtype;
    if (out->bias != WW_NONE && out->model->tensors[out->bias].n_elements != out->rows) {
        out->bias = WW_NONE;
    }
    return WW_OK;
}

void ww_head_close(struct ww_head_file *head)
{
    ww_model_close(head->model);
    *head = (struct ww_head_file){.weight = WW_NONE, .bias = WW_NONE};
}

size_t ww_head_columns(const struct ww_head_file *head)
{
    return (size_t)head->width + (head->bias != WW_NONE);
}

enum ww_err ww_head_rows(const struct ww_head_file *head, const uint32_t *ids, size_t n,
                         double *out, struct ww_error *err)
{
    const size_t width = (size_t)head->width;
    const size_t columns = ww_head_columns(head);
    uint8_t *bytes = ww_calloc(width, sizeof(double));
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a head");

    for (size_t i = 0; i < n && !rc; i++) {
        if (ids[i] >= head->rows) {
            rc = WW_FAIL(err, WW_E_SHAPE,
                         "the answers name token %u, the head of '%s' has %llu; it is "
                         "of another vocabulary",
                         ids[i], head->model->name, (unsigned long long)head->rows);
            break;
        }
        rc = ww_elements_double(head->model, head->weight, (uint64_t)ids[i] * width,
                                width, bytes, out + i * columns, err);
        if (!rc && columns > width) {
            rc = ww_elements_double(head->model, head->bias, ids[i], 1, bytes,
                                    out + i * columns + width, err);
        }
    }
    ww_free(bytes);
    return rc;
}
