/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-probabilities stand differently in the two interfaces: four parallel arrays for
 * completions, one list of objects for chat. The end token is shown with them, as a pool
 * over this one needs it.
 */
#include "serve/shape.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/secret.h"
#include "util/str.h"

#define MAX_PART ((size_t)16 << 20)

void ww_shape_begin(struct ww_shape *shape, const struct ww_question *question,
                    const char *model, const char *end)
{
    uint8_t random[12];
    char hex[WW_HEX_BYTES(sizeof(random))];
    memset(shape, 0, sizeof(*shape));
    shape->chat = question->chat;
    shape->top = question->top;
    shape->model = model;
    shape->end = end;
    shape->created = (int64_t)time(NULL);
    ww_random(random, sizeof(random));
    ww_hex(hex, random, sizeof(random));
    (void)snprintf(shape->id, sizeof(shape->id), "%s-%s",
                   shape->chat ? "chatcmpl" : "cmpl", hex);
    ww_buf_init(&shape->tokens, MAX_PART);
    ww_buf_init(&shape->logprobs, MAX_PART);
    ww_buf_init(&shape->tops, MAX_PART);
    ww_buf_init(&shape->offsets, MAX_PART);
}

void ww_shape_release(struct ww_shape *shape)
{
    ww_buf_release(&shape->tokens);
    ww_buf_release(&shape->logprobs);
    ww_buf_release(&shape->tops);
    ww_buf_release(&shape->offsets);
}

static void clear(struct ww_shape *s)
{
    ww_buf_clear(&s->tokens);
    ww_buf_clear(&s->logprobs);
    ww_buf_clear(&s->tops);
    ww_buf_clear(&s->offsets);
}

static void put_token(const struct ww_shape *s, struct ww_jw *w, struct ww_span token)
{
    if (token.len) {
        ww_jw_strn(w, (const char *)token.data, token.len);
    } else {
        ww_jw_str(w, s->end);
    }
}

/* A part begins behind a comma unless it is the first. */
static enum ww_err begin_part(struct ww_jw *w, struct ww_buf *part, struct ww_error *err)
{
    const enum ww_err rc = part->len ? ww_buf_add_str(part, ",", err) : WW_OK;
    ww_jw_init(w, part, 0);
    return rc;
}

static void chat_entry(const struct ww_shape *s, struct ww_jw *w,
                       const struct ww_fuse_token *t)
{
    const struct ww_span shown =
        t->token.len ? t->token
                     : (struct ww_span){(const uint8_t *)s->end, strlen(s->end)};
    ww_jw_key(w, "token");
    put_token(s, w, t->token);
    ww_jw_kdouble(w, "logprob", t->logprob);
    ww_jw_key(w, "bytes");
    ww_jw_array(w);
    for (size_t i = 0; i < shown.len; i++) {
        ww_jw_u64(w, shown.data[i]);
    }
    ww_jw_close(w);
}

static enum ww_err chat_token(struct ww_shape *s, const struct ww_answer *a,
                              struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = begin_part(&w, &s->tokens, err);
    if (rc) {
        return rc;
    }
    ww_jw_object(&w);
    chat_entry(s, &w, &a->taken);
    ww_jw_key(&w, "top_logprobs");
    ww_jw_array(&w);
    for (uint32_t i = 0; i < a->n && i < (uint32_t)s->top; i++) {
        ww_jw_object(&w);
        chat_entry(s, &w, &a->list[i]);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static void put_top(const struct ww_shape *s, const struct ww_fuse_token *t,
                    struct ww_jw *w)
{
    char key[512];
    if (t->token.len >= sizeof(key)) {
        return;
    }
    (void)snprintf(key, sizeof(key), "%.*s", (int)t->token.len,
                   t->token.len ? (const char *)t->token.data : "");
    ww_jw_kdouble(w, t->token.len ? key : s->end, t->logprob);
}

/* The likeliest, and the one that was taken. */
static void put_tops(const struct ww_shape *s, const struct ww_answer *a, struct ww_jw *w)
{
    bool shown = false;
    if (s->top == 0) {
        ww_jw_null(w);
        return;
    }
    ww_jw_object(w);
    for (uint32_t i = 0; i < a->n && i < (uint32_t)s->top; i++) {
        shown = shown || ww_span_eq(a->list[i].token, a->taken.token);
        put_top(s, &a->list[i], w);
    }
    if (!shown) {
        put_top(s, &a->taken, w);
    }
    ww_jw_close(w);
}

static uint64_t characters(struct ww_span text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += (text.data[i] & 0xC0) != 0x80;
    }
    return n;
}

static enum ww_err text_token(struct ww_shape *s, const struct ww_answer *a,
                              struct ww_error *err)
{
    struct ww_buf *const parts[] = {&s->tokens, &s->logprobs, &s->tops, &s->offsets};
    const struct ww_fuse_token *t = &a->taken;
    enum ww_err rc = WW_OK;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !rc; i++) {
        struct ww_jw w;
        rc = begin_part(&w, parts[i], err);
        if (rc) {
            break;
        }
        if (parts[i] == &s->tokens) {
            put_token(s, &w, t->token);
        } else if (parts[i] == &s->logprobs) {
            ww_jw_double(&w, t->logprob);
        } else if (parts[i] == &s->tops) {
            put_tops(s, a, &w);
        } else {
            ww_jw_u64(&w, s->offset);
        }
        rc = ww_jw_end(&w, err);
    }
    s->offset += characters(t->token);
    return rc;
}

enum ww_err ww_shape_token(struct ww_shape *shape, const struct ww_answer *answer,
                           struct ww_error *err)
{
    if (shape->top < 0) {
        return WW_OK;
    }
    return shape->chat ? chat_token(shape, answer, err) : text_token(shape, answer, err);
}

static void raw_array(struct ww_jw *w, const char *key, const struct ww_buf *part)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    if (part->len) {
        ww_jw_raw(w, ww_buf_cstr(part));
    }
    ww_jw_close(w);
}

static void put_logprobs(const struct ww_shape *s, struct ww_jw *w)
{
    ww_jw_key(w, "logprobs");
    if (s->top < 0 || !s->tokens.len) {
        ww_jw_null(w);
        return;
    }
    ww_jw_object(w);
    raw_array(w, s->chat ? "content" : "tokens", &s->tokens);
    if (!s->chat) {
        raw_array(w, "token_logprobs", &s->logprobs);
        raw_array(w, "top_logprobs", &s->tops);
        raw_array(w, "text_offset", &s->offsets);
    }
    ww_jw_close(w);
}

static void put_head(const struct ww_shape *s, struct ww_jw *w, bool chunk)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "id", s->id);
    ww_jw_kstr(w, "object",
               !s->chat ? "text_completion"
               : chunk  ? "chat.completion.chunk"
                        : "chat.completion");
    ww_jw_key(w, "created");
    ww_jw_i64(w, s->created);
    ww_jw_kstr(w, "model", s->model);
}

static void put_usage(const struct ww_answer *a, struct ww_jw *w)
{
    ww_jw_key(w, "usage");
    ww_jw_object(w);
    ww_jw_ku64(w, "prompt_tokens", a->prompt_tokens);
    ww_jw_ku64(w, "completion_tokens", a->tokens);
    ww_jw_ku64(w, "total_tokens", a->prompt_tokens + a->tokens);
    ww_jw_close(w);
}

/* {"text": ...}, {"message": {...}} or {"delta": {...}}, with the rest of a choice. */
static void put_choice(const struct ww_shape *s, struct ww_jw *w, struct ww_span text,
                       const char *finish, bool chunk)
{
    ww_jw_key(w, "choices");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_ku64(w, "index", 0);
    if (s->chat) {
        ww_jw_key(w, chunk ? "delta" : "message");
        ww_jw_object(w);
        if (!chunk || !s->begun) {
            ww_jw_kstr(w, "role", "assistant");
        }
    }
    ww_jw_key(w, s->chat ? "content" : "text");
    ww_jw_strn(w, text.len ? (const char *)text.data : "", text.len);
    if (s->chat) {
        ww_jw_close(w);
    }
    put_logprobs(s, w);
    ww_jw_kstr(w, "finish_reason", finish);
    ww_jw_close(w);
    ww_jw_close(w);
}

enum ww_err ww_shape_whole(struct ww_shape *shape, const struct ww_answer *answer,
                           struct ww_buf *out, struct ww_error *err)
{
    struct ww_jw w;
    ww_jw_init(&w, out, 0);
    put_head(shape, &w, false);
    put_choice(shape, &w, (struct ww_span){answer->text.data, answer->text.len},
               answer->finish, false);
    put_usage(answer, &w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static enum ww_err event(struct ww_shape *s, struct ww_answer *a, bool counts,
                         struct ww_buf *out, struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = ww_buf_add_str(out, "data: ", err);
    if (rc) {
        return rc;
    }
    ww_jw_init(&w, out, 0);
    put_head(s, &w, true);
    if (counts) {
        ww_jw_key(&w, "choices");
        ww_jw_array(&w);
        ww_jw_close(&w);
        put_usage(a, &w);
    } else {
        put_choice(s, &w,
                   (struct ww_span){a->text.data + a->shown, a->certain - a->shown},
                   a->finish, true);
    }
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    return rc ? rc : ww_buf_add_str(out, "\n\n", err);
}

enum ww_err ww_shape_event(struct ww_shape *shape, struct ww_answer *answer,
                           struct ww_buf *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    const bool news = answer->certain > answer->shown || answer->finish;
    if (news || shape->tokens.len) {
        rc = event(shape, answer, false, out, err);
        shape->begun = true;
        answer->shown = answer->certain;
        clear(shape);
    }
    if (!rc && answer->finish && answer->question->usage) {
        rc = event(shape, answer, true, out, err);
    }
    if (!rc && answer->finish) {
        rc = ww_buf_add_str(out, "data: [DONE]\n\n", err);
    }
    return rc;
}

enum ww_err ww_shape_error(const char *message, const char *type, const char *code,
                           struct ww_buf *out, struct ww_error *err)
{
    struct ww_jw w;
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_key(&w, "error");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "message", message);
    ww_jw_kstr(&w, "type", type);
    ww_jw_kstr(&w, "param", NULL);
    ww_jw_kstr(&w, "code", code);
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static void put_model(struct ww_jw *w, const char *model, int64_t created)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "id", model);
    ww_jw_kstr(w, "object", "model");
    ww_jw_key(w, "created");
    ww_jw_i64(w, created);
    ww_jw_kstr(w, "owned_by", "weightward");
    ww_jw_close(w);
}

enum ww_err ww_shape_models(const char *model, int64_t created, bool list,
                            struct ww_buf *out, struct ww_error *err)
{
    struct ww_jw w;
    ww_jw_init(&w, out, 0);
    if (list) {
        ww_jw_object(&w);
        ww_jw_kstr(&w, "object", "list");
        ww_jw_key(&w, "data");
        ww_jw_array(&w);
        put_model(&w, model, created);
        ww_jw_close(&w);
        ww_jw_close(&w);
    } else {
        put_model(&w, model, created);
    }
    return ww_jw_end(&w, err);
}
