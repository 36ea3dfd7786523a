/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of requests: what is read, what is refused. */
#include "ww_test.h"

#include "serve/question.h"

static const struct ww_chat_template no_template;
static const struct ww_chat_template turns = {
    .begin = "<s>",
    .answer = "A:",
    .user = {"U:", "\n"},
    .assistant = {"A:", "\n"},
    .given = true,
};

static enum ww_err parse(const char *text, bool chat, const struct ww_chat_template *how,
                         struct ww_question *out, struct ww_error *err)
{
    return ww_question_read((const uint8_t *)text, strlen(text), chat, how, out, err);
}

static void a_completion_is_read_with_its_defaults(void **state)
{
    (void)state;
    struct ww_question q;
    struct ww_error err = {0};
    OK(parse("{\"model\":\"m\",\"prompt\":\"a\",\"n\":1,\"logprobs\":null,"
             "\"logit_bias\":{},\"presence_penalty\":0.0}",
             false, &no_template, &q, &err));
    assert_string_equal(q.model, "m");
    assert_string_equal(ww_buf_cstr(&q.prompt), "a");
    assert_int_equal(q.max_tokens, 16);
    assert_true(q.temperature == 1 && q.top_p == 1 && q.top == -1);
    assert_false(q.stream || q.usage || q.has_seed);
    ww_question_release(&q);
    OK(parse("{\"model\":\"m\",\"prompt\":\"a\",\"max_tokens\":7,\"temperature\":0,"
             "\"top_p\":0.5,\"seed\":-3,\"stop\":[\"x\",\"yz\"],\"logprobs\":5,"
             "\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
             false, &no_template, &q, &err));
    assert_int_equal(q.max_tokens, 7);
    assert_true(q.temperature == 0 && q.top_p == 0.5 && q.top == 5);
    assert_true(q.stream && q.usage && q.has_seed && q.seed == (uint64_t)-3);
    assert_int_equal(q.n_stops, 2);
    assert_string_equal(q.stop[1], "yz");
    ww_question_release(&q);
}

static void messages_are_joined_by_the_template(void **state)
{
    (void)state;
    struct ww_question q;
    struct ww_error err = {0};
    OK(parse("{\"model\":\"m\",\"top_logprobs\":20,\"logprobs\":true,\"messages\":["
             "{\"role\":\"user\",\"content\":\"a\"},"
             "{\"role\":\"assistant\",\"content\":\"b\"},"
             "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"c\"},"
             "{\"type\":\"text\",\"text\":\"d\"}]}]}",
             true, &turns, &q, &err));
    assert_string_equal(ww_buf_cstr(&q.prompt), "<s>U:a\nA:b\nU:cd\nA:");
    assert_int_equal(q.top, 20);
    ww_question_release(&q);
}

static void what_is_not_done_here_is_refused_with_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool chat;
        enum ww_err code;
        const char *says;
    } cases[] = {
        {"[]", false, WW_E_MALFORMED, "object"},
        {"{\"model\":\"m\",\"model\":\"n\"}", false, WW_E_JSON, "model"},
        {"{\"prompt\":\"a\"}", false, WW_E_MALFORMED, "'model'"},
        {"{\"model\":\"m\"}", false, WW_E_MALFORMED, "'prompt'"},
        {"{\"model\":\"m\",\"prompt\":[1]}", false, WW_E_MALFORMED, "'prompt'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"logprobs\":6}", false, WW_E_MALFORMED,
         "'logprobs'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"max_tokens\":4097}", false, WW_E_MALFORMED,
         "'max_tokens'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"temperature\":-0.1}", false, WW_E_MALFORMED,
         "'temperature'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\"]}",
         false, WW_E_MALFORMED, "'stop'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"logit_bias\":{\"5\":1}}", false,
         WW_E_MALFORMED, "'logit_bias'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"frequency_penalty\":0.5}", false,
         WW_E_MALFORMED, "'frequency_penalty'"},
        {"{\"model\":\"m\",\"prompt\":\"a\",\"suffix\":\"b\"}", false, WW_E_MALFORMED,
         "'suffix'"},
        {"{\"model\":\"m\",\"messages\":[],\"prompt\":\"a\"}", true, WW_E_MALFORMED,
         "'prompt'"},
        {"{\"model\":\"m\",\"messages\":[]}", true, WW_E_MALFORMED, "'messages'"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"a\"}]}", true,
         WW_E_UNSUPPORTED, "'system'"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]}", true,
         WW_E_UNSUPPORTED, "'tool'"},
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
         "[{\"type\":\"image_url\"}]}]}",
         true, WW_E_UNSUPPORTED, "content"},
        {"{\"model\":\"m\",\"top_logprobs\":2,\"messages\":[]}", true, WW_E_MALFORMED,
         "'top_logprobs'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_question q;
        struct ww_error err = {0};
        FAILS(parse(cases[i].body, cases[i].chat, &turns, &q, &err), cases[i].code);
        if (!strstr(err.text, cases[i].says)) {
            fail_msg("%s: '%s' does not say %s", cases[i].body, err.text, cases[i].says);
        }
    }
}

static void chat_without_a_template_is_refused(void **state)
{
    (void)state;
    struct ww_question q;
    struct ww_error err = {0};
    FAILS(parse("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
                true, &no_template, &q, &err),
          WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "template"));
}

static void options_are_read_by_both_names(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{\"model\":\"m\",\"prompt\":\"a\",\"guided_choice\":[\"x\",\"yz\"]}",
        "{\"model\":\"m\",\"prompt\":\"a\",\"structured_outputs\":{\"choice\":"
        "[\"x\",\"yz\"]}}"};
    static const char *const wrong[] = {
        "\"guided_choice\":[\"x\"]",
        "\"guided_choice\":[\"x\",\"x\"]",
        "\"guided_choice\":[\"x\",\"\"]",
        "\"guided_choice\":[\"x\",1]",
        "\"guided_choice\":\"x\"",
        "\"structured_outputs\":{}",
        "\"structured_outputs\":{\"regex\":\"x\"}",
        "\"guided_choice\":[\"x\",\"y\"],\"structured_outputs\":{\"choice\":[\"x\","
        "\"y\"]}"};
    struct ww_question q;
    struct ww_error err = {0};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        OK(parse(good[i], false, &no_template, &q, &err));
        assert_int_equal(q.n_options, 2);
        assert_true(q.option[1].len == 2 && q.option[1].data[1] == 'z');
        ww_question_release(&q);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char body[256];
        (void)snprintf(body, sizeof(body), "{\"model\":\"m\",\"prompt\":\"a\",%s}",
                       wrong[i]);
        ww_error_clear(&err);
        FAILS(parse(body, false, &no_template, &q, &err), WW_E_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_completion_is_read_with_its_defaults),
        cmocka_unit_test(messages_are_joined_by_the_template),
        cmocka_unit_test(what_is_not_done_here_is_refused_with_its_name),
        cmocka_unit_test(chat_without_a_template_is_refused),
        cmocka_unit_test(options_are_read_by_both_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
