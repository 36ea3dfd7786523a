/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of members, each with its reader. Clients send null for what they leave open,
 * and numbers that change nothing; both pass.
 */
#include "serve/question.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define COMPLETION_TOKENS                                                                \
    16 /* where the client says nothing, as the interface has it                         \
        */
#define CHAT_TOKENS 1024

typedef bool (*reader)(struct ww_question *r, const struct ww_jnode *node);

static bool read_model(struct ww_question *r, const struct ww_jnode *node)
{
    return ww_jstr(node, &r->model);
}

/* Some clients make a list of every prompt. */
static bool read_prompt(struct ww_question *r, const struct ww_jnode *node)
{
    struct ww_error ignored = {0};
    const char *text = NULL;
    node = ww_jtype(node) == WW_J_ARRAY && ww_jsize(node) == 1 ? ww_jfirst(node) : node;
    return ww_jstr(node, &text) && *text &&
           ww_buf_add_str(&r->prompt, text, &ignored) == WW_OK;
}

static bool read_tokens(struct ww_question *r, const struct ww_jnode *node)
{
    uint64_t n = 0;
    if (!ww_ju64(node, &n) || n < 1 || n > WW_QUESTION_TOKENS) {
        return false;
    }
    r->max_tokens = (uint32_t)n;
    return true;
}

static bool read_temperature(struct ww_question *r, const struct ww_jnode *node)
{
    return ww_jdouble(node, &r->temperature) && r->temperature >= 0 &&
           r->temperature <= 2;
}

static bool read_top_p(struct ww_question *r, const struct ww_jnode *node)
{
    return ww_jdouble(node, &r->top_p) && r->top_p > 0 && r->top_p <= 1;
}

static bool read_seed(struct ww_question *r, const struct ww_jnode *node)
{
    int64_t seed = 0;
    r->has_seed = ww_ji64(node, &seed);
    r->seed = (uint64_t)seed;
    return r->has_seed;
}

static bool read_stop(struct ww_question *r, const struct ww_jnode *node)
{
    const bool many = ww_jtype(node) == WW_J_ARRAY;
    if (many && ww_jsize(node) > WW_QUESTION_STOPS) {
        return false;
    }
    for (const struct ww_jnode *s = many ? ww_jfirst(node) : node; s;
         s = many ? ww_jnext(s) : NULL) {
        if (!ww_jstr(s, &r->stop[r->n_stops]) || !*r->stop[r->n_stops]) {
            return false;
        }
        r->n_stops++;
    }
    return true;
}

/* Texts that are not empty, none twice. */
static bool read_options(struct ww_question *r, const struct ww_jnode *node)
{
    const size_t n = ww_jtype(node) == WW_J_ARRAY ? ww_jsize(node) : 0;
    if (n < 2 || n > WW_QUESTION_OPTIONS || r->option) {
        return false;
    }
    r->option = ww_calloc(n, sizeof(*r->option));
    for (const struct ww_jnode *o = ww_jfirst(node); o && r->option; o = ww_jnext(o)) {
        const char *text = NULL;
        if (!ww_jstr(o, &text) || !*text) {
            return false;
        }
        const struct ww_span span = {(const uint8_t *)text, strlen(text)};
        for (uint32_t i = 0; i < r->n_options; i++) {
            if (ww_span_eq(r->option[i], span)) {
                return false;
            }
        }
        r->option[r->n_options++] = span;
    }
    return r->option != NULL;
}

/* The same as newer versions of vLLM call it. */
static bool read_structured(struct ww_question *r, const struct ww_jnode *node)
{
    static const char *const known[] = {"choice"};
    struct ww_error ignored = {0};
    return ww_jtype(node) == WW_J_OBJECT &&
           ww_jonly(node, known, WW_LEN(known), WW_E_MALFORMED, "", &ignored) == WW_OK &&
           read_options(r, ww_jget(node, "choice"));
}

static bool read_top(struct ww_question *r, const struct ww_jnode *node, unsigned most)
{
    uint64_t n = 0;
    if (!ww_ju64(node, &n) || n > most) {
        return false;
    }
    r->top = (int)n;
    return true;
}

static bool read_logprobs(struct ww_question *r, const struct ww_jnode *node)
{
    bool wanted = false;
    if (!r->chat) {
        return read_top(r, node, WW_QUESTION_COMPLETION_TOP);
    }
    if (!ww_jbool(node, &wanted)) {
        return false;
    }
    r->top = wanted && r->top < 0 ? 0 : wanted ? r->top : -1;
    return true;
}

/* Behind "logprobs" in the table, whatever the order of the body. */
static bool read_top_logprobs(struct ww_question *r, const struct ww_jnode *node)
{
    return r->top >= 0 && read_top(r, node, WW_QUESTION_CHAT_TOP);
}

static bool read_stream(struct ww_question *r, const struct ww_jnode *node)
{
    return ww_jbool(node, &r->stream);
}

static bool read_stream_options(struct ww_question *r, const struct ww_jnode *node)
{
    static const char *const known[] = {"include_usage"};
    struct ww_error ignored = {0};
    const struct ww_jnode *usage = ww_jget(node, "include_usage");
    return ww_jtype(node) == WW_J_OBJECT &&
           ww_jonly(node, known, WW_LEN(known), WW_E_MALFORMED, "", &ignored) == WW_OK &&
           (!usage || ww_jbool(usage, &r->usage));
}

static bool is_one(struct ww_question *r, const struct ww_jnode *node)
{
    uint64_t n = 0;
    (void)r;
    return ww_ju64(node, &n) && n == 1;
}

static bool is_zero(struct ww_question *r, const struct ww_jnode *node)
{
    double v = 1;
    (void)r;
    return ww_jdouble(node, &v) && v == 0;
}

static bool is_false(struct ww_question *r, const struct ww_jnode *node)
{
    bool v = true;
    (void)r;
    return ww_jbool(node, &v) && !v;
}

static bool is_empty(struct ww_question *r, const struct ww_jnode *node)
{
    (void)r;
    return ww_jtype(node) == WW_J_OBJECT && ww_jsize(node) == 0;
}

static bool is_no_list(struct ww_question *r, const struct ww_jnode *node)
{
    (void)r;
    return ww_jtype(node) == WW_J_ARRAY && ww_jsize(node) == 0;
}

/* {"type": "text"} */
static bool is_free(struct ww_question *r, const struct ww_jnode *node)
{
    const char *type = NULL;
    (void)r;
    return ww_jsize(node) == 1 && ww_jstr(ww_jget(node, "type"), &type) &&
           strcmp(type, "text") == 0;
}

static bool is_text(struct ww_question *r, const struct ww_jnode *node)
{
    const char *text = NULL;
    (void)r;
    return ww_jstr(node, &text);
}

enum where { BOTH, COMPLETION, CHAT };

static const struct {
    const char *name;
    enum where where;
    reader read;
    const char *expected; /* for messages */
} members[] = {
    {"model", BOTH, read_model, "a text"},
    {"prompt", COMPLETION, read_prompt, "one text that is not empty"},
    {"max_tokens", BOTH, read_tokens, "1 to 4096"},
    {"max_completion_tokens", CHAT, read_tokens, "1 to 4096"},
    {"temperature", BOTH, read_temperature, "0 to 2"},
    {"top_p", BOTH, read_top_p, "above 0, at most 1"},
    {"seed", BOTH, read_seed, "an integer"},
    {"stop", BOTH, read_stop, "a text or up to 4 of them, none empty"},
    {"guided_choice", BOTH, read_options, "2 to 256 unlike texts, none empty, once"},
    {"structured_outputs", BOTH, read_structured,
     "'choice' alone: 2 to 256 unlike texts, none empty, once"},
    {"logprobs", COMPLETION, read_logprobs, "0 to 5"},
    {"logprobs", CHAT, read_logprobs, "true or false"},
    {"top_logprobs", CHAT, read_top_logprobs, "0 to 20, with 'logprobs' true"},
    {"stream", BOTH, read_stream, "true or false"},
    {"stream_options", BOTH, read_stream_options, "'include_usage' alone"},
    {"n", BOTH, is_one, "1: one answer for a request"},
    {"best_of", COMPLETION, is_one, "1: one answer for a request"},
    {"echo", COMPLETION, is_false, "false: prompts are not scored here"},
    {"presence_penalty", BOTH, is_zero, "0: there are no penalties"},
    {"frequency_penalty", BOTH, is_zero, "0: there are no penalties"},
    {"response_format", CHAT, is_free, "{\"type\": \"text\"}: answers have no form"},
    {"tools", CHAT, is_no_list, "an empty list: there are no tools"},
    {"logit_bias", BOTH, is_empty, "an empty object: there are no biases"},
    {"user", BOTH, is_text, "a text"},
};

static bool belongs(enum where where, bool chat)
{
    return where == BOTH || (where == CHAT) == chat;
}

static enum ww_err known_only(const struct ww_jnode *root, bool chat,
                              struct ww_error *err)
{
    const char *names[WW_LEN(members) + 1];
    size_t n = 0;
    for (size_t i = 0; i < WW_LEN(members); i++) {
        if (belongs(members[i].where, chat)) {
            names[n++] = members[i].name;
        }
    }
    if (chat) {
        names[n++] = "messages";
    }
    return ww_jonly(root, names, n, WW_E_MALFORMED, "the request", err);
}

/* Text of a message: a string, or a list of parts of type text. */
static bool add_content(struct ww_buf *to, const struct ww_jnode *content)
{
    struct ww_error ignored = {0};
    const char *text = NULL;
    if (ww_jstr(content, &text)) {
        return ww_buf_add_str(to, text, &ignored) == WW_OK;
    }
    if (ww_jtype(content) != WW_J_ARRAY || !ww_jfirst(content)) {
        return false;
    }
    for (const struct ww_jnode *p = ww_jfirst(content); p; p = ww_jnext(p)) {
        const char *type = NULL;
        if (!ww_jstr(ww_jget(p, "type"), &type) || strcmp(type, "text") != 0 ||
            !ww_jstr(ww_jget(p, "text"), &text) || ww_buf_add_str(to, text, &ignored)) {
            return false;
        }
    }
    return true;
}

static enum ww_err add_message(struct ww_question *r, const struct ww_jnode *m, size_t at,
                               const struct ww_chat_template *how, struct ww_error *err)
{
    static const char *const known[] = {"role", "content", "name"};
    const struct {
        const char *role, *before, *after;
    } roles[] = {
        {"system", how->system.before, how->system.after},
        {"developer", how->system.before, how->system.after},
        {"user", how->user.before, how->user.after},
        {"assistant", how->assistant.before, how->assistant.after},
    };
    const char *role = "";
    enum ww_err rc =
        ww_jtype(m) == WW_J_OBJECT
            ? ww_jonly(m, known, WW_LEN(known), WW_E_UNSUPPORTED, "a message", err)
            : WW_FAIL(
                  err, WW_E_MALFORMED,
                  "message %zu is no object, expected {\"role\": ..., \"content\": ...}",
                  at);
    if (rc) {
        return rc;
    }
    (void)ww_jstr(ww_jget(m, "role"), &role);
    for (size_t i = 0; i < WW_LEN(roles); i++) {
        if (strcmp(roles[i].role, role) != 0) {
            continue;
        }
        if (!roles[i].before) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "the pool's template has no place for a message of role '%s'",
                           role);
        }
        rc = ww_buf_add_str(&r->prompt, roles[i].before, err);
        if (!rc && !add_content(&r->prompt, ww_jget(m, "content"))) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "message %zu has content that is no text", at);
        }
        return rc ? rc : ww_buf_add_str(&r->prompt, roles[i].after, err);
    }
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "message %zu has role '%.40s', expected system, user or assistant", at,
                   role);
}

static enum ww_err join(struct ww_question *r, const struct ww_jnode *list,
                        const struct ww_chat_template *how, struct ww_error *err)
{
    size_t n = 0;
    if (!how->given) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "no template says how messages become a prompt: the pool file has "
                       "no 'chat'; ask /v1/completions");
    }
    if (ww_jtype(list) != WW_J_ARRAY || !ww_jfirst(list)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'messages' must be a list that is not empty");
    }
    enum ww_err rc = ww_buf_add_str(&r->prompt, how->begin, err);
    for (const struct ww_jnode *m = ww_jfirst(list); m && !rc; m = ww_jnext(m)) {
        rc = add_message(r, m, ++n, how, err);
    }
    return rc ? rc : ww_buf_add_str(&r->prompt, how->answer, err);
}

static enum ww_err read_members(const struct ww_jnode *root, struct ww_question *r,
                                struct ww_error *err)
{
    for (size_t i = 0; i < WW_LEN(members); i++) {
        const struct ww_jnode *node = ww_jget(root, members[i].name);
        if (!belongs(members[i].where, r->chat) || !node || ww_jtype(node) == WW_J_NULL) {
            continue;
        }
        if (!members[i].read(r, node)) {
            return WW_FAIL(err, WW_E_MALFORMED, "'%s' of the request: expected %s",
                           members[i].name, members[i].expected);
        }
    }
    return WW_OK;
}

enum ww_err ww_question_read(const uint8_t *body, size_t len, bool chat,
                             const struct ww_chat_template *how, struct ww_question *out,
                             struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    out->chat = chat;
    out->max_tokens = chat ? CHAT_TOKENS : COMPLETION_TOKENS;
    out->temperature = 1;
    out->top_p = 1;
    out->top = -1;
    ww_buf_init(&out->prompt, 2 * WW_QUESTION_BYTES);
    enum ww_err rc = ww_json_parse(body, len, &ww_json_limits_small, &out->text, err);
    if (rc) {
        goto out;
    }
    const struct ww_jnode *root = ww_json_root(out->text);
    if (ww_jtype(root) != WW_J_OBJECT) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "the request is no JSON object");
        goto out;
    }
    rc = known_only(root, chat, err);
    if (rc) {
        goto out;
    }
    rc = read_members(root, out, err);
    if (rc) {
        goto out;
    }
    if (chat) {
        rc = join(out, ww_jget(root, "messages"), how, err);
    }
    if (!rc && (!out->model || (!chat && !out->prompt.len))) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "the request lacks '%s'",
                     out->model ? "prompt" : "model");
    }
out:
    if (rc) {
        ww_question_release(out);
    }
    return rc;
}

void ww_question_release(struct ww_question *question)
{
    ww_free(question->option);
    ww_buf_release(&question->prompt);
    ww_json_free(question->text);
    memset(question, 0, sizeof(*question));
}
