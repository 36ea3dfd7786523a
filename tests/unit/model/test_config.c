/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "util/fail.h"
#include "ww_test.h"

static enum ww_err parse(const char *text, struct ww_config **out, struct ww_error *err)
{
    return ww_config_parse((const uint8_t *)text, strlen(text), out, err);
}

static struct ww_config *must_parse(const char *text)
{
    struct ww_error err = {0};
    struct ww_config *config = NULL;
    OK(parse(text, &config, &err));
    return config;
}

static void a_plain_config_is_its_own_text_section(void **state)
{
    (void)state;
    struct ww_config *c = must_parse("{\"model_type\":\"llama\",\"architectures\":[\"A\","
                                     "\"B\"],\"num_hidden_layers\":2,"
                                     "\"tie_word_embeddings\":true}");
    assert_ptr_equal(c->text, c->root);
    assert_string_equal(c->model_type, "llama");
    assert_string_equal(c->root_model_type, "llama");
    assert_true(c->tie_present && c->tie);
    assert_false(c->has_auto_map || c->has_pruned_heads);
    assert_null(c->quant_method);
    assert_string_equal(ww_config_architecture(c, 0), "A");
    assert_string_equal(ww_config_architecture(c, 1), "B");
    assert_null(ww_config_architecture(c, 2));
    ww_config_free(c);
}

static void sections_are_found_where_wrappers_put_them(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"model_type\":\"w\",\"text_config\":{\"model_type\":\"t\"}}",
        "{\"model_type\":\"w\",\"language_config\":{\"model_type\":\"t\"}}",
        "{\"model_type\":\"w\",\"text_config\":null,\"llm_config\":{\"model_type\":\"t\"}"
        "}",
        "{\"model_type\":\"w\",\"text_config\":{},\"thinker_config\":{\"text_config\":{"
        "\"model_type\":\"t\"}}}",
    };
    for (size_t i = 0; i < WW_LEN(texts); i++) {
        struct ww_config *c = must_parse(texts[i]);
        assert_string_equal(c->model_type, "t");
        assert_string_equal(c->root_model_type, "w");
        assert_ptr_not_equal(c->text, c->root);
        ww_config_free(c);
    }
    struct ww_config *c = must_parse("{\"model_type\":\"w\",\"text_config\":{\"n\":1}}");
    assert_string_equal(c->model_type, "w");
    ww_config_free(c);
}

static void facts_are_found_by_any_of_their_keys(void **state)
{
    (void)state;
    for (enum ww_fact fact = 0; fact < WW_FACT_COUNT; fact++) {
        size_t n;
        const char *const *keys = ww_fact_keys(fact, &n);
        assert_true(n > 0);
        for (size_t k = 0; k < n; k++) {
            struct ww_error err = {0};
            char text[200];
            bool present;
            uint64_t value;
            const char *dot = strchr(keys[k], '.');
            if (dot) {
                snprintf(text, sizeof(text), "{\"%.*s\":{\"%s\":77}}",
                         (int)(dot - keys[k]), keys[k], dot + 1);
            } else {
                snprintf(text, sizeof(text), "{\"%s\":77}", keys[k]);
            }
            struct ww_config *c = must_parse(text);
            OK(ww_config_fact(c->text, fact, &present, &value, &err));
            assert_true(present);
            assert_int_equal(value, 77);
            ww_config_free(c);
        }
    }
}

static void null_counts_as_absent_and_the_next_key_is_tried(void **state)
{
    (void)state;
    struct ww_error err = {0};
    bool present;
    uint64_t value;
    struct ww_config *c = must_parse(
        "{\"head_dim\":null,\"num_hidden_layers\":null,\"n_layer\":3,\"vocab_size\":0}");
    OK(ww_config_fact(c->text, WW_FACT_HEAD_DIM, &present, &value, &err));
    assert_false(present);
    OK(ww_config_fact(c->text, WW_FACT_LAYERS, &present, &value, &err));
    assert_true(present);
    assert_int_equal(value, 3);
    OK(ww_config_fact(c->text, WW_FACT_VOCAB, &present, &value, &err));
    assert_true(present);
    assert_int_equal(value, 0);
    OK(ww_config_fact(c->text, WW_FACT_HEADS, &present, &value, &err));
    assert_false(present);
    ww_config_free(c);
}

static void facts_of_the_wrong_type_are_errors(void **state)
{
    (void)state;
    static const char *const values[] = {"\"8\"", "-8", "8.5", "[8]", "true", "{}"};
    for (size_t i = 0; i < WW_LEN(values); i++) {
        struct ww_error err = {0};
        bool present = true;
        uint64_t value;
        char text[64];
        snprintf(text, sizeof(text), "{\"num_attention_heads\":%s}", values[i]);
        struct ww_config *c = must_parse(text);
        FAILS(ww_config_fact(c->text, WW_FACT_HEADS, &present, &value, &err),
              WW_E_CONFIG);
        assert_non_null(strstr(err.text, "num_attention_heads"));
        assert_false(present);
        ww_config_free(c);
    }
}

static void dotted_paths_reach_inside(void **state)
{
    (void)state;
    double theta = 0;
    struct ww_config *c =
        must_parse("{\"rope_parameters\":{\"full\":{\"rope_theta\":1e4}},\"x\":null}");
    assert_true(
        ww_jdouble(ww_config_at(c->text, "rope_parameters.full.rope_theta"), &theta));
    assert_true(theta == 10000.0);
    assert_null(ww_config_at(c->text, "rope_parameters.rope_theta"));
    assert_null(ww_config_at(c->text, "rope_parameters.full.rope_theta.more"));
    assert_null(ww_config_at(c->text, "x"));
    assert_null(ww_config_at(c->text, "x.y"));
    assert_null(ww_config_at(c->text, ""));
    assert_null(ww_config_at(NULL, "x"));
    assert_null(ww_config_at(
        c->text, "a_key_that_is_longer_than_any_that_a_table_of_ours_could_ever_hold_x"));
    ww_config_free(c);
}

static void quantisation_is_seen_in_every_spelling(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *method;
    } cases[] = {
        {"{\"quantization_config\":{\"quant_method\":\"gptq\"}}", "gptq"},
        {"{\"text_config\":{\"quantization_config\":{\"quant_method\":\"fp8\"}}}", "fp8"},
        {"{\"text_config\":{\"a\":1},\"quantization_config\":{\"quant_method\":\"awq\"}}",
         "awq"},
        {"{\"quantization_config\":{\"bits\":4}}", "unknown"},
        {"{\"quantization_config\":{\"load_in_8bit\":true}}", "bitsandbytes"},
        {"{\"quantization_config\":{\"load_in_4bit\":true,\"load_in_8bit\":false}}",
         "bitsandbytes"},
        {"{\"compression_config\":{\"format\":\"x\"}}", "compressed-tensors"},
        {"{\"quantization_config\":null}", NULL},
        {"{}", NULL},
    };
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_config *c = must_parse(cases[i].text);
        if (cases[i].method) {
            assert_non_null(c->quant_method);
            assert_string_equal(c->quant_method, cases[i].method);
        } else {
            assert_null(c->quant_method);
        }
        ww_config_free(c);
    }
}

static void flags_need_a_non_empty_object(void **state)
{
    (void)state;
    struct ww_config *c = must_parse("{\"auto_map\":{},\"pruned_heads\":{}}");
    assert_false(c->has_auto_map || c->has_pruned_heads || c->tie_present);
    ww_config_free(c);
    c = must_parse("{\"auto_map\":{\"AutoModel\":\"x.Y\"},\"pruned_heads\":{\"1\":[0]}}");
    assert_true(c->has_auto_map && c->has_pruned_heads);
    ww_config_free(c);
    c = must_parse(
        "{\"tie_word_embeddings\":false,"
        "\"text_config\":{\"tie_word_embeddings\":true,\"auto_map\":{\"a\":1}}}");
    assert_true(c->tie_present && !c->tie && c->has_auto_map);
    ww_config_free(c);
    c = must_parse("{\"text_config\":{\"tie_word_embeddings\":true}}");
    assert_true(c->tie_present && c->tie);
    ww_config_free(c);
}

static void malformed_configs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ww_err code;
    } cases[] = {
        {"", WW_E_JSON},
        {"{\"a\":1,\"a\":2}", WW_E_JSON},
        {"{\"a\":1} x", WW_E_JSON},
        {"[]", WW_E_CONFIG},
        {"3", WW_E_CONFIG},
        {"{\"tie_word_embeddings\":1}", WW_E_CONFIG},
    };
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        struct ww_config *config = NULL;
        FAILS(parse(cases[i].text, &config, &err), cases[i].code);
        assert_null(config);
        assert_non_null(strstr(err.text, "'config.json'"));
        assert_int_equal(strstr(err.text, "put back the one") != NULL,
                         cases[i].text[0] != '{' || cases[i].code == WW_E_JSON);
    }
    ww_config_free(NULL);
}

static void odd_types_of_free_text_are_ignored(void **state)
{
    (void)state;
    struct ww_config *c = must_parse("{\"model_type\":3,\"architectures\":\"A\"}");
    assert_null(c->model_type);
    assert_null(ww_config_architecture(c, 0));
    ww_config_free(c);
    c = must_parse("{\"architectures\":[1]}");
    assert_null(ww_config_architecture(c, 0));
    ww_config_free(c);
}

static void a_model_type_is_one_line(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_config *c = NULL;
    FAILS(parse("{\"model_type\":\"llama\\nsigned: yes\"}", &c, &err), WW_E_CONFIG);
    FAILS(parse("{\"model_type\":\"w\\u001b[2J\",\"text_config\":{\"model_type\":\"t\"}}",
                &c, &err),
          WW_E_CONFIG);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_config_is_its_own_text_section),
        cmocka_unit_test(sections_are_found_where_wrappers_put_them),
        cmocka_unit_test(facts_are_found_by_any_of_their_keys),
        cmocka_unit_test(null_counts_as_absent_and_the_next_key_is_tried),
        cmocka_unit_test(facts_of_the_wrong_type_are_errors),
        cmocka_unit_test(dotted_paths_reach_inside),
        cmocka_unit_test(quantisation_is_seen_in_every_spelling),
        cmocka_unit_test(flags_need_a_non_empty_object),
        cmocka_unit_test(malformed_configs_are_refused),
        cmocka_unit_test(odd_types_of_free_text_are_ignored),
        cmocka_unit_test(a_model_type_is_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
