/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy is undone only where the probes are: the inverse map of each tensor that holds
 * some says from where each sample comes and with which sign. The vote of a coordinate is
 * the sign of a sum of products with the source; flipping the copy's sign there flips
 * every term and nothing else, and rounding is symmetric, so it flips the vote exactly.
 */
#include "trace/votes.h"

#include <math.h>
#include <string.h>

#include "lock/tensor_map.h"
#include "model/convert.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define WHOLE_MAX_BYTES (UINT64_C(64) << 20)

static enum ww_err match(const struct ww_tensor *want, const struct ww_model *model,
                         uint32_t *out, struct ww_error *err)
{
    const uint32_t t = ww_model_find(model, want->name);
    const struct ww_tensor *found = t == WW_NONE ? NULL : &model->tensors[t];

    if (!found) {
        return WW_FAIL(err, WW_E_SHAPE, "model '%s' has no tensor '%s'", model->path,
                       want->name);
    }
    if (!ww_same_shape(found, want)) {
        return WW_FAIL(err, WW_E_SHAPE, "tensor '%s' of '%s' has another shape",
                       want->name, model->path);
    }
    if (!ww_dtype_is_plain_float(found->dtype)) {
        return WW_FAIL(
            err, WW_E_QUANTISED,
            "tensor '%s' of '%s' is stored as %s; store it as BF16, F16, F32 or "
            "F64 first",
            want->name, model->path, ww_dtype_name(found->dtype));
    }
    *out = t;
    return WW_OK;
}

static enum ww_err load(struct ww_evidence *evidence, uint32_t slot, struct ww_error *err)
{
    const uint32_t t = evidence->tensors[slot];
    const struct ww_tensor *tensor = &evidence->model->tensors[t];

    if (evidence->gguf || tensor->n_bytes > WHOLE_MAX_BYTES) {
        return WW_OK;
    }
    evidence->bytes[slot] = ww_calloc(1, (size_t)tensor->n_bytes);
    if (!evidence->bytes[slot]) {
        return WW_FAIL_MEMORY(err, "tensor '%s'", tensor->name);
    }
    return ww_model_read(evidence->model, t, evidence->bytes[slot], err);
}

static enum ww_err open_tensors(struct ww_evidence *evidence,
                                const struct ww_places *places,
                                const struct ww_layout *layout, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    evidence->tensors = ww_calloc(places->n_tensors, sizeof(*evidence->tensors));
    evidence->bytes = ww_calloc(places->n_tensors, sizeof(*evidence->bytes));
    if (!evidence->tensors || !evidence->bytes) {
        rc = WW_FAIL_MEMORY(err, "%u tensors", places->n_tensors);
    }
    for (uint32_t s = 0; s < places->n_tensors && !rc; s++) {
        evidence->n_tensors = s + 1;
        rc = match(&layout->model->tensors[places->tensors[s]], evidence->model,
                   &evidence->tensors[s], err);
        if (!rc) {
            rc = load(evidence, s, err);
        }
    }
    if (rc) {
        ww_evidence_close(evidence);
    }
    return rc;
}

enum ww_err ww_evidence_open(struct ww_evidence *evidence, const struct ww_places *places,
                             const struct ww_layout *layout, const struct ww_model *model,
                             struct ww_error *err)
{
    *evidence = (struct ww_evidence){.model = model};
    return open_tensors(evidence, places, layout, err);
}

enum ww_err ww_evidence_open_gguf(struct ww_evidence *evidence,
                                  const struct ww_places *places,
                                  const struct ww_layout *layout,
                                  const struct ww_gguf_shown *gguf, struct ww_error *err)
{
    *evidence = (struct ww_evidence){.model = gguf->model, .gguf = gguf};
    return open_tensors(evidence, places, layout, err);
}

void ww_evidence_close(struct ww_evidence *evidence)
{
    for (uint32_t s = 0; evidence->bytes && s < evidence->n_tensors; s++) {
        ww_free(evidence->bytes[s]);
    }
    ww_free(evidence->bytes);
    ww_free(evidence->tensors);
    memset(evidence, 0, sizeof(*evidence));
}

static enum ww_err decoded_at(const struct ww_evidence *evidence, uint32_t slot,
                              uint64_t element, double *out, struct ww_error *err)
{
    float value = 0;
    enum ww_err rc = ww_gguf_shown_value(evidence->gguf, evidence->tensors[slot], element,
                                         &value, err);

    *out = isfinite(value) ? (double)value : 0;
    return rc;
}

static enum ww_err value_at(const struct ww_evidence *evidence, uint32_t slot,
                            uint64_t element, double *out, struct ww_error *err)
{
    if (evidence->gguf) {
        return decoded_at(evidence, slot, element, out, err);
    }
    const struct ww_tensor *t = &evidence->model->tensors[evidence->tensors[slot]];
    const struct ww_weight_file *file = &evidence->model->files[t->file];
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    uint8_t raw[8];
    const uint8_t *from = raw;
    enum ww_err rc = WW_OK;

    if (evidence->bytes[slot]) {
        from = evidence->bytes[slot] + element * width;
    } else {
        rc = ww_pread_full(file->fd, raw, width, t->offset + element * width, file->name,
                           err);
    }
    if (!rc) {
        ww_to_double(t->dtype, from, out, 1);
        *out = isfinite(*out) ? *out : 0;
    }
    return rc;
}

enum ww_err ww_evidence_samples(const struct ww_evidence *evidence,
                                const struct ww_places *places, double *out,
                                struct ww_error *err)
{
    const size_t n = (size_t)places->n_coords * places->samples;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && !rc; i++) {
        rc = value_at(evidence, places->coords[i / places->samples].slot,
                      places->elements[i], &out[i], err);
    }
    return rc;
}

static struct ww_copy_place place_of(const struct ww_tensor_map *map, uint64_t element)
{
    const uint64_t r = element / map->view.n_cols;
    const uint64_t c = element % map->view.n_cols;
    const struct ww_element *rows = &map->rows;
    const struct ww_element *cols = &map->cols[r / map->rows_per_slice];
    const uint64_t row = rows->perm ? rows->perm[r] : r;
    const uint64_t col = cols->perm ? cols->perm[c] : c;

    return (struct ww_copy_place){
        .element = row * map->view.n_cols + col,
        .neg = (rows->perm && rows->neg[r]) != (cols->perm && cols->neg[c]),
        .exp =
            (int8_t)((rows->perm ? rows->exp[r] : 0) + (cols->perm ? cols->exp[c] : 0)),
    };
}

enum ww_err ww_copy_places(const struct ww_gauge *gauge, const struct ww_places *places,
                           struct ww_copy_place *out, struct ww_error *err)
{
    struct ww_tensor_map map = {0};
    uint32_t held = WW_NONE;
    enum ww_err rc = WW_OK;

    for (uint32_t c = 0; c < places->n_coords && !rc; c++) {
        const uint32_t slot = places->coords[c].slot;
        if (slot != held) {
            ww_tensor_map_release(&map);
            rc = ww_tensor_map_init(&map, gauge, places->tensors[slot], true, err);
            held = slot;
        }
        for (uint32_t i = 0; i < places->samples && !rc; i++) {
            const size_t at = (size_t)c * places->samples + i;
            out[at] = place_of(&map, places->elements[at]);
        }
    }
    ww_tensor_map_release(&map);
    return rc;
}

enum ww_err ww_votes_count(const struct ww_evidence *suspect,
                           const struct ww_places *places,
                           const struct ww_copy_place *copy, const double *source,
                           struct ww_votes *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_votes){0};
    for (uint32_t c = 0; c < places->n_coords && !rc; c++) {
        double sum = 0;
        for (uint32_t i = 0; i < places->samples && !rc; i++) {
            const size_t at = (size_t)c * places->samples + i;
            double value = 0;
            rc = value_at(suspect, places->coords[c].slot, copy[at].element, &value, err);
            value = ldexp(copy[at].neg ? -value : value, copy[at].exp);
            sum += source[at] * value;
        }
        out->n += sum > 0 || sum < 0;
        out->agree += sum > 0;
    }
    return rc;
}
