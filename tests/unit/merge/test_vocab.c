/* SPDX-License-Identifier: Apache-2.0 */
/* Vocabularies: reading them, and the rows that a merge gives its tables. */
#include "ww_model_fixture.h"

#include "merge/build.h"
#include "merge/tokenizer.h"
#include "util/fail.h"

#define BPE(vocab, added)                                                                \
    "{\"added_tokens\": [" added "], \"model\": {\"type\": \"BPE\", \"vocab\": " vocab   \
    "}}"

static void parse(const char *text, struct ww_vocab *v)
{
    struct ww_error err = {0};
    OK(ww_vocab_parse(text, strlen(text), "m", v, &err));
}

static void maps_lists_and_added_tokens_are_read(void **state)
{
    struct ww_vocab v;
    (void)state;
    parse(BPE("{\"a\": 0, \"b\": 2}",
              "{\"id\": 0, \"content\": \"a\", \"special\": true}, "
              "{\"id\": 5, \"content\": \"<c>\"}"),
          &v);
    assert_int_equal(v.names.n, 3);
    assert_int_equal(v.end, 6);
    assert_int_equal(ww_vocab_id(&v, "b"), 2);
    assert_int_equal(ww_vocab_id(&v, "<c>"), 5);
    assert_true(ww_vocab_id(&v, "x") == UINT64_MAX);
    ww_vocab_release(&v);
    parse(
        "{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"u\", 0.0], [\"v\", -1.5]]}}",
        &v);
    assert_int_equal(ww_vocab_id(&v, "v"), 1);
    assert_int_equal(v.end, 2);
    ww_vocab_release(&v);
}

static void what_is_no_vocabulary_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum ww_err code;
    } cases[] = {
        {"{}", WW_E_MALFORMED},
        {"{\"model\": {\"vocab\": 3}}", WW_E_MALFORMED},
        {BPE("{\"a\": -1}", ""), WW_E_MALFORMED},
        {BPE("{\"a\": 99999999}", ""), WW_E_MALFORMED},
        {BPE("{\"a\": 1}", "{\"id\": 2, \"content\": \"a\"}"), WW_E_MALFORMED},
        {BPE("{\"a\": 1}", "{\"content\": \"b\"}"), WW_E_MALFORMED},
        {"{\"model\": {\"vocab\": [[1]]}}", WW_E_MALFORMED},
        {"{\"model\":", WW_E_JSON},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        struct ww_vocab v;
        FAILS(ww_vocab_parse(cases[i].text, strlen(cases[i].text), "m", &v, &err),
              cases[i].code);
    }
}

static void more_tokens_are_added_and_the_rest_stays(void **state)
{
    const struct ww_vocab_extra extra[] = {{"<d>", NULL}};
    struct ww_error err = {0};
    struct ww_vocab v;
    struct ww_vocab again;
    struct ww_buf out;
    (void)state;
    parse(BPE("{\"a\": 0}", "{\"id\": 1, \"content\": \"<c>\", \"special\": true}"), &v);
    ww_buf_init(&out, 4096);
    OK(ww_vocab_extend(&v, extra, 1, 2, &out, &err));
    assert_non_null(
        strstr(ww_buf_cstr(&out), "\"model\": {\"type\": \"BPE\", \"vocab\": "));
    parse(ww_buf_cstr(&out), &again);
    assert_int_equal(ww_vocab_id(&again, "<d>"), 2);
    assert_int_equal(ww_vocab_id(&again, "<c>"), 1);
    assert_non_null(strstr(ww_buf_cstr(&out), "\"special\":true"));
    ww_vocab_release(&again);
    ww_vocab_release(&v);
    ww_buf_release(&out);
}

#define CONFIG                                                                           \
    "{\"architectures\":[\"X\"],\"num_hidden_layers\":1,\"vocab_size\":%u,"              \
    "\"tie_word_embeddings\":false}"

/* Two models of tables with rows of two elements: row i of model m is all 10 m + i. */
struct vx {
    struct ww_fx *model[2];
    char config[2][200];
    struct ww_recipe_file file;
    struct ww_strlist warnings;
    struct ww_merge_plan plan;
    struct ww_error err;
};

static void fill(const struct ww_fx *fx, float first, unsigned rows)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/model.safetensors", fx->path);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -(long)rows * 8, SEEK_END), 0);
    for (unsigned i = 0; i < 2 * rows; i++) {
        float v = first + (float)(i / 2);
        assert_int_equal(fwrite(&v, sizeof(v), 1, f), 1);
    }
    assert_int_equal(fclose(f), 0);
}

/* name: of one more tensor in both, or NULL. */
static struct vx *vx_new_with(const char *tokens0, unsigned rows0, const char *tokens1,
                              unsigned rows1, const char *shape_too, const char *name)
{
    const char *tokens[2] = {tokens0, tokens1};
    const unsigned rows[2] = {rows0, rows1};
    struct vx *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    for (unsigned m = 0; m < 2; m++) {
        char shape[16];
        snprintf(x->config[m], sizeof(x->config[m]), CONFIG, rows[m]);
        snprintf(shape, sizeof(shape), "%u,2", rows[m]);
        x->model[m] = ww_fx_new(x->config[m]);
        ww_fx_add(x->model[m], shape, "model.embed_tokens.weight");
        if (name) {
            ww_fx_add(x->model[m], shape_too, "%s", name);
        }
        ww_fx_open(x->model[m]);
        fill(x->model[m], (float)(10 * m), rows[m]);
        if (tokens[m]) {
            ww_fx_file(x->model[m], "tokenizer.json", tokens[m]);
        }
    }
    return x;
}

static struct vx *vx_new(const char *tokens0, unsigned rows0, const char *tokens1,
                         unsigned rows1)
{
    return vx_new_with(tokens0, rows0, tokens1, rows1, NULL, NULL);
}

static enum ww_err vx_make(struct vx *x, const char *rest)
{
    const char *paths[2] = {x->model[0]->path, x->model[1]->path};
    struct ww_merge_options options = {0};
    char text[1000];
    snprintf(text, sizeof(text),
             "merge_method: linear\nparameters: {weight: 1}\n"
             "models: [{model: m0}, {model: m1}]\n%s",
             rest);
    assert_int_equal(
        ww_recipe_parse((const uint8_t *)text, strlen(text), "t", &x->file, &x->err),
        WW_OK);
    ww_error_clear(&x->err);
    const struct ww_recipe_use use = {
        .recipe = &x->file.recipes[0], .text = text, .len = strlen(text), .paths = paths};
    return ww_merge_plan_make(&use, &options, &x->warnings, &x->plan, &x->err);
}

static void vx_free(struct vx *x)
{
    ww_merge_plan_release(&x->plan);
    ww_recipe_release(&x->file);
    ww_strlist_release(&x->warnings);
    ww_fx_free(x->model[0]);
    ww_fx_free(x->model[1]);
    free(x);
}

/* First element of a row that the engine would read. */
static float row_value(const struct vx *x, unsigned source, uint32_t row)
{
    const struct ww_merge_source *s = &x->plan.tensors[0].sources[source];
    float v = 0;
    row = s->rows ? s->rows[row] : row;
    if (row == WW_NONE) {
        return 0;
    }
    assert_int_equal(
        pread(x->plan.inputs[s->input].fd, &v, 4, (off_t)(s->offset + row * 8)), 4);
    return v;
}

static void union_gives_each_model_the_rows_it_lacks(void **state)
{
    struct vx *x = vx_new(BPE("{\"a\": 0, \"b\": 1}", ""), 2,
                          BPE("{\"b\": 0, \"c\": 1, \"a\": 2}", ""), 3);
    (void)state;
    if (vx_make(x, "tokenizer_source: union\n")) {
        fail_msg("%s", x->err.text);
    }
    assert_int_equal(x->plan.tensors[0].shape[0], 3);
    NEAR(row_value(x, 0, 0), 0, 0);
    NEAR(row_value(x, 0, 1), 1, 0);
    NEAR(row_value(x, 0, 2), 11, 0); /* c from its only owner */
    NEAR(row_value(x, 1, 0), 12, 0); /* a is row 2 there */
    NEAR(row_value(x, 1, 1), 10, 0);
    NEAR(row_value(x, 1, 2), 11, 0);
    vx_free(x);
}

static void padding_is_the_mean_and_wishes_are_met(void **state)
{
    struct vx *x =
        vx_new(BPE("{\"a\": 0, \"b\": 1}", ""), 2, BPE("{\"a\": 0, \"b\": 1}", ""), 2);
    (void)state;
    if (vx_make(x, "tokenizer: {source: union, pad_to_multiple_of: 4, tokens: {"
                   "b: {source: m1, force: true}, "
                   "n: {source: {kind: model_token, model: m0, token: b}}}}\n")) {
        fail_msg("%s", x->err.text);
    }
    assert_int_equal(x->plan.tensors[0].shape[0], 4);
    NEAR(row_value(x, 0, 1), 11, 0);
    NEAR(row_value(x, 0, 2), 1, 0);
    NEAR(row_value(x, 0, 3), (0 + 11 + 1) / 3.0, 1e-6);
    NEAR(row_value(x, 1, 3), (10 + 11 + 1) / 3.0, 1e-6);
    vx_free(x);
}

static void token_of_nobody_is_zero_and_said(void **state)
{
    struct vx *x = vx_new(BPE("{\"a\": 0}", ""), 1, NULL, 1);
    bool said = false;
    bool taken = false;
    (void)state;
    if (vx_make(x, "tokenizer: {tokens: {n: }}\n")) {
        fail_msg("%s", x->err.text);
    }
    NEAR(row_value(x, 1, 1), 0, 0);
    NEAR(row_value(x, 1, 0), 10, 0);
    for (size_t i = 0; i < x->warnings.n; i++) {
        said =
            said || strstr(x->warnings.items[i], "'n' is in the vocabulary of no model");
        taken = taken || strstr(x->warnings.items[i], "'m1' has no tokenizer.json");
    }
    assert_true(said && taken);
    vx_free(x);
}

static void wishes_that_cannot_be_met_are_refused(void **state)
{
    static const struct {
        const char *rest;
        enum ww_err code;
        const char *part;
    } cases[] = {
        {"tokenizer: {tokens: {a: {force: true}}}\n", WW_E_RECIPE,
         "forced and has no source"},
        {"tokenizer: {tokens: {n: {source: {kind: model_token, model: m0, token_id: "
         "9}}}}\n",
         WW_E_RECIPE, "not in the vocabulary of 'm0'"},
        {"tokenizer: {tokens: {n: {source: m1}}}\n", WW_E_RECIPE,
         "not in the vocabulary of 'm1'"},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct vx *x = vx_new(BPE("{\"a\": 0}", ""), 1, BPE("{\"a\": 0}", ""), 1);
        assert_int_equal(vx_make(x, cases[i].rest), cases[i].code);
        if (!strstr(x->err.text, cases[i].part)) {
            fail_msg("'%s' does not say '%s'", x->err.text, cases[i].part);
        }
        vx_free(x);
    }
    struct vx *x = vx_new(NULL, 1, BPE("{\"a\": 0}", ""), 1);
    assert_int_equal(vx_make(x, "tokenizer_source: union\n"), WW_E_NOTFOUND);
    vx_free(x);
}

/* The vocabulary of a model without tokenizer.json lies in a file that is not read. */
static void words_in_another_form_are_the_donors_or_refused(void **state)
{
    static const char *const of_donor[] = {NULL, "other", "same"};
    (void)state;
    for (size_t i = 0; i < WW_LEN(of_donor); i++) {
        struct vx *x = vx_new(BPE("{\"a\": 0}", ""), 1, NULL, 1);
        ww_fx_file(x->model[1], "tokenizer.model", "same");
        if (of_donor[i]) {
            ww_fx_file(x->model[0], "tokenizer.model", of_donor[i]);
        }
        const enum ww_err rc = vx_make(x, "tokenizer_source: union\n");
        assert_int_equal(rc, i == 2 ? WW_OK : WW_E_UNSUPPORTED);
        assert_true(rc == WW_OK ||
                    strstr(x->err.text, "its tokenizer.model is not that of 'm0'"));
        vx_free(x);
    }
}

/* No base, so no tokenizer of it: any will do where all have the same words. */
static void base_of_nobody_is_the_one_tokenizer_or_refused(void **state)
{
    static const struct {
        const char *other;
        unsigned rows;
    } cases[] = {
        {BPE("{\"b\": 1, \"a\": 0}", ""), 2},
        {BPE("{\"a\": 1, \"b\": 0}", ""), 2},
        {BPE("{\"a\": 0, \"b\": 1, \"c\": 2}", ""), 3},
        {BPE("{\"a\": 0}", ""), 2},
        {NULL, 2},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        const bool one = i == 0 || !cases[i].other;
        struct vx *x =
            vx_new(BPE("{\"a\": 0, \"b\": 1}", ""), 2, cases[i].other, cases[i].rows);
        assert_int_equal(vx_make(x, "tokenizer_source: base\n"),
                         one ? WW_OK : WW_E_RECIPE);
        assert_true(one || strstr(x->err.text, "line 4: the base's tokenizer is wanted, "
                                               "there is no base_model, and 'm0' and "
                                               "'m1' have different ones"));
        vx_free(x);
    }
}

/* Words change places: what has a row for each follows, by its name, or is refused. */
static void other_tables_of_words_follow_or_are_refused(void **state)
{
    static const struct {
        const char *shape;
        const char *name;
        enum ww_err code;
        bool follows;
    } cases[] = {
        {"3", "predictions.bias", WW_OK, true},
        {"3,2", "model.embed_tokens_per_layer.weight", WW_OK, true},
        {"3,2", "lm_head.decoder.weight", WW_OK, true},
        {"1,3", "final_logits_bias", WW_E_UNSUPPORTED, false},
        {"3,2", "proj_out.weight", WW_E_UNSUPPORTED, false},
        {"3,2", "model.layers.0.up.weight", WW_OK, false},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct vx *x = vx_new_with(BPE("{\"a\": 0, \"b\": 1, \"c\": 2}", ""), 3,
                                   BPE("{\"c\": 0, \"a\": 1, \"b\": 2}", ""), 3,
                                   cases[i].shape, cases[i].name);
        assert_int_equal(vx_make(x, "tokenizer_source: union\n"), cases[i].code);
        for (uint32_t t = 0; t < x->plan.n_tensors && cases[i].code == WW_OK; t++) {
            const struct ww_merge_tensor *made = &x->plan.tensors[t];
            if (strcmp(made->name, cases[i].name) == 0) {
                assert_true((made->sources[1].rows != NULL) == cases[i].follows);
            }
        }
        assert_true(cases[i].code == WW_OK || strstr(x->err.text, cases[i].name));
        vx_free(x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_lists_and_added_tokens_are_read),
        cmocka_unit_test(what_is_no_vocabulary_is_refused),
        cmocka_unit_test(more_tokens_are_added_and_the_rest_stays),
        cmocka_unit_test(union_gives_each_model_the_rows_it_lacks),
        cmocka_unit_test(padding_is_the_mean_and_wishes_are_met),
        cmocka_unit_test(token_of_nobody_is_zero_and_said),
        cmocka_unit_test(wishes_that_cannot_be_met_are_refused),
        cmocka_unit_test(words_in_another_form_are_the_donors_or_refused),
        cmocka_unit_test(base_of_nobody_is_the_one_tokenizer_or_refused),
        cmocka_unit_test(other_tables_of_words_follow_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
