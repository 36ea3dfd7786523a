/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/folded.h"

#include "lineage/recut.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define PART 1024 /* elements folded at once */
#define BLOCKS 64 /* of tables that are looked at */
#define BLOCK_ROWS 64

void ww_folded_free(struct ww_folded *folded)
{
    if (folded) {
        if (!folded->lent) {
            ww_model_close(folded->model);
        }
        ww_rotation_release(&folded->parts);
        ww_free(folded);
    }
}

static uint64_t inner_of(const struct ww_tensor *t, unsigned axis)
{
    uint64_t inner = 1;

    for (unsigned a = axis + 1; a < t->rank; a++) {
        inner *= t->shape[a];
    }
    return inner;
}

/* n elements of a tensor from first on, folded, in place. */
static void fold(const struct ww_folded *f, uint32_t t, uint64_t first, size_t n,
                 double *x)
{
    const struct ww_stream_part *part = &f->parts.parts[t];
    const uint64_t inner = inner_of(&f->from->tensors[t], part->axis);

    if (!part->on) {
        return;
    }
    for (size_t e = 0; e < n; e++) {
        if (part->is_gain) {
            x[e] = part->plus_one ? 0 : 1;
        } else if (part->gains) {
            x[e] *= part->gains[(first + e) / inner % f->parts.n];
        } else {
            x[e] /= f->length;
        }
    }
}

/* Parts of tensors follow those of from: one tensor here for each of it. */
static enum ww_err read_elements(const struct ww_folded *f, uint32_t t, uint64_t first,
                                 size_t n, uint8_t *bytes, double *out,
                                 struct ww_error *err)
{
    enum ww_err rc = ww_elements_bytes(f->from, t, first, n, bytes, err);

    if (!rc) {
        ww_to_double(f->from->tensors[t].dtype, bytes, out, n);
        fold(f, t, first, n, out);
    }
    return rc;
}

struct room {
    uint8_t bytes[PART * sizeof(double)];
    double x[PART];
};

/* Whole elements. */
static enum ww_err read_folded(void *payload, uint32_t t, uint64_t at, void *out,
                               size_t n, struct ww_error *err)
{
    const struct ww_folded *f = payload;
    struct room room;
    uint8_t *to = out;
    enum ww_err rc = WW_OK;

    if (at % sizeof(float) || n % sizeof(float)) {
        rc = WW_FAIL(err, WW_E_INTERNAL, "a folded tensor was asked for in parts");
    }
    for (size_t done = 0; done < n / sizeof(float) && !rc; done += PART) {
        const size_t part = (size_t)ww_min_u64(PART, n / sizeof(float) - done);
        rc =
            read_elements(f, t, at / sizeof(float) + done, part, room.bytes, room.x, err);
        if (!rc) {
            ww_from_double(WW_DTYPE_F32, room.x, to + done * sizeof(float), part);
        }
    }
    return rc;
}

/* One tensor for each of from, all floats. */
static enum ww_err show(struct ww_folded *f, struct ww_error *err)
{
    const uint32_t n = f->from->n_tensors;
    struct ww_tensor *shown = ww_calloc(n + (size_t)1, sizeof(*shown));
    enum ww_err rc = shown ? WW_OK : WW_FAIL_MEMORY(err, "folded weights");

    for (uint32_t t = 0; t < n && !rc; t++) {
        shown[t] = f->from->tensors[t];
        shown[t].dtype = WW_DTYPE_F32;
        shown[t].n_bytes = shown[t].n_elements * sizeof(float);
    }
    rc = rc ? rc
            : ww_unwritten_model(f->from->path, shown, n, "folded weights", read_folded,
                                 f, &f->file, &f->model, err);
    ww_free(shown);
    return rc;
}

/* Floats alone can be folded. */
static bool plain(const struct ww_model *model)
{
    bool all = model->config != NULL;

    for (uint32_t t = 0; t < model->n_tensors && all; t++) {
        all = ww_dtype_is_plain_float(model->tensors[t].dtype);
    }
    return all;
}

enum ww_err ww_folded_new(const struct ww_model *from, struct ww_folded **out,
                          struct ww_error *err)
{
    struct ww_folded *f = NULL;
    struct ww_layout *layout = NULL;
    struct ww_error why = {0};
    bool fits = false;
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = plain(from) ? ww_layout_resolve(from, NULL, &layout, &why) : WW_OK;
    if (rc || !layout) {
        return rc == WW_E_NOMEM ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
    }
    f = ww_calloc(1, sizeof(*f));
    rc = f ? ww_rotation_parts(layout, &f->parts, &fits, err)
           : WW_FAIL_MEMORY(err, "folded weights");
    ww_layout_free(layout);
    if (!rc && fits) {
        f->from = from;
        f->length = 1;
        rc = show(f, err);
        rc = rc ? rc : ww_recut_config(from->config, NULL, 0, 0, &f->model->config, err);
    }
    if (rc || !fits) {
        ww_folded_free(f);
        return rc;
    }
    *out = f;
    return WW_OK;
}

void ww_folded_beside(const struct ww_folded *folded, const struct ww_reader *reader,
                      struct ww_folded_beside *out)
{
    out->file = folded->from->files[0];
    out->file.reader = reader;
    out->from = *folded->from;
    out->from.files = &out->file;
    out->folded = *folded;
    out->folded.from = &out->from;
    ww_unwritten_beside(folded->model, read_folded, &out->folded, &out->folded.file);
}

/* The same rows of every table that has as many, in blocks over all of it. */
static enum ww_err add_rows(const struct ww_folded *f, uint32_t t, uint64_t n_rows,
                            double *sum, struct ww_error *err)
{
    const struct ww_tensor *tensor = &f->from->tensors[t];
    const uint64_t rows = ww_min_u64(n_rows, tensor->shape[0]);
    const uint64_t width = tensor->n_elements / tensor->shape[0];
    const uint64_t blocks = rows > BLOCKS * BLOCK_ROWS ? BLOCKS : 1;
    struct room room;
    enum ww_err rc = WW_OK;

    for (uint64_t b = 0; b < blocks && !rc; b++) {
        const uint64_t first = rows / blocks * b * width;
        const uint64_t end = first + (blocks > 1 ? BLOCK_ROWS : rows) * width;
        for (uint64_t at = first; at < end && !rc; at += PART) {
            const size_t n = (size_t)ww_min_u64(PART, end - at);
            rc = read_elements(f, t, at, n, room.bytes, room.x, err);
            for (size_t e = 0; e < n && !rc; e++) {
                *sum += room.x[e] * room.x[e];
            }
        }
    }
    return rc;
}

enum ww_err ww_folded_norms(const struct ww_folded *folded, uint64_t n_rows,
                            struct ww_folded_norms *out, struct ww_error *err)
{
    struct ww_depth_name split;
    enum ww_err rc = WW_OK;

    *out = (struct ww_folded_norms){0};
    for (uint32_t t = 0; t < folded->from->n_tensors && !rc; t++) {
        const struct ww_tensor *tensor = &folded->from->tensors[t];
        const struct ww_stream_part *part = &folded->parts.parts[t];
        if (!part->on || part->is_gain || tensor->rank < 2 || tensor->n_elements == 0 ||
            ww_depth_split(tensor->name, &split)) {
            continue;
        }
        rc = add_rows(folded, t, n_rows, part->gains ? &out->heads : &out->embeddings,
                      err);
    }
    return rc;
}
