/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients are told that a member failed and in which way, not where it is: addresses of
 * members are the owner's, who gets the whole sentence.
 */
#include "serve/reply.h"

#include <stdio.h>
#include <string.h>

#include "util/fail.h"
#include "util/str.h"

#define MAX_OUT ((size_t)64 << 20)

void ww_refuse(struct ww_refusal *refusal, unsigned status, const char *type,
               const char *code, const char *text)
{
    *refusal = (struct ww_refusal){.status = status, .type = type, .code = code};
    ww_one_line(refusal->text, sizeof(refusal->text), text); /* names may be cut */
}

static void say(const struct ww_served *s, const struct ww_error *err)
{
    if (s->options->say) {
        s->options->say(s->options->payload, err->text);
    }
}

/* A failure while answering, for the client; the owner hears all of it. */
static void tell_failure(struct ww_served *s, const struct ww_error *err,
                         struct ww_refusal *refusal)
{
    char text[128];
    const bool stopped = err->code == WW_E_CANCELLED;
    (void)atomic_fetch_add(&s->failures, 1);
    say(s, err);
    (void)snprintf(text, sizeof(text), "the pool gave no answer: %s (%s)",
                   ww_err_text(err->code), ww_err_name(err->code));
    ww_refuse(refusal, stopped ? 503 : 502, "server_error", "pool_failed", text);
}

static enum ww_err step(struct ww_reply *r, struct ww_error *err)
{
    if (atomic_load(&r->served->changed)) {
        return WW_FAIL(err, WW_E_CHANGED, "another model stands behind a member's name");
    }
    enum ww_err rc = ww_answer_step(&r->answer, err);
    if (rc) {
        return rc;
    }
    (void)atomic_fetch_add(&r->served->tokens, 1);
    return ww_shape_token(&r->shape, &r->answer, err);
}

/* The panel goes back as soon as nothing more is asked. */
static void finish(struct ww_reply *r, bool good)
{
    r->over = true;
    if (r->panel) {
        ww_served_give(r->served, r->panel);
        r->panel = NULL;
        (void)atomic_fetch_add(&r->served->done, good);
    }
}

/* A stream: until there is an event. */
static enum ww_err next_event(struct ww_reply *r, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    while (!rc && !r->out.len && !r->over) {
        rc = step(r, err);
        rc = rc ? rc : ww_shape_event(&r->shape, &r->answer, &r->out, err);
        if (!rc && r->answer.finish) {
            finish(r, true);
        }
    }
    return rc;
}

static enum ww_err whole(struct ww_reply *r, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    while (!rc && !r->answer.finish) {
        rc = step(r, err);
    }
    rc = rc ? rc : ww_shape_whole(&r->shape, &r->answer, &r->out, err);
    if (!rc) {
        finish(r, true);
    }
    return rc;
}

static enum ww_err begin_answer(struct ww_reply *r, struct ww_error *err)
{
    const struct ww_served *s = r->served;
    const struct ww_answer_pool pool = {.rule = &s->rule,
                                        .vocabulary = s->fusion.vocabulary,
                                        .level = s->fusion.level,
                                        .per_byte = s->fusion.per_byte,
                                        .top = s->fusion.top,
                                        .member = s->member + s->first,
                                        .facts = s->facts + s->first};
    return ww_answer_begin(&r->answer, &r->question, &pool, r->panel, err);
}

/* Options are what a pool of options answers with, and no other one. */
static const char *wrong_kind(const struct ww_reply *r)
{
    const bool chooses = r->served->fusion.level == WW_EVO_OPTIONS;
    const bool asked = r->question.n_options > 0;
    return chooses == asked ? NULL
           : chooses        ? "this pool chooses among options: give them as "
                              "'guided_choice', a list of texts"
                            : "'guided_choice': this pool answers with text of its own";
}

static bool read_body(struct ww_reply *r, const uint8_t *body, size_t len, bool chat,
                      struct ww_refusal *refusal)
{
    struct ww_error err = {0};
    char text[256];
    if (ww_question_read(body, len, chat, &r->served->chat, &r->question, &err)) {
        ww_refuse(refusal, 400, "invalid_request_error", NULL, err.text);
        return false;
    }
    if (strcmp(r->question.model, r->served->model) != 0) {
        (void)snprintf(text, sizeof(text),
                       "the model '%.60s' does not exist; this is '%.60s'",
                       r->question.model, r->served->model);
        ww_refuse(refusal, 404, "invalid_request_error", "model_not_found", text);
        return false;
    }
    const char *wrong = wrong_kind(r);
    if (wrong) {
        ww_refuse(refusal, 400, "invalid_request_error", NULL, wrong);
        return false;
    }
    return true;
}

bool ww_reply_begin(struct ww_reply *reply, struct ww_served *served, const uint8_t *body,
                    size_t len, bool chat, struct ww_refusal *refusal)
{
    struct ww_error err = {0};
    memset(reply, 0, sizeof(*reply));
    reply->served = served;
    ww_buf_init(&reply->out, MAX_OUT);
    if (!read_body(reply, body, len, chat, refusal)) {
        return false;
    }
    if (atomic_load(&served->changed)) {
        ww_refuse(refusal, 503, "server_error", "member_changed",
                  "another model stands behind the name of a member than when the pool "
                  "was signed");
        return false;
    }
    if (ww_served_allow(served, &err)) {
        say(served, &err);
        ww_refuse(refusal, 403, "permission_error", "permit_denied", err.text);
        return false;
    }
    ww_shape_begin(&reply->shape, &reply->question, served->model, served->end);
    enum ww_err rc = ww_served_take(served, &reply->panel, &err);
    if (!rc && !reply->panel) {
        ww_refuse(refusal, 429, "rate_limit_error", "busy",
                  "as many answers as are allowed are being written; try again");
        return false;
    }
    if (!rc) {
        rc = begin_answer(reply, &err);
    }
    if (!rc) {
        rc = reply->question.stream ? next_event(reply, &err) : whole(reply, &err);
    }
    if (rc) {
        finish(reply, false);
        tell_failure(served, &err, refusal);
        return false;
    }
    return true;
}

void ww_reply_more(struct ww_reply *reply)
{
    struct ww_refusal refusal;
    struct ww_error err = {0};
    ww_buf_clear(&reply->out);
    reply->sent = 0;
    if (!next_event(reply, &err)) {
        return;
    }
    finish(reply, false);
    tell_failure(reply->served, &err, &refusal);
    ww_buf_clear(&reply->out);
    enum ww_err rc = ww_buf_add_str(&reply->out, "data: ", &err);
    rc = rc ? rc
            : ww_shape_error(refusal.text, refusal.type, refusal.code, &reply->out, &err);
    rc = rc ? rc : ww_buf_add_str(&reply->out, "\n\n", &err);
    if (rc) { /* the end of the connection has to say it */
        ww_buf_clear(&reply->out);
    }
}

void ww_reply_release(struct ww_reply *reply)
{
    if (reply->served) {
        finish(reply, false);
        ww_answer_release(&reply->answer);
        ww_shape_release(&reply->shape);
        ww_question_release(&reply->question);
        ww_buf_release(&reply->out);
        reply->served = NULL;
    }
}
