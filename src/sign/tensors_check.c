/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor on its own: the statement is signed, the tensor's bytes are hashed into its
 * root, and nothing else of the model has to be read. The rank that enters the leaves is
 * the one in the signed list, so that an added tensor does not hide behind another index.
 */
#include <string.h>

#include "sign/tensors.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define STEP ((size_t)1 << 20)
#define PROGRESS_NS INT64_C(100000000)

size_t ww_tensors_find(const struct ww_tensor_statement *statement, const char *name)
{
    size_t low = 0;
    size_t high = statement->n_items;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(statement->items[middle].name, name);
        if (order == 0) {
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return statement->n_items;
}

static bool same_header(const struct ww_tensor_item *item, const struct ww_tensor *tensor)
{
    return item->rank == tensor->rank && item->n_bytes == tensor->n_bytes &&
           ww_str_eq(item->dtype, ww_dtype_name(tensor->dtype)) &&
           memcmp(item->shape, tensor->shape, item->rank * sizeof(item->shape[0])) == 0;
}

enum ww_err ww_tensors_match_headers(const struct ww_tensor_statement *statement,
                                     const struct ww_model *model, struct ww_error *err)
{
    if (statement->n_items != model->n_tensors) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "tensor statement is about %zu tensors, the model has %u",
                       statement->n_items, model->n_tensors);
    }
    for (size_t i = 0; i < statement->n_items; i++) {
        const struct ww_tensor_item *item = &statement->items[i];
        uint32_t at = ww_model_find(model, item->name);
        if (at == WW_NONE || !same_header(item, &model->tensors[at])) {
            return WW_FAIL(
                err, WW_E_WRONG_MODEL,
                "tensor '%s' of the statement is not in the model or has another "
                "shape there",
                item->name);
        }
    }
    return WW_OK;
}

struct reader {
    const struct ww_run_options *run;
    int64_t last_ns;
};

static enum ww_err report_progress(struct reader *reader, uint64_t done, uint64_t total,
                                   struct ww_error *err)
{
    int64_t now = reader->run->progress ? ww_now_ns() : 0;

    if (!reader->run->progress || now - reader->last_ns < PROGRESS_NS) {
        return WW_OK;
    }
    reader->last_ns = now;
    if (reader->run->progress(reader->run->progress_payload, "verify", done, total)) {
        return WW_FAIL(err, WW_E_CANCELLED, "verification was interrupted");
    }
    return WW_OK;
}

static enum ww_err hash_tensor(const struct ww_tensor *tensor, int fd, uint64_t index,
                               const struct ww_run_options *run,
                               uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_tree_tensor *tree = NULL;
    struct reader reader = {run, 0};
    uint8_t *room = ww_calloc(1, STEP);
    enum ww_err rc = WW_OK;

    if (!room) {
        rc = WW_FAIL_MEMORY(err, "reading '%s'", tensor->name);
        goto out;
    }
    rc = ww_tree_tensor_new(&tree, err);
    if (rc) {
        goto out;
    }
    ww_tree_tensor_begin(tree, index);
    for (uint64_t done = 0; done < tensor->n_bytes;) {
        size_t step = (size_t)ww_min_u64(tensor->n_bytes - done, STEP);
        rc = ww_pread_full(fd, room, step, tensor->offset + done, tensor->name, err);
        if (rc) {
            goto out;
        }
        rc = ww_tree_tensor_update(tree, room, step, err);
        if (rc) {
            goto out;
        }
        done += step;
        rc = report_progress(&reader, done, tensor->n_bytes, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_tree_tensor_end(tree, tensor, root, err);
out:
    ww_tree_tensor_free(tree);
    ww_free(room);
    return rc;
}

enum ww_err ww_tensors_check_one(const struct ww_tensor_statement *statement,
                                 const struct ww_model *model, const char *name,
                                 const struct ww_run_options *run, uint64_t *bytes,
                                 struct ww_error *err)
{
    uint8_t root[WW_SHA256_BYTES];
    size_t index = ww_tensors_find(statement, name);
    uint32_t at = ww_model_find(model, name);
    enum ww_err rc = WW_OK;

    *bytes = 0;
    if (index == statement->n_items) {
        return WW_FAIL(
            err, WW_E_TENSOR,
            "tensor '%s' is not among the %zu signed ones; 'weightward inspect' "
            "lists the names",
            name, statement->n_items);
    }
    if (at == WW_NONE) {
        return WW_FAIL(err, WW_E_MISSING_FILE, "signed tensor '%s' is not in the model",
                       name);
    }
    const struct ww_tensor *tensor = &model->tensors[at];
    if (!same_header(&statement->items[index], tensor)) {
        return WW_FAIL(err, WW_E_TAMPERED,
                       "tensor '%s' has another dtype or shape than the signed one",
                       name);
    }
    rc = hash_tensor(tensor, model->files[tensor->file].fd, index, run, root, err);
    if (rc) {
        return rc;
    }
    rc = ww_model_unchanged(model, err);
    if (rc) {
        return rc;
    }
    if (memcmp(root, statement->items[index].root, sizeof(root)) != 0) {
        return WW_FAIL(err, WW_E_TAMPERED, "tensor '%s' differs from what was signed",
                       name);
    }
    *bytes = tensor->n_bytes;
    return WW_OK;
}
