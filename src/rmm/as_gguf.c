/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A LoRA as llama.cpp loads it: the base's tensor names with .lora_a and .lora_b, and one
 * alpha that it divides by the rank of each tensor. The rows of B are in the order that
 * the converter gave the base's rows. The loader finds a wrong base by shapes alone, so
 * they are compared here.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "merge/bake.h"
#include "model/config.h"
#include "model/gguf_names.h"
#include "model/gguf_write.h"
#include "rmm/as_factors.h"
#include "rmm/pack_file.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define MAX_HEAD ((size_t)64 << 20)
#define N_KEYS 7
#define ALL_F32 0

/* One module as the file has it. */
struct place {
    char *name;
    struct ww_gguf_place rows;
    uint64_t at_a; /* from the first byte of the data */
    uint64_t at_b;
};

struct gguf {
    const struct ww_as *as;
    const char *architecture;
    uint64_t heads;
    uint64_t kv_heads;
    struct ww_as_pairs pairs;
    struct place *places;
    struct ww_buf head;
    struct ww_pack_new made;
};

static enum ww_err read_base(struct gguf *g, struct ww_error *err)
{
    const struct ww_config *config = g->as->base->config;
    const char *type = config && config->model_type ? config->model_type : "unknown";
    bool present = false;
    enum ww_err rc = WW_OK;

    g->architecture = ww_gguf_architecture(type);
    if (!g->architecture) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "form 'gguf' of a model of type '%.60s': its names in GGUF files "
                       "are not known, only those of llama, mistral, qwen2 and qwen3; "
                       "convert what form 'model' gives, or form 'portable'",
                       type);
    }
    rc = ww_config_fact(config->text, WW_FACT_HEADS, &present, &g->heads, err);
    if (!rc) {
        rc = ww_config_fact(config->text, WW_FACT_KV_HEADS, &present, &g->kv_heads, err);
    }
    g->kv_heads = present ? g->kv_heads : g->heads;
    return rc;
}

static enum ww_err check_shape(const struct ww_model *base, const char *name,
                               const struct ww_as_pair *pair, struct ww_error *err)
{
    const uint32_t i = ww_model_find(base, name);
    const struct ww_tensor *t = i == WW_NONE ? NULL : &base->tensors[i];

    if (!t && ww_str_ends(name, "lm_head.weight") && ww_bake_tied_head(base) != WW_NONE) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the head of base '%s' is its embedding, so a GGUF of it has no "
                       "tensor for factors of the head; form 'portable' has them",
                       base->path);
    }
    if (!t) {
        return WW_FAIL(err, WW_E_TENSOR, "base '%s' has no tensor '%.160s'", base->path,
                       name);
    }
    if (t->rank != 2 || t->shape[0] != pair->b->shape[0] ||
        t->shape[1] != pair->a->shape[1]) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "tensor '%.160s' of base '%s' has another shape than the "
                       "adapter's product, %" PRIu64 " x %" PRIu64,
                       name, base->path, pair->b->shape[0], pair->a->shape[1]);
    }
    return WW_OK;
}

/* Where its factors lie; *at goes on. */
static enum ww_err find_place(struct gguf *g, uint32_t i, uint64_t *at,
                              struct ww_error *err)
{
    const struct ww_as_pair *pair = &g->pairs.items[i];
    struct place *p = &g->places[i];
    char *name = ww_asprintf("%s.weight", pair->module);
    enum ww_err rc =
        name ? check_shape(g->as->base, name, pair, err) : WW_FAIL_MEMORY(err, "names");

    if (!rc) {
        rc = ww_gguf_name_of(g->architecture, name, pair->b->shape[0], g->heads,
                             g->kv_heads, &p->name, &p->rows, err);
    }
    p->at_a = *at;
    p->at_b =
        p->at_a + ww_round_up(4 * g->pairs.rank * pair->a->shape[1], WW_GGUF_ALIGNMENT);
    *at = p->at_b + ww_round_up(4 * g->pairs.rank * pair->b->shape[0], WW_GGUF_ALIGNMENT);
    ww_free(name);
    return rc;
}

static enum ww_err put_keys(const struct gguf *g, struct ww_gguf_writer *w,
                            struct ww_error *err)
{
    const char *const strings[][2] = {{"general.architecture", g->architecture},
                                      {"general.type", "adapter"},
                                      {"adapter.type", "lora"},
                                      {"general.name", g->as->name}};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(strings) && !rc; i++) {
        rc = ww_gguf_put_string(w, strings[i][0], strings[i][1], err);
    }
    if (!rc) {
        rc = ww_gguf_put_u32(w, "general.alignment", WW_GGUF_ALIGNMENT, err);
    }
    if (!rc) {
        rc = ww_gguf_put_u32(w, "general.file_type", ALL_F32, err);
    }
    return rc ? rc : ww_gguf_put_f32(w, "adapter.lora.alpha", (float)g->pairs.rank, err);
}

static enum ww_err put_tensor(struct ww_gguf_writer *w, const char *name,
                              const char *factor, uint64_t rows, uint64_t cols,
                              uint64_t at, struct ww_error *err)
{
    char *full = ww_asprintf("%s%s", name, factor);
    const enum ww_err rc = full ? ww_gguf_put_f32_matrix(w, full, rows, cols, at, err)
                                : WW_FAIL_MEMORY(err, "names");

    ww_free(full);
    return rc;
}

static enum ww_err make_head(struct gguf *g, struct ww_error *err)
{
    const uint64_t rank = g->pairs.rank;
    struct ww_gguf_writer w;
    uint64_t at = 0;
    enum ww_err rc = ww_gguf_begin(&w, &g->head, 2 * (uint64_t)g->pairs.n, N_KEYS, err);

    if (!rc) {
        rc = put_keys(g, &w, err);
    }
    for (uint32_t i = 0; i < g->pairs.n && !rc; i++) {
        const struct ww_as_pair *pair = &g->pairs.items[i];
        rc = find_place(g, i, &at, err);
        if (!rc) {
            rc = put_tensor(&w, g->places[i].name, ".lora_a", rank, pair->a->shape[1],
                            g->places[i].at_a, err);
        }
        if (!rc) {
            rc = put_tensor(&w, g->places[i].name, ".lora_b", pair->b->shape[0], rank,
                            g->places[i].at_b, err);
        }
    }
    return rc ? rc : ww_gguf_end(&w, err);
}

/* rows x cols into the file as height x width, in the file's order of rows. */
static enum ww_err write_matrix(struct gguf *g, uint64_t at,
                                const struct ww_gguf_place *order, const float *values,
                                const uint64_t size[2], const uint64_t padded[2],
                                struct ww_error *err)
{
    const uint64_t n_bytes = ww_round_up(4 * padded[0] * padded[1], WW_GGUF_ALIGNMENT);
    float *out = ww_calloc((size_t)n_bytes / 4, sizeof(*out));
    enum ww_err rc = out ? WW_OK : WW_FAIL_MEMORY(err, "a factor");

    for (uint64_t i = 0; i < size[0] && !rc; i++) {
        const uint64_t row = order ? ww_gguf_row(order, size[0], i) : i;
        memcpy(out + row * padded[1], values + i * size[1],
               (size_t)size[1] * sizeof(*out));
    }
    if (!rc) {
        rc = ww_pwrite_full(g->made.fd, out, (size_t)n_bytes, g->head.len + at,
                            g->made.partial, err);
    }
    ww_free(out);
    return rc;
}

static enum ww_err write_pair(struct gguf *g, uint32_t i, struct ww_error *err)
{
    const struct ww_as_pair *pair = &g->pairs.items[i];
    const struct place *p = &g->places[i];
    const uint64_t rank = g->pairs.rank;
    const uint64_t a_padded[] = {rank, pair->a->shape[1]};
    const uint64_t b_padded[] = {pair->b->shape[0], rank};
    float *a = NULL;
    float *b = NULL;
    enum ww_err rc = ww_as_pair_read(g->as->adapter, pair, &a, &b, err);

    if (!rc) {
        rc = write_matrix(g, p->at_a, NULL, a, pair->a->shape, a_padded, err);
    }
    if (!rc) {
        rc = write_matrix(g, p->at_b, &p->rows, b, pair->b->shape, b_padded, err);
    }
    ww_free(a);
    ww_free(b);
    return rc;
}

static enum ww_err write_file(struct gguf *g, struct ww_error *err)
{
    enum ww_err rc = ww_pack_new_begin(g->as->out_path, &g->made, err);

    if (!rc) {
        rc = ww_pwrite_full(g->made.fd, g->head.data, g->head.len, 0, g->made.partial,
                            err);
    }
    for (uint32_t i = 0; i < g->pairs.n && !rc; i++) {
        rc = write_pair(g, i, err);
    }
    return rc ? rc : ww_pack_new_name(&g->made, false, err);
}

enum ww_err ww_as_gguf(const struct ww_as *as, struct ww_run_report *report,
                       struct ww_error *err)
{
    struct gguf g = {.as = as, .made = {.dirfd = -1, .fd = -1}};
    enum ww_err rc = ww_as_pairs_find(as, "gguf", &g.pairs, err);

    if (rc) {
        return rc;
    }
    (void)report;
    ww_buf_init(&g.head, MAX_HEAD);
    g.places = ww_calloc(g.pairs.n, sizeof(*g.places));
    rc = g.places ? read_base(&g, err) : WW_FAIL_MEMORY(err, "names");
    if (!rc) {
        rc = make_head(&g, err);
    }
    if (!rc) {
        rc = write_file(&g, err);
    }
    for (uint32_t i = 0; g.places && i < g.pairs.n; i++) {
        ww_free(g.places[i].name);
    }
    ww_free(g.places);
    ww_pack_new_release(&g.made);
    ww_buf_release(&g.head);
    ww_as_pairs_release(&g.pairs);
    return rc;
}
