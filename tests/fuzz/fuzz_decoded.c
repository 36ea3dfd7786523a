/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights that are decoded: a byte (0: as F32), the length of a safetensors header in two
 * bytes, the header, and its data. What is decoded is finite, is the same in whatever
 * pieces it is read, and nothing is read that is not there.
 */
#include "fuzz.h"

#include <string.h>

#include "model/config.h"
#include "model/convert.h"
#include "model/decoded.h"
#include "model/elements.h"
#include "model/safetensors.h"
#include "model/unwritten.h"
#include "util/alloc.h"
#include "util/num.h"

#define PREFIX 3
#define HEADER 8
#define MAX_BYTES ((size_t)1 << 20)

struct stored {
    const uint8_t *data;
    struct ww_st_header header;
};

/* Bytes of the file, in front of whose data eight of header lie. */
static enum ww_err read_stored(void *payload, uint64_t offset, void *out, size_t len,
                               struct ww_error *err)
{
    const struct stored *s = payload;

    (void)err;
    FUZZ_CHECK(offset >= HEADER && offset - HEADER <= s->header.data_bytes &&
               len <= s->header.data_bytes - (offset - HEADER));
    memcpy(out, s->data + (offset - HEADER), len);
    return WW_OK;
}

/* Whoever made the model reads nothing: the bytes are those of the input. */
static enum ww_err read_nothing(void *payload, uint32_t tensor, uint64_t at, void *out,
                                size_t n, struct ww_error *err)
{
    (void)payload, (void)tensor, (void)at, (void)out, (void)n, (void)err;
    abort();
}

static void check(const struct ww_model *model, const struct ww_tensor *t)
{
    const struct ww_weight_file *file = &model->files[t->file];
    const size_t n = (size_t)t->n_bytes;
    struct ww_error err = {0};
    uint8_t *whole = n <= MAX_BYTES ? ww_calloc(n + 1, 2) : NULL;
    uint8_t *pieces = whole ? whole + n : NULL;

    if (!whole) {
        return;
    }
    FUZZ_CHECK(t->offset + n <= file->size_bytes);
    if (ww_weight_bytes(file, t->offset, whole, n, &err) == WW_OK) {
        FUZZ_CHECK(ww_count_nonfinite(t->dtype, whole, (size_t)t->n_elements) == 0);
        for (size_t at = 0, step = 1; at < n; at += step, step = step * 5 % 97 + 1) {
            const size_t m = step < n - at ? step : n - at;
            FUZZ_CHECK(ww_weight_bytes(file, t->offset + at, pieces + at, m, &err) ==
                       WW_OK);
        }
        FUZZ_CHECK(memcmp(whole, pieces, n) == 0);
    }
    ww_free(whole);
}

static void decode(struct ww_model *model)
{
    struct ww_error err = {0};
    uint32_t n = 0;
    const uint32_t files = model->n_files;
    const enum ww_err rc = ww_model_decode(model, &n, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc || n == 0) {
        return;
    }
    FUZZ_CHECK(model->n_files == files + 1 && model->files[files].n_tensors == n);
    for (uint32_t t = 0; t < model->n_tensors; t++) {
        if (model->tensors[t].file == files) {
            check(model, &model->tensors[t]);
        }
    }
}

static struct ww_model *open_stored(struct stored *s, struct ww_unwritten *file)
{
    const uint32_t n = s->header.n_tensors;
    struct ww_tensor *tensors = ww_calloc(n + (size_t)1, sizeof(*tensors));
    struct ww_error err = {0};
    struct ww_model *model = NULL;

    for (uint32_t t = 0; tensors && t < n; t++) {
        const struct ww_st_tensor *st = &s->header.tensors[t];
        tensors[t] = (struct ww_tensor){.name = st->name,
                                        .dtype = st->dtype,
                                        .rank = st->rank,
                                        .n_elements = st->n_elements,
                                        .n_bytes = st->end - st->begin};
        memcpy(tensors[t].shape, st->shape, st->rank * sizeof(*st->shape));
    }
    if (tensors && n > 0) {
        FUZZ_CHECK(ww_unwritten_model("f", tensors, n, "f", read_nothing, s, file, &model,
                                      &err) == WW_OK);
        file->reader = (struct ww_reader){read_stored, s};
    }
    ww_free(tensors);
    return model;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char single[] = "{\"dtype\":\"float32\"}";
    struct ww_error err = {0};
    struct ww_unwritten file = {0};
    if (size < PREFIX) {
        return 0;
    }
    const size_t want = (size_t)data[1] | (size_t)data[2] << 8;
    const size_t n = want < size - PREFIX ? want : size - PREFIX;
    struct stored s = {.data = data + PREFIX + n};
    if (ww_st_parse(data + PREFIX, n, size - PREFIX - n, "f", &s.header, &err) == WW_OK) {
        struct ww_model *model = open_stored(&s, &file);
        if (model && data[0] == 0) {
            FUZZ_CHECK(ww_config_parse((const uint8_t *)single, sizeof(single) - 1,
                                       &model->config, &err) == WW_OK);
        }
        if (model) {
            decode(model);
        }
        ww_model_close(model);
    }
    ww_st_release(&s.header);
    return 0;
}
