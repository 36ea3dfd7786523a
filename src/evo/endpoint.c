/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries and their end. An answer that cannot be read counts as none (servers do cut
 * them), one that lacks what was asked for is final: asking again costs and changes
 * nothing. Servers' own words are shown, except where they could repeat a key.
 */
#include "evo/endpoint.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/secret.h"
#include "evo/dialect_parts.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/str.h"

#define TRIES 6
#define LONGEST_WAIT 60.0
#define UNHEARD_S 3.0 /* so long an address is tried where nobody ever listened */
#define SAID_CHARS 160
#define TOKENS_ASIDE 16 /* begin of text, generated: beyond one token a byte */

struct ww_endpoint {
    const struct ww_member *member;
    struct ww_endpoint_options o;
    struct ww_secret *key;
    struct ww_http *http;
    bool hasty; /* nobody said how many tries */
    atomic_bool own_heard;
    atomic_bool *heard; /* somebody listens there, or did */
    double unheard;     /* when it was tried first, s; 0: not yet */
};

/* Paths of the dialects carry their own "/v1". */
static char *base_of(const char *url)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/') {
        len--;
    }
    if (len >= 3 && strncmp(url + len - 3, "/v1", 3) == 0) {
        len -= 3;
    }
    return ww_strndup(url, len);
}

enum ww_err ww_endpoint_open(const struct ww_member *member,
                             const struct ww_endpoint_options *options,
                             struct ww_endpoint **out, struct ww_error *err)
{
    char *base = base_of(member->url);
    struct ww_endpoint *e = ww_calloc(1, sizeof(*e));
    enum ww_err rc = WW_OK;
    *out = NULL;
    if (!base || !e) {
        rc = WW_FAIL_MEMORY(err, "a member");
        goto out;
    }
    e->member = member;
    e->o = *options;
    e->heard = options->heard ? options->heard : &e->own_heard;
    e->hasty = !options->tries;
    e->o.tries = e->o.tries ? e->o.tries : TRIES;
    e->o.longest_wait_s = e->o.longest_wait_s > 0 ? e->o.longest_wait_s : LONGEST_WAIT;
    if (member->key) {
        rc = ww_member_key_copy(member->key, &e->key, err);
    }
    if (!rc) {
        const struct ww_http_options h = {
            .base = base,
            .bearer = e->key,
            .ca_file = member->ca_file,
            .allow_plain = member->allow_plain,
            .total_ms = e->o.total_ms,
        };
        rc = ww_http_new(&h, &e->http, err);
    }
    if (rc) {
        ww_error_context(err, "member '%s'", member->name);
        goto out;
    }
    *out = e;
    e = NULL;
out:
    ww_endpoint_free(e);
    ww_free(base);
    return rc;
}

void ww_endpoint_free(struct ww_endpoint *endpoint)
{
    if (endpoint) {
        ww_http_free(endpoint->http);
        ww_secret_free(endpoint->key);
        ww_free(endpoint);
    }
}

static bool cancelled(const struct ww_endpoint *e)
{
    return e->o.cancel && *e->o.cancel;
}

/* Sleep in slices, so that an interrupt is not slept over. */
static void wait_for(const struct ww_endpoint *e, double seconds)
{
    const struct timespec slice = {0, 20000000};
    const struct ww_meter *m = e->o.meter;
    for (double slept = 0; slept < seconds && !cancelled(e); slept += 0.02) {
        if (m) { /* anew, as the wait of another thread may have ended */
            m->waits(m->payload, e->member);
        }
        (void)nanosleep(&slice, NULL);
    }
    if (m) {
        m->waits(m->payload, NULL);
    }
}

/* How long the next try may be waited for; 0: there is none. A server that was there may
 * be starting again, an address where nobody ever listened is mostly a wrong one. */
static double patience(const struct ww_endpoint *e)
{
    const double left = UNHEARD_S - (ww_now() - e->unheard);
    return *e->heard || !e->hasty ? e->o.longest_wait_s : left > 0 ? left : 0;
}

static enum ww_err request(struct ww_endpoint *e, const char *path, const char *body,
                           size_t len, struct ww_http_reply *reply, struct ww_error *err)
{
    e->unheard = e->unheard > 0 ? e->unheard : ww_now();
    enum ww_err rc = ww_http_send(e->http, path, body, len, e->o.cancel, reply, err);
    if (!rc && !reply->unreachable) {
        *e->heard = true;
    }
    return rc;
}

/* Before try number n + 1, if there is one. */
static bool wait_for_next(const struct ww_endpoint *e, unsigned n, double asked)
{
    const double most = patience(e);
    uint64_t random = 0;
    if (n >= e->o.tries || most <= 0) {
        return false;
    }
    ww_random(&random, sizeof(random));
    wait_for(e, ww_http_backoff(n, asked, most, random));
    return true;
}

/* Would words repeat the key? A server has it, and may say what it was sent. */
static bool tells_key(const struct ww_endpoint *e, const char *text)
{
    const uint8_t *key = e->key ? ww_secret_open(e->key) : NULL;
    const size_t len = key ? ww_secret_len(e->key) : 0;
    const bool told = len > 0 && memmem(text, strlen(text), key, len) != NULL;
    if (key) {
        ww_secret_close(e->key);
    }
    return told;
}

/* What the server said, for people: the text of "error" or "message", cut. */
static void server_words(const struct ww_endpoint *e, const struct ww_http_reply *reply,
                         char out[SAID_CHARS + 4])
{
    struct ww_json *json = NULL;
    struct ww_error ignored = {0};
    const char *text = NULL;
    out[0] = '\0';
    if (ww_json_parse(reply->body.data, reply->body.len, &ww_json_limits_small, &json,
                      &ignored)) {
        return;
    }
    const struct ww_jnode *root = ww_json_root(json);
    const struct ww_jnode *error = ww_jget(root, "error");
    if ((ww_jstr(error, &text) || ww_jstr(ww_jget(error, "message"), &text) ||
         ww_jstr(ww_jget(root, "message"), &text) ||
         ww_jstr(ww_jget(root, "detail"), &text)) &&
        !tells_key(e, text)) {
        (void)snprintf(out, SAID_CHARS + 4, ": %.*s", SAID_CHARS, text);
    }
    ww_json_free(json);
}

/* What may be wrong where no answer came. */
static const char *advice(const struct ww_http_reply *reply)
{
    return strstr(reply->problem, "certificate")
               ? "a certificate that the system does not know is named by 'ca_file'"
               : "is it running, and is that its address?";
}

/* The end of all tries, said once. */
static enum ww_err refuse(const struct ww_endpoint *e, const struct ww_http_reply *reply,
                          unsigned tries, struct ww_error *err)
{
    const char *name = e->member->name;
    const char *word = tries == 1 ? "try" : "tries";
    char words[SAID_CHARS + 4];
    server_words(e, reply, words);
    switch (reply->status) {
    case 0:
        return WW_FAIL(err, WW_E_IO,
                       "member '%s' at '%s' gave no answer in %u %s: %s (%s)", name,
                       e->member->url, tries, word, reply->problem, advice(reply));
    case 401:
    case 403:
        return e->member->key_file
                   ? WW_FAIL(
                         err, WW_E_KEY,
                         "member '%s' at '%s' refuses the key of '%s' (status %u): is "
                         "it a key of this server, and of the model '%s'?",
                         name, e->member->url, e->member->key_file, reply->status,
                         e->member->model)
                   : WW_FAIL(err, WW_E_KEY,
                             "member '%s' wants a key and has none: name its file by "
                             "'key_file' (status %u)",
                             name, reply->status);
    case 404:
        return WW_FAIL(err, WW_E_NOTFOUND,
                       "member '%s' has no model '%s', or speaks another dialect%s", name,
                       e->member->model, words);
    default:
        return WW_FAIL(err, ww_http_retryable(reply->status) ? WW_E_IO : WW_E_UNSUPPORTED,
                       "member '%s' answers with status %u after %u %s%s%s", name,
                       reply->status, tries, word, words,
                       reply->status >= 300 && reply->status < 400
                           ? ": it redirects, which is not followed; correct its 'url'"
                           : "");
    }
}

/* Words that an unreadable answer ends with, and may a try follow? */
static bool unreadable(enum ww_err rc)
{
    return rc == WW_E_JSON || rc == WW_E_MALFORMED || rc == WW_E_NONFINITE;
}

static enum ww_err meter_start(const struct ww_endpoint *e, uint64_t tokens,
                               struct ww_error *err)
{
    const struct ww_meter *m = e->o.meter;
    return m ? m->start(m->payload, e->member, tokens, err) : WW_OK;
}

static void meter_end(const struct ww_endpoint *e, uint64_t reserved, uint64_t used)
{
    if (e->o.meter) {
        e->o.meter->end(e->o.meter->payload, e->member, reserved, used);
    }
}

/* One try. *again: another one may help. */
static enum ww_err try_once(struct ww_endpoint *e, const struct ww_dialect *dialect,
                            const struct ww_ask *ask, const struct ww_buf *body,
                            unsigned number, bool *again, double *wait,
                            struct ww_scored *out, struct ww_error *err)
{
    struct ww_http_reply reply = {0};
    const uint64_t most =
        ask->prompt.len + ask->answer.len + strlen(ask->end) + TOKENS_ASIDE;
    const char *path = ask->score ? dialect->score_path : dialect->next_path;
    *again = false;
    *wait = -1;
    enum ww_err rc = meter_start(e, most, err);
    if (rc) {
        return rc;
    }
    rc = request(e, path, ww_buf_cstr(body), body->len, &reply, err);
    if (rc) {
        ww_error_context(err, "member '%s'", e->member->name);
    } else if (reply.status == 200) {
        rc = ww_dialect_read(dialect, ask, reply.body.data, reply.body.len, out, err);
        *again = unreadable(rc);
        if (rc) {
            ww_error_context(err, "member '%s' (%s)%s", e->member->name, dialect->name,
                             unreadable(rc) ? " gives what cannot be read" : "");
        }
    } else {
        *again = reply.may_retry;
        *wait = reply.retry_after_s;
        rc = refuse(e, &reply, number, err);
    }
    /* What was refused was not computed; what may have been counts in full. */
    const bool free = reply.status ? reply.status != 200 : !reply.maybe_done;
    meter_end(e, most, rc == WW_OK && out->tokens ? out->tokens : free ? 0 : most);
    ww_http_reply_release(&reply);
    return rc;
}

static enum ww_err ask_often(struct ww_endpoint *e, const struct ww_dialect *dialect,
                             const struct ww_ask *ask, struct ww_scored *out,
                             struct ww_error *err)
{
    struct ww_buf body;
    struct ww_error local = {0};
    memset(out, 0, sizeof(*out));
    enum ww_err rc = ww_dialect_write(dialect, ask, &body, &local);
    for (unsigned n = 1; !rc; n++) {
        bool again = false;
        double wait = -1;
        ww_error_clear(&local);
        rc = try_once(e, dialect, ask, &body, n, &again, &wait, out, &local);
        if (!rc || !again || !wait_for_next(e, n, wait)) {
            break;
        }
        if (cancelled(e)) {
            ww_error_clear(&local);
            rc = WW_FAIL(&local, WW_E_CANCELLED, "interrupted");
            break;
        }
        rc = WW_OK;
    }
    ww_buf_release(&body);
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

enum ww_err ww_endpoint_tokens(struct ww_endpoint *e, const struct ww_buf *body,
                               size_t *n, uint64_t *first, struct ww_error *err)
{
    struct ww_json *json = NULL;
    enum ww_err rc =
        ww_endpoint_post(e, "/tokenize", ww_buf_cstr(body), body->len, &json, err);
    const struct ww_jnode *tokens = json ? ww_jget(ww_json_root(json), "tokens") : NULL;
    const bool listed = ww_jtype(tokens) == WW_J_ARRAY;
    *n = listed ? ww_jsize(tokens) : 0;
    if (*n == 0 || !ww_ju64(ww_jfirst(tokens), first)) {
        *first = UINT64_MAX;
    }
    ww_json_free(json);
    return rc;
}

/* The number of a forced token; none where it is several tokens of the server. */
static enum ww_err find_number(struct ww_endpoint *e, struct ww_ask *ask, bool *found,
                               struct ww_error *err)
{
    struct ww_buf body;
    struct ww_jw w;
    size_t n = 0;
    uint64_t id = 0;
    ww_buf_init(&body, 16384);
    ww_jw_init(&w, &body, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "model", ask->model);
    ww_jw_key(&w, "prompt");
    ww_jw_strn(&w, (const char *)ask->forced.data, ask->forced.len);
    ww_jw_kbool(&w, "add_special_tokens", false);
    ww_jw_close(&w);
    enum ww_err rc = ww_jw_end(&w, err);
    rc = rc ? rc : ww_endpoint_tokens(e, &body, &n, &id, err);
    *found = !rc && n == 1 && id <= INT32_MAX;
    ask->forced_id = (uint32_t)id;
    ww_buf_release(&body);
    return rc;
}

static enum ww_err ask_by_number(struct ww_endpoint *e, const struct ww_dialect *dialect,
                                 const struct ww_ask *ask, struct ww_scored *out,
                                 struct ww_error *err)
{
    struct ww_ask numbered = *ask;
    struct ww_part_list nothing = {0};
    bool found = false;
    memset(out, 0, sizeof(*out));
    enum ww_err rc = find_number(e, &numbered, &found, err);
    if (rc) {
        return rc;
    }
    return found ? ask_often(e, dialect, &numbered, out, err)
                 : ww_part_next(ask, &nothing, 0, out, err);
}

enum ww_err ww_endpoint_ask(struct ww_endpoint *e, const struct ww_dialect *dialect,
                            const struct ww_ask *ask, struct ww_scored *out,
                            struct ww_error *err)
{
    if (ask->forced.len && dialect->by_number) {
        return ask_by_number(e, dialect, ask, out, err);
    }
    enum ww_err rc = ask_often(e, dialect, ask, out, err);
    if (rc == WW_E_UNSUPPORTED && out->unfinished && !ask->forced.len) {
        struct ww_ask whole = *ask;
        whole.whole = true;
        ww_error_clear(err);
        rc = ask_often(e, dialect, &whole, out, err);
    }
    return rc;
}

enum ww_err ww_endpoint_post(struct ww_endpoint *e, const char *path, const char *body,
                             size_t len, struct ww_json **out, struct ww_error *err)
{
    struct ww_http_reply reply = {0};
    struct ww_error ignored = {0};
    unsigned n = 1;
    *out = NULL;
    enum ww_err rc = request(e, path, body, len, &reply, err);
    while (!rc && reply.unreachable && wait_for_next(e, n, -1)) {
        ww_http_reply_release(&reply);
        rc = request(e, path, body, len, &reply, err);
        n++;
    }
    if (!rc && reply.unreachable) {
        rc = refuse(e, &reply, n, err);
    } else if (!rc && reply.status == 200 &&
               ww_json_parse(reply.body.data, reply.body.len, &ww_json_limits_config, out,
                             &ignored)) {
        *out = NULL;
    }
    ww_http_reply_release(&reply);
    return rc;
}

enum ww_err ww_endpoint_get(struct ww_endpoint *e, const char *path, struct ww_json **out,
                            struct ww_error *err)
{
    return ww_endpoint_post(e, path, NULL, 0, out, err);
}
