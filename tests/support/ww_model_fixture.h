/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model folders made by a test: config.json, and one safetensors file of zeros with the
 * tensors that were asked for. Needs ww_test.h.
 */
#ifndef WW_MODEL_FIXTURE_H
#define WW_MODEL_FIXTURE_H

#include "ww_test.h"

#include "weightward/model.h"

#define WW_FX_MAX 800

struct ww_fx_tensor {
    char name[160];
    const char *dtype;
    unsigned bytes; /* per element */
    unsigned rank;
    uint64_t shape[WW_MAX_RANK];
};

struct ww_fx {
    char *path;
    const char *config;
    struct ww_fx_tensor tensors[WW_FX_MAX];
    unsigned n;
    struct ww_model *model;
};

static inline struct ww_fx *ww_fx_new(const char *config)
{
    struct ww_fx *fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    fx->path = ww_test_mkdir();
    fx->config = config;
    return fx;
}

static inline struct ww_fx_tensor *ww_fx_find(struct ww_fx *fx, const char *name)
{
    for (unsigned i = 0; i < fx->n; i++) {
        if (strcmp(fx->tensors[i].name, name) == 0) {
            return &fx->tensors[i];
        }
    }
    fail_msg("fixture has no tensor '%s'", name);
    return NULL;
}

/* ww_fx_add(fx, "64,96", "h.%u.attn.weight", layer): an F32 tensor. */
__attribute__((format(printf, 3, 4))) static inline struct ww_fx_tensor *
ww_fx_add(struct ww_fx *fx, const char *shape, const char *fmt, ...)
{
    assert_true(fx->n < WW_FX_MAX);
    struct ww_fx_tensor *t = &fx->tensors[fx->n++];
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->name, sizeof(t->name), fmt, args);
    va_end(args);
    t->dtype = "F32";
    t->bytes = 4;
    t->rank = 0;
    for (const char *p = shape; *p;) {
        char *end = NULL;
        t->shape[t->rank++] = strtoull(p, &end, 10);
        p = *end == ',' ? end + 1 : end;
    }
    return t;
}

static inline void ww_fx_drop(struct ww_fx *fx, const char *name)
{
    struct ww_fx_tensor *t = ww_fx_find(fx, name);
    *t = fx->tensors[--fx->n];
}

static inline void ww_fx_file(const struct ww_fx *fx, const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", fx->path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static inline uint64_t ww_fx_bytes(const struct ww_fx_tensor *t)
{
    uint64_t n = t->bytes;
    for (unsigned i = 0; i < t->rank; i++) {
        n *= t->shape[i];
    }
    return n;
}

/* Write everything and open it. */
static inline const struct ww_model *ww_fx_open(struct ww_fx *fx)
{
    char *header = calloc(1, (size_t)fx->n * 400 + 16);
    size_t len = 0;
    uint64_t offset = 0;
    char path[400];
    struct ww_error err = {0};
    assert_non_null(header);
    len += (size_t)sprintf(header + len, "{");
    for (unsigned i = 0; i < fx->n; i++) {
        const struct ww_fx_tensor *t = &fx->tensors[i];
        len += (size_t)sprintf(header + len, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                               i ? "," : "", t->name, t->dtype);
        for (unsigned a = 0; a < t->rank; a++) {
            len += (size_t)sprintf(header + len, "%s%llu", a ? "," : "",
                                   (unsigned long long)t->shape[a]);
        }
        len += (size_t)sprintf(header + len, "],\"data_offsets\":[%llu,%llu]}",
                               (unsigned long long)offset,
                               (unsigned long long)(offset + ww_fx_bytes(t)));
        offset += ww_fx_bytes(t);
    }
    len += (size_t)sprintf(header + len, "}");
    ww_fx_file(fx, "config.json", fx->config);
    snprintf(path, sizeof(path), "%s/model.safetensors", fx->path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    uint64_t n = len;
    for (unsigned i = 0; i < 8; i++) {
        fputc((int)(n >> (8 * i) & 255), f);
    }
    assert_int_equal(fwrite(header, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(truncate(path, (off_t)(8 + len + offset)), 0);
    free(header);
    OK(ww_model_open(fx->path, &fx->model, &err));
    return fx->model;
}

/* The first number of a tensor of F32, once the folder is opened. */
static inline void ww_fx_number(const struct ww_fx *fx, const char *name, float number)
{
    const uint32_t t = ww_model_find(fx->model, name);
    char path[400];

    snprintf(path, sizeof(path), "%s/model.safetensors", fx->path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)fx->model->tensors[t].offset, SEEK_SET), 0);
    assert_int_equal(fwrite(&number, sizeof(number), 1, f), 1);
    assert_int_equal(fclose(f), 0);
}

static inline void ww_fx_free(struct ww_fx *fx)
{
    ww_model_close(fx->model);
    ww_test_rmdir(fx->path);
    free(fx);
}

#endif
