/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gguf_shown.h"

#include <string.h>

#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define BLOCK_ELEMENTS 256 /* the most that one block holds */

static enum ww_err show_tensors(struct ww_gguf_shown *s, struct ww_tensor *tensors,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < s->file.header.n_tensors && !rc; i++) {
        const struct ww_gguf_tensor *from = &s->file.header.tensors[i];
        struct ww_tensor *to = &tensors[s->n];
        struct ww_gguf_place place;
        rc = ww_gguf_place_of(&s->file.header, from, s->file.name, &place, err);
        if (rc || !place.name) {
            s->n_unknown += rc ? 0 : 1;
            continue;
        }
        *to = (struct ww_tensor){.name = place.name,
                                 .dtype = from->type == WW_GGUF_BF16  ? WW_DTYPE_BF16
                                          : from->type == WW_GGUF_F16 ? WW_DTYPE_F16
                                                                      : WW_DTYPE_F32,
                                 .rank = from->rank,
                                 .n_elements = from->n_elements,
                                 .n_bytes = from->n_bytes,
                                 .offset = from->offset};
        memcpy(to->shape, from->shape, sizeof(from->shape));
        s->places[s->n] = place;
        s->of[s->n++] = i;
    }
    return rc;
}

enum ww_err ww_gguf_show(const char *path, struct ww_gguf_shown *out,
                         struct ww_error *err)
{
    struct ww_tensor *tensors = NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_gguf_shown){.file = {.fd = -1}};
    rc = ww_gguf_open(path, &out->file, err);
    if (rc) {
        return rc;
    }
    tensors = ww_calloc(out->file.header.n_tensors, sizeof(*tensors));
    out->places = ww_calloc(out->file.header.n_tensors, sizeof(*out->places));
    out->of = ww_calloc(out->file.header.n_tensors, sizeof(*out->of));
    if (!tensors || !out->places || !out->of) {
        rc = WW_FAIL_MEMORY(err, "a GGUF file");
    }
    if (!rc) {
        rc = show_tensors(out, tensors, err);
    }
    if (!rc) {
        rc = ww_model_shown(path, tensors, out->n, &out->model, err);
    }
    ww_free(tensors);
    return rc;
}

void ww_gguf_shown_release(struct ww_gguf_shown *shown)
{
    ww_model_close(shown->model);
    for (uint32_t i = 0; i < shown->n; i++) {
        ww_free(shown->places[i].name);
    }
    ww_free(shown->places);
    ww_free(shown->of);
    ww_gguf_close(&shown->file);
    *shown = (struct ww_gguf_shown){.file = {.fd = -1}};
}

uint64_t ww_gguf_shown_at(const struct ww_gguf_shown *shown, uint32_t tensor,
                          uint64_t element)
{
    const struct ww_gguf_tensor *t = &shown->file.header.tensors[shown->of[tensor]];
    const uint64_t width = t->rank > 1 ? t->shape[t->rank - 1] : 1;

    return shown->places[tensor].heads
               ? ww_gguf_row(&shown->places[tensor], t->shape[0], element / width) *
                         width +
                     element % width
               : element;
}

enum ww_err ww_gguf_shown_value(const struct ww_gguf_shown *shown, uint32_t tensor,
                                uint64_t element, float *out, struct ww_error *err)
{
    const struct ww_gguf_tensor *t = &shown->file.header.tensors[shown->of[tensor]];
    const uint64_t at = ww_gguf_shown_at(shown, tensor, element);
    const unsigned per = ww_gguf_block_elements(t->type);
    const unsigned size = ww_gguf_block_bytes(t->type);
    uint8_t bytes[BLOCK_ELEMENTS * sizeof(float)];
    float values[BLOCK_ELEMENTS];

    WW_INVARIANT(per <= BLOCK_ELEMENTS && size <= sizeof(bytes));
    enum ww_err rc = ww_pread_full(shown->file.fd, bytes, size,
                                   t->offset + at / per * size, shown->file.name, err);
    if (!rc) {
        ww_gguf_to_float(t->type, bytes, 1, values);
        *out = values[at % per];
    }
    return rc;
}
