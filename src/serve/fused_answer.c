/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that are no text by themselves (a part of a character, a number without a text)
 * are left out of the lists before they are pooled: members are asked with text, so an
 * answer could not go on with them. Their mass stays with what no list shows.
 */
#include "serve/fused_answer.h"

#include <string.h>

#include "crypto/secret.h"
#include "serve/stop.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_TEXT ((size_t)1 << 20)

enum ww_err ww_answer_begin(struct ww_answer *answer, const struct ww_question *question,
                            const struct ww_answer_pool *pool, struct ww_panel *panel,
                            struct ww_error *err)
{
    memset(answer, 0, sizeof(*answer));
    answer->question = question;
    answer->pool = *pool;
    answer->panel = panel;
    answer->started = ww_now();
    answer->draws = question->seed;
    if (!question->has_seed) {
        ww_random(&answer->draws, sizeof(answer->draws));
    }
    ww_buf_init(&answer->text, MAX_TEXT);
    ww_fuse_begin(&answer->fuse, pool->rule,
                  pool->level == WW_EVO_OPTIONS ? question->n_options : pool->vocabulary);
    return pool->level == WW_EVO_BYTES
               ? ww_byte_answer_new(pool->rule->k, pool->member, &answer->bytes, err)
               : WW_OK;
}

static void forget(struct ww_answer *a)
{
    for (uint32_t m = 0; m < WW_POOL_MAX_MEMBERS; m++) {
        ww_scored_release(&a->said[m]);
    }
}

void ww_answer_release(struct ww_answer *answer)
{
    if (answer->fuse.rule) {
        ww_fuse_release(&answer->fuse);
    }
    forget(answer);
    ww_byte_answer_free(answer->bytes);
    ww_buf_release(&answer->text);
    memset(answer, 0, sizeof(*answer));
}

/* splitmix64 (Steele, Lea, Flood 2014), as a number in [0, 1). */
double ww_answer_draw(struct ww_answer *answer)
{
    uint64_t z = answer->draws += 0x9E3779B97F4A7C15U;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
    z = (z ^ z >> 27) * 0x94D049BB133111EBU;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

bool ww_answer_token(const struct ww_member *member, struct ww_span said,
                     struct ww_span *out)
{
    const size_t end = strlen(member->end);
    *out = said;
    if (said.len == end && memcmp(said.data, member->end, end) == 0) {
        out->len = 0;
    }
    return !out->len ||
           (ww_utf8_ok(said.data, said.len) && memchr(said.data, '\0', said.len) == NULL);
}

/* What a member said, as a list; token and logprob have room for all of it. */
static struct ww_fuse_list list_of(const struct ww_member *member,
                                   const struct ww_scored *said, struct ww_span *token,
                                   double *logprob)
{
    struct ww_fuse_list list = {.token = token, .logprob = logprob};
    bool ended = false;
    for (uint32_t i = 0; said->n && i < said->at[0].n; i++) {
        const struct ww_said_token *t = &said->at[0].top[i];
        if (!ww_answer_token(member, t->bytes, &token[list.n]) ||
            (ended && !token[list.n].len)) {
            continue;
        }
        ended = ended || !token[list.n].len;
        logprob[list.n++] = t->logprob;
    }
    return list;
}

static enum ww_err fuse(struct ww_answer *a, struct ww_error *err)
{
    struct ww_fuse_list lists[WW_POOL_MAX_MEMBERS];
    const uint32_t k = a->fuse.rule->k;
    size_t total = 0;
    size_t at = 0;
    for (uint32_t m = 0; m < k; m++) {
        total += a->said[m].n ? a->said[m].at[0].n : 0;
    }
    struct ww_span *token = ww_calloc(total + 1, sizeof(*token));
    double *logprob = ww_calloc(total + 1, sizeof(*logprob));
    enum ww_err rc = WW_OK;
    if (!token || !logprob) {
        rc = WW_FAIL_MEMORY(err, "%zu tokens", total);
        goto out;
    }
    for (uint32_t m = 0; m < k; m++) {
        lists[m] = list_of(&a->pool.member[m], &a->said[m], token + at, logprob + at);
        at += lists[m].n;
    }
    rc = at ? ww_fuse_next(&a->fuse, lists, err)
            : WW_FAIL(err, WW_E_UNSUPPORTED, "no member lists a token that is text");
out:
    ww_free(token);
    ww_free(logprob);
    return rc;
}

/* The answer so far, the token that the server says and an end token that it scored are
 * in its count. */
uint64_t ww_answer_counted(const struct ww_answer *answer, uint32_t m)
{
    const uint64_t counted = answer->said[m].tokens;
    const uint64_t aside =
        (uint64_t)answer->tokens + 1 + answer->pool.facts[m].hints.hides_end;
    return counted > aside ? counted - aside : 0;
}

static enum ww_err take_token(struct ww_answer *a, struct ww_error *err)
{
    const struct ww_question *r = a->question;
    const struct ww_span asked = {r->prompt.data, r->prompt.len};
    const struct ww_span so_far = {a->text.data, a->text.len};
    forget(a);
    enum ww_err rc = ww_panel_ask(a->panel, asked, so_far, NULL, a->said, err);
    if (rc) {
        return rc;
    }
    for (uint32_t m = 0; m < a->fuse.rule->k && !a->prompt_tokens; m++) {
        a->prompt_tokens = ww_answer_counted(a, m);
    }
    rc = fuse(a, err);
    if (rc) {
        return rc;
    }
    const uint32_t at =
        ww_fuse_draw(&a->fuse, r->temperature, r->top_p, ww_answer_draw(a));
    a->taken = a->fuse.list[at];
    a->list = a->fuse.list;
    a->n = a->fuse.n;
    ww_fuse_take(&a->fuse, at);
    return ww_buf_add(&a->text, a->taken.token.data, a->taken.token.len, err);
}

/* Is that the end, and how much of the text can no stop take back? */
static void look_at_end(struct ww_answer *a, size_t before)
{
    const struct ww_question *r = a->question;
    const bool ended = !a->taken.token.len || a->pool.level == WW_EVO_OPTIONS;
    const size_t stop =
        ww_stop_find(r->stop, r->n_stops, a->text.data, a->text.len, before);
    a->tokens++;
    if (stop < a->text.len) {
        a->text.len = stop;
        a->text.data[stop] = '\0';
        a->finish = "stop";
    } else if (ended) {
        a->finish = "stop";
    } else if (a->tokens == r->max_tokens) {
        a->finish = "length";
    }
    a->certain = a->finish ? a->text.len
                           : a->text.len - ww_stop_held(r->stop, r->n_stops, a->text.data,
                                                        a->text.len);
}

enum ww_err ww_answer_in_time(double started, struct ww_error *err)
{
    return ww_now() - started > WW_ANSWER_SECONDS
               ? WW_FAIL(err, WW_E_LIMIT, "an answer took more than %d seconds",
                         WW_ANSWER_SECONDS)
               : WW_OK;
}

enum ww_err ww_answer_step(struct ww_answer *answer, struct ww_error *err)
{
    static enum ww_err (*const step[])(struct ww_answer * answer,
                                       struct ww_error * err) = {
        [WW_EVO_TOKENS] = take_token,
        [WW_EVO_OPTIONS] = ww_option_answer_step,
        [WW_EVO_BYTES] = ww_byte_answer_step};
    const size_t before = answer->text.len;
    enum ww_err rc = ww_answer_in_time(answer->started, err);
    rc = rc ? rc : step[answer->pool.level](answer, err);
    if (!rc) {
        look_at_end(answer, before);
    }
    return rc;
}
