/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEFT's names and settings. lora_alpha equals the rank, so that the factor on B A is one
 * whatever the rank is; modules with ranks of their own are in the patterns.
 */
#include "merge/extract_write.h"

#include <string.h>
#include <unistd.h>

#include "json/json.h"
#include "merge/extract_whole.h"
#include "model/adapter.h"
#include "model/st_write.h"
#include "sign/statement.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "weightward/merge.h"

#define PREFIX "base_model.model."
#define CONFIG_MAX ((size_t)16 << 20)

/* One more float32 tensor: one of the model's, or (WW_NONE) one whose values are appended
 * next; takes the name. */
static enum ww_err announce(struct ww_extracting *x, char *name, unsigned rank,
                            const uint64_t *shape, uint32_t whole, struct ww_error *err)
{
    struct ww_tensor *grown =
        name ? ww_realloc_array(x->tensors, x->n_tensors + 1, sizeof(*grown)) : NULL;
    uint32_t *origins = NULL;
    struct ww_tensor *t = NULL;

    if (grown) {
        x->tensors = grown;
        origins = ww_realloc_array(x->whole, x->n_tensors + 1, sizeof(*origins));
    }
    if (!origins) {
        ww_free(name);
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    x->whole = origins;
    origins[x->n_tensors] = whole;
    t = &grown[x->n_tensors++];
    *t = (struct ww_tensor){
        .name = name, .dtype = WW_DTYPE_F32, .rank = rank, .n_elements = 1};
    for (unsigned a = 0; a < rank; a++) {
        t->shape[a] = shape[a];
        t->n_elements *= shape[a];
    }
    t->n_bytes = t->n_elements * sizeof(float);
    return WW_OK;
}

static enum ww_err append(struct ww_extracting *x, const float *values, uint64_t n,
                          struct ww_error *err)
{
    const uint64_t at = x->size_bytes;

    x->size_bytes += n * sizeof(*values);
    return ww_pwrite_full(x->fd, values, n * sizeof(*values), at, "the adapter's weights",
                          err);
}

static enum ww_err put(struct ww_extracting *x, char *name, unsigned rank,
                       const uint64_t *shape, const float *values, struct ww_error *err)
{
    enum ww_err rc = announce(x, name, rank, shape, WW_NONE, err);

    return rc ? rc : append(x, values, x->tensors[x->n_tensors - 1].n_elements, err);
}

/* Heads stand beside the model that they are put on. */
static bool is_head(const char *name)
{
    static const char *const heads[] = {"lm_head.",    "score.",
                                        "classifier.", "classification_head.",
                                        "qa_outputs.", "final_logits_bias"};

    for (size_t i = 0; i < WW_LEN(heads); i++) {
        if (strncmp(name, heads[i], strlen(heads[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* What the name of the module that PEFT sees has before that of the base's. */
static const char *root_of(const struct ww_extracting *x, const char *name)
{
    return x->root && !is_head(name) ? x->root : "";
}

static size_t module_len(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

/* The base's weight as that module names it. */
static char *name_of(const struct ww_extracting *x, const char *name)
{
    return ww_asprintf("%s%s", root_of(x, name), name);
}

/* That module. */
static char *module_of(const struct ww_extracting *x, const char *name)
{
    return ww_asprintf("%s%.*s", root_of(x, name), (int)module_len(name), name);
}

/* Is full root and the first len bytes of name? */
static bool is_both(const char *full, const char *root, const char *name, size_t len)
{
    const size_t n = strlen(root);

    return strncmp(full, root, n) == 0 && strncmp(full + n, name, len) == 0 &&
           full[n + len] == '\0';
}

/* Transposed, with zeros below. */
static float *padded_transpose(const float *values, size_t rows, size_t cols,
                               size_t height)
{
    float *out = ww_calloc(height * rows + 1, sizeof(*out));

    for (size_t i = 0; out && i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            out[j * rows + i] = values[i * cols + j];
        }
    }
    return out;
}

/* With zeros to the right and below. */
static float *padded(const float *values, size_t rows, size_t cols, size_t height,
                     size_t width)
{
    float *out = ww_calloc(height * width + 1, sizeof(*out));

    for (size_t i = 0; out && i < rows; i++) {
        memcpy(out + i * width, values + i * cols, cols * sizeof(*out));
    }
    return out;
}

enum ww_err ww_extract_put_factors(struct ww_extracting *x, const struct ww_tensor *t,
                                   const struct ww_lowrank *lowrank, struct ww_error *err)
{
    const size_t m = (size_t)t->shape[0];
    const size_t n = (size_t)t->shape[1];
    const size_t r = lowrank->rank;
    const size_t width = x->portable ? (size_t)x->rank : r;
    char *module = module_of(x, t->name);
    /* Stored [in, out], the factors trade places. */
    float *a = x->across ? padded_transpose(lowrank->b, m, r, width)
                         : padded(lowrank->a, r, n, width, n);
    float *b = x->across ? padded_transpose(lowrank->a, r, n, n)
                         : padded(lowrank->b, m, r, m, width);
    const uint64_t a_shape[] = {width, x->across ? m : n};
    const uint64_t b_shape[] = {x->across ? n : m, width};
    uint64_t *ranks = ww_realloc_array(x->ranks, x->modules.n + 1, sizeof(*ranks));
    enum ww_err rc = WW_OK;

    if (ranks) {
        x->ranks = ranks;
        ranks[x->modules.n] = width;
    }
    if (!module || !a || !b || !ranks) {
        rc = WW_FAIL_MEMORY(err, "an adapter");
        goto out;
    }
    if (x->across && width > r) {
        float *wide = padded(b, n, r, n, width);
        ww_free(b);
        b = wide;
        rc = b ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
    }
    if (!rc) {
        rc = put(x,
                 ww_asprintf(PREFIX "%s%s", module,
                             x->embedding ? ".lora_embedding_A" : ".lora_A.weight"),
                 2, a_shape, a, err);
    }
    if (!rc) {
        rc = put(x,
                 ww_asprintf(PREFIX "%s%s", module,
                             x->embedding ? ".lora_embedding_B" : ".lora_B.weight"),
                 2, b_shape, b, err);
    }
    if (!rc) {
        rc = ww_strlist_add(&x->modules, module, err);
    }
out:
    ww_free(module);
    ww_free(a);
    ww_free(b);
    return rc;
}

enum ww_err ww_extract_put_unnamed(struct ww_extracting *x, const struct ww_tensor *t,
                                   uint32_t from, struct ww_error *err)
{
    char *name = name_of(x, t->name);
    enum ww_err rc = announce(x, name ? ww_asprintf(PREFIX "%s", name) : NULL, t->rank,
                              t->shape, from, err);

    ww_free(name);
    return rc;
}

enum ww_err ww_extract_put_whole(struct ww_extracting *x, const struct ww_tensor *t,
                                 uint32_t from, struct ww_error *err)
{
    char *module = module_of(x, t->name);
    enum ww_err rc = WW_OK;

    if (!module) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    if (ww_str_ends(t->name, ".bias")) {
        x->biases = true;
    } else if (!ww_strlist_has(&x->saved, module)) {
        rc = ww_strlist_add(&x->saved, module, err);
    }
    ww_free(module);
    return rc ? rc : ww_extract_put_unnamed(x, t, from, err);
}

bool ww_extract_lacks(const struct ww_extracting *x, const char *name)
{
    const char *root = root_of(x, name);
    bool lacks = false;

    for (size_t i = 0; i < x->saved.n && !lacks; i++) {
        lacks = is_both(x->saved.items[i], root, name, module_len(name));
    }
    for (uint32_t i = 0; i < x->n_tensors && lacks; i++) {
        lacks = !is_both(x->tensors[i].name + strlen(PREFIX), root, name, strlen(name));
    }
    return lacks;
}

/* A bias beside factors lies in the layer that PEFT wraps. */
static enum ww_err rename_biases(struct ww_extracting *x, struct ww_error *err)
{
    for (uint32_t i = 0; i < x->n_tensors; i++) {
        const char *name = x->tensors[i].name;
        char *module = ww_str_ends(name, ".bias")
                           ? ww_strndup(name + strlen(PREFIX),
                                        strlen(name) - strlen(PREFIX) - strlen(".bias"))
                           : NULL;
        char *renamed = NULL;
        if (!module || !ww_strlist_has(&x->modules, module)) {
            ww_free(module);
            continue;
        }
        renamed = ww_asprintf(PREFIX "%s.base_layer.bias", module);
        ww_free(module);
        if (!renamed) {
            return WW_FAIL_MEMORY(err, "an adapter");
        }
        ww_free((char *)(uintptr_t)name);
        x->tensors[i].name = renamed;
    }
    return WW_OK;
}

static void write_list(struct ww_jw *w, const char *key, const struct ww_strlist *list)
{
    ww_jw_key(w, key);
    if (list->n == 0) {
        ww_jw_null(w);
        return;
    }
    ww_jw_array(w);
    for (size_t i = 0; i < list->n; i++) {
        ww_jw_str(w, list->items[i]);
    }
    ww_jw_close(w);
}

static void write_ranks(struct ww_jw *w, const char *key, const struct ww_extracting *x,
                        uint64_t common)
{
    ww_jw_key(w, key);
    ww_jw_object(w);
    for (size_t i = 0; i < x->modules.n; i++) {
        if (x->ranks[i] != common) {
            ww_jw_ku64(w, x->modules.items[i], x->ranks[i]);
        }
    }
    ww_jw_close(w);
}

static enum ww_err make_config(const struct ww_extracting *x, const char *base,
                               struct ww_buf *out, struct ww_error *err)
{
    uint64_t common = x->portable ? x->rank : 1;
    struct ww_jw w;

    for (size_t i = 0; i < x->modules.n; i++) {
        common = ww_max_u64(common, x->ranks[i]);
    }
    ww_jw_init(&w, out, 2);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "peft_type", "LORA");
    if (x->task) {
        ww_jw_kstr(&w, "task_type", x->task);
    } else {
        ww_jw_key(&w, "task_type");
        ww_jw_null(&w);
    }
    ww_jw_kstr(&w, "base_model_name_or_path", base);
    ww_jw_ku64(&w, "r", common);
    ww_jw_ku64(&w, "lora_alpha", common);
    ww_jw_kdouble(&w, "lora_dropout", 0);
    ww_jw_kstr(&w, "bias", x->biases ? "all" : "none");
    ww_jw_kbool(&w, "fan_in_fan_out", x->fan_in_fan_out);
    ww_jw_kbool(&w, "inference_mode", true);
    ww_jw_kbool(&w, "use_rslora", false);
    ww_jw_kbool(&w, "use_dora", false);
    write_list(&w, "target_modules", &x->modules);
    write_list(&w, "modules_to_save", &x->saved);
    write_ranks(&w, "rank_pattern", x, common);
    write_ranks(&w, "alpha_pattern", x, common);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

#define MAX_OUTPUTS 4

struct extract_plan {
    struct ww_plan plan;
    struct ww_input input;
    struct ww_output outputs[MAX_OUTPUTS];
    struct ww_piece *pieces; /* the header, the tensors, the small files */
    struct ww_piece_source *sources;
    struct ww_extract_whole *wholes;
    uint32_t *order;
    uint32_t *rank;
    uint32_t n_pieces;
    struct ww_buf header;
    struct ww_buf config;
};

static void release_plan(struct extract_plan *p)
{
    ww_buf_release(&p->header);
    ww_buf_release(&p->config);
    ww_free(p->pieces);
    ww_free(p->sources);
    ww_free(p->wholes);
    ww_free(p->plan.tree);
    ww_free(p->order);
    ww_free(p->rank);
}

static struct ww_piece *in_memory(struct extract_plan *p, const void *bytes, size_t len)
{
    struct ww_piece *piece = &p->pieces[p->n_pieces++];

    *piece = (struct ww_piece){
        .kind = WW_PIECE_BYTES, .n_bytes = len, .bytes = bytes, .tree_index = WW_NONE};
    return piece;
}

static void add_small(struct extract_plan *p, const char *name, const void *bytes,
                      size_t len)
{
    p->outputs[p->plan.n_outputs++] =
        (struct ww_output){name, len, in_memory(p, bytes, len), 1};
}

/* One piece for each tensor, so that the pass takes its root too. */
static void add_weights(const struct ww_extracting *x, struct extract_plan *p)
{
    struct ww_piece *first = in_memory(p, p->header.data, p->header.len);
    uint64_t size = p->header.len;
    uint64_t at = 0;

    for (uint32_t i = 0; i < x->n_tensors; i++) {
        struct ww_piece *piece = &p->pieces[p->n_pieces++];
        p->sources[i] = (struct ww_piece_source){0, at};
        p->plan.tree[i] = (struct ww_tree_slot){&x->tensors[i], p->rank[i]};
        size += x->tensors[i].n_bytes;
        if (x->whole[i] != WW_NONE) {
            ww_extract_whole_piece(x->models[1], x->whole[i], i, &p->wholes[i], piece);
            continue;
        }
        *piece = (struct ww_piece){.kind = WW_PIECE_COPY,
                                   .n_bytes = x->tensors[i].n_bytes,
                                   .n_sources = 1,
                                   .sources = &p->sources[i],
                                   .tree_index = i};
        at += x->tensors[i].n_bytes;
    }
    p->outputs[0] = (struct ww_output){WW_ADAPTER_WEIGHTS, size, first, 1 + x->n_tensors};
    p->plan.n_outputs = 1;
}

static enum ww_err make_plan(const struct ww_extracting *x, struct extract_plan *p,
                             struct ww_error *err)
{
    const struct ww_model made = {.tensors = x->tensors, .n_tensors = x->n_tensors};
    const size_t n = x->n_tensors;
    enum ww_err rc = ww_tree_order(&made, &p->order, &p->rank, err);

    if (rc) {
        return rc;
    }
    p->input = (struct ww_input){"the adapter's weights", x->fd, x->size_bytes, false};
    p->plan = (struct ww_plan){.title = "adapter",
                               .inputs = &p->input,
                               .n_inputs = x->size_bytes > 0 ? 1 : 0,
                               .outputs = p->outputs,
                               .tree = ww_calloc(n, sizeof(*p->plan.tree)),
                               .n_tree = x->n_tensors};
    p->pieces = ww_calloc(n + 1 + MAX_OUTPUTS, sizeof(*p->pieces));
    p->sources = ww_calloc(n, sizeof(*p->sources));
    p->wholes = ww_calloc(n, sizeof(*p->wholes));
    if (!p->plan.tree || !p->pieces || !p->sources || !p->wholes) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    add_weights(x, p);
    add_small(p, WW_ADAPTER_CONFIG, p->config.data, p->config.len);
    add_small(p, "README.md", x->card, strlen(x->card));
    if (x->recipe) {
        add_small(p, WW_MERGE_RECIPE_FILE, x->recipe->data, x->recipe->len);
    }
    return WW_OK;
}

static enum ww_err run_plan(struct ww_extracting *x, const struct extract_plan *p,
                            const char *out_path, const struct ww_signer *signer,
                            struct ww_error *err)
{
    struct ww_stream_result result = {0};
    struct ww_out *out = NULL;
    char root[2 * WW_SHA256_BYTES + 1];
    char *name = NULL;
    enum ww_err rc = out_path ? ww_path_last(out_path, &name, err) : WW_OK;

    if (!rc && out_path) {
        rc = ww_out_begin(out_path, &p->plan, 1 << 20, x->run, &out, err);
    }

    if (!rc) {
        rc = ww_stream_run(&p->plan, out, x->run, &result, err);
    }
    if (!rc && x->models[1]) {
        rc = ww_model_unchanged(x->models[1], err);
    }
    if (!rc && out && (signer || x->finish)) {
        rc = ww_extract_tensors(x, &result, name, signer, out, err);
    }
    if (!rc && x->finish) {
        rc = x->finish(x->payload, out, &p->plan, &result, err);
    } else if (!rc && signer && out) {
        rc = ww_extract_record(x, &p->plan, &result, name, signer, out, err);
    }
    if (!rc && signer && out) {
        rc = ww_sign_outputs(signer, name, &p->plan, &result, out, root, err);
    }
    if (!rc && out) {
        rc = ww_out_commit(out, err);
    }
    x->report->run = result.report;
    ww_free(name);
    ww_stream_result_release(&result);
    ww_out_close(out, false);
    return rc;
}

enum ww_err ww_extract_write(struct ww_extracting *x, const char *base,
                             const char *out_path, const struct ww_signer *signer,
                             struct ww_error *err)
{
    struct extract_plan p = {0};
    enum ww_err rc = rename_biases(x, err);

    ww_buf_init(&p.header, CONFIG_MAX);
    ww_buf_init(&p.config, CONFIG_MAX);
    if (!rc) {
        rc = ww_st_header_write(x->tensors, x->n_tensors, &p.header, err);
    }
    if (!rc) {
        rc = make_config(x, base, &p.config, err);
    }
    if (!rc) {
        rc = make_plan(x, &p, err);
    }
    if (!rc) {
        rc = run_plan(x, &p, out_path, signer, err);
    }
    release_plan(&p);
    return rc;
}

void ww_extracting_release(struct ww_extracting *x)
{
    for (uint32_t i = 0; i < x->n_tensors; i++) {
        ww_free((char *)(uintptr_t)x->tensors[i].name);
    }
    ww_free(x->tensors);
    ww_free(x->whole);
    ww_free(x->ranks);
    ww_strlist_release(&x->modules);
    ww_strlist_release(&x->saved);
    ww_strlist_release(&x->others);
    if (x->fd >= 0) {
        close(x->fd);
    }
    x->fd = -1;
}
