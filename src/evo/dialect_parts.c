/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, rows and counts that servers tell in like ways. */
#include "evo/dialect_parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define REPLACEMENT "\xEF\xBF\xBD"

enum ww_err ww_part_text(const struct ww_ask *ask, struct ww_jw *w, const char *key,
                         struct ww_error *err)
{
    struct ww_buf text;
    ww_buf_init(&text, ask->prompt.len + ask->answer.len + strlen(ask->end) + 1);
    enum ww_err rc = ww_buf_add(&text, ask->prompt.data, ask->prompt.len, err);
    rc = rc ? rc : ww_buf_add(&text, ask->answer.data, ask->answer.len, err);
    if (ask->score || (ask->hints && ask->hints->hides_end)) {
        rc = rc ? rc : ww_buf_add_str(&text, ask->end, err);
    }
    if (!rc) {
        ww_jw_key(w, key);
        ww_jw_strn(w, ww_buf_cstr(&text), text.len);
    }
    ww_buf_release(&text);
    return rc;
}

bool ww_part_token(const char *text, struct ww_span *out)
{
    *out = (struct ww_span){(const uint8_t *)text, strlen(text)};
    return out->len > 0 && !ww_part_replaced(*out);
}

bool ww_part_replaced(struct ww_span bytes)
{
    return memmem(bytes.data, bytes.len, REPLACEMENT, strlen(REPLACEMENT)) != NULL;
}

void ww_part_list_release(struct ww_part_list *list)
{
    ww_free(list->token);
    ww_free(list->names);
    memset(list, 0, sizeof(*list));
}

enum ww_err ww_part_list_room(struct ww_part_list *list, size_t n, struct ww_error *err)
{
    list->token = ww_calloc(n, sizeof(*list->token));
    list->names = ww_calloc(n, sizeof(*list->names));
    list->room = n;
    if (!list->token || !list->names) {
        return WW_FAIL_MEMORY(err, "a list of tokens");
    }
    return WW_OK;
}

void ww_part_list_add(struct ww_part_list *list, struct ww_span bytes, double logprob)
{
    WW_INVARIANT(list->n < list->room);
    list->token[list->n++] = (struct ww_said_token){bytes, logprob};
}

enum ww_err ww_part_no_end(const struct ww_ask *ask, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_USAGE,
                   "'%s' is several tokens of the server, expected the text of its end "
                   "token as 'end'",
                   ask->end);
}

enum ww_err ww_part_other_end(const struct ww_ask *ask, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "another token stands where '%s' was to be scored (does the server "
                   "read it as its end token?)",
                   ask->end);
}

/* The last text is a part of "end" behind more of it? */
static bool cuts_end(const struct ww_ask *ask, const char *last)
{
    const size_t len = strlen(last);
    const size_t whole = strlen(ask->end);
    return len > 0 && len < whole && strcmp(ask->end + whole - len, last) == 0;
}

/* "token_id:12", as vLLM calls tokens when it is told to, their bytes too. */
bool ww_part_token_id(const char *text, int64_t *id)
{
    static const char prefix[] = "token_id:";
    const size_t len = sizeof(prefix) - 1;
    uint64_t number = 0;
    if (strncmp(text, prefix, len) != 0 ||
        !ww_parse_u64(text + len, strlen(text + len), &number) || number > INT32_MAX) {
        return false;
    }
    *id = (int64_t)number;
    return true;
}

void ww_part_list_add_text(struct ww_part_list *list, const char *text, int64_t id,
                           double logprob)
{
    struct ww_span bytes;
    if (!ww_part_token_id(text, &id) && ww_part_token(text, &bytes)) {
        ww_part_list_add(list, bytes, logprob);
    } else if (id >= 0) {
        char *name = list->names[list->n];
        const int len = snprintf(name, sizeof(list->names[0]), "\xFF%" PRId64, id);
        ww_part_list_add(list, (struct ww_span){(const uint8_t *)name, (size_t)len},
                         logprob);
    }
}

void ww_part_rows_free(struct ww_part_row *rows, size_t n)
{
    for (size_t i = 0; rows && i < n; i++) {
        ww_part_list_release(&rows[i].list);
    }
    ww_free(rows);
}

/* First row of the answer: from the back, texts must be the answer's. n: none. */
static size_t find_answer(const struct ww_ask *ask, const struct ww_part_row *rows,
                          size_t n)
{
    size_t left = ask->answer.len;
    size_t i = n;
    if (ask->end[0] && n &&
        (!rows[n - 1].text[0] || !strcmp(rows[n - 1].text, ask->end))) {
        i--;
    } else if (ask->end[0]) {
        return n;
    }
    while (left > 0 && i > 0) {
        const char *text = rows[--i].text;
        const size_t len = strlen(text);
        if (len > left || memcmp(ask->answer.data + left - len, text, len) != 0) {
            return n;
        }
        left -= len;
    }
    return left == 0 ? i : n;
}

enum ww_err ww_part_score(const struct ww_ask *ask, struct ww_part_row *rows, size_t n,
                          uint64_t tokens, struct ww_scored *out, struct ww_error *err)
{
    struct ww_scored_writer w;
    const size_t first = find_answer(ask, rows, n);
    double sum = 0;
    size_t counted = 0;
    if (first == n && n > 0 && cuts_end(ask, rows[n - 1].text)) {
        return ww_part_no_end(ask, err);
    }
    if (first == n) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the answer does not begin and end where tokens do, or the server "
                       "shows tokens in another spelling");
    }
    for (size_t i = 0; i < first; i++) {
        if (isfinite(rows[i].logprob) && rows[i].logprob <= 0) {
            sum -= fmax(rows[i].logprob, -100);
            counted++;
        }
    }
    enum ww_err rc = ww_scored_begin(&w, ask->top, err);
    for (size_t i = first; i < n && !rc; i++) {
        const char *text = rows[i].text;
        const bool is_end = ask->end[0] && i == n - 1;
        const struct ww_span gold = {(const uint8_t *)text, is_end ? 0 : strlen(text)};
        if (isnan(rows[i].logprob)) {
            rc = WW_FAIL(err, WW_E_MALFORMED,
                         "a token of the answer has no log-probability");
        } else {
            rc = ww_scored_add(&w, gold, rows[i].logprob, rows[i].list.token,
                               rows[i].list.n, err);
        }
    }
    if (rc) {
        ww_scored_drop(&w);
        return rc;
    }
    return ww_scored_end(&w, counted ? sum / (double)counted : (double)NAN, tokens, out,
                         err);
}

enum ww_err ww_part_next(const struct ww_ask *ask, struct ww_part_list *list,
                         uint64_t tokens, struct ww_scored *out, struct ww_error *err)
{
    struct ww_scored_writer w;
    enum ww_err rc = ww_scored_begin(&w, ask->top, err);
    rc = rc ? rc
            : ww_scored_add(&w, (struct ww_span){NULL, 0}, (double)NAN, list->token,
                            list->n, err);
    if (rc) {
        ww_scored_drop(&w);
        return rc;
    }
    return ww_scored_end(&w, (double)NAN, tokens, out, err);
}

uint64_t ww_part_usage(const struct ww_jnode *root)
{
    uint64_t total = 0;
    (void)ww_ju64(ww_jget(ww_jget(root, "usage"), "total_tokens"), &total);
    return total;
}

const struct ww_jnode *ww_part_choice(const struct ww_jnode *root, struct ww_error *err)
{
    const struct ww_jnode *choices = ww_jget(root, "choices");
    const struct ww_jnode *first = choices ? ww_jfirst(choices) : NULL;
    if (!first || ww_jtype(choices) != WW_J_ARRAY || ww_jtype(first) != WW_J_OBJECT) {
        (void)WW_FAIL(err, WW_E_MALFORMED, "an answer has no 'choices'");
        return NULL;
    }
    return first;
}
