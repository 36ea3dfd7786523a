/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/folded.h"

#include <string.h>

#include "lineage/recut.h"
#include "model/config.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/reader.h"

#define HEADER 8 /* bytes in front of the tensors; nobody looks at them */
#define PART 4096

struct source {
    struct ww_folded *folded;
    struct ww_reader reader;
    uint8_t header[HEADER];
};

void ww_folded_free(struct ww_folded *folded)
{
    if (folded) {
        if (!folded->lent) {
            ww_model_close(folded->model);
        }
        ww_rotation_release(&folded->parts);
        ww_free(folded->reader);
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

static enum ww_err read_folded(void *payload, uint64_t offset, void *out, size_t len,
                               struct ww_error *err)
{
    const struct source *s = payload;
    const struct ww_model *model = s->folded->model;
    struct room *room = ww_calloc(1, sizeof(*room));
    uint8_t *to = out;
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "folded weights");

    if (!rc && (offset % sizeof(float) || len % sizeof(float))) {
        rc = WW_FAIL(err, WW_E_INTERNAL, "a folded tensor was asked for in parts");
    }
    while (len > 0 && !rc) {
        size_t n = (size_t)ww_min_u64(len, PART * sizeof(float));
        if (offset < HEADER) {
            n = (size_t)ww_min_u64(len, HEADER - offset);
            memset(to, 0, n);
        } else {
            const uint32_t t = ww_tensor_at(model, offset);
            const uint64_t at = offset - model->tensors[t].offset;
            n = (size_t)ww_min_u64(n, model->tensors[t].n_bytes - at);
            rc = read_elements(s->folded, t, at / sizeof(float), n / sizeof(float),
                               room->bytes, room->x, err);
            ww_from_double(WW_DTYPE_F32, room->x, to, n / sizeof(float));
        }
        to += n;
        offset += n;
        len -= n;
    }
    ww_free(room);
    return rc;
}

/* One tensor for each of from, all floats. */
static enum ww_err show(struct ww_folded *f, struct ww_error *err)
{
    const uint32_t n = f->from->n_tensors;
    struct ww_tensor *shown = ww_calloc(n + (size_t)1, sizeof(*shown));
    const char **names = ww_calloc(n + (size_t)1, sizeof(*names));
    struct ww_weight_file *file = ww_calloc(1, sizeof(*file));
    struct source *source = ww_calloc(1, sizeof(*source));
    uint64_t at = HEADER;
    enum ww_err rc =
        shown && names && file && source ? WW_OK : WW_FAIL_MEMORY(err, "folded weights");

    f->reader = source;
    for (uint32_t t = 0; t < n && !rc; t++) {
        shown[t] = f->from->tensors[t];
        shown[t].dtype = WW_DTYPE_F32;
        shown[t].n_bytes = shown[t].n_elements * sizeof(float);
        shown[t].offset = at;
        shown[t].file = 0;
        names[t] = shown[t].name;
        at += shown[t].n_bytes;
    }
    rc = rc ? rc : ww_model_shown(f->from->path, shown, n, &f->model, err);
    rc = rc ? rc : ww_model_rename(f->model, names, err);
    if (!rc) {
        *source = (struct source){.folded = f, .reader = {read_folded, source}};
        *file = (struct ww_weight_file){.name = "folded weights",
                                        .fd = -1,
                                        .size_bytes = at,
                                        .header = source->header,
                                        .header_bytes = HEADER,
                                        .n_tensors = n,
                                        .reader = &source->reader};
        f->model->files = file;
        f->model->n_files = 1;
        file = NULL;
    }
    ww_free(file);
    ww_free(names);
    ww_free(shown);
    return rc;
}

static enum ww_err copy_config(const struct ww_model *from, struct ww_model *to,
                               struct ww_error *err)
{
    uint64_t n = 0;
    bool present = false;
    uint32_t *same = NULL;
    enum ww_err rc =
        ww_config_fact(from->config->text, WW_FACT_LAYERS, &present, &n, err);

    if (!rc && n >= WW_DEPTH_LAYERS) {
        rc = WW_FAIL(err, WW_E_CONFIG, "config.json asks for too many layers");
    }
    same = rc ? NULL : ww_calloc((size_t)n + 1, sizeof(*same));
    if (!rc && !same) {
        rc = WW_FAIL_MEMORY(err, "a map of layers");
    }
    for (uint32_t j = 0; j < n && !rc; j++) {
        same[j] = j;
    }
    rc = rc ? rc : ww_recut_config(from->config, same, (uint32_t)n, 0, &to->config, err);
    ww_free(same);
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
    if (!plain(from) || ww_layout_resolve(from, NULL, &layout, &why)) {
        return WW_OK;
    }
    f = ww_calloc(1, sizeof(*f));
    rc = f ? ww_rotation_parts(layout, &f->parts, &fits, err)
           : WW_FAIL_MEMORY(err, "folded weights");
    ww_layout_free(layout);
    if (!rc && fits) {
        f->from = from;
        f->length = 1;
        rc = show(f, err);
        rc = rc ? rc : copy_config(from, f->model, err);
    }
    if (rc || !fits) {
        ww_folded_free(f);
        return rc;
    }
    *out = f;
    return WW_OK;
}

static double norm2(const double *x, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

enum ww_err ww_folded_norms(const struct ww_folded *folded, uint64_t n_rows,
                            struct ww_folded_norms *out, struct ww_error *err)
{
    struct room *room = ww_calloc(1, sizeof(*room));
    struct ww_depth_name split;
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "folded weights");

    *out = (struct ww_folded_norms){0};
    for (uint32_t t = 0; t < folded->from->n_tensors && !rc; t++) {
        const struct ww_tensor *tensor = &folded->from->tensors[t];
        const struct ww_stream_part *part = &folded->parts.parts[t];
        const bool layer = ww_depth_split(tensor->name, &split);
        uint64_t all = tensor->n_elements;
        double sum = 0;
        if (!part->on || part->is_gain || tensor->rank < 2 || layer) {
            continue;
        }
        all = ww_min_u64(all, n_rows * (all / tensor->shape[0]));
        for (uint64_t at = 0; at < all && !rc; at += PART) {
            const size_t n = (size_t)ww_min_u64(PART, all - at);
            rc = read_elements(folded, t, at, n, room->bytes, room->x, err);
            sum += norm2(room->x, n);
        }
        *(part->gains ? &out->heads : &out->embeddings) += sum;
    }
    ww_free(room);
    return rc;
}
