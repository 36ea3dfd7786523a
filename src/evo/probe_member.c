/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing goes from the cheapest way to ask to the dearest: prompts scored whole, then a
 * list of what comes next. Some servers ignore "echo" with status 200, so only the shape
 * of the answer counts. Questions end where a token ends in most tokenizers; there are
 * three, for the others.
 */
#include "evo/probe.h"

#include <math.h>
#include <string.h>

#include "crypto/hash.h"
#include "util/fail.h"
#include "util/num.h"

#define TOLERANCE 0.1
#define LIKELY (-5.0)
#define FACTS_BYTES 29 /* of a record, behind the dialect's name */

static const struct {
    const char *prompt;
    const char *answer;
} questions[] = {
    {"The colour of the sky on a clear day is", " blue"},
    {"one two three four", " five"},
    {"a = b\n", "c"},
};

void ww_member_facts_release(struct ww_member_facts *facts)
{
    ww_scored_release(&facts->canary);
}

static struct ww_span span_of(const char *text)
{
    return (struct ww_span){(const uint8_t *)text, strlen(text)};
}

static struct ww_ask canary_ask(const struct ww_member *member,
                                const struct ww_member_facts *facts, uint32_t question,
                                bool score, uint32_t top)
{
    if (!score) {
        return ww_ask_next(member, facts, span_of(questions[question].prompt),
                           span_of(""), top);
    }
    return (struct ww_ask){
        .score = true,
        .prompt = span_of(questions[question].prompt),
        .answer = span_of(questions[question].answer),
        .end = member->end,
        .model = member->model,
        .top = top,
    };
}

/* Longest list that came, and did tokens without text keep apart? */
static void look_at(struct ww_member_facts *facts)
{
    facts->top = 0;
    for (uint32_t i = 0; i < facts->canary.n; i++) {
        const struct ww_scored_at *at = &facts->canary.at[i];
        facts->top = at->n > facts->top ? at->n : facts->top;
        for (uint32_t t = 0; t < at->n; t++) {
            const struct ww_span b = at->top[t].bytes;
            facts->bytes = facts->bytes || (b.len && b.data[0] >= 0x80);
        }
    }
}

/* Is it worth trying another way after such a failure? */
static bool another_way(enum ww_err rc)
{
    return rc == WW_E_UNSUPPORTED || rc == WW_E_NOTFOUND || rc == WW_E_IO;
}

/* Is the list where the answer begins the one that the server gives for what follows the
 * prompt? llama-cpp-python echoes models without a first token of their own one place
 * late. Where it is not, that list is the canary, and prompts are not scored. */
static enum ww_err check_places(struct ww_endpoint *e, const struct ww_member *member,
                                uint32_t top, struct ww_member_facts *out,
                                struct ww_error *err)
{
    const struct ww_member_facts plain = {.dialect = out->dialect};
    const struct ww_ask ask = canary_ask(member, &plain, out->question, false, top);
    struct ww_scored_at first;
    struct ww_scored next;
    struct ww_error local = {0};
    if (out->canary.n == 0 || out->canary.at[0].n == 0) {
        return WW_OK; /* no lists at all */
    }
    enum ww_err rc = ww_endpoint_ask(e, out->dialect, &ask, &next, &local);
    if (rc) {
        return another_way(rc) ? WW_OK : WW_FAIL(err, rc, "%s", local.text);
    }
    first = out->canary.at[0];
    first.gold = (struct ww_span){NULL, 0};
    first.logprob = (double)NAN;
    if (next.n != 1 || next.at[0].n == 0 || ww_scored_near(&first, &next.at[0])) {
        ww_scored_release(&next);
        return WW_OK;
    }
    ww_scored_release(&out->canary);
    out->canary = next;
    out->scores_prompts = false;
    out->hints.hides_end = false;
    return WW_OK;
}

static enum ww_err try_dialect(struct ww_endpoint *e, const struct ww_member *member,
                               const struct ww_dialect *dialect, uint32_t top,
                               struct ww_member_facts *out, struct ww_error *err)
{
    out->dialect = dialect;
    enum ww_err rc = ww_probe_hints(e, member, out, err);
    if (rc) {
        return rc;
    }
    rc = WW_E_UNSUPPORTED;
    for (uint32_t q = 0; dialect->score_path && q < WW_LEN(questions); q++) {
        const struct ww_ask ask = canary_ask(member, out, q, true, top);
        ww_error_clear(err);
        rc = ww_endpoint_ask(e, dialect, &ask, &out->canary, err);
        out->question = q;
        out->scores_prompts = rc == WW_OK;
        out->hints.hides_end = rc == WW_OK && out->canary.nameless_end;
        if (rc != WW_E_UNSUPPORTED) {
            break;
        }
    }
    if (!rc) {
        return check_places(e, member, top, out, err);
    }
    if (!another_way(rc)) {
        return rc;
    }
    const struct ww_ask ask = canary_ask(member, out, 0, false, top);
    ww_error_clear(err);
    out->question = 0;
    return ww_endpoint_ask(e, dialect, &ask, &out->canary, err);
}

/* One of the paths that this kind of server answers: newer ones may have another. */
static enum ww_err find_sign(struct ww_endpoint *e, const struct ww_dialect *row,
                             bool *found, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    *found = false;
    for (size_t i = 0; i < WW_DIALECT_SIGNS && row->sign[i] && !*found && !rc; i++) {
        struct ww_json *json = NULL;
        rc = ww_endpoint_get(e, row->sign[i], &json, err);
        *found = !rc && json && ww_jget(ww_json_root(json), row->member);
        ww_json_free(json);
    }
    return rc;
}

/* By a path that only one kind of server answers; else the two that have no such path,
 * in order. */
static enum ww_err find_dialect(struct ww_endpoint *e, const struct ww_member *member,
                                uint32_t top, struct ww_member_facts *out,
                                struct ww_error *err)
{
    const struct ww_dialect *row = ww_dialect_named(member->dialect);
    enum ww_err rc = WW_OK;
    if (row) {
        return try_dialect(e, member, row, top, out, err);
    }
    for (size_t i = 0; (row = ww_dialect_at(i)) && row->sign[0] && !rc; i++) {
        bool found = false;
        rc = find_sign(e, row, &found, err);
        if (found) {
            return try_dialect(e, member, row, top, out, err);
        }
    }
    if (rc) {
        return rc;
    }
    struct ww_error first = {0};
    rc = WW_E_UNSUPPORTED;
    for (size_t i = 0; (row = ww_dialect_at(i)) && another_way(rc); i++) {
        if (!row->sign[0]) {
            ww_error_clear(err);
            rc = try_dialect(e, member, row, top, out, err);
            first = first.code ? first : *err;
        }
    }
    /* What the first way lacks says more than that there is no second one. */
    if (rc && first.code != WW_E_NOTFOUND) {
        *err = first;
    }
    return rc ? err->code : WW_OK;
}

/* A server of several models may answer any name with the one that it has. Some say how
 * many tokens a model knows. */
static enum ww_err check_name(struct ww_endpoint *e, const struct ww_member *member,
                              uint32_t *vocabulary, struct ww_error *err)
{
    struct ww_json *json = NULL;
    const char *id = NULL;
    bool found = false;
    uint64_t n = 0;
    enum ww_err rc = ww_endpoint_get(e, "/v1/models", &json, err);
    const struct ww_jnode *data = json ? ww_jget(ww_json_root(json), "data") : NULL;
    const struct ww_jnode *first = ww_jtype(data) == WW_J_ARRAY ? ww_jfirst(data) : NULL;
    for (const struct ww_jnode *m = first; m; m = ww_jnext(m)) {
        const bool it = ww_jstr(ww_jget(m, "id"), &id) && strcmp(id, member->model) == 0;
        if (it && ww_ju64(ww_jget(ww_jget(m, "meta"), "n_vocab"), &n) &&
            n <= WW_MOST_VOCABULARY) {
            *vocabulary = (uint32_t)n;
        }
        found = found || it;
    }
    if (!rc && first && !found && id) {
        rc = WW_FAIL(err, WW_E_NOTFOUND,
                     "member '%s': the server has no model '%s'; it has '%.100s'",
                     member->name, member->model, id);
    }
    ww_json_free(json);
    return rc;
}

enum ww_err ww_probe(struct ww_endpoint *endpoint, const struct ww_member *member,
                     uint32_t top, struct ww_member_facts *out, struct ww_error *err)
{
    struct ww_error local = {0};
    uint32_t vocabulary = 0;
    memset(out, 0, sizeof(*out));
    enum ww_err rc = check_name(endpoint, member, &vocabulary, &local);
    rc = rc ? rc : find_dialect(endpoint, member, top, out, &local);
    rc = rc ? rc : ww_probe_ways(endpoint, member, out, &local);
    if (rc) {
        ww_member_facts_release(out);
        memset(out, 0, sizeof(*out));
        return WW_FAIL(err, rc, "%s", local.text);
    }
    out->vocabulary = vocabulary;
    look_at(out);
    return WW_OK;
}

static const struct ww_said_token *listed(const struct ww_scored_at *at,
                                          struct ww_span bytes)
{
    for (uint32_t i = 0; i < at->n; i++) {
        if (ww_span_eq(at->top[i].bytes, bytes)) {
            return &at->top[i];
        }
    }
    return NULL;
}

static bool covers(const struct ww_scored_at *a, const struct ww_scored_at *b)
{
    if (!ww_span_eq(a->gold, b->gold) || isnan(a->logprob) != isnan(b->logprob)) {
        return false;
    }
    if (!isnan(a->logprob) && (a->logprob > LIKELY || b->logprob > LIKELY) &&
        fabs(a->logprob - b->logprob) > TOLERANCE) {
        return false;
    }
    for (uint32_t i = 0; i < a->n && a->top[i].logprob > LIKELY; i++) {
        const struct ww_said_token *t = listed(b, a->top[i].bytes);
        /* Lists may be cut between two that changed places. */
        const bool at_edge =
            b->n && a->top[i].logprob < b->top[b->n - 1].logprob + TOLERANCE;
        if (t ? fabs(t->logprob - a->top[i].logprob) > TOLERANCE : !at_edge) {
            return false;
        }
    }
    return true;
}

bool ww_scored_near(const struct ww_scored_at *a, const struct ww_scored_at *b)
{
    return covers(a, b) && covers(b, a);
}

enum ww_err ww_probe_canary(struct ww_endpoint *endpoint, const struct ww_member *member,
                            const struct ww_member_facts *facts, uint32_t top, bool *same,
                            bool *exact, struct ww_error *err)
{
    struct ww_scored now;
    const struct ww_ask ask =
        canary_ask(member, facts, facts->question, facts->scores_prompts, top);
    enum ww_err rc = ww_endpoint_ask(endpoint, facts->dialect, &ask, &now, err);
    if (rc) {
        return rc;
    }
    *same = now.n == facts->canary.n;
    for (uint32_t i = 0; i < now.n && *same; i++) {
        *same = ww_scored_near(&facts->canary.at[i], &now.at[i]);
    }
    *exact = now.bytes.len == facts->canary.bytes.len &&
             memcmp(now.bytes.data, facts->canary.bytes.data, now.bytes.len) == 0;
    ww_scored_release(&now);
    return WW_OK;
}

static void add_number(struct ww_sha256 *h, double logprob)
{
    uint8_t bytes[4];
    ww_put_u32le(bytes, (uint32_t)(int32_t)floor(logprob * 8 + 0.5));
    ww_sha256_update(h, bytes, sizeof(bytes));
}

void ww_canary_digest(const struct ww_member_facts *facts, uint8_t out[32])
{
    struct ww_sha256 *h = NULL;
    memset(out, 0, 32);
    if (ww_sha256_new(&h, NULL)) {
        return;
    }
    for (uint32_t i = 0; i < facts->canary.n; i++) {
        const struct ww_scored_at *at = &facts->canary.at[i];
        ww_sha256_update(h, at->gold.data, at->gold.len);
        add_number(h, isnan(at->logprob) ? 1 : at->logprob);
        for (uint32_t t = 0; t < at->n && at->top[t].logprob > LIKELY; t++) {
            ww_sha256_update(h, at->top[t].bytes.data, at->top[t].bytes.len);
            add_number(h, at->top[t].logprob);
        }
    }
    ww_sha256_final(h, out);
    ww_sha256_free(h);
}

enum ww_err ww_member_facts_write(const struct ww_member_facts *facts, struct ww_buf *out,
                                  struct ww_error *err)
{
    const uint8_t scores = (uint8_t)(facts->scores_prompts + facts->hints.hides_end);
    const uint8_t flags[5] = {scores, facts->bytes, facts->forces,
                              facts->hints.has_end_id, (uint8_t)facts->hints.continues};
    const char *name = facts->dialect->name;
    enum ww_err rc = ww_buf_add_u32le(out, (uint32_t)strlen(name), err);
    rc = rc ? rc : ww_buf_add_str(out, name, err);
    rc = rc ? rc : ww_buf_add_u32le(out, facts->dialect->version, err);
    rc = rc ? rc : ww_buf_add_u32le(out, facts->top, err);
    rc = rc ? rc : ww_buf_add_u32le(out, facts->question, err);
    rc = rc ? rc : ww_buf_add_u32le(out, facts->vocabulary, err);
    rc = rc ? rc : ww_buf_add_u32le(out, facts->adapters, err);
    rc = rc ? rc : ww_buf_add_u32le(out, facts->hints.end_id, err);
    rc = rc ? rc : ww_buf_add(out, flags, sizeof(flags), err);
    return rc ? rc
              : ww_buf_add(out, facts->canary.bytes.data, facts->canary.bytes.len, err);
}

enum ww_err ww_member_facts_read(const uint8_t *bytes, size_t len,
                                 struct ww_member_facts *out, struct ww_error *err)
{
    char name[32] = "";
    memset(out, 0, sizeof(*out));
    const size_t named = len >= 4 ? ww_get_u32le(bytes) : 0;
    if (named == 0 || named >= sizeof(name) || len < 4 + named + FACTS_BYTES) {
        return WW_FAIL(err, WW_E_MALFORMED, "recorded facts of a member are cut");
    }
    memcpy(name, bytes + 4, named);
    const uint8_t *rest = bytes + 4 + named;
    out->dialect = ww_dialect_named(name);
    if (!out->dialect || out->dialect->version != ww_get_u32le(rest)) {
        return WW_FAIL(err, WW_E_VERSION, "recorded facts are of another version");
    }
    out->top = ww_get_u32le(rest + 4);
    out->question = ww_get_u32le(rest + 8);
    out->vocabulary = ww_get_u32le(rest + 12);
    out->adapters = ww_get_u32le(rest + 16);
    out->hints.end_id = ww_get_u32le(rest + 20);
    out->scores_prompts = rest[24] != 0;
    out->hints.hides_end = rest[24] == 2;
    out->bytes = rest[25] != 0;
    out->forces = rest[26] != 0;
    out->hints.has_end_id = rest[27] != 0;
    out->hints.continues = (enum ww_continues)rest[28];
    if (out->question >= WW_LEN(questions) || rest[28] > WW_CONTINUES_ALONE ||
        (out->scores_prompts && !out->dialect->score_path)) {
        return WW_FAIL(err, WW_E_MALFORMED, "recorded facts contradict themselves");
    }
    return ww_scored_read(rest + FACTS_BYTES, len - 4 - named - FACTS_BYTES, &out->canary,
                          err);
}
