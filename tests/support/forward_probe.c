/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward_probe [--hidden] MODEL TOKENS [ENCODER_TOKENS]
 * forward_probe --block B MODEL ROWS [ENCODER_ROWS]
 *
 * What the reference forward pass gives, one row per line with 17 digits, for comparison
 * with other programs. TOKENS are numbers joined by commas; ROWS are files of numbers as
 * text, one row of the residual stream per line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weightward/forward.h"

struct probe {
    struct ww_model *model;
    struct ww_layout *layout;
    struct ww_forward *forward;
};

static enum ww_err probe_open(struct probe *p, const char *path, struct ww_error *err)
{
    enum ww_err rc = ww_model_open(path, &p->model, err);
    if (rc) {
        return rc;
    }
    rc = ww_layout_resolve(p->model, NULL, &p->layout, err);
    if (rc) {
        return rc;
    }
    return ww_forward_new(p->layout, NULL, &p->forward, err);
}

static void probe_close(struct probe *p)
{
    ww_forward_free(p->forward);
    ww_layout_free(p->layout);
    ww_model_close(p->model);
}

static uint32_t *parse_tokens(const char *text, size_t *n)
{
    uint32_t *tokens = calloc(strlen(text) + 1, sizeof(*tokens));
    *n = 0;
    while (tokens && *text) {
        char *end = NULL;
        tokens[(*n)++] = (uint32_t)strtoul(text, &end, 10);
        if (end == text || (*end && *end != ',')) {
            free(tokens);
            return NULL;
        }
        text = *end ? end + 1 : end;
    }
    return tokens;
}

/* All numbers of a text file; *n is how many. */
static double *read_rows(const char *path, size_t *n)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    double *values = NULL;
    *n = 0;
    while (file && getline(&line, &room, file) > 0) {
        char *at = line;
        for (;;) {
            char *end = NULL;
            double value = strtod(at, &end);
            if (end == at) {
                break;
            }
            double *more = realloc(values, (*n + 1) * sizeof(*more));
            if (!more) {
                break;
            }
            values = more;
            values[(*n)++] = value;
            at = end;
        }
    }
    free(line);
    if (file) {
        fclose(file);
    }
    return values;
}

static void print_rows(const double *x, size_t n, size_t width)
{
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < width; i++) {
            printf("%s%.17g", i ? " " : "", x[t * width + i]);
        }
        putchar('\n');
    }
}

static enum ww_err run_tokens(struct probe *p, bool hidden, const char *text,
                              const char *encoder_text, struct ww_error *err)
{
    size_t n = 0;
    size_t n_encoder = 0;
    uint32_t *tokens = parse_tokens(text, &n);
    uint32_t *encoder = encoder_text ? parse_tokens(encoder_text, &n_encoder) : NULL;
    size_t width =
        (size_t)(hidden ? p->layout->residual.width : ww_forward_vocab(p->forward));
    double *out = calloc(n * width + 1, sizeof(*out));
    enum ww_err rc = WW_E_USAGE;
    if (tokens && out && hidden) {
        rc = ww_forward_hidden(p->forward, tokens, n, out, err);
    } else if (tokens && out) {
        rc = ww_forward_logits(p->forward, tokens, n, encoder, n_encoder, out, err);
    }
    if (!rc) {
        print_rows(out, n, width);
    }
    free(tokens);
    free(encoder);
    free(out);
    return rc;
}

static enum ww_err run_block(struct probe *p, const char *block, const char *path,
                             const char *encoder_path, struct ww_error *err)
{
    size_t width = (size_t)p->layout->residual.width;
    size_t n = 0;
    size_t m = 0;
    double *x = read_rows(path, &n);
    double *encoder = encoder_path ? read_rows(encoder_path, &m) : NULL;
    uint64_t *positions = calloc(n + 1, sizeof(*positions));
    enum ww_err rc = WW_E_USAGE;
    for (size_t t = 0; positions && t < n / width; t++) {
        positions[t] = t;
    }
    if (x && positions && n % width == 0 && m % width == 0) {
        rc = ww_forward_block(p->forward, (uint32_t)strtoul(block, NULL, 10), x, x,
                              positions, n / width, encoder, m / width, err);
    }
    if (!rc) {
        print_rows(x, n / width, width);
    }
    free(x);
    free(encoder);
    free(positions);
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct probe p = {0};
    bool hidden = argc > 1 && strcmp(argv[1], "--hidden") == 0;
    bool block = argc > 2 && strcmp(argv[1], "--block") == 0;
    int first = 1 + hidden + 2 * block;
    if (argc < first + 2 || argc > first + 3) {
        fprintf(stderr, "usage: forward_probe [--hidden | --block B] MODEL TOKENS|ROWS "
                        "[ENCODER]\n");
        return 2;
    }
    const char *encoder = argc == first + 3 ? argv[first + 2] : NULL;
    enum ww_err rc = probe_open(&p, argv[first], &err);
    if (!rc && block) {
        rc = run_block(&p, argv[2], argv[first + 1], encoder, &err);
    } else if (!rc) {
        rc = run_tokens(&p, hidden, argv[first + 1], encoder, &err);
    }
    if (rc) {
        fprintf(stderr, "forward_probe: %s: %s\n", ww_err_name(rc), err.text);
    }
    probe_close(&p);
    return rc ? 1 : 0;
}
