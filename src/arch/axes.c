/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Axis expressions. All fused layouts known so far are two shapes: parts one behind the
 * other, or the axis cut into equal units that each hold a slice of every part. So the
 * function names are aliases for a number of units, and a new one is a table row.
 */
#include "arch/axes.h"

#include <ctype.h>
#include <string.h>

#include "arch/facts.h"
#include "util/fail.h"

static const struct ww_token tokens[] = {
    {"res", WW_SPACE_RESIDUAL, WW_OWN_STREAM, "residual", "the residual stream (hidden)"},
    {"main", WW_SPACE_RESIDUAL, WW_OWN_MODEL, "residual",
     "the residual stream of the model"},
    {"q", WW_SPACE_QUERY, WW_OWN_ATTENTION, "query", "query rows (heads x head_dim)"},
    {"k", WW_SPACE_KEY, WW_OWN_ATTENTION, "key", "key rows (kv_heads x head_dim)"},
    {"v", WW_SPACE_VALUE, WW_OWN_ATTENTION, "value", "value rows (kv_heads x v_dim)"},
    {"ctx", WW_SPACE_CONTEXT, WW_OWN_ATTENTION, "context",
     "head outputs (heads x v_dim)"},
    {"qh", WW_SPACE_QUERY_HEAD, WW_OWN_ATTENTION, "query-head", "query heads (heads)"},
    {"kvh", WW_SPACE_KV_HEAD, WW_OWN_ATTENTION, "kv-head", "KV heads (kv_heads)"},
    {"qk", WW_SPACE_QK_GAIN, WW_OWN_ATTENTION, "qk-gain", "one head (head_dim)"},
    {"ff", WW_SPACE_NEURON, WW_OWN_MLP, "neuron", "neurons (ff)"},
    {"ex", WW_SPACE_EXPERT, WW_OWN_MOE, "expert", "experts (experts)"},
    {"q_nope", WW_SPACE_MLA_Q_NOPE, WW_OWN_ATTENTION, "q-nope",
     "query rows without position (heads x nope)"},
    {"k_nope", WW_SPACE_MLA_K_NOPE, WW_OWN_ATTENTION, "k-nope",
     "key rows without position (heads x nope)"},
    {"q_rope", WW_SPACE_MLA_Q_ROPE, WW_OWN_ATTENTION, "q-rope",
     "rotary query rows (heads x rope_dims)"},
    {"k_rope", WW_SPACE_MLA_K_ROPE, WW_OWN_ATTENTION, "k-rope",
     "the rotary key (rope_dims)"},
    {"latent", WW_SPACE_LATENT, WW_OWN_ATTENTION, "latent", "the KV latent (latent)"},
    {"q_latent", WW_SPACE_Q_LATENT, WW_OWN_ATTENTION, "q-latent",
     "the query latent (q_latent)"},
};

static const struct {
    const char *word;
    enum ww_units units;
} functions[] = {
    {"cat", WW_UNITS_NONE},      {"halves", WW_UNITS_NONE}, {"heads", WW_UNITS_HEADS},
    {"perhead", WW_UNITS_HEADS}, {"gated", WW_UNITS_HEADS}, {"groups", WW_UNITS_GROUPS},
    {"blocks4", WW_UNITS_FOUR},  {"pairs", WW_UNITS_ONES},  {"experts", WW_UNITS_EXPERTS},
    {"tiles", WW_UNITS_TILES},
};

const struct ww_token *ww_token_of(enum ww_space_kind kind)
{
    size_t i = 0;

    while (tokens[i].kind != kind) {
        i++;
        WW_INVARIANT(i < WW_LEN(tokens));
    }
    return &tokens[i];
}

static size_t word_len(const char *p)
{
    size_t n = 0;

    while (isalnum((unsigned char)p[n]) || p[n] == '_') {
        n++;
    }
    return n;
}

static const char *skip_spaces(const char *p)
{
    return p + strspn(p, " ");
}

static enum ww_err malformed(const char *text, const char *at, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_DESCRIPTOR, "axis expression '%s' is malformed at '%.20s'",
                   text, at);
}

static enum ww_err parse_gap(const char *text, const char **at, struct ww_part *part,
                             struct ww_error *err)
{
    char name[48];
    const char *p = *at + 1;
    size_t n = word_len(p);

    if (n >= sizeof(name)) {
        return malformed(text, *at, err);
    }
    memcpy(name, p, n);
    name[n] = '\0';
    if (n && !ww_fact_known(name)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "axis expression '%s': fact '%s' is unknown",
                       text, name);
    }
    part->gap = n ? p : NULL;
    part->gap_len = n;
    *at = p + n;
    return WW_OK;
}

static enum ww_err parse_part(const char *text, const char **at, struct ww_part *part,
                              struct ww_error *err)
{
    const char *p = *at = skip_spaces(*at);
    size_t n = word_len(p);

    memset(part, 0, sizeof(*part));
    if (*p == '-') {
        return parse_gap(text, at, part, err);
    }
    for (size_t i = 0; i < WW_LEN(tokens); i++) {
        if (strlen(tokens[i].word) == n && strncmp(tokens[i].word, p, n) == 0) {
            part->token = &tokens[i];
        }
    }
    if (!part->token) {
        return malformed(text, p, err);
    }
    part->action = p[n] == '\''  ? WW_ACT_INVERSE
                   : p[n] == '*' ? WW_ACT_PERMUTE
                                 : WW_ACT_DIRECT;
    *at = p + n + (part->action != WW_ACT_DIRECT);
    return WW_OK;
}

static enum ww_err parse_function(const char *text, struct ww_axis_expr *out,
                                  const char **at, struct ww_error *err)
{
    size_t n = word_len(text);
    bool known = false;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(functions); i++) {
        if (strlen(functions[i].word) == n && strncmp(functions[i].word, text, n) == 0) {
            out->units = functions[i].units;
            known = true;
        }
    }
    if (!known) {
        return malformed(text, text, err);
    }
    *at = text + n;
    do {
        if (out->n_parts == WW_MAX_PARTS) {
            return malformed(text, *at, err);
        }
        *at += 1;
        rc = parse_part(text, at, &out->parts[out->n_parts], err);
        if (rc) {
            return rc;
        }
        if (!out->parts[out->n_parts].token && !out->parts[out->n_parts].gap) {
            return malformed(text, *at, err);
        }
        out->n_parts++;
        *at = skip_spaces(*at);
    } while (**at == ',');
    if (**at != ')') {
        return malformed(text, *at, err);
    }
    *at += 1;
    return WW_OK;
}

enum ww_err ww_axis_parse(const char *text, struct ww_axis_expr *out,
                          struct ww_error *err)
{
    const char *at = text;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->text = text;
    if (text[word_len(text)] == '(') {
        rc = parse_function(text, out, &at, err);
    } else {
        out->n_parts = 1;
        rc = parse_part(text, &at, &out->parts[0], err);
    }
    if (rc == WW_OK && *at != '\0') {
        rc = malformed(text, at, err);
    }
    return rc;
}
