/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The built-in facts: a table of names and expressions. Which keys of config.json carry a
 * count is the model module's table (ww_fact_keys); they are tried in its order, then the
 * expression here. Everything a family does differently is an override in its descriptor.
 */
#include "arch/facts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/expr_names.h"
#include "model/config.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_FACT_DEPTH 12
#define NO_KEYS WW_FACT_COUNT

static const struct {
    const char *name;
    enum ww_fact keys;
    const char *expr; /* when no key is there; NULL: absent */
} builtin[] = {
    /* sizes */
    {"layers", WW_FACT_LAYERS, NULL},
    {"encoder_layers", WW_FACT_ENCODER_LAYERS, "$layers"},
    {"decoder_layers", WW_FACT_DECODER_LAYERS, "$layers"},
    {"hidden", WW_FACT_HIDDEN, NULL},
    {"heads", WW_FACT_HEADS, NULL},
    {"kv_heads", WW_FACT_KV_HEADS, "$heads"},
    {"head_dim", WW_FACT_HEAD_DIM, "$hidden / $heads"},
    {"v_dim", NO_KEYS, "v_head_dim|$head_dim"},
    {"ff", WW_FACT_FF, NULL},
    {"expert_ff", NO_KEYS, "moe_intermediate_size|$ff"},
    {"shared_ff", NO_KEYS, "shared_expert_intermediate_size|$expert_ff"},
    {"vocab", WW_FACT_VOCAB, NULL},
    {"nope", NO_KEYS, "0"},
    {"latent", NO_KEYS, "0"},
    {"q_latent", NO_KEYS, "0"},
    {"experts", WW_FACT_EXPERTS, "0"},
    {"top_k", WW_FACT_EXPERTS_PER_TOKEN, "1"},
    {"expert_groups", NO_KEYS, "n_group|1"},
    {"top_groups", NO_KEYS, "topk_group|$expert_groups"},
    {"group_best", NO_KEYS, "1"},
    /* the block */
    {"kind", NO_KEYS, "''"},
    {"form", NO_KEYS, "'pre'"},
    {"norm", NO_KEYS, "'rms'"},
    {"eps", NO_KEYS, "rms_norm_eps|layer_norm_eps|layer_norm_epsilon|layernorm_epsilon"},
    {"plus_one", NO_KEYS, "0"},
    {"weightless", NO_KEYS, "0"},
    {"residual_multiplier", NO_KEYS, "1"},
    {"numbered", NO_KEYS, "0"},
    {"uncovered", NO_KEYS, "''"},
    /* attention */
    {"rope", NO_KEYS, "'none'"},
    {"rope_params", NO_KEYS,
     "rope_parameters ? 'rope_parameters' : rope_scaling ? 'rope_scaling' : ''"},
    {"rope_theta", NO_KEYS, "at($rope_params, 'rope_theta')|rope_theta|10000"},
    {"rope_type", NO_KEYS,
     "at($rope_params, 'rope_type')|at($rope_params, 'type')|'default'"},
    {"rope_share", NO_KEYS,
     "at($rope_params, 'partial_rotary_factor')|partial_rotary_factor|0"},
    {"rope_dims", NO_KEYS, "$head_dim"},
    {"qk", NO_KEYS, "''"},
    {"qk_reason", NO_KEYS, "''"},
    {"vo", NO_KEYS, "''"},
    {"vo_reason", NO_KEYS, "''"},
    {"causal", NO_KEYS, "1"},
    {"scale", NO_KEYS, "$head_dim ^ -0.5"},
    {"softcap", NO_KEYS, "0"},
    {"window", NO_KEYS, "0"},
    {"clip", NO_KEYS, "0"},
    {"chunk", NO_KEYS, "0"},
    {"temper", NO_KEYS, "0"},
    {"temper_floor", NO_KEYS, "1"},
    {"heads_reason", NO_KEYS, "''"},
    {"alibi", NO_KEYS, "0"},
    {"alibi_scaled", NO_KEYS, "0"},
    {"kv_owner", NO_KEYS, "l"},
    {"relative_buckets", NO_KEYS, "0"},
    {"relative_distance", NO_KEYS, "0"},
    {"qk_eps", NO_KEYS, "$eps"},
    {"qk_norm_last", NO_KEYS, "0"},
    {"latent_eps", NO_KEYS, "$eps"},
    /* MLP and experts */
    {"act", NO_KEYS, "hidden_act|hidden_activation|activation_function"},
    {"mlp_moves", NO_KEYS, "'all'"},
    {"down_multiplier", NO_KEYS, "1"},
    {"normalise", NO_KEYS, "norm_topk_prob|1"},
    {"softmax_first", NO_KEYS, "1"},
    {"sigmoid", NO_KEYS, "0"},
    {"weighs_input", NO_KEYS, "0"},
    {"mixer", NO_KEYS, "0"},
    {"routed_multiplier", NO_KEYS, "1"},
    {"limit", NO_KEYS, "0"},
    {"experts_move", NO_KEYS, "1"},
    /* the whole model */
    {"embed_multiplier", NO_KEYS, "1"},
    {"head_multiplier", NO_KEYS, "1"},
    {"head_eps", NO_KEYS, "$eps"},
    {"logit_softcap", NO_KEYS, "0"},
    {"position_offset", NO_KEYS, "0"},
    {"tie", NO_KEYS, "tie_word_embeddings"},
    {"no_forward", NO_KEYS, "''"},
};

static size_t find(const char *name)
{
    size_t i = 0;

    while (i < WW_LEN(builtin) && strcmp(builtin[i].name, name) != 0) {
        i++;
    }
    return i;
}

bool ww_fact_known(const char *name)
{
    return find(name) < WW_LEN(builtin) || ww_str_starts(name, "x_");
}

const char *ww_fact_nearest(const char *name)
{
    const char *names[WW_LEN(builtin)];

    for (size_t i = 0; i < WW_LEN(builtin); i++) {
        names[i] = builtin[i].name;
    }
    return ww_str_nearest(name, names, WW_LEN(builtin));
}

static enum ww_err from_keys(const struct ww_scope *scope, enum ww_fact fact,
                             struct ww_value *out, struct ww_error *err)
{
    size_t n = 0;
    const char *const *keys = ww_fact_keys(fact, &n);
    struct ww_value first = {0};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && rc == WW_OK; i++) {
        struct ww_value value = {0}, fallback = {0};
        rc = ww_expr_key(scope, keys[i], &value, &fallback, err);
        if (rc == WW_OK && value.kind != WW_V_ABSENT) {
            *out = value;
            return WW_OK;
        }
        if (first.kind == WW_V_ABSENT) {
            first = fallback;
        }
    }
    *out = first;
    return rc;
}

/* The expression behind a fact: its text, or NULL for a plain JSON value. */
static const struct ww_jnode *override_of(const struct ww_scope *scope, const char *name)
{
    const struct ww_jnode *node = ww_jget(scope->stack_facts, name);

    return node ? node : ww_jget(scope->facts, name);
}

static void name_origin(struct ww_value *value, const char *expr)
{
    if (value->origin[0] == '\0' && expr) {
        (void)snprintf(value->origin, sizeof(value->origin), "%s", expr);
    }
}

enum ww_err ww_expr_fact(const struct ww_scope *scope, const char *name,
                         struct ww_value *out, struct ww_error *err)
{
    struct ww_scope inner;
    const struct ww_jnode *node = NULL;
    const char *expr = NULL;
    size_t i = find(name);
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!ww_fact_known(name)) {
        const char *near = ww_fact_nearest(name);
        return WW_FAIL(err, WW_E_DESCRIPTOR, "fact '%s' is unknown%s%s", name,
                       near ? "; nearest is " : "", near ? near : "");
    }
    if (!scope) {
        return WW_OK;
    }
    inner = *scope;
    if (++inner.depth > MAX_FACT_DEPTH) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "fact '%s' asks for itself", name);
    }
    node = override_of(scope, name);
    if (node) {
        (void)ww_jstr(node, &expr);
        rc = ww_expr_node(node, &inner, out, err);
    } else if (i == WW_LEN(builtin)) {
        rc = WW_FAIL(err, WW_E_DESCRIPTOR, "fact '%s' is not defined", name);
    } else {
        if (builtin[i].keys != NO_KEYS) {
            rc = from_keys(&inner, builtin[i].keys, out, err);
        }
        expr = builtin[i].expr;
        if (rc == WW_OK && out->kind == WW_V_ABSENT && expr) {
            rc = ww_expr_eval(expr, &inner, out, err);
        }
    }
    name_origin(out, expr);
    return rc;
}

static enum ww_err number(const struct ww_scope *scope, const char *name,
                          struct ww_value *value, struct ww_error *err)
{
    enum ww_err rc = ww_expr_fact(scope, name, value, err);

    if (rc == WW_OK && value->kind != WW_V_NUMBER && value->kind != WW_V_ABSENT) {
        rc = WW_FAIL(err, WW_E_CONFIG,
                     "config.json: '%s' must be a number (it is '%s' of the model)",
                     value->origin, name);
    }
    if (rc == WW_OK && value->kind == WW_V_NUMBER && !isfinite(value->number)) {
        rc = WW_FAIL(err, WW_E_CONFIG, "config.json: '%s' is not finite", value->origin);
    }
    return rc;
}

enum ww_err ww_fact_double(const struct ww_scope *scope, const char *name, double *out,
                           struct ww_error *err)
{
    struct ww_value value = {0};
    enum ww_err rc = number(scope, name, &value, err);

    *out = rc ? 0 : value.number;
    return rc;
}

static const char *first_key(const char *name)
{
    size_t i = find(name), n = 0;
    const char *const *keys = NULL;

    if (i < WW_LEN(builtin) && builtin[i].keys != NO_KEYS) {
        keys = ww_fact_keys(builtin[i].keys, &n);
    }
    return n ? keys[0] : name;
}

enum ww_err ww_fact_u64(const struct ww_scope *scope, const char *name, uint64_t *out,
                        struct ww_error *err)
{
    struct ww_value value = {0};
    enum ww_err rc = number(scope, name, &value, err);

    *out = 0;
    if (rc) {
        return rc;
    }
    if (value.kind == WW_V_ABSENT) {
        return WW_FAIL(err, WW_E_CONFIG, "config.json does not say '%s'",
                       first_key(name));
    }
    if (value.number < 0 || value.number > (double)WW_FACT_MAX ||
        value.number != trunc(value.number)) {
        return WW_FAIL(err, WW_E_CONFIG,
                       "config.json: %s = %g (from %s), expected a whole number that is "
                       "not negative",
                       name, value.number, value.origin);
    }
    *out = (uint64_t)value.number;
    return WW_OK;
}

enum ww_err ww_fact_size(const struct ww_scope *scope, const char *name, uint64_t *out,
                         struct ww_error *err)
{
    enum ww_err rc = ww_fact_u64(scope, name, out, err);

    if (rc == WW_OK && *out == 0) {
        rc = WW_FAIL(err, WW_E_CONFIG, "config.json: '%s' is 0, expected at least 1",
                     name);
    }
    return rc;
}

enum ww_err ww_fact_bool(const struct ww_scope *scope, const char *name, bool *out,
                         struct ww_error *err)
{
    struct ww_value value = {0};
    enum ww_err rc = ww_expr_fact(scope, name, &value, err);

    *out = rc == WW_OK && ww_value_true(&value);
    return rc;
}

enum ww_err ww_fact_text(const struct ww_scope *scope, const char *name, char *out,
                         size_t size, struct ww_error *err)
{
    struct ww_value value = {0};
    enum ww_err rc = ww_expr_fact(scope, name, &value, err);

    out[0] = '\0';
    if (rc || value.kind == WW_V_ABSENT) {
        return rc;
    }
    if (value.kind != WW_V_TEXT) {
        return WW_FAIL(err, WW_E_CONFIG,
                       "config.json: '%s' must be text (it is '%s' of the "
                       "model)",
                       value.origin, name);
    }
    if (value.len >= size) {
        return WW_FAIL(err, WW_E_CONFIG, "config.json: '%s' is longer than %zu bytes",
                       value.origin, size - 1);
    }
    memcpy(out, value.text, value.len);
    out[value.len] = '\0';
    return WW_OK;
}

enum ww_err ww_fact_word(const struct ww_scope *scope, const char *name,
                         const char *const *words, size_t n, unsigned *out,
                         struct ww_error *err)
{
    char word[64];
    enum ww_err rc = ww_fact_text(scope, name, word, sizeof(word), err);

    for (unsigned i = 0; rc == WW_OK && i < n; i++) {
        if (strcmp(words[i], word) == 0) {
            *out = i;
            return WW_OK;
        }
    }
    if (rc == WW_OK) {
        const char *near = ww_str_nearest(word, words, n);
        rc = WW_FAIL(err, WW_E_ARCH, "%s '%s' is not known%s%s", name, word,
                     near ? "; nearest is " : "", near ? near : "");
    }
    return rc;
}

void ww_fact_origin(const struct ww_scope *scope, const char *name,
                    char out[WW_ORIGIN_BYTES])
{
    struct ww_value value = {0};
    struct ww_error ignored = {0};

    out[0] = '\0';
    if (ww_expr_fact(scope, name, &value, &ignored) == WW_OK) {
        (void)snprintf(out, WW_ORIGIN_BYTES, "%s", value.origin);
    }
}
