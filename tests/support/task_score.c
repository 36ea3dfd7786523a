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

#include "char_tokens.h"

#define MOST_TOKENS CHAR_MOST_TOKENS

struct scorer {
    struct char_model m;
    bool show; /* print what was answered */
};

/* Print the characters of an answer without its end token. */
static void show(const struct scorer *s, const uint32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n && tokens[i] != s->m.eos; i++) {
        for (const struct ww_jnode *v = ww_jfirst(s->m.vocab); v; v = ww_jnext(v)) {
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
    uint32_t got[2 * MOST_TOKENS + 2] = {s->m.bos};
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
    rc = char_encode(&s->m, prompt, got, &n, err);
    if (rc) {
        goto out;
    }
    rc = char_encode(&s->m, answer, want, &n_want, err);
    if (rc) {
        goto out;
    }
    want[n_want++] = s->m.eos;
    rc = ww_forward_greedy(s->m.forward, got, n, n_want, s->m.eos, &n_out, err);
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
    enum ww_err rc = char_model_open(&s.m, argv[1], &err);
    if (!rc) {
        rc = score_file(&s, argv[2], max_rows, &n_right, &n_rows, &err);
    }
    char_model_close(&s.m);
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
