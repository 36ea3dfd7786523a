/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_evaluator [--by-task] N TASK.jsonl... PATH PART SEED: an evaluator of evo search
 * that runs the reference forward pass. N rows are drawn by SEED, from each task file as
 * many; the rows of a file are dealt to the parts, so none is in two of them. Prints for
 * each row minus its loss in nats per token of the answer, the end included; by task, the
 * mean of each file under its name up to the first point. PATH is a model that knows
 * characters.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "char_tokens.h"

#define MOST_ROWS 1024

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static enum ww_err loss_of(const struct char_model *m, const struct ww_jnode *row,
                           double *loss, struct ww_error *err)
{
    const char *prompt = NULL;
    const char *answer = NULL;
    uint32_t tokens[CHAR_MOST_TOKENS + 1] = {m->bos};
    size_t n = 1;
    const size_t vocabulary = (size_t)ww_forward_vocab(m->forward);
    if (!ww_jstr(ww_jget(row, "prompt"), &prompt) ||
        !ww_jstr(ww_jget(row, "answer"), &answer)) {
        return WW_FAIL(err, WW_E_MALFORMED, "a row has no prompt or no answer");
    }
    enum ww_err rc = char_encode(m, prompt, tokens, &n, err);
    const size_t first = n;
    rc = rc ? rc : char_encode(m, answer, tokens, &n, err);
    tokens[n++] = m->eos;
    double *logits = ww_calloc(n * vocabulary, sizeof(*logits));
    if (!rc && !logits) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory");
    }
    rc = rc ? rc : ww_forward_logits(m->forward, tokens, n - 1, NULL, 0, logits, err);
    for (size_t t = first; t < n && !rc; t++) {
        const double *at = logits + (t - 1) * vocabulary;
        double sum = 0;
        for (size_t v = 0; v < vocabulary; v++) {
            sum += exp(at[v] - at[tokens[t]]);
        }
        *loss += log(sum) / (double)(n - first);
    }
    ww_free(logits);
    return rc;
}

struct rows {
    char *line[MOST_ROWS];
    size_t n;
};

/* Rows of a file that belong to a part. */
static enum ww_err read_rows(const char *path, const char *part, struct rows *rows,
                             struct ww_error *err)
{
    FILE *file = fopen(path, "r");
    const size_t turn = part[0] == 's' ? 0 : part[0] == 'a' ? 1 : 2;
    char *line = NULL;
    size_t room = 0;
    size_t at = 0;
    if (!file) {
        return WW_FAIL(err, WW_E_NOTFOUND, "cannot open '%s'", path);
    }
    rows->n = 0;
    for (; rows->n < MOST_ROWS && getline(&line, &room, file) > 0; at++) {
        /* half of them for the search */
        if ((at % 4 < 2 ? 0 : at % 4 - 1) == turn) {
            rows->line[rows->n++] = ww_strdup(line);
        }
    }
    free(line);
    fclose(file);
    return rows->n ? WW_OK : WW_FAIL(err, WW_E_MALFORMED, "'%s' has too few rows", path);
}

static void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        ww_free(rows->line[i]);
    }
    rows->n = 0;
}

/* What is printed. */
struct scores {
    bool by_task;
    bool begun;
};

static void print_name(struct scores *out, const char *path)
{
    const char *base = ww_path_base(path);
    printf("%s\"%.*s\": ", out->begun ? ", " : "{\"scores\": {", (int)strcspn(base, "."),
           base);
    out->begun = true;
}

static void print_item(struct scores *out, double loss)
{
    printf("%s%.17g", out->begun ? ", " : "{\"scores\": [", -loss);
    out->begun = true;
}

/* n losses of one file, no row twice before all were drawn. */
static enum ww_err score_file(const struct char_model *m, const char *path,
                              const char *part, uint64_t seed, size_t n,
                              struct scores *out, struct ww_error *err)
{
    static struct rows rows;
    double sum = 0;
    enum ww_err rc = read_rows(path, part, &rows, err);
    for (size_t i = 0; i < n && !rc; i++) {
        const size_t at = i % rows.n;
        const size_t other = at + (size_t)(next(&seed) % (rows.n - at));
        char *line = rows.line[other];
        struct ww_json *row = NULL;
        double loss = 0;
        rows.line[other] = rows.line[at];
        rows.line[at] = line;
        rc = ww_json_parse((const uint8_t *)line, strlen(line), &ww_json_limits_small,
                           &row, err);
        rc = rc ? rc : loss_of(m, ww_json_root(row), &loss, err);
        sum += loss;
        if (!rc && !out->by_task) {
            print_item(out, loss);
        }
        ww_json_free(row);
    }
    if (!rc && out->by_task) {
        print_name(out, path);
        printf("%.17g", -sum / (double)(n ? n : 1));
    }
    rows_free(&rows);
    return rc;
}

int main(int argc, char **argv)
{
    struct char_model m = {0};
    struct ww_error err = {0};
    struct scores out = {.by_task = argc > 1 && strcmp(argv[1], "--by-task") == 0};
    argc -= out.by_task;
    argv += out.by_task;
    if (argc < 6) {
        fprintf(stderr,
                "usage: task_evaluator [--by-task] N TASK.jsonl... PATH PART SEED\n");
        return 2;
    }
    const size_t files = (size_t)argc - 5;
    const size_t n = (size_t)strtoull(argv[1], NULL, 10);
    const uint64_t seed = strtoull(argv[argc - 1], NULL, 10);
    enum ww_err rc = char_model_open(&m, argv[argc - 3], &err);
    for (size_t f = 0; f < files && !rc; f++) {
        /* what is left of a division goes to other files for other seeds */
        const size_t place = (f + files - seed % files) % files;
        const size_t share = n / files + (place < n % files);
        rc = score_file(&m, argv[2 + f], argv[argc - 2], seed + 1000003 * f, share, &out,
                        &err);
    }
    char_model_close(&m);
    if (rc) {
        fprintf(stderr, "task_evaluator: %s\n", err.text);
        return 1;
    }
    printf("%s}\n", out.by_task ? "}" : "]");
    return 0;
}
