/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_score MODEL TASK.jsonl [--rows N] [--show]
 *
 * Exact-match score of a character-level model by greedy decoding with the reference
 * forward pass. A row has a prompt and an answer; the model is right when it continues
 * bos + prompt with the answer and then eos. Characters become tokens through the
 * vocabulary in tokenizer.json: one token each, no merges.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/forward.h"

#define MOST_TOKENS 512

struct scorer {
    struct ww_model *model;
    struct ww_layout *layout;
    struct ww_forward *forward;
    struct ww_json *tokenizer;
    const struct ww_jnode *vocab;
    uint32_t bos, eos;
    bool show;                  /* print what was answered */
};

static enum ww_err read_json(const char *folder, const char *name, struct ww_json **out,
                             struct ww_error *err)
{
    struct ww_buf buf;
    char *path = ww_path_join(folder, name);
    ww_buf_init(&buf, ww_json_limits_config.max_bytes);
    enum ww_err rc = path ? ww_file_read(path, &buf, err) : WW_E_NOMEM;
    if (!rc) {
        rc = ww_json_parse(buf.data, buf.len, &ww_json_limits_config, out, err);
    }
    ww_buf_release(&buf);
    ww_free(path);
    return rc;
}

static enum ww_err read_ids(struct scorer *s, const char *folder, struct ww_error *err)
{
    struct ww_json *config = NULL;
    uint64_t bos = 0;
    uint64_t eos = 0;
    enum ww_err rc = read_json(folder, "config.json", &config, err);
    if (!rc) {
        const struct ww_jnode *root = ww_json_root(config);
        if (!ww_ju64(ww_jget(root, "bos_token_id"), &bos) ||
            !ww_ju64(ww_jget(root, "eos_token_id"), &eos)) {
            rc = WW_FAIL(err, WW_E_CONFIG,
                         "config.json: bos_token_id and eos_token_id "
                         "must be numbers");
        }
    }
    s->bos = (uint32_t)bos;
    s->eos = (uint32_t)eos;
    ww_json_free(config);
    return rc;
}

static enum ww_err scorer_open(struct scorer *s, const char *folder, struct ww_error *err)
{
    enum ww_err rc = ww_model_open(folder, &s->model, err);
    if (!rc) {
        rc = ww_layout_resolve(s->model, NULL, &s->layout, err);
    }
    if (!rc) {
        rc = ww_forward_new(s->layout, NULL, &s->forward, err);
    }
    if (!rc) {
        rc = read_ids(s, folder, err);
    }
    if (!rc) {
        rc = read_json(folder, "tokenizer.json", &s->tokenizer, err);
    }
    if (!rc) {
        s->vocab = ww_jget(ww_jget(ww_json_root(s->tokenizer), "model"), "vocab");
    }
    return rc;
}

static void scorer_close(struct scorer *s)
{
    ww_json_free(s->tokenizer);
    ww_forward_free(s->forward);
    ww_layout_free(s->layout);
    ww_model_close(s->model);
}

/* Append one token per character. */
static enum ww_err encode(const struct scorer *s, const char *text, uint32_t *tokens,
                          size_t *n, struct ww_error *err)
{
    size_t left = strlen(text);
    while (left > 0) {
        char piece[8] = {0};
        uint64_t id = 0;
        size_t len = ww_utf8_next((const uint8_t *)text, left, NULL);
        memcpy(piece, text, len);
        if (len == 0 || *n == MOST_TOKENS || !ww_ju64(ww_jget(s->vocab, piece), &id)) {
            return WW_FAIL(err, WW_E_MALFORMED, "no token for '%s' of the task", text);
        }
        tokens[(*n)++] = (uint32_t)id;
        text += len;
        left -= len;
    }
    return WW_OK;
}

/* Print the characters of an answer without its end token. */
static void show(const struct scorer *s, const uint32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n && tokens[i] != s->eos; i++) {
        for (const struct ww_jnode *v = ww_jfirst(s->vocab); v; v = ww_jnext(v)) {
            uint64_t id = 0;
            if (ww_ju64(v, &id) && id == tokens[i]) {
                fputs(ww_jkey(v), stdout);
            }
        }
    }
}

static enum ww_err score_row(struct scorer *s, const char *line, size_t len, bool *right,
                             struct ww_error *err)
{
    struct ww_json *row = NULL;
    const char *prompt = NULL;
    const char *answer = NULL;
    uint32_t want[MOST_TOKENS + 1];
    uint32_t got[2 * MOST_TOKENS + 2] = {s->bos};
    size_t n_want = 0;
    size_t n = 1;
    size_t n_out = 0;
    enum ww_err rc =
        ww_json_parse((const uint8_t *)line, len, &ww_json_limits_small, &row, err);
    if (rc) {
        goto out;
    }
    if (!ww_jstr(ww_jget(ww_json_root(row), "prompt"), &prompt) ||
        !ww_jstr(ww_jget(ww_json_root(row), "answer"), &answer)) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "a row of the task has no prompt or no answer");
        goto out;
    }
    rc = encode(s, prompt, got, &n, err);
    if (rc) {
        goto out;
    }
    rc = encode(s, answer, want, &n_want, err);
    if (rc) {
        goto out;
    }
    want[n_want++] = s->eos;
    rc = ww_forward_greedy(s->forward, got, n, n_want, s->eos, &n_out, err);
    if (!rc && s->show) {
        printf(" %s", prompt);
        show(s, got + n, n_out - n);
    }
    *right =
        !rc && n_out == n + n_want && memcmp(got + n, want, n_want * sizeof(*want)) == 0;
out:
    ww_json_free(row);
    return rc;
}

static enum ww_err score_file(struct scorer *s, const char *path, size_t max_rows,
                              size_t *n_right, size_t *n_rows, struct ww_error *err)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t len = 0;
    enum ww_err rc = file ? WW_OK : WW_FAIL(err, WW_E_NOTFOUND, "cannot open '%s'", path);
    while (!rc && *n_rows < max_rows && (len = getline(&line, &room, file)) > 0) {
        bool right = false;
        rc = score_row(s, line, (size_t)len, &right, err);
        *n_right += right;
        (*n_rows)++;
    }
    if (!rc && *n_rows == 0) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "'%s' has no rows", path);
    }
    free(line);
    if (file) {
        fclose(file);
    }
    return rc;
}

static bool read_options(int argc, char **argv, struct scorer *s, size_t *max_rows)
{
    *max_rows = SIZE_MAX;
    for (int i = 3; i < argc; i++) {
        if (strcmp(argv[i], "--show") == 0) {
            s->show = true;
        } else if (strcmp(argv[i], "--rows") == 0 && i + 1 < argc) {
            *max_rows = (size_t)strtoull(argv[++i], NULL, 10);
        } else {
            return false;
        }
    }
    return argc >= 3;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct scorer s = {0};
    size_t n_right = 0;
    size_t n_rows = 0;
    size_t max_rows = 0;
    if (!read_options(argc, argv, &s, &max_rows)) {
        fprintf(stderr, "usage: task_score MODEL TASK.jsonl [--rows N] [--show]\n");
        return 2;
    }
    enum ww_err rc = scorer_open(&s, argv[1], &err);
    if (!rc) {
        rc = score_file(&s, argv[2], max_rows, &n_right, &n_rows, &err);
    }
    scorer_close(&s);
    if (rc) {
        fprintf(stderr, "task_score: %s\n", err.text);
        return 1;
    }
    if (s.show) {
        putchar('\n');
    } else {
        printf("%.3f (%zu of %zu)\n", (double)n_right / (double)n_rows, n_right, n_rows);
    }
    return 0;
}
