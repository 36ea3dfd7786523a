/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decoded.h"

#include <string.h>

#include "model/config.h"
#include "model/convert.h"
#include "model/quantised.h"
#include "model/shown.h"
#include "model/unwritten.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define HEADER 8      /* bytes of the file in front of its tensors */
#define STRETCH 1024u /* elements at once */

struct decoded {
    struct ww_model stored; /* its tensors and files, as they were */
    struct ww_quantised weights;
    struct ww_model shown; /* the decoded tensors alone, in the file that lies nowhere */
    uint32_t *of;          /* by tensor shown: the stored one */
    struct ww_unwritten file;
};

static void free_decoded(void *payload)
{
    struct decoded *d = payload;

    ww_quantised_release(&d->weights);
    ww_free(d->stored.tensors);
    ww_free(d->stored.files);
    ww_free(d->of);
    ww_free(d);
}

/* What a recipe's arithmetic sees: the dtype that whoever decodes a model loads it in. */
static enum ww_dtype dtype_of(const struct ww_model *model)
{
    static const struct {
        const char *name;
        enum ww_dtype dtype;
    } names[] = {{"float32", WW_DTYPE_F32}, {"float16", WW_DTYPE_F16}};
    static const char *const keys[] = {"dtype", "torch_dtype"};

    for (size_t k = 0; model->config && k < WW_LEN(keys); k++) {
        const char *text = NULL;
        if (!ww_jstr(ww_config_at(model->config->text, keys[k]), &text) &&
            !ww_jstr(ww_config_at(model->config->root, keys[k]), &text)) {
            continue;
        }
        for (size_t i = 0; i < WW_LEN(names); i++) {
            if (strcmp(text, names[i].name) == 0) {
                return names[i].dtype;
            }
        }
    }
    return WW_DTYPE_BF16;
}

static enum ww_err decode(const struct decoded *d, uint32_t tensor, uint64_t first,
                          size_t n, uint8_t *out, struct ww_error *err)
{
    const struct ww_tensor *t = &d->shown.tensors[tensor];
    double values[STRETCH];
    float single[STRETCH];
    enum ww_err rc =
        ww_quantised_read(&d->weights, d->of[tensor], first, n, false, values, NULL, err);

    if (rc) {
        return rc;
    }
    ww_from_double(WW_DTYPE_F32, values, single, n);
    ww_to_double(WW_DTYPE_F32, single, values, n);
    ww_from_double(t->dtype, values, out, n);
    return ww_count_nonfinite(t->dtype, out, n) == 0
               ? WW_OK
               : WW_FAIL(err, WW_E_NONFINITE,
                         "tensor '%.160s', decoded, is beyond the range of %s; repair "
                         "its scales first",
                         t->name, ww_dtype_name(t->dtype));
}

/* Readers of files ask for any bytes, also for a part of an element. */
static enum ww_err read_decoded(void *payload, uint32_t tensor, uint64_t at, void *out,
                                size_t n, struct ww_error *err)
{
    const struct decoded *d = payload;
    const size_t size = ww_dtype_bits(d->shown.tensors[tensor].dtype) / 8;
    uint8_t bytes[STRETCH * sizeof(float)];
    uint8_t *to = out;
    enum ww_err rc = WW_OK;

    while (n > 0 && !rc) {
        const uint64_t first = at / size;
        const size_t skip = (size_t)(at % size);
        const size_t want =
            (size_t)ww_min_u64(ww_div_up(skip + (uint64_t)n, size), STRETCH);
        const size_t take = (size_t)ww_min_u64(n, want * size - skip);
        rc = decode(d, tensor, first, want, bytes, err);
        if (!rc) {
            memcpy(to, bytes + skip, take);
        }
        to += take;
        at += take;
        n -= take;
    }
    return rc;
}

/* Behind what the file has so far. A file that is mostly a hole may claim weights whose
 * floats no file can hold. */
static enum ww_err place(struct ww_weight_file *file, enum ww_dtype dtype,
                         struct ww_tensor *t, struct ww_error *err)
{
    uint64_t end = 0;

    t->dtype = dtype;
    t->offset = file->size_bytes;
    if (!ww_mul_u64(t->n_elements, ww_dtype_bits(dtype) / 8, &t->n_bytes) ||
        !ww_add_u64(t->offset, t->n_bytes, &end) || end > INT64_MAX) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.160s', decoded, is beyond what a file can hold",
                       t->name);
    }
    file->size_bytes = end;
    return WW_OK;
}

/* Tensors that stay keep their order and files; the decoded ones come behind them. */
static enum ww_err split(struct decoded *d, enum ww_dtype dtype,
                         struct ww_tensor *tensors, struct ww_weight_file *files,
                         struct ww_error *err)
{
    const struct ww_model *stored = &d->stored;
    struct ww_tensor *made = NULL;
    struct ww_weight_file *file = &files[stored->n_files];
    uint32_t n = 0;
    uint32_t n_made = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t f = 0; f < stored->n_files; f++) {
        files[f] = stored->files[f];
        files[f].n_tensors = 0;
        files[f].first_tensor = n;
        for (uint32_t k = 0; k < stored->files[f].n_tensors; k++) {
            const uint32_t t = stored->files[f].first_tensor + k;
            if (!d->weights.left_out[t] && !ww_quantised_is(&d->weights, t)) {
                tensors[n++] = stored->tensors[t];
                files[f].n_tensors++;
            }
        }
    }
    made = tensors + n;
    file->first_tensor = n;
    file->size_bytes = HEADER;
    for (uint32_t t = 0; t < stored->n_tensors && !rc; t++) {
        if (!ww_quantised_is(&d->weights, t)) {
            continue;
        }
        made[n_made] = ww_quantised_shown(&d->weights, t);
        made[n_made].file = stored->n_files;
        rc = place(file, dtype, &made[n_made], err);
        d->of[n_made++] = t;
    }
    file->n_tensors = n_made;
    d->shown.tensors = made;
    d->shown.n_tensors = n_made;
    d->shown.files = file;
    d->shown.n_files = 1;
    return rc;
}

static enum ww_err recast(struct ww_model *model, struct decoded *d, struct ww_error *err)
{
    static const uint8_t header[HEADER] = {0};
    struct ww_tensor *tensors = ww_calloc(model->n_tensors, sizeof(*tensors));
    struct ww_weight_file *files = ww_calloc(model->n_files + (size_t)1, sizeof(*files));

    d->of = ww_calloc(d->weights.n_decoded, sizeof(*d->of));
    if (!tensors || !files || !d->of) {
        ww_free(tensors);
        ww_free(files);
        free_decoded(d);
        return WW_FAIL_MEMORY(err, "a quantised model");
    }
    files[model->n_files] = (struct ww_weight_file){.name = "decoded weights",
                                                    .fd = -1,
                                                    .header = header,
                                                    .header_bytes = HEADER,
                                                    .reader = &d->file.reader};
    d->stored = *model;
    d->weights.model = d->weights.eight.model = &d->stored;
    const enum ww_err rc = split(d, dtype_of(model), tensors, files, err);
    if (rc) {
        d->stored = (struct ww_model){0}; /* still the model's */
        ww_free(tensors);
        ww_free(files);
        free_decoded(d);
        return rc;
    }
    ww_unwritten_beside(&d->shown, read_decoded, d, &d->file);
    return ww_model_recast(model, tensors,
                           d->shown.files->first_tensor + d->shown.n_tensors, files,
                           model->n_files + 1, free_decoded, d, err);
}

enum ww_err ww_model_decode(struct ww_model *model, uint32_t *n, struct ww_error *err)
{
    struct decoded *d = ww_calloc(1, sizeof(*d));
    enum ww_err rc = d ? WW_OK : WW_FAIL_MEMORY(err, "a quantised model");

    *n = 0;
    rc = rc ? rc : ww_quantised_find(model, &d->weights, err);
    if (!rc && d->weights.n_decoded > 0) {
        *n = d->weights.n_decoded;
        return recast(model, d, err);
    }
    if (d) {
        free_decoded(d);
    }
    return rc;
}
