/* SPDX-License-Identifier: Apache-2.0 */
#include "model/unwritten.h"

#include <string.h>

#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define HEADER 8 /* bytes in front of the tensors; nobody looks at them */

/* The tensor that a byte is in; offsets rise. */
static uint32_t tensor_at(const struct ww_model *model, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = model->n_tensors;

    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (model->tensors[middle].offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum ww_err read_unwritten(void *payload, uint64_t offset, void *out, size_t len,
                                  struct ww_error *err)
{
    const struct ww_unwritten *file = payload;
    const uint64_t end = file->model->files[0].size_bytes;
    uint8_t *to = out;
    enum ww_err rc = WW_OK;

    if (offset > end || len > end - offset) {
        return WW_FAIL(err, WW_E_INTERNAL, "'%s' was read behind its end",
                       file->model->files[0].name);
    }
    while (len > 0 && !rc) {
        size_t n = len;
        if (offset < HEADER) {
            n = (size_t)ww_min_u64(len, HEADER - offset);
            memset(to, 0, n);
        } else {
            const uint32_t t = tensor_at(file->model, offset);
            const struct ww_tensor *tensor = &file->model->tensors[t];
            n = (size_t)ww_min_u64(len, tensor->offset + tensor->n_bytes - offset);
            rc = file->read(file->payload, t, offset - tensor->offset, to, n, err);
        }
        to += n;
        offset += n;
        len -= n;
    }
    return rc;
}

void ww_unwritten_beside(const struct ww_model *model, ww_unwritten_fn read,
                         void *payload, struct ww_unwritten *file)
{
    *file = (struct ww_unwritten){{read_unwritten, file}, model, read, payload};
}

/* Names are the caller's until they are copied. */
static enum ww_err lay_out(const char *path, const struct ww_tensor *tensors, uint32_t n,
                           uint64_t *end, struct ww_model **out, struct ww_error *err)
{
    struct ww_tensor *shown = ww_calloc(n + (size_t)1, sizeof(*shown));
    const char **names = ww_calloc(n + (size_t)1, sizeof(*names));
    enum ww_err rc = shown && names ? WW_OK : WW_FAIL_MEMORY(err, "a model");

    *end = HEADER;
    for (uint32_t t = 0; t < n && !rc; t++) {
        shown[t] = tensors[t];
        shown[t].file = 0;
        shown[t].offset = *end;
        names[t] = tensors[t].name;
        *end += tensors[t].n_bytes;
    }
    rc = rc ? rc : ww_model_shown(path, shown, n, out, err);
    rc = rc ? rc : ww_model_rename(*out, names, err);
    ww_free(names);
    ww_free(shown);
    return rc;
}

enum ww_err ww_unwritten_model(const char *path, const struct ww_tensor *tensors,
                               uint32_t n, const char *name, ww_unwritten_fn read,
                               void *payload, struct ww_unwritten *file,
                               struct ww_model **out, struct ww_error *err)
{
    static const uint8_t header[HEADER] = {0};
    struct ww_weight_file *made = ww_calloc(1, sizeof(*made));
    uint64_t end = 0;
    enum ww_err rc = made ? WW_OK : WW_FAIL_MEMORY(err, "a model");

    *out = NULL;
    rc = rc ? rc : lay_out(path, tensors, n, &end, out, err);
    if (rc) {
        ww_free(made);
        ww_model_close(*out);
        *out = NULL;
        return rc;
    }
    ww_unwritten_beside(*out, read, payload, file);
    *made = (struct ww_weight_file){.name = name,
                                    .fd = -1,
                                    .size_bytes = end,
                                    .header = header,
                                    .header_bytes = HEADER,
                                    .n_tensors = n,
                                    .reader = &file->reader};
    (*out)->files = made;
    (*out)->n_files = 1;
    return WW_OK;
}
