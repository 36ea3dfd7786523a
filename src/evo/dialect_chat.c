/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that list a generated token as {token, logprob, bytes, top_logprobs: [...]}:
 * OpenAI's chat, llama-server, Ollama. "bytes" is believed before "token": parts of
 * characters all print alike. Servers that make the bytes from the printed text (Ollama,
 * vLLM) give U+FFFD for such a part, which is no token's; llama.cpp's, which number their
 * tokens, give a token's own. Where what they would say is part of a character,
 * llama.cpp's servers show nothing at all until it is whole: they are asked again with a
 * bias, which changes what is said and not what is shown. Ollama takes no bias; its
 * silence is a list of nothing.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "evo/dialect_parts.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_BYTES 1024
#define FORCING 10000     /* added to a logit */
#define FORCING_CHAT 100U /* the most that the interface has */
#define ANY "a"           /* a token that is text, to all tokenizers */
#define OLLAMA_TOP 20
#define UNTOLD (-0.6931471805599453) /* ln 1/2: the likeliest, by a number not told */

/* A token's bytes to room; false when it has none. */
static bool read_bytes(const struct ww_jnode *list, uint8_t *room, size_t *len)
{
    *len = 0;
    if (ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) > MOST_BYTES) {
        return false;
    }
    for (const struct ww_jnode *b = ww_jfirst(list); b; b = ww_jnext(b)) {
        uint64_t v = 0;
        if (!ww_ju64(b, &v) || v > 255) {
            return false;
        }
        room[(*len)++] = (uint8_t)v;
    }
    return true;
}

static size_t count_bytes(const struct ww_jnode *list)
{
    size_t n = 0;
    for (const struct ww_jnode *t = ww_jfirst(list); t; t = ww_jnext(t)) {
        const struct ww_jnode *bytes = ww_jget(t, "bytes");
        n += bytes ? ww_jsize(bytes) : 0;
    }
    return n;
}

/* One entry; its bytes, if it has them, go to *room, which moves on. */
static enum ww_err read_entry(const struct ww_ask *ask, const struct ww_jnode *t,
                              struct ww_part_list *list, uint8_t **room,
                              struct ww_error *err)
{
    const char *text = "";
    double logprob = 0;
    int64_t id = -1;
    size_t len = 0;
    (void)ww_jstr(ww_jget(t, "token"), &text);
    (void)ww_ji64(ww_jget(t, "id"), &id);
    if (!ww_jdouble(ww_jget(t, "logprob"), &logprob)) {
        return WW_FAIL(err, WW_E_MALFORMED, "a listed token has no log-probability");
    }
    if (ask->hints && ask->hints->has_end_id && id == (int64_t)ask->hints->end_id) {
        const struct ww_span end = {(const uint8_t *)ask->end, strlen(ask->end)};
        ww_part_list_add(list, end, logprob);
    } else if (!ww_part_token_id(text, &id) &&
               read_bytes(ww_jget(t, "bytes"), *room, &len) && len > 0 &&
               (id >= 0 || !ww_part_replaced((struct ww_span){*room, len}))) {
        ww_part_list_add(list, (struct ww_span){*room, len}, logprob);
        *room += len;
    } else {
        ww_part_list_add_text(list, text, id, logprob);
    }
    return WW_OK;
}

/* The forced token alone, or nothing where another one was said: a text that is several
 * tokens to the server cannot be forced. */
static enum ww_err read_forced(const struct ww_ask *ask, const struct ww_jnode *t,
                               uint64_t tokens, struct ww_scored *out,
                               struct ww_error *err)
{
    struct ww_part_list list = {0};
    uint8_t bytes[MOST_BYTES];
    uint8_t *room = bytes;
    enum ww_err rc = ww_part_list_room(&list, 1, err);
    rc = rc ? rc : read_entry(ask, t, &list, &room, err);
    if (!rc && list.n && !ww_span_eq(list.token[0].bytes, ask->forced)) {
        list.n = 0;
    }
    rc = rc ? rc : ww_part_next(ask, &list, tokens, out, err);
    ww_part_list_release(&list);
    return rc;
}

/* A generated token's list; content: the array of generated tokens. */
static enum ww_err read_first(const struct ww_ask *ask, const struct ww_jnode *content,
                              uint64_t tokens, struct ww_scored *out,
                              struct ww_error *err)
{
    struct ww_part_list list = {0};
    uint8_t *bytes = NULL;
    const struct ww_jnode *first = content ? ww_jat(content, ask->skip) : NULL;
    if (ww_jtype(content) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server gives no log-probabilities, which a pool is made of "
                       "(some are started with a switch for them)");
    }
    if (first && ask->forced.len > 0) {
        return read_forced(ask, first, tokens, out, err);
    }
    const struct ww_jnode *top = ww_jget(first, "top_logprobs");
    if (first && ww_jtype(top) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server gives no lists of likely tokens");
    }
    enum ww_err rc = WW_OK;
    if (top) {
        rc = ww_part_list_room(&list, ww_jsize(top), err);
        bytes = ww_calloc(count_bytes(top) + MOST_BYTES, 1);
        if (!rc && !bytes) {
            rc = WW_FAIL_MEMORY(err, "a list of tokens");
        }
    }
    uint8_t *room = bytes;
    for (const struct ww_jnode *t = top ? ww_jfirst(top) : NULL; t && !rc;
         t = ww_jnext(t)) {
        rc = read_entry(ask, t, &list, &room, err);
    }
    if (!rc) {
        rc = ww_part_next(ask, &list, tokens, out, err);
    }
    ww_free(bytes);
    ww_part_list_release(&list);
    return rc;
}

/* A server that shows no list where its likeliest token is the end: the end alone, with a
 * number that a likeliest token may have. Without a text for it nothing is known. */
static enum ww_err read_ended(const struct ww_ask *ask, uint64_t tokens,
                              struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_list list = {0};
    enum ww_err rc = ww_part_list_room(&list, 1, err);
    if (!rc && ask->end[0]) {
        ww_part_list_add(
            &list, (struct ww_span){(const uint8_t *)ask->end, strlen(ask->end)}, UNTOLD);
    }
    rc = rc ? rc : ww_part_next(ask, &list, tokens, out, err);
    ww_part_list_release(&list);
    return rc;
}

static bool shows_nothing(const struct ww_jnode *content)
{
    return !content || ww_jtype(content) == WW_J_NULL ||
           (ww_jtype(content) == WW_J_ARRAY && ww_jsize(content) == 0);
}

static bool is_word(const struct ww_jnode *node, const char *word)
{
    const char *text = NULL;
    return ww_jstr(node, &text) && strcmp(text, word) == 0;
}

/* Nothing was generated, and that was the model's will? */
static bool ended(const struct ww_jnode *content, const struct ww_jnode *reason)
{
    return shows_nothing(content) && is_word(reason, "stop");
}

static bool knows_end(const struct ww_ask *ask)
{
    return ask->hints && ask->hints->has_end_id;
}

/* The end as the only thing that can be said. */
static void write_bias(const struct ww_ask *ask, struct ww_jw *w)
{
    char number[16];
    (void)snprintf(number, sizeof(number), "%u", (unsigned)ask->hints->end_id);
    ww_jw_key(w, "logit_bias");
    ww_jw_object(w);
    ww_jw_ku64(w, number, FORCING_CHAT);
    ww_jw_close(w);
}

static void write_message(struct ww_jw *w, const char *role, struct ww_span text)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "role", role);
    ww_jw_key(w, "content");
    ww_jw_strn(w, (const char *)text.data, text.len);
    ww_jw_close(w);
}

/* An answer that was begun is the assistant's message, which some servers go on with. */
enum ww_err ww_chat_write(const struct ww_ask *ask, struct ww_jw *w, struct ww_error *err)
{
    const enum ww_continues how = ask->hints ? ask->hints->continues : WW_CONTINUES_NOT;
    if (ask->answer.len > 0 && how == WW_CONTINUES_NOT) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "a chat answers from its beginning and this server continues no "
                       "answer: only the first token can be asked for");
    }
    ww_jw_kstr(w, "model", ask->model);
    ww_jw_key(w, "messages");
    ww_jw_array(w);
    write_message(w, "user", ask->prompt);
    if (ask->answer.len > 0) {
        write_message(w, "assistant", ask->answer);
    }
    ww_jw_close(w);
    if (ask->answer.len > 0 && how == WW_CONTINUES_TOLD) {
        ww_jw_kbool(w, "continue_final_message", true);
        ww_jw_kbool(w, "add_generation_prompt", false);
    }
    ww_jw_ku64(w, "max_tokens", 1 + (uint64_t)ask->skip);
    ww_jw_ku64(w, "temperature", 0);
    ww_jw_kbool(w, "logprobs", true);
    ww_jw_ku64(w, "top_logprobs", ask->top);
    if (ask->whole) {
        write_bias(ask, w);
    }
    return WW_OK;
}

enum ww_err ww_chat_read(const struct ww_ask *ask, const struct ww_jnode *root,
                         struct ww_scored *out, struct ww_error *err)
{
    struct ww_error local = {0};
    const struct ww_jnode *choice = ww_part_choice(root, &local);
    if (!choice) {
        return WW_FAIL(err, local.code, "%s", local.text);
    }
    const struct ww_jnode *lists = ww_jget(choice, "logprobs");
    const struct ww_jnode *content = ww_jget(lists, "content");
    out->unfinished = knows_end(ask) && shows_nothing(content) &&
                      is_word(ww_jget(choice, "finish_reason"), "length");
    if (ww_jtype(lists) == WW_J_OBJECT &&
        ended(content, ww_jget(choice, "finish_reason"))) {
        return read_ended(ask, ww_part_usage(root), out, err);
    }
    return read_first(ask, content, ww_part_usage(root), out, err);
}

/* Every adapter is named: what is not would keep its scale in some versions. */
static void write_scales(const struct ww_ask *ask, struct ww_jw *w)
{
    ww_jw_key(w, "lora");
    ww_jw_array(w);
    for (uint32_t i = 0; i < ask->n_scales; i++) {
        ww_jw_object(w);
        ww_jw_ku64(w, "id", i);
        ww_jw_kdouble(w, "scale", ask->scales[i]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static bool is_end(const struct ww_ask *ask, struct ww_span token)
{
    return token.len == strlen(ask->end) && memcmp(token.data, ask->end, token.len) == 0;
}

/* A bias that no logit of a model outweighs; the end by its number, since its text would
 * be cut into others. */
static void write_forced(const struct ww_ask *ask, struct ww_jw *w)
{
    const struct ww_span any = {(const uint8_t *)ANY, strlen(ANY)};
    const struct ww_span text = ask->forced.len ? ask->forced : any;
    ww_jw_key(w, "logit_bias");
    ww_jw_array(w);
    ww_jw_array(w);
    if (knows_end(ask) && (!ask->forced.len || is_end(ask, text))) {
        ww_jw_u64(w, ask->hints->end_id);
    } else {
        ww_jw_strn(w, (const char *)text.data, text.len);
    }
    ww_jw_u64(w, FORCING);
    ww_jw_close(w);
    ww_jw_close(w);
}

/* llama-server keeps a prompt's cache across adapter scales, so it must not use it; its
 * log-probabilities are of the raw logits whatever the sampling, so that a forced token
 * comes with the one that it has without the bias. */
enum ww_err ww_llama_write(const struct ww_ask *ask, struct ww_jw *w,
                           struct ww_error *err)
{
    enum ww_err rc = ww_part_text(ask, w, "prompt", err);
    ww_jw_ku64(w, "n_predict", 1 + (uint64_t)ask->skip);
    ww_jw_ku64(w, "n_probs", ask->top);
    ww_jw_ku64(w, "temperature", 0);
    ww_jw_kbool(w, "cache_prompt", false);
    ww_jw_kbool(w, "post_sampling_probs", false);
    if (ask->n_scales > 0) {
        write_scales(ask, w);
    }
    if (ask->forced.len > 0 || ask->whole) {
        write_forced(ask, w);
    }
    return rc;
}

enum ww_err ww_llama_read(const struct ww_ask *ask, const struct ww_jnode *root,
                          struct ww_scored *out, struct ww_error *err)
{
    uint64_t evaluated = 0;
    uint64_t predicted = 0;
    bool cut = false;
    (void)ww_ju64(ww_jget(root, "tokens_evaluated"), &evaluated);
    (void)ww_ju64(ww_jget(root, "tokens_predicted"), &predicted);
    if (ww_jbool(ww_jget(root, "truncated"), &cut) && cut) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server cut the prompt, which is longer than its context");
    }
    const struct ww_jnode *content = ww_jget(root, "completion_probabilities");
    out->unfinished = shows_nothing(content) && predicted > 0;
    return read_first(ask, content, evaluated + predicted, out, err);
}

/* More than 20 are refused. */
enum ww_err ww_ollama_write(const struct ww_ask *ask, struct ww_jw *w,
                            struct ww_error *err)
{
    ww_jw_kstr(w, "model", ask->model);
    enum ww_err rc = ww_part_text(ask, w, "prompt", err);
    ww_jw_kbool(w, "raw", true);
    ww_jw_kbool(w, "stream", false);
    ww_jw_kbool(w, "logprobs", true);
    ww_jw_ku64(w, "top_logprobs", ask->top < OLLAMA_TOP ? ask->top : OLLAMA_TOP);
    ww_jw_key(w, "options");
    ww_jw_object(w);
    ww_jw_ku64(w, "num_predict", 1);
    ww_jw_ku64(w, "temperature", 0);
    ww_jw_close(w);
    return rc;
}

enum ww_err ww_ollama_read(const struct ww_ask *ask, const struct ww_jnode *root,
                           struct ww_scored *out, struct ww_error *err)
{
    uint64_t prompt = 0;
    uint64_t said = 0;
    (void)ww_ju64(ww_jget(root, "prompt_eval_count"), &prompt);
    (void)ww_ju64(ww_jget(root, "eval_count"), &said);
    const struct ww_jnode *content = ww_jget(root, "logprobs");
    const struct ww_jnode *reason = ww_jget(root, "done_reason");
    if (ended(content, reason)) {
        return read_ended(ask, prompt + said, out, err);
    }
    if (shows_nothing(content) && is_word(reason, "length") &&
        is_word(ww_jget(root, "response"), "")) {
        struct ww_part_list nothing = {0};
        return ww_part_next(ask, &nothing, prompt + said, out, err);
    }
    return read_first(ask, content, prompt + said, out, err);
}
