/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the members of a pool say about answers that are known, without any server: each
 * member is a folder whose reference forward pass is run over prompt and answer. For
 * character-level models: one token per character, as their tokenizer.json lists them.
 */
#ifndef WW_AMBER_H
#define WW_AMBER_H

#include "evo/answers.h"
#include "weightward/forward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "char_tokens.h"
#include "util/alloc.h"
#include "util/fail.h"

#define AMBER_MOST 64 /* tokens of prompt and answer */

struct amber_member {
    struct ww_model *model;
    struct ww_layout *layout;
    struct ww_forward *forward;
};

/* Prompt and answer as tokens: bos, prompt, answer, eos. */
struct amber_row {
    uint32_t token[AMBER_MOST];
    uint32_t n, prompt; /* tokens in all, and before the answer */
};

static inline enum ww_err amber_open(const char *folder, struct amber_member *m,
                                     struct ww_error *err)
{
    enum ww_err rc = ww_model_open(folder, &m->model, err);
    if (!rc) {
        rc = ww_layout_resolve(m->model, NULL, &m->layout, err);
    }
    if (!rc) {
        rc = ww_forward_new(m->layout, NULL, &m->forward, err);
    }
    return rc;
}

static inline void amber_close(struct amber_member *m)
{
    ww_forward_free(m->forward);
    ww_layout_free(m->layout);
    ww_model_close(m->model);
}

static inline enum ww_err amber_encode(const struct ww_jnode *vocab, const char *text,
                                       struct amber_row *row, struct ww_error *err)
{
    for (; *text; text++) {
        const char piece[2] = {*text, 0};
        uint64_t id = 0;
        if (row->n == AMBER_MOST - 1 || !ww_ju64(ww_jget(vocab, piece), &id)) {
            return WW_FAIL(err, WW_E_MALFORMED, "no token for '%s'", text);
        }
        row->token[row->n++] = (uint32_t)id;
    }
    return WW_OK;
}

/* n rows of a task file from row `from` on; tokens as folder has them. */
static inline enum ww_err amber_rows(const char *folder, const char *path, size_t from,
                                     size_t n, struct amber_row *out,
                                     struct ww_error *err)
{
    struct ww_json *tokenizer = NULL;
    struct ww_json *config = NULL;
    FILE *file = fopen(path, "r");
    char line[1024];
    uint64_t bos = 0, eos = 0;
    size_t at = 0;
    enum ww_err rc = file ? WW_OK : WW_FAIL(err, WW_E_NOTFOUND, "cannot open '%s'", path);
    if (!rc) {
        rc = char_read_json(folder, "tokenizer.json", &tokenizer, err);
    }
    if (!rc) {
        rc = char_read_json(folder, "config.json", &config, err);
    }
    if (!rc && (!ww_ju64(ww_jget(ww_json_root(config), "bos_token_id"), &bos) ||
                !ww_ju64(ww_jget(ww_json_root(config), "eos_token_id"), &eos))) {
        rc =
            WW_FAIL(err, WW_E_CONFIG, "'%s' has no bos_token_id or eos_token_id", folder);
    }
    for (size_t i = 0; !rc && i < from + n && fgets(line, sizeof(line), file); i++) {
        struct ww_json *json = NULL;
        const char *prompt = NULL, *answer = NULL;
        const struct ww_jnode *vocab =
            ww_jget(ww_jget(ww_json_root(tokenizer), "model"), "vocab");
        if (i < from) {
            continue;
        }
        rc = ww_json_parse((const uint8_t *)line, strlen(line), &ww_json_limits_small,
                           &json, err);
        if (!rc && (!ww_jstr(ww_jget(ww_json_root(json), "prompt"), &prompt) ||
                    !ww_jstr(ww_jget(ww_json_root(json), "answer"), &answer))) {
            rc = WW_FAIL(err, WW_E_MALFORMED, "a row has no prompt or no answer");
        }
        out[at] = (struct amber_row){.token = {(uint32_t)bos}, .n = 1};
        if (!rc) {
            rc = amber_encode(vocab, prompt, &out[at], err);
            out[at].prompt = out[at].n;
        }
        if (!rc) {
            rc = amber_encode(vocab, answer, &out[at], err);
            out[at].token[out[at].n++] = (uint32_t)eos;
        }
        at++;
        ww_json_free(json);
    }
    if (!rc && at < n) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "'%s' has fewer than %zu rows", path, from + n);
    }
    ww_json_free(config);
    ww_json_free(tokenizer);
    if (file) {
        fclose(file);
    }
    return rc;
}

struct amber_pair {
    double l;
    uint32_t token;
};

static inline int amber_larger(const void *a, const void *b)
{
    const struct amber_pair *x = a, *y = b;
    return x->l < y->l ? 1 : x->l > y->l ? -1 : x->token < y->token ? -1 : 1;
}

/* Log-probabilities of one position, cut after the likeliest top tokens. */
static inline void amber_said(const double *logits, uint32_t v, uint32_t gold,
                              uint32_t top, struct ww_answer_at *at)
{
    struct amber_pair *pairs = ww_calloc(v, sizeof(*pairs));
    uint32_t *token = ww_calloc(top, sizeof(*token));
    double *logprob = ww_calloc(top, sizeof(*logprob));
    double most = logits[0], sum = 0;
    if (!pairs || !token || !logprob) {
        abort();
    }
    for (uint32_t i = 1; i < v; i++) {
        most = logits[i] > most ? logits[i] : most;
    }
    for (uint32_t i = 0; i < v; i++) {
        sum += exp(logits[i] - most);
    }
    for (uint32_t i = 0; i < v; i++) {
        pairs[i] = (struct amber_pair){logits[i] - most - log(sum), i};
    }
    at->gold = pairs[gold].l;
    qsort(pairs, v, sizeof(*pairs), amber_larger);
    for (uint32_t i = 0; i < top; i++) {
        token[i] = pairs[i].token;
        logprob[i] = pairs[i].l;
    }
    at->top = (struct ww_pool_list){token, logprob, top};
    ww_free(pairs);
}

static inline enum ww_err amber_fill(struct amber_member *m, uint32_t which, uint32_t k,
                                     const struct amber_row *row, uint32_t top,
                                     struct ww_answer_item *item, struct ww_error *err)
{
    const uint32_t v = (uint32_t)ww_forward_vocab(m->forward);
    double *logits = ww_calloc((size_t)row->n * v, sizeof(*logits));
    enum ww_err rc =
        logits ? ww_forward_logits(m->forward, row->token, row->n, NULL, 0, logits, err)
               : WW_E_NOMEM;
    for (uint32_t p = 0; !rc && p < item->n; p++) {
        amber_said(logits + (size_t)(row->prompt + p - 1) * v, v, item->gold[p],
                   top < v ? top : v, &item->at[(size_t)p * k + which]);
    }
    double surprise = 0;
    for (uint32_t p = 1; !rc && p < row->prompt; p++) {
        struct ww_answer_at at = {0};
        amber_said(logits + (size_t)(p - 1) * v, v, row->token[p], 1, &at);
        surprise -= at.gold;
        ww_free((void *)(uintptr_t)at.top.token);
        ww_free((void *)(uintptr_t)at.top.logprob);
    }
    item->prompt_surprise[which] = surprise / (row->prompt - 1);
    ww_free(logits);
    return rc;
}

/* Everything that k members say about the rows. */
static inline enum ww_err amber_answers(const char *const *folders, uint32_t k,
                                        const struct amber_row *rows, size_t n,
                                        uint32_t top, struct ww_answers *out,
                                        struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    *out = (struct ww_answers){.k = k, .top = top, .n = n};
    out->item = ww_calloc(n, sizeof(*out->item));
    for (size_t i = 0; i < n; i++) {
        struct ww_answer_item *item = &out->item[i];
        item->n = rows[i].n - rows[i].prompt;
        item->weight = 1;
        item->task = (uint32_t)i;
        item->gold = ww_calloc(item->n, sizeof(*item->gold));
        item->at = ww_calloc((size_t)item->n * k, sizeof(*item->at));
        item->prompt_surprise = ww_calloc(k, sizeof(double));
        memcpy(item->gold, rows[i].token + rows[i].prompt, item->n * sizeof(uint32_t));
    }
    for (uint32_t m = 0; m < k && !rc; m++) {
        struct amber_member member = {0};
        rc = amber_open(folders[m], &member, err);
        out->vocabulary = rc ? 0 : (uint32_t)ww_forward_vocab(member.forward);
        for (size_t i = 0; i < n && !rc; i++) {
            rc = amber_fill(&member, m, k, &rows[i], top, &out->item[i], err);
        }
        amber_close(&member);
    }
    return rc;
}

static inline void amber_release(struct ww_answers *a)
{
    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < (size_t)a->item[i].n * a->k; j++) {
            ww_free((void *)(uintptr_t)a->item[i].at[j].top.token);
            ww_free((void *)(uintptr_t)a->item[i].at[j].top.logprob);
        }
        ww_free(a->item[i].gold);
        ww_free(a->item[i].at);
        ww_free(a->item[i].prompt_surprise);
    }
    ww_free(a->item);
    memset(a, 0, sizeof(*a));
}

#endif
