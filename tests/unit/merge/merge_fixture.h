/* SPDX-License-Identifier: Apache-2.0 */
/* Merges over random models in memory files, and the values that came out. */
#ifndef MERGE_FIXTURE_H
#define MERGE_FIXTURE_H

#include <sys/mman.h>

#include "merge/plan.h"
#include "merge/kernel.h"
#include "model/convert.h"
#include "stream/stream.h"
#include "util/fail.h"
#include "ww_random.h"
#include "ww_test.h"

#define MX_MODELS 8 /* the last one is the base */
#define MX_BASE (MX_MODELS - 1)
#define MX_TENSORS 16

struct mx_tensor {
    struct ww_merge_source sources[MX_MODELS];
    struct ww_merge_source stats[MX_MODELS];
    struct ww_merge_source base;
    double params[WW_METHOD_MAX_PARAMS];
    double source_params[MX_MODELS][WW_METHOD_MAX_PARAMS];
    uint64_t n;
    uint64_t out_at; /* in the output file */
};

struct mx {
    char *dir;
    char *out;
    uint64_t seed;
    struct ww_merge_input inputs[MX_MODELS];
    struct ww_merge_tensor tensors[MX_TENSORS];
    struct mx_tensor more[MX_TENSORS];
    struct ww_merge_file file;
    struct ww_merge_plan plan;
    uint64_t out_bytes;
    uint8_t digest[32];
    struct ww_run_options options;
};

static inline struct mx *mx_new(uint64_t seed)
{
    static const char *const names[MX_MODELS] = {"m0", "m1", "m2", "m3",
                                                 "m4", "m5", "m6", "the base"};
    struct mx *m = calloc(1, sizeof(*m));
    assert_non_null(m);
    m->dir = ww_test_mkdir();
    assert_true(asprintf(&m->out, "%s/out", m->dir) > 0);
    m->seed = seed;
    for (uint32_t i = 0; i < MX_MODELS; i++) {
        m->inputs[i] = (struct ww_merge_input){names[i], memfd_create("mx", 0), 0,
                                               .want_sha256 = true};
        assert_true(m->inputs[i].fd >= 0);
    }
    m->file = (struct ww_merge_file){
        .name = "m.bin", .header = (const uint8_t *)"HEADER", .header_bytes = 6};
    m->out_bytes = 6;
    m->plan = (struct ww_merge_plan){.inputs = m->inputs,
                                     .n_inputs = MX_MODELS,
                                     .tensors = m->tensors,
                                     .files = &m->file,
                                     .n_files = 1};
    m->options.threads = 2;
    return m;
}

static inline void mx_free(struct mx *m)
{
    for (uint32_t i = 0; i < MX_MODELS; i++) {
        close(m->inputs[i].fd);
    }
    free(m->out);
    ww_test_rmdir(m->dir);
    free(m);
}

/* About normal, sd 1: four uniform numbers from one word. */
static inline double mx_normal(uint64_t *seed)
{
    uint64_t v = fx_random(seed);
    double sum = (double)(v & 0xffff) + (double)(v >> 16 & 0xffff) +
                 (double)(v >> 32 & 0xffff) + (double)(v >> 48);
    return (sum / 65536 - 2) * 1.7320508;
}

/* Append values to a model's file. */
static inline void mx_store(struct mx *m, uint32_t model, struct ww_merge_source *s,
                            enum ww_dtype dtype, const double *values, uint64_t n)
{
    struct ww_merge_input *input = &m->inputs[model];
    size_t bytes = n * (ww_dtype_bits(dtype) / 8);
    uint8_t *stored = malloc(bytes + 1);
    ww_from_double(dtype, values, stored, n);
    assert_int_equal(pwrite(input->fd, stored, bytes, (off_t)input->size_bytes), bytes);
    *s = (struct ww_merge_source){
        .model = model, .input = model, .offset = input->size_bytes, .dtype = dtype};
    input->size_bytes += bytes;
    free(stored);
}

static inline void mx_defaults(struct mx *m, uint32_t t)
{
    struct ww_merge_tensor *tensor = &m->tensors[t];
    for (size_t p = 0; p < tensor->method->n_params; p++) {
        const struct ww_method_param *param = &tensor->method->params[p];
        m->more[t].params[p] = param->fallback;
        for (uint32_t s = 0; s < tensor->n_sources; s++) {
            m->more[t].source_params[s][p] = param->required ? 1 : param->fallback;
        }
    }
}

static inline void mx_set(struct mx *m, uint32_t t, const char *name, double value)
{
    uint32_t p = ww_method_param(m->tensors[t].method, name);
    assert_int_not_equal(p, WW_NONE);
    m->more[t].params[p] = value;
}

static inline void mx_set_source(struct mx *m, uint32_t t, uint32_t s, const char *name,
                                 double value)
{
    uint32_t p = ww_method_param(m->tensors[t].method, name);
    assert_int_not_equal(p, WW_NONE);
    m->more[t].source_params[s][p] = value;
}

static inline void mx_method(struct mx *m, uint32_t t, const char *name)
{
    m->tensors[t].method = ww_method_find(name);
    assert_non_null(m->tensors[t].method);
    bool base = m->tensors[t].method->base != WW_BASE_IGNORED;
    m->tensors[t].base = base ? &m->more[t].base : NULL;
    m->tensors[t].stats = m->tensors[t].method->stats ? m->more[t].stats : NULL;
    for (uint32_t s = 0; m->tensors[t].method->stats == WW_STATS_GRAM && s < MX_MODELS;
         s++) {
        m->more[t].stats[s].input = WW_NONE; /* these are of another shape */
    }
    mx_defaults(m, t);
}

/* A tensor in n_sources fine-tunes of one base; trailing zeros end the shape. */
static inline uint32_t mx_tensor(struct mx *m, const char *name, enum ww_dtype dtype,
                                 uint64_t d0, uint64_t d1, uint64_t d2,
                                 uint32_t n_sources, const char *method)
{
    uint32_t t = m->plan.n_tensors++;
    struct mx_tensor *more = &m->more[t];
    struct ww_merge_tensor *tensor = &m->tensors[t];
    assert_true(t < MX_TENSORS && n_sources < MX_MODELS);
    more->n = d0 * (d1 ? d1 : 1) * (d2 ? d2 : 1);
    *tensor = (struct ww_merge_tensor){.name = name,
                                       .dtype = dtype,
                                       .compute = WW_DTYPE_F32,
                                       .rank = 1u + (d1 > 0) + (d2 > 0),
                                       .shape = {d0, d1, d2},
                                       .sources = more->sources,
                                       .n_sources = n_sources,
                                       .params = more->params,
                                       .seed = 7};
    double *base = malloc((more->n + 1) * sizeof(*base));
    double *x = malloc((more->n + 1) * sizeof(*x));
    for (uint64_t i = 0; i < more->n; i++) {
        base[i] = 0.02 * mx_normal(&m->seed);
    }
    mx_store(m, MX_BASE, &more->base, dtype, base, more->n);
    for (uint32_t s = 0; s < n_sources; s++) {
        for (uint64_t i = 0; i < more->n; i++) {
            x[i] = base[i] + 5e-4 * mx_normal(&m->seed);
        }
        mx_store(m, s, &more->sources[s], dtype, x, more->n);
        for (uint64_t i = 0; i < more->n; i++) {
            x[i] = fabs(x[i]);
        }
        mx_store(m, s, &more->stats[s], dtype, x, more->n);
        more->sources[s].params = more->source_params[s];
    }
    free(base);
    free(x);
    more->out_at = m->out_bytes;
    m->out_bytes += more->n * (ww_dtype_bits(dtype) / 8);
    m->file.n_tensors = m->plan.n_tensors;
    mx_method(m, t, method);
    return t;
}

/* A source's values, without its row map; free. */
static inline double *mx_values(const struct mx *m, const struct ww_merge_source *s,
                                uint64_t n)
{
    size_t bytes = n * (ww_dtype_bits(s->dtype) / 8);
    uint8_t *stored = malloc(bytes + 1);
    double *values = malloc((n + 1) * sizeof(*values));
    assert_int_equal(pread(m->inputs[s->input].fd, stored, bytes, (off_t)s->offset),
                     bytes);
    ww_to_double(s->dtype, stored, values, n);
    free(stored);
    return values;
}

static inline void mx_clean(const struct mx *m)
{
    char *command = NULL;
    assert_true(asprintf(&command, "rm -rf '%s' '%s.partial'", m->out, m->out) > 0);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Run and commit; the output's digest is kept. */
static inline enum ww_err mx_run(struct mx *m, struct ww_error *err)
{
    struct ww_merge_result result = {0};
    struct ww_out *out = NULL;
    mx_clean(m);
    const struct ww_merge_into into = {.path = m->out};
    enum ww_err rc = ww_merge_run(&m->plan, &into, &m->options, &out, &result, err);
    if (!rc) {
        memcpy(m->digest, result.output_sha256[0], sizeof(m->digest));
        rc = ww_out_commit(out, err);
    }
    ww_out_close(out, false);
    ww_merge_result_release(&result);
    return rc;
}

/* The merged tensor as bytes; free. */
static inline uint8_t *mx_bytes(const struct mx *m, uint32_t t)
{
    char *path = NULL;
    size_t bytes = m->more[t].n * (ww_dtype_bits(m->tensors[t].dtype) / 8);
    uint8_t *stored = malloc(bytes + 1);
    assert_true(asprintf(&path, "%s/m.bin", m->out) > 0);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)m->more[t].out_at, SEEK_SET), 0);
    assert_int_equal(fread(stored, 1, bytes, f), bytes);
    fclose(f);
    free(path);
    return stored;
}

static inline double *mx_result(const struct mx *m, uint32_t t)
{
    uint64_t n = m->more[t].n;
    uint8_t *stored = mx_bytes(m, t);
    double *values = malloc((n + 1) * sizeof(*values));
    ww_to_double(m->tensors[t].dtype, stored, values, n);
    free(stored);
    return values;
}

/* Every stored value is the reference rounded once. */
static inline void mx_same(const struct mx *m, uint32_t t, const double *want)
{
    uint64_t n = m->more[t].n;
    size_t size = ww_dtype_bits(m->tensors[t].dtype) / 8;
    uint8_t *stored = mx_bytes(m, t);
    uint8_t *rounded = malloc(n * size + 1);
    ww_from_double(m->tensors[t].dtype, want, rounded, n);
    for (uint64_t i = 0; i < n; i++) {
        if (memcmp(stored + i * size, rounded + i * size, size) != 0) {
            double got = 0;
            ww_to_double(m->tensors[t].dtype, stored + i * size, &got, 1);
            fail_msg("%s[%llu] = %.17g, want %.17g", m->tensors[t].name,
                     (unsigned long long)i, got, want[i]);
        }
    }
    free(stored);
    free(rounded);
}

#endif
