/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names as the converter of llama.cpp writes them for decoders of the llama shape. Of the
 * architecture "llama" and those derived from it, it also reorders rows of query and key
 * heads, because its rotary embedding turns neighbours where transformers turns the
 * halves of a head.
 */
#include "model/gguf_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

struct name_row {
    const char *gguf;
    const char *transformers;
};

static const struct name_row tops[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

static const struct name_row parts[] = {
    {"attn_norm", "input_layernorm"},    {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

static const char *look_up(const struct name_row *rows, size_t n, const char *name,
                           size_t len)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(rows[i].gguf) == len && memcmp(rows[i].gguf, name, len) == 0) {
            return rows[i].transformers;
        }
    }
    return NULL;
}

/* "blk.3.attn_q.weight": layer and part, or the part alone. */
static bool split(const char *name, bool *has_layer, uint64_t *layer, const char **part,
                  size_t *part_len, const char **end)
{
    *has_layer = ww_str_starts(name, "blk.");
    if (*has_layer) {
        const char *number = name + strlen("blk.");
        const char *dot = strchr(number, '.');
        if (!dot || !ww_parse_u64(number, (size_t)(dot - number), layer)) {
            return false;
        }
        name = dot + 1;
    }
    *end = strrchr(name, '.');
    *part = name;
    *part_len = *end ? (size_t)(*end - name) : 0;
    return *end && (ww_str_eq(*end, ".weight") || ww_str_eq(*end, ".bias"));
}

/* What the converter does to tensors. Of other architectures it is not known, and rows in
 * a wrong order, or gains with 1 added, would be compared as if they were right. */
struct architecture {
    const char *name;
    bool turned; /* rows of query and key heads are reordered */
    bool gains;  /* norms are as they were, and have the names above */
};

static const struct architecture architectures[] = {
    {"llama", true, true},     {"granite", true, true},   {"granitemoe", true, true},
    {"arcee", true, true},     {"smollm3", true, true},   {"qwen2", false, true},
    {"qwen2moe", false, true}, {"qwen3", false, true},    {"qwen3moe", false, true},
    {"phi3", false, true},     {"stablelm", false, true}, {"starcoder2", false, true},
    {"gemma", false, false},   {"gemma2", false, false},  {"gemma3", false, false}};

static const struct architecture *architecture_of(const struct ww_gguf_header *header)
{
    for (size_t i = 0; i < WW_LEN(architectures); i++) {
        if (ww_gguf_is(header, "general.architecture", architectures[i].name)) {
            return &architectures[i];
        }
    }
    return NULL;
}

static bool count_heads(const struct ww_gguf_header *header, const char *architecture,
                        const char *end, uint64_t *n)
{
    char key[64];

    (void)snprintf(key, sizeof(key), "%s.attention.%s", architecture, end);
    return ww_gguf_get_u64(header, key, n);
}

static enum ww_err find_heads(const struct ww_gguf_header *header,
                              const struct ww_gguf_tensor *tensor, const char *file,
                              const char *architecture, bool keys, uint32_t *heads,
                              struct ww_error *err)
{
    uint64_t n = 0;

    if (!(keys && count_heads(header, architecture, "head_count_kv", &n)) &&
        !count_heads(header, architecture, "head_count", &n)) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s' does not say how many heads '%.160s' has, so that the order "
                       "of its rows is not known",
                       file, tensor->name);
    }
    if (n == 0 || n > UINT32_MAX / 2 || tensor->rank == 0 ||
        tensor->shape[0] % (2 * n) != 0) {
        return WW_FAIL(err, WW_E_GGUF,
                       "'%s': tensor '%.160s' has %" PRIu64 " rows, which are no %" PRIu64
                       " heads of an even size",
                       file, tensor->name, tensor->rank ? tensor->shape[0] : 0, n);
    }
    *heads = (uint32_t)n;
    return WW_OK;
}

enum ww_err ww_gguf_place_of(const struct ww_gguf_header *header,
                             const struct ww_gguf_tensor *tensor, const char *file,
                             struct ww_gguf_place *out, struct ww_error *err)
{
    const char *part = NULL;
    const char *end = NULL;
    const char *to = NULL;
    size_t len = 0;
    uint64_t layer = 0;
    bool in_layer = false;

    memset(out, 0, sizeof(*out));
    if (split(tensor->name, &in_layer, &layer, &part, &len, &end)) {
        to = in_layer ? look_up(parts, WW_LEN(parts), part, len)
                      : look_up(tops, WW_LEN(tops), part, len);
    }
    const struct architecture *known = architecture_of(header);
    const bool queries = to && ww_str_ends(to, ".q_proj");
    const bool ordered = queries || (to && ww_str_ends(to, ".k_proj"));
    const bool gain = to && ww_str_ends(to, "norm");
    if (!to || (ordered && !known) || (gain && !(known && known->gains))) {
        return WW_OK;
    }
    out->name = in_layer ? ww_asprintf("model.layers.%" PRIu64 ".%s%s", layer, to, end)
                         : ww_asprintf("%s%s", to, end);
    if (!out->name) {
        return WW_FAIL_MEMORY(err, "names");
    }
    if (ordered && known->turned) {
        const enum ww_err rc =
            find_heads(header, tensor, file, known->name, !queries, &out->heads, err);
        if (rc) {
            ww_free(out->name);
            out->name = NULL;
            return rc;
        }
    }
    return WW_OK;
}

const char *ww_gguf_architecture(const char *model_type)
{
    static const struct name_row types[] = {
        {"llama", "llama"}, {"llama", "mistral"}, {"qwen2", "qwen2"}, {"qwen3", "qwen3"}};

    for (size_t i = 0; i < WW_LEN(types) && model_type; i++) {
        if (strcmp(types[i].transformers, model_type) == 0) {
            return types[i].gguf;
        }
    }
    return NULL;
}

static const char *look_back(const struct name_row *rows, size_t n, const char *name,
                             size_t len)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(rows[i].transformers) == len &&
            memcmp(rows[i].transformers, name, len) == 0) {
            return rows[i].gguf;
        }
    }
    return NULL;
}

/* NULL in *out when it has none. */
static enum ww_err make_name(const char *name, char **out, struct ww_error *err)
{
    static const char layers[] = "model.layers.";
    const char *end = strrchr(name, '.');
    const char *part = NULL;

    *out = NULL;
    if (!end) {
        return WW_OK;
    }
    if (ww_str_starts(name, layers)) {
        const char *number = name + strlen(layers);
        const char *dot = strchr(number, '.');
        uint64_t layer = 0;
        if (!dot || dot >= end || !ww_parse_u64(number, (size_t)(dot - number), &layer)) {
            return WW_OK;
        }
        part = look_back(parts, WW_LEN(parts), dot + 1, (size_t)(end - dot - 1));
        *out = part ? ww_asprintf("blk.%" PRIu64 ".%s%s", layer, part, end) : NULL;
    } else {
        part = look_back(tops, WW_LEN(tops), name, (size_t)(end - name));
        *out = part ? ww_asprintf("%s%s", part, end) : NULL;
    }
    return part && !*out ? WW_FAIL_MEMORY(err, "names") : WW_OK;
}

enum ww_err ww_gguf_name_of(const char *architecture, const char *name, uint64_t n_rows,
                            uint64_t n_heads, uint64_t n_kv_heads, char **out,
                            struct ww_gguf_place *place, struct ww_error *err)
{
    const bool queries = ww_str_ends(name, ".q_proj.weight");
    const bool keys = ww_str_ends(name, ".k_proj.weight");
    const uint64_t heads = keys ? n_kv_heads : n_heads;
    enum ww_err rc = make_name(name, out, err);

    memset(place, 0, sizeof(*place));
    if (!rc && !*out) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' has no name that is known in GGUF files of "
                       "architecture '%s'",
                       name, architecture);
    }
    if (rc || strcmp(architecture, "llama") != 0 || (!queries && !keys)) {
        return rc;
    }
    if (heads == 0 || heads > UINT32_MAX / 2 || n_rows % (2 * heads) != 0) {
        ww_free(*out);
        *out = NULL;
        return WW_FAIL(err, WW_E_SHAPE,
                       "tensor '%.160s' has %" PRIu64 " rows, which are no %" PRIu64
                       " heads of an even size",
                       name, n_rows, heads);
    }
    place->heads = (uint32_t)heads;
    return WW_OK;
}

uint64_t ww_gguf_row(const struct ww_gguf_place *place, uint64_t n_rows, uint64_t row)
{
    if (!place->heads) {
        return row;
    }
    const uint64_t d = n_rows / place->heads;
    const uint64_t in = row % d;
    return row - in + in % (d / 2) * 2 + in / (d / 2);
}
