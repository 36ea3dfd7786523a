/* SPDX-License-Identifier: Apache-2.0 */
/* Whole models against logits of transformers in float64: tests/vectors/forward/make.py.
 * And a model that was trained, against the answers it was trained to give. */
#include "ww_test.h"

#include "weightward/forward.h"

#define MOST 64

struct rig {
    struct ww_model *model;
    struct ww_layout *layout;
    struct ww_forward *forward;
};

static void rig_open(struct rig *r, const char *folder)
{
    struct ww_error err;
    OK(ww_model_open(folder, &r->model, &err));
    OK(ww_layout_resolve(r->model, NULL, &r->layout, &err));
    OK(ww_forward_new(r->layout, NULL, &r->forward, &err));
}

static void rig_close(struct rig *r)
{
    ww_forward_free(r->forward);
    ww_layout_free(r->layout);
    ww_model_close(r->model);
}

static size_t read_tokens(FILE *file, uint32_t tokens[MOST])
{
    char *line = NULL;
    size_t room = 0;
    size_t n = 0;
    assert_true(getline(&line, &room, file) > 0);
    for (char *at = line, *end = NULL; n < MOST && *at != '-'; at = end) {
        tokens[n] = (uint32_t)strtoul(at, &end, 10);
        if (end == at) {
            break;
        }
        n++;
    }
    free(line);
    return n;
}

/* The largest difference to the rows that follow in the file, over the largest value. */
static double compare(FILE *file, const double *logits, size_t n, size_t vocab)
{
    char *line = NULL;
    size_t room = 0;
    double worst = 0;
    double largest = 0;
    for (size_t t = 0; t < n; t++) {
        assert_true(getline(&line, &room, file) > 0);
        char *at = line;
        for (size_t i = 0; i < vocab; i++) {
            char *end = NULL;
            double want = strtod(at, &end);
            assert_true(end != at);
            worst = fmax(worst, fabs(logits[t * vocab + i] - want));
            largest = fmax(largest, fabs(want));
            at = end;
        }
    }
    assert_true(getline(&line, &room, file) < 0);
    free(line);
    return worst / largest;
}

static void check(const char *name)
{
    struct rig r;
    struct ww_error err;
    char path[512];
    uint32_t tokens[MOST];
    uint32_t encoder[MOST];
    snprintf(path, sizeof(path), "%s/forward/%s", WW_VECTORS, name);
    rig_open(&r, path);
    snprintf(path, sizeof(path), "%s/forward/%s/expected.txt", WW_VECTORS, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = read_tokens(file, tokens);
    size_t m = read_tokens(file, encoder);
    size_t vocab = (size_t)ww_forward_vocab(r.forward);
    assert_true(n > 4 && vocab == 97);
    double *logits = calloc(n * vocab, sizeof(*logits));
    OK(ww_forward_logits(r.forward, tokens, n, m ? encoder : NULL, m, logits, &err));
    NEAR(compare(file, logits, n, vocab), 0, 1e-9);
    free(logits);
    fclose(file);
    rig_close(&r);
}

static void llama_gives_the_logits_of_the_library(void **state)
{
    (void)state;
    check("llama");
}

static void mixtral_gives_the_logits_of_the_library(void **state)
{
    (void)state;
    check("mixtral");
}

static void gemma2_gives_the_logits_of_the_library(void **state)
{
    (void)state;
    check("gemma2");
}

static void t5_gives_the_logits_of_the_library(void **state)
{
    (void)state;
    check("t5");
}

/* Characters of the amber tokenizer: specials, newline, then printable ASCII. */
static uint32_t amber_token(char c)
{
    return (uint32_t)(c - ' ') + 5;
}

static void a_trained_model_reverses_words(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"R:ltms=", "smtl"}, {"R:qlbmo=", "omblq"}, {"R:napmadp=", "pdampan"}};
    struct rig r;
    struct ww_error err;
    rig_open(&r, WW_VECTORS "/amber/expert-rev");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t tokens[MOST] = {1};
        size_t n = 1;
        size_t n_out = 0;
        for (const char *c = rows[i][0]; *c; c++) {
            tokens[n++] = amber_token(*c);
        }
        OK(ww_forward_greedy(r.forward, tokens, n, 20, 2, &n_out, &err));
        size_t len = strlen(rows[i][1]);
        assert_int_equal(n_out, n + len + 1);
        for (size_t c = 0; c < len; c++) {
            assert_int_equal(tokens[n + c], amber_token(rows[i][1][c]));
        }
        assert_int_equal(tokens[n + len], 2);
    }
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_gives_the_logits_of_the_library),
        cmocka_unit_test(mixtral_gives_the_logits_of_the_library),
        cmocka_unit_test(gemma2_gives_the_logits_of_the_library),
        cmocka_unit_test(t5_gives_the_logits_of_the_library),
        cmocka_unit_test(a_trained_model_reverses_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
