/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI /v1/completions: {tokens, token_logprobs, top_logprobs [maps], text_offset}.
 * With echo the prompt's tokens come first, and text_offset, counted in code points, says
 * which of them are the answer's: the tokens' texts cannot, since bytes of a cut
 * character print as nothing. max_tokens is 1, because 0 means "no limit" to some
 * servers; the token that is generated lies behind the answer and is left out.
 *
 * llama-cpp-python prints special tokens as nothing, all of them, so that its lists have
 * no end token that could be told from the others. There the next token is asked for by
 * scoring the end token behind the text: its number is its own, the list is the next
 * token's.
 */
#include <math.h>
#include <string.h>

#include "evo/dialect_parts.h"
#include "util/fail.h"
#include "util/str.h"

static bool hides_end(const struct ww_ask *ask)
{
    return ask->hints && ask->hints->hides_end;
}

/* vLLM: the numbers whose log-probabilities are wanted besides; names would be texts. */
static void write_number(const struct ww_ask *ask, struct ww_jw *w)
{
    ww_jw_key(w, "logprob_token_ids");
    ww_jw_array(w);
    ww_jw_u64(w, ask->forced_id);
    ww_jw_close(w);
    ww_jw_kbool(w, "return_tokens_as_token_ids", true);
}

enum ww_err ww_text_write(const struct ww_ask *ask, struct ww_jw *w, struct ww_error *err)
{
    ww_jw_kstr(w, "model", ask->model);
    enum ww_err rc = ww_part_text(ask, w, "prompt", err);
    ww_jw_ku64(w, "max_tokens", 1);
    ww_jw_ku64(w, "logprobs", ask->top);
    ww_jw_ku64(w, "temperature", 0);
    if (ask->forced.len > 0) {
        write_number(ask, w);
    } else if (ask->score || hides_end(ask)) {
        ww_jw_kbool(w, "echo", true);
    }
    return rc;
}

/* A map from text to log-probability; the right token's text stays though empty, since
 * the server wrote its number there last. */
static enum ww_err read_map(const struct ww_jnode *map, const char *gold,
                            struct ww_part_list *list, struct ww_error *err)
{
    enum ww_err rc = ww_part_list_room(list, ww_jsize(map) + 1, err);
    for (const struct ww_jnode *t = ww_jfirst(map); t && !rc; t = ww_jnext(t)) {
        double logprob = 0;
        struct ww_span bytes;
        if (!ww_jdouble(t, &logprob)) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "a log-probability in 'top_logprobs' is no number");
        }
        int64_t id = -1;
        if (ww_part_token_id(ww_jkey(t), &id)) {
            ww_part_list_add_text(list, ww_jkey(t), id, logprob);
        } else if (ww_part_token(ww_jkey(t), &bytes) ||
                   (gold && !strcmp(gold, ww_jkey(t)))) {
            ww_part_list_add(list, bytes, logprob);
        }
    }
    return rc;
}

static const struct ww_jnode *logprobs_of(const struct ww_jnode *root,
                                          struct ww_error *err)
{
    const struct ww_jnode *choice = ww_part_choice(root, err);
    const struct ww_jnode *lp = ww_jget(choice, "logprobs");
    if (choice && ww_jtype(lp) != WW_J_OBJECT) {
        (void)WW_FAIL(err, WW_E_UNSUPPORTED,
                      "the server gives no log-probabilities, which a pool is made of "
                      "(some are started with a switch for them)");
        return NULL;
    }
    return lp;
}

static uint64_t characters(struct ww_span text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += (text.data[i] & 0xC0) != 0x80;
    }
    return n;
}

/* The four arrays, walked side by side. */
struct echoed {
    const struct ww_jnode *token;
    const struct ww_jnode *logprob;
    const struct ww_jnode *list;
    const struct ww_jnode *offset;
};

static enum ww_err open_echoed(const struct ww_jnode *lp, struct echoed *e, size_t *n,
                               struct ww_error *err)
{
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs",
                                        "text_offset"};
    const struct ww_jnode **const to[] = {&e->token, &e->logprob, &e->list, &e->offset};
    for (size_t i = 0; i < WW_LEN(names); i++) {
        const struct ww_jnode *array = ww_jget(lp, names[i]);
        if (ww_jtype(array) != WW_J_ARRAY) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "the server gives no '%s' in its log-probabilities", names[i]);
        }
        if (i && ww_jsize(array) != *n) {
            return WW_FAIL(err, WW_E_MALFORMED, "'%s' has %zu entries and 'tokens' %zu",
                           names[i], ww_jsize(array), *n);
        }
        *n = ww_jsize(array);
        *to[i] = ww_jfirst(array);
    }
    return WW_OK;
}

static void step(struct echoed *e)
{
    e->token = ww_jnext(e->token);
    e->logprob = ww_jnext(e->logprob);
    e->list = ww_jnext(e->list);
    e->offset = ww_jnext(e->offset);
}

/* One token of the answer to the writer. */
static enum ww_err add_token(const struct echoed *e, const char *text, bool is_end,
                             struct ww_scored_writer *w, struct ww_error *err)
{
    struct ww_part_list list = {0};
    struct ww_span gold = {(const uint8_t *)text, strlen(text)};
    double logprob = 0;
    if (!ww_jdouble(e->logprob, &logprob) || ww_jtype(e->list) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "a token of the answer has no log-probability or no list");
    }
    enum ww_err rc = read_map(e->list, text, &list, err);
    if (is_end) {
        /* Whatever its text is, it is the empty token here. */
        for (size_t i = 0; i < list.n; i++) {
            list.token[i].bytes.len *= !ww_span_eq(list.token[i].bytes, gold);
        }
        gold.len = 0;
    } else if (!gold.len) {
        gold = (struct ww_span){(const uint8_t *)"\xFF", 1}; /* part of a character */
    }
    if (!rc) {
        rc = ww_scored_add(w, gold, logprob, list.token, list.n, err);
    }
    ww_part_list_release(&list);
    return rc;
}

/* Does the server list its first token although the prompt does not hold it? Then its
 * text counts in every offset. */
static uint64_t listed_first(const struct ww_ask *ask, const struct ww_jnode *tokens)
{
    const char *text = NULL;
    const struct ww_jnode *first = ww_jfirst(tokens);
    if (!first || !ww_jstr(first, &text)) {
        return 0;
    }
    const size_t len = strlen(text);
    const bool of_prompt =
        len <= ask->prompt.len && memcmp(ask->prompt.data, text, len) == 0;
    return of_prompt ? 0 : characters((struct ww_span){(const uint8_t *)text, len});
}

/* What follows the text: the list of the place where the end token was scored, and that
 * token with its own number. */
static enum ww_err read_tail(const struct ww_ask *ask, const struct ww_jnode *lp,
                             uint64_t tokens, struct ww_scored *out, struct ww_error *err)
{
    const struct ww_span end = {(const uint8_t *)ask->end, strlen(ask->end)};
    const char *text = NULL;
    struct ww_ask asked = *ask;
    struct ww_part_list list = {0};
    struct echoed e = {0};
    uint64_t offset = 0;
    double logprob = 0;
    size_t n = 0;
    size_t i = 0;
    enum ww_err rc = open_echoed(lp, &e, &n, err);
    if (rc) {
        return rc;
    }
    const uint64_t begin = listed_first(ask, ww_jget(lp, "tokens")) +
                           characters(ask->prompt) + characters(ask->answer);
    while (i < n && ww_ju64(e.offset, &offset) && offset < begin) {
        step(&e);
        i++;
    }
    if (i == n || offset != begin) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server does not echo the prompt with its log-probabilities");
    }
    if (!ww_jstr(e.token, &text) || *text) { /* a generated one, or a piece of "end" */
        return ww_part_other_end(ask, err);
    }
    if (!ww_jdouble(e.logprob, &logprob) || ww_jtype(e.list) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "the end token has no log-probability or no list");
    }
    rc = read_map(e.list, NULL, &list, err);
    if (!rc) {
        ww_part_list_add(&list, end, logprob);
        asked.top += ask->top < WW_SCORED_MAX_TOP;
        rc = ww_part_next(&asked, &list, tokens, out, err);
    }
    ww_part_list_release(&list);
    return rc;
}

/* The wanted token alone, found by its number; nothing where the server does not tell. */
static enum ww_err read_number(const struct ww_ask *ask, const struct ww_jnode *lp,
                               uint64_t tokens, struct ww_scored *out,
                               struct ww_error *err)
{
    struct ww_part_list list = {0};
    const struct ww_jnode *lists = ww_jget(lp, "top_logprobs");
    const struct ww_jnode *map = lists ? ww_jfirst(lists) : NULL;
    enum ww_err rc = ww_part_list_room(&list, 1, err);
    for (const struct ww_jnode *t = map ? ww_jfirst(map) : NULL; t && !rc && !list.n;
         t = ww_jnext(t)) {
        int64_t id = -1;
        double logprob = 0;
        if (ww_part_token_id(ww_jkey(t), &id) && id == (int64_t)ask->forced_id &&
            ww_jdouble(t, &logprob)) {
            ww_part_list_add(&list, ask->forced, logprob);
        }
    }
    rc = rc ? rc : ww_part_next(ask, &list, tokens, out, err);
    ww_part_list_release(&list);
    return rc;
}

enum ww_err ww_text_read_next(const struct ww_ask *ask, const struct ww_jnode *root,
                              struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_list list = {0};
    struct ww_error local = {0};
    const struct ww_jnode *lp = logprobs_of(root, &local);
    if (!lp) {
        return WW_FAIL(err, local.code, "%s", local.text);
    }
    if (ask->forced.len > 0) {
        return read_number(ask, lp, ww_part_usage(root), out, err);
    }
    if (hides_end(ask)) {
        return read_tail(ask, lp, ww_part_usage(root), out, err);
    }
    const struct ww_jnode *lists = ww_jget(lp, "top_logprobs");
    if (ww_jtype(lists) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server gives no lists of likely tokens");
    }
    /* A server that generates its end token at once may show nothing at all. */
    const struct ww_jnode *map = ww_jfirst(lists);
    enum ww_err rc = WW_OK;
    if (map && ww_jtype(map) != WW_J_OBJECT) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "a list of likely tokens is missing");
    } else if (map) {
        rc = read_map(map, NULL, &list, err);
    }
    if (!rc) {
        rc = ww_part_next(ask, &list, ww_part_usage(root), out, err);
    }
    ww_part_list_release(&list);
    return rc;
}

struct text_place {
    uint64_t begin; /* of the answer, in the server's characters */
    uint64_t end;
    size_t seen;   /* tokens of the answer */
    double sum;    /* surprise of the prompt */
    size_t count;  /* its tokens that have one */
    bool ended;    /* the end token was seen */
    bool lossy;    /* texts of tokens are not the whole text */
    bool nameless; /* lists have no name for the end token */
    struct ww_buf said;
};

static enum ww_err take_token(const struct ww_ask *ask, const struct echoed *e,
                              struct text_place *p, struct ww_scored_writer *w,
                              struct ww_error *err)
{
    const char *text = NULL;
    uint64_t offset = 0;
    double logprob = 0;
    if (!ww_jstr(e->token, &text) || !ww_ju64(e->offset, &offset)) {
        return WW_FAIL(err, WW_E_MALFORMED, "a token or its offset is missing");
    }
    if (offset < p->begin) {
        if (ww_jdouble(e->logprob, &logprob) && logprob <= 0) {
            p->sum -= fmax(logprob, -100);
            p->count++;
        }
        return WW_OK;
    }
    const bool is_end = offset >= p->end;
    if (is_end && (!ask->end[0] || p->ended || (!p->seen && ask->answer.len > 0))) {
        return WW_OK; /* generated */
    }
    if (!p->seen && offset != p->begin) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the prompt ends inside of a token; end it where one ends");
    }
    if (is_end && *text && strcmp(text, ask->end) != 0) {
        const bool piece = strncmp(ask->end, text, strlen(text)) == 0;
        return offset > p->end
                   ? WW_FAIL(err, WW_E_UNSUPPORTED,
                             "the answer ends inside of a token; end it where one ends")
               : piece ? ww_part_no_end(ask, err)
                       : ww_part_other_end(ask, err);
    }
    p->ended = is_end;
    p->nameless = is_end && !*text && ww_jget(e->list, "") != NULL;
    p->seen++;
    struct ww_span bytes;
    p->lossy = p->lossy || (!is_end && !ww_part_token(text, &bytes));
    enum ww_err rc = is_end ? WW_OK : ww_buf_add_str(&p->said, text, err);
    return rc ? rc : add_token(e, text, is_end, w, err);
}

/* Was it the answer that was scored, and all of it? */
static enum ww_err check_place(const struct ww_ask *ask, const struct text_place *p,
                               struct ww_error *err)
{
    if (!p->seen) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server does not echo the prompt with its log-probabilities");
    }
    if ((ask->end[0] && !p->ended) || (!p->lossy && p->said.len < ask->answer.len)) {
        return WW_FAIL(err, WW_E_MALFORMED, "the answer's last tokens are missing%s",
                       ask->end[0] ? " (does the server read 'end' as its end token?)"
                                   : "");
    }
    if (!p->lossy &&
        !ww_span_eq((struct ww_span){p->said.data, p->said.len}, ask->answer)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "the server echoes another text");
    }
    return WW_OK;
}

enum ww_err ww_text_read_score(const struct ww_ask *ask, const struct ww_jnode *root,
                               struct ww_scored *out, struct ww_error *err)
{
    struct ww_scored_writer w;
    struct echoed e = {0};
    struct text_place place = {0};
    struct ww_error local = {0};
    size_t n = 0;
    const struct ww_jnode *lp = logprobs_of(root, &local);
    if (!lp) {
        return WW_FAIL(err, local.code, "%s", local.text);
    }
    enum ww_err rc = open_echoed(lp, &e, &n, err);
    if (rc) {
        return rc;
    }
    place.begin = listed_first(ask, ww_jget(lp, "tokens")) + characters(ask->prompt);
    place.end = place.begin + characters(ask->answer);
    ww_buf_init(&place.said, ask->answer.len + 4096);
    rc = ww_scored_begin(&w, ask->top, err);
    for (size_t i = 0; i < n && !rc; i++, step(&e)) {
        rc = take_token(ask, &e, &place, &w, err);
    }
    if (!rc) {
        rc = check_place(ask, &place, err);
    }
    if (!rc) {
        rc =
            ww_scored_end(&w, place.count ? place.sum / (double)place.count : (double)NAN,
                          ww_part_usage(root), out, err);
        out->nameless_end = !rc && place.nameless;
    } else {
        ww_scored_drop(&w);
    }
    ww_buf_release(&place.said);
    return rc;
}
