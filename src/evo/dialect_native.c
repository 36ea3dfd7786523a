/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that score prompts in shapes of their own: vLLM's prompt_logprobs (a map by
 * token number for each position), SGLang's triples [log-probability, number, text],
 * TGI's prefill (the right tokens alone). Which tokens are the answer's is found from the
 * back, by their texts.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evo/dialect_parts.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static enum ww_err rows_new(size_t n, struct ww_part_row **out, struct ww_error *err)
{
    *out = ww_calloc(n, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a scored prompt");
    }
    for (size_t i = 0; i < n; i++) {
        (*out)[i] = (struct ww_part_row){.text = "", .logprob = (double)NAN, .id = -1};
    }
    return WW_OK;
}

enum ww_err ww_vllm_write(const struct ww_ask *ask, struct ww_jw *w, struct ww_error *err)
{
    ww_jw_kstr(w, "model", ask->model);
    enum ww_err rc = ww_part_text(ask, w, "prompt", err);
    ww_jw_ku64(w, "max_tokens", 1);
    ww_jw_ku64(w, "prompt_logprobs", ask->top);
    ww_jw_ku64(w, "temperature", 0);
    ww_jw_kbool(w, "return_token_ids", true);
    return rc;
}

static bool number_of(const char *key, int64_t *id)
{
    uint64_t v = 0;
    if (!ww_parse_u64(key, strlen(key), &v) || v > INT32_MAX) {
        return false;
    }
    *id = (int64_t)v;
    return true;
}

/* A position: {"12": {"logprob": -1.2, "rank": 1, "decoded_token": "a"}, ...}. The right
 * token is the one of that number, or the first where numbers were not given. */
static enum ww_err vllm_row(const struct ww_jnode *map, const struct ww_jnode *number,
                            struct ww_part_row *row, struct ww_error *err)
{
    int64_t right = -1;
    enum ww_err rc = ww_part_list_room(&row->list, ww_jsize(map), err);
    if (number && !ww_ji64(number, &right)) {
        return WW_FAIL(err, WW_E_MALFORMED, "'prompt_token_ids' holds no number");
    }
    for (const struct ww_jnode *t = ww_jfirst(map); t && !rc; t = ww_jnext(t)) {
        const char *text = "";
        double logprob = 0;
        int64_t id = -1;
        (void)ww_jstr(ww_jget(t, "decoded_token"), &text);
        if (!number_of(ww_jkey(t), &id) || !ww_jdouble(ww_jget(t, "logprob"), &logprob)) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "a token of 'prompt_logprobs' has no number or no "
                           "log-probability");
        }
        ww_part_list_add_text(&row->list, text, id, logprob);
        if (id == right || (!number && t == ww_jfirst(map))) {
            row->text = text;
            row->logprob = logprob;
            row->id = id;
        }
    }
    return rc;
}

enum ww_err ww_vllm_read(const struct ww_ask *ask, const struct ww_jnode *root,
                         struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_row *rows = NULL;
    struct ww_error local = {0};
    const struct ww_jnode *choice = ww_part_choice(root, &local);
    if (!choice) {
        return WW_FAIL(err, local.code, "%s", local.text);
    }
    const struct ww_jnode *list = ww_jget(choice, "prompt_logprobs");
    const struct ww_jnode *ids = ww_jget(choice, "prompt_token_ids");
    if (ww_jtype(list) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "the server gives no 'prompt_logprobs'");
    }
    const size_t n = ww_jsize(list);
    const bool numbered = ww_jtype(ids) == WW_J_ARRAY;
    if (numbered && ww_jsize(ids) != n) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'prompt_logprobs' has %zu entries and 'prompt_token_ids' %zu", n,
                       ww_jsize(ids));
    }
    enum ww_err rc = rows_new(n, &rows, err);
    const struct ww_jnode *id = numbered ? ww_jfirst(ids) : NULL;
    size_t i = 0;
    for (const struct ww_jnode *p = ww_jfirst(list); p && !rc; p = ww_jnext(p), i++) {
        if (ww_jtype(p) == WW_J_OBJECT) {
            rc = vllm_row(p, id, &rows[i], err);
        }
        id = id ? ww_jnext(id) : NULL;
    }
    rc = rc ? rc : ww_part_score(ask, rows, n, ww_part_usage(root), out, err);
    ww_part_rows_free(rows, n);
    return rc;
}

enum ww_err ww_sglang_write(const struct ww_ask *ask, struct ww_jw *w,
                            struct ww_error *err)
{
    enum ww_err rc = ww_part_text(ask, w, "text", err);
    ww_jw_key(w, "sampling_params");
    ww_jw_object(w);
    ww_jw_ku64(w, "max_new_tokens", 1);
    ww_jw_ku64(w, "temperature", 0);
    ww_jw_close(w);
    ww_jw_kbool(w, "return_logprob", true);
    ww_jw_kbool(w, "return_text_in_logprobs", true);
    ww_jw_ku64(w, "top_logprobs_num", ask->top);
    ww_jw_key(w, "logprob_start_len");
    ww_jw_i64(w, ask->score ? 0 : -1);
    return rc;
}

/* [log-probability or null, number, text or null] */
static enum ww_err read_triple(const struct ww_jnode *t, double *logprob, int64_t *id,
                               const char **text, struct ww_error *err)
{
    const struct ww_jnode *value = ww_jat(t, 0);
    *logprob = (double)NAN;
    *text = "";
    if (ww_jtype(t) != WW_J_ARRAY || ww_jsize(t) < 2 || !ww_ji64(ww_jat(t, 1), id) ||
        (ww_jtype(value) != WW_J_NULL && !ww_jdouble(value, logprob))) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "expected a log-probability, a token's number and its text");
    }
    (void)ww_jstr(ww_jat(t, 2), text);
    return WW_OK;
}

static enum ww_err sglang_list(const struct ww_jnode *array, struct ww_part_list *list,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    if (ww_jtype(array) != WW_J_ARRAY) {
        return WW_OK; /* null at the first position */
    }
    rc = ww_part_list_room(list, ww_jsize(array), err);
    for (const struct ww_jnode *t = ww_jfirst(array); t && !rc; t = ww_jnext(t)) {
        double logprob = 0;
        int64_t id = -1;
        const char *text = "";
        rc = read_triple(t, &logprob, &id, &text, err);
        if (!rc) {
            ww_part_list_add_text(list, text, id, logprob);
        }
    }
    return rc;
}

static uint64_t sglang_tokens(const struct ww_jnode *meta)
{
    uint64_t prompt = 0;
    uint64_t said = 0;
    (void)ww_ju64(ww_jget(meta, "prompt_tokens"), &prompt);
    (void)ww_ju64(ww_jget(meta, "completion_tokens"), &said);
    return prompt + said;
}

enum ww_err ww_sglang_read_next(const struct ww_ask *ask, const struct ww_jnode *root,
                                struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_list list = {0};
    const struct ww_jnode *meta = ww_jget(root, "meta_info");
    const struct ww_jnode *lists = ww_jget(meta, "output_top_logprobs");
    if (ww_jtype(lists) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server gives no lists of likely tokens");
    }
    enum ww_err rc = sglang_list(ww_jfirst(lists), &list, err);
    rc = rc ? rc : ww_part_next(ask, &list, sglang_tokens(meta), out, err);
    ww_part_list_release(&list);
    return rc;
}

enum ww_err ww_sglang_read_score(const struct ww_ask *ask, const struct ww_jnode *root,
                                 struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_row *rows = NULL;
    const struct ww_jnode *meta = ww_jget(root, "meta_info");
    const struct ww_jnode *tokens = ww_jget(meta, "input_token_logprobs");
    const struct ww_jnode *lists = ww_jget(meta, "input_top_logprobs");
    if (ww_jtype(tokens) != WW_J_ARRAY || ww_jtype(lists) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "the server does not score prompts");
    }
    const size_t n = ww_jsize(tokens);
    if (ww_jsize(lists) != n) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'input_top_logprobs' has %zu entries and 'input_token_logprobs' "
                       "%zu",
                       ww_jsize(lists), n);
    }
    enum ww_err rc = rows_new(n, &rows, err);
    const struct ww_jnode *t = ww_jfirst(tokens);
    const struct ww_jnode *l = ww_jfirst(lists);
    for (size_t i = 0; i < n && !rc; i++, t = ww_jnext(t), l = ww_jnext(l)) {
        rc = read_triple(t, &rows[i].logprob, &rows[i].id, &rows[i].text, err);
        rc = rc ? rc : sglang_list(l, &rows[i].list, err);
    }
    rc = rc ? rc : ww_part_score(ask, rows, n, sglang_tokens(meta), out, err);
    ww_part_rows_free(rows, n);
    return rc;
}

/* TGI shows at most five tokens, whatever is asked for. */
enum ww_err ww_tgi_write(const struct ww_ask *ask, struct ww_jw *w, struct ww_error *err)
{
    enum ww_err rc = ww_part_text(ask, w, "inputs", err);
    ww_jw_key(w, "parameters");
    ww_jw_object(w);
    ww_jw_ku64(w, "max_new_tokens", 1);
    ww_jw_kbool(w, "details", true);
    ww_jw_kbool(w, "decoder_input_details", ask->score);
    ww_jw_ku64(w, "top_n_tokens", ask->top < 5 ? ask->top : 5);
    ww_jw_close(w);
    return rc;
}

/* {id, text, logprob or null} */
static enum ww_err read_tgi(const struct ww_jnode *t, struct ww_part_row *row,
                            struct ww_error *err)
{
    const struct ww_jnode *logprob = ww_jget(t, "logprob");
    (void)ww_ji64(ww_jget(t, "id"), &row->id);
    if (!ww_jstr(ww_jget(t, "text"), &row->text) ||
        (logprob && ww_jtype(logprob) != WW_J_NULL &&
         !ww_jdouble(logprob, &row->logprob))) {
        return WW_FAIL(err, WW_E_MALFORMED, "a token has no text or no log-probability");
    }
    return WW_OK;
}

enum ww_err ww_tgi_read_next(const struct ww_ask *ask, const struct ww_jnode *root,
                             struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_list list = {0};
    const struct ww_jnode *lists = ww_jget(ww_jget(root, "details"), "top_tokens");
    const struct ww_jnode *first = lists ? ww_jfirst(lists) : NULL;
    if (ww_jtype(first) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the server gives no lists of likely tokens");
    }
    enum ww_err rc = ww_part_list_room(&list, ww_jsize(first), err);
    for (const struct ww_jnode *t = ww_jfirst(first); t && !rc; t = ww_jnext(t)) {
        struct ww_part_row row = {.id = -1, .logprob = (double)NAN};
        rc = read_tgi(t, &row, err);
        if (!rc) {
            ww_part_list_add_text(&list, row.text, row.id, row.logprob);
        }
    }
    rc = rc ? rc : ww_part_next(ask, &list, 0, out, err);
    ww_part_list_release(&list);
    return rc;
}

enum ww_err ww_tgi_read_score(const struct ww_ask *ask, const struct ww_jnode *root,
                              struct ww_scored *out, struct ww_error *err)
{
    struct ww_part_row *rows = NULL;
    const struct ww_jnode *prefill = ww_jget(ww_jget(root, "details"), "prefill");
    if (ww_jtype(prefill) != WW_J_ARRAY || ww_jsize(prefill) == 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "the server does not score prompts");
    }
    const size_t n = ww_jsize(prefill);
    enum ww_err rc = rows_new(n, &rows, err);
    const struct ww_jnode *t = ww_jfirst(prefill);
    for (size_t i = 0; i < n && !rc; i++, t = ww_jnext(t)) {
        rc = read_tgi(t, &rows[i], err);
    }
    rc = rc ? rc : ww_part_score(ask, rows, n, 0, out, err);
    ww_part_rows_free(rows, n);
    return rc;
}
