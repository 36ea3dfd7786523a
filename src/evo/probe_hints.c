/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server has and does beyond lists: the number of its end token, adapters that a
 * request can scale, answers that it goes on with, tokens that it can be told to say. The
 * last two are shown by numbers: an answer goes on when the list behind its first token
 * is the one that the server gives when it says that token itself; a token is forced when
 * it comes with the log-probability that the list has for it.
 */
#include "evo/probe.h"

#include <math.h>
#include <string.h>

#include "util/fail.h"

#define LLAMA "llama-server"
#define CHAT "openai-chat"
#define TOLERANCE 0.1 /* nats; as for canaries */

static const char *const question = "The colour of the sky on a clear day is";

/* Is the end told in another way than by its text in a list? */
static bool hears_end(const struct ww_member_facts *facts)
{
    return facts->hints.has_end_id || facts->hints.hides_end || facts->dialect->quiet_end;
}

struct ww_ask ww_ask_next(const struct ww_member *member,
                          const struct ww_member_facts *facts, struct ww_span prompt,
                          struct ww_span answer, uint32_t top)
{
    return (struct ww_ask){
        .prompt = prompt,
        .answer = answer,
        .end = hears_end(facts) ? member->end : "",
        .model = member->model,
        .top = top,
        .hints = &facts->hints,
        .scales = member->adapters,
        .n_scales = member->n_adapters,
    };
}

/* One token, by the server's own tokenizer? */
static enum ww_err find_end_id(struct ww_endpoint *e, const struct ww_member *member,
                               struct ww_hints *hints, struct ww_error *err)
{
    struct ww_buf body;
    struct ww_jw w;
    size_t n = 0;
    uint64_t id = 0;
    ww_buf_init(&body, 4096);
    ww_jw_init(&w, &body, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "content", member->end);
    ww_jw_kbool(&w, "add_special", false);
    ww_jw_close(&w);
    enum ww_err rc = ww_jw_end(&w, err);
    rc = rc ? rc : ww_endpoint_tokens(e, &body, &n, &id, err);
    if (n == 1 && id <= UINT32_MAX) {
        hints->has_end_id = true;
        hints->end_id = (uint32_t)id;
    } else if (!rc && n > 1) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "member '%s': '%s' is %zu tokens of the server, expected the text "
                     "of its end token as 'end'",
                     member->name, member->end, n);
    }
    ww_buf_release(&body);
    return rc;
}

static enum ww_err count_adapters(struct ww_endpoint *e, const struct ww_member *member,
                                  uint32_t *n, struct ww_error *err)
{
    struct ww_json *json = NULL;
    enum ww_err rc = ww_endpoint_get(e, "/lora-adapters", &json, err);
    const struct ww_jnode *root = json ? ww_json_root(json) : NULL;
    if (ww_jtype(root) == WW_J_ARRAY && ww_jsize(root) <= WW_MEMBER_MOST_ADAPTERS) {
        *n = (uint32_t)ww_jsize(root);
    }
    ww_json_free(json);
    if (!rc && member->n_adapters && member->n_adapters != *n) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "member '%s' has scales for %u adapters and its server has %u",
                     member->name, member->n_adapters, *n);
    }
    return rc;
}

enum ww_err ww_probe_hints(struct ww_endpoint *endpoint, const struct ww_member *member,
                           struct ww_member_facts *facts, struct ww_error *err)
{
    const bool llama = strcmp(facts->dialect->name, LLAMA) == 0;
    enum ww_err rc = WW_OK;
    memset(&facts->hints, 0, sizeof(facts->hints));
    facts->adapters = 0;
    if (!llama && member->n_adapters) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "member '%s' has scales of adapters, which the dialect '%s' cannot "
            "send",
            member->name, facts->dialect->name);
    }
    /* llama.cpp's server has this path whatever the dialect that it is asked in. */
    if (member->end[0] && (llama || strcmp(facts->dialect->name, CHAT) == 0)) {
        rc = find_end_id(endpoint, member, &facts->hints, err);
    }
    return rc || !llama ? rc : count_adapters(endpoint, member, &facts->adapters, err);
}

/* A question that the server may refuse; *n 0 then. */
static enum ww_err ask_or_none(struct ww_endpoint *e, const struct ww_member_facts *facts,
                               const struct ww_ask *ask, struct ww_scored *out,
                               struct ww_error *err)
{
    struct ww_error local = {0};
    enum ww_err rc = ww_endpoint_ask(e, facts->dialect, ask, out, &local);
    if (rc == WW_E_UNSUPPORTED || rc == WW_E_NOTFOUND || rc == WW_E_MALFORMED) {
        memset(out, 0, sizeof(*out));
        return WW_OK;
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

/* The list behind the first token, said by the server and given to it. */
static enum ww_err find_continues(struct ww_endpoint *e, const struct ww_member *member,
                                  struct ww_member_facts *facts, struct ww_error *err)
{
    const struct ww_scored_at *first = &facts->canary.at[0];
    const struct ww_span prompt = {(const uint8_t *)question, strlen(question)};
    struct ww_ask ask =
        ww_ask_next(member, facts, prompt, (struct ww_span){NULL, 0}, first->n);
    struct ww_scored said = {0};
    ask.skip = 1;
    enum ww_err rc = ask_or_none(e, facts, &ask, &said, err);
    ask.skip = 0;
    ask.answer = first->top[0].bytes;
    for (int way = WW_CONTINUES_TOLD; way <= WW_CONTINUES_ALONE && !rc && said.n; way++) {
        struct ww_scored given = {0};
        facts->hints.continues = (enum ww_continues)way;
        rc = ask_or_none(e, facts, &ask, &given, err);
        const bool goes_on = !rc && given.n && given.at[0].n &&
                             ww_scored_near(&said.at[0], &given.at[0]) &&
                             !ww_scored_near(first, &given.at[0]);
        ww_scored_release(&given);
        if (goes_on) {
            break;
        }
        facts->hints.continues = WW_CONTINUES_NOT;
    }
    ww_scored_release(&said);
    return rc;
}

/* The least likely token of the list that is text and not the end: nobody would say it
 * by itself. NULL: none. */
static const struct ww_said_token *unlikely(const struct ww_scored_at *at,
                                            const struct ww_member *member)
{
    for (uint32_t i = at->n; i > 1; i--) {
        const struct ww_said_token *t = &at->top[i - 1];
        const bool is_end = t->bytes.len == strlen(member->end) &&
                            memcmp(t->bytes.data, member->end, t->bytes.len) == 0;
        if (t->bytes.len && t->bytes.data[0] < 0x80 && !is_end) {
            return t;
        }
    }
    return NULL;
}

static enum ww_err find_forces(struct ww_endpoint *e, const struct ww_member *member,
                               struct ww_member_facts *facts, struct ww_error *err)
{
    const struct ww_scored_at *first = &facts->canary.at[0];
    const struct ww_span prompt = {(const uint8_t *)question, strlen(question)};
    struct ww_ask ask = ww_ask_next(member, facts, prompt, (struct ww_span){NULL, 0}, 1);
    struct ww_scored said = {0};
    const struct ww_said_token *token = unlikely(first, member);
    if (!token) {
        return WW_OK;
    }
    ask.forced = token->bytes;
    enum ww_err rc = ask_or_none(e, facts, &ask, &said, err);
    facts->forces = !rc && said.n && said.at[0].n &&
                    fabs(said.at[0].top[0].logprob - token->logprob) <= TOLERANCE;
    ww_scored_release(&said);
    return rc;
}

enum ww_err ww_probe_ways(struct ww_endpoint *endpoint, const struct ww_member *member,
                          struct ww_member_facts *facts, struct ww_error *err)
{
    const struct ww_scored_at *first = facts->canary.n ? &facts->canary.at[0] : NULL;
    if (facts->scores_prompts || facts->question != 0 || !first || !first->n ||
        first->top[0].bytes.len == 0 || first->top[0].bytes.data[0] >= 0x80) {
        return WW_OK;
    }
    if (strcmp(facts->dialect->name, LLAMA) == 0 || facts->dialect->by_number) {
        return find_forces(endpoint, member, facts, err);
    }
    return strcmp(facts->dialect->name, CHAT) == 0
               ? find_continues(endpoint, member, facts, err)
               : WW_OK;
}
