/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings and the folder. lora_alpha equals the rank, so that the factor on B A is
 * one whatever the rank is; modules with ranks of their own are in the patterns.
 */
#include "merge/extract_write.h"

#include <string.h>

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

#define CONFIG_MAX ((size_t)16 << 20)

/* A bias beside factors lies in the layer that PEFT wraps. */
static enum ww_err rename_biases(struct ww_extracting *x, struct ww_error *err)
{
    for (uint32_t i = 0; i < x->n_tensors; i++) {
        const char *name = x->tensors[i].name;
        char *module =
            ww_str_ends(name, ".bias")
                ? ww_strndup(name + strlen(WW_ADAPTER_PREFIX),
                             strlen(name) - strlen(WW_ADAPTER_PREFIX) - strlen(".bias"))
                : NULL;
        char *renamed = NULL;
        if (!module || !ww_strlist_has(&x->modules, module)) {
            ww_free(module);
            continue;
        }
        renamed = ww_asprintf(WW_ADAPTER_PREFIX "%s.base_layer.bias", module);
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
