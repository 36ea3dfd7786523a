/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in the shapes that servers give them, and in the shapes of their faults. */
#include "ww_test.h"

#include <math.h>

#include "evo/dialect.h"

static struct ww_span span(const char *text)
{
    return (struct ww_span){(const uint8_t *)text, strlen(text)};
}

static struct ww_ask ask_score(const char *prompt, const char *answer, const char *end,
                               uint32_t top)
{
    return (struct ww_ask){.score = true,
                           .prompt = span(prompt),
                           .answer = span(answer),
                           .end = end,
                           .model = "m",
                           .top = top};
}

static struct ww_ask ask_next(const char *prompt, uint32_t top)
{
    return (struct ww_ask){
        .prompt = span(prompt), .answer = span(""), .end = "", .model = "m", .top = top};
}

static enum ww_err get(const char *dialect, const struct ww_ask *ask, const char *body,
                       struct ww_scored *out, struct ww_error *err)
{
    return ww_dialect_read(ww_dialect_named(dialect), ask, (const uint8_t *)body,
                           strlen(body), out, err);
}

static bool is(struct ww_span s, const char *text)
{
    return ww_span_eq(s, span(text));
}

/* "ab" -> "cd", then one generated token. */
#define ECHO(LP, TOP)                                                                    \
    "{\"choices\":[{\"text\":\"abcdx\",\"logprobs\":{\"tokens\":[\"ab\",\"c\",\"d\","    \
    "\"x\"],\"token_logprobs\":" LP ",\"top_logprobs\":" TOP                             \
    ",\"text_offset\":[0,2,3,4]}}],\"usage\":{\"total_tokens\":4}}"
#define TOPS                                                                             \
    "[null,{\"c\":-0.5,\"q\":-1.5},{\"q\":-0.1,\"r\":-2.5,\"d\":-7},{\"x\":-0.1}]"

static void echo_gives_the_answers_tokens(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    const struct ww_ask ask = ask_score("ab", "cd", "", 2);
    assert_int_equal(
        get("openai-completions", &ask, ECHO("[null,-0.5,-7,-0.1]", TOPS), &s, &err),
        WW_OK);
    assert_int_equal(s.n, 2);
    assert_true(is(s.at[0].gold, "c") && s.at[0].logprob == -0.5);
    assert_true(is(s.at[1].gold, "d") && s.at[1].logprob == -7);
    assert_int_equal(s.at[0].n, 2);
    /* the appended right token is not of the list */
    assert_int_equal(s.at[1].n, 2);
    assert_true(is(s.at[1].top[0].bytes, "q") && is(s.at[1].top[1].bytes, "r"));
    assert_int_equal(s.tokens, 4);
    assert_true(isnan(s.prompt_surprise));
    ww_scored_release(&s);
}

static void zero_comes_in_several_spellings(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    const struct ww_ask ask = ask_score("ab", "cd", "", 2);
    assert_int_equal(get("openai-completions", &ask,
                         ECHO("[null,-9999,-3.4028234663852886e38,-0.1]", TOPS), &s,
                         &err),
                     WW_OK);
    assert_true(s.at[0].logprob == -100 && s.at[1].logprob == -100);
    ww_scored_release(&s);
}

static void faults_of_an_echo_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum ww_err code;
    } cases[] = {
        {ECHO("[null,null,-7,-0.1]", TOPS), WW_E_MALFORMED},
        {ECHO("[null,-0.5,-7]", TOPS), WW_E_MALFORMED},
        {ECHO("[null,-0.5,3,-0.1]", TOPS), WW_E_MALFORMED},
        {ECHO("[null,-0.5,-7,-0.1]", "[null,null,{},{}]"), WW_E_MALFORMED},
        {ECHO("[null,-0.5,-7,-0.1]", "null"), WW_E_UNSUPPORTED},
        {"{\"choices\":[{\"text\":\"x\",\"logprobs\":null}]}", WW_E_UNSUPPORTED},
        {"{\"choices\":[{\"text\":\"x\"}]}", WW_E_UNSUPPORTED},
        {"{\"choices\":[]}", WW_E_MALFORMED},
        {"{\"choices\":[{\"logprobs\":{\"tokens\":[\"x\"],\"token_logprobs\":[-1],"
         "\"top_logprobs\":[{\"x\":-1}],\"text_offset\":[0]}}]}",
         WW_E_UNSUPPORTED}, /* echo ignored */
        {"{\"choices\":[{\"logprobs\":{\"tokens\":[\"ab\",\"c\"],\"token_logprobs\":"
         "[null,-1],\"top_logprobs\":[null,{\"x\":-1}],\"text_offset\":[0,2]}}]}",
         WW_E_MALFORMED}, /* the last token is missing */
        {"{\"choices\":[{\"logprobs\":{\"tokens\":[\"a\",\"bcd\"],\"token_logprobs\":"
         "[null,-1],\"top_logprobs\":[null,{\"x\":-1}],\"text_offset\":[0,1]}}]}",
         WW_E_UNSUPPORTED}, /* the prompt ends inside of a token */
        {"{\"choices\":[{\"logprobs\": NaN}]}", WW_E_JSON},
        {"{\"choices\":[{\"logpro", WW_E_JSON},
        {"", WW_E_JSON},
    };
    const struct ww_ask ask = ask_score("ab", "cd", "", 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_scored s;
        struct ww_error err = {0};
        const enum ww_err rc = get("openai-completions", &ask, cases[i].body, &s, &err);
        if (rc != cases[i].code) {
            fail_msg("case %zu: %s %s", i, ww_err_name(rc), err.text);
        }
    }
}

static void an_end_token_is_scored(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    const struct ww_ask ask = ask_score("ab", "c", "</s>", 2);
    assert_int_equal(
        get("openai-completions", &ask,
            "{\"choices\":[{\"logprobs\":{\"tokens\":[\"a\",\"b\",\"c\",\"\",\"x\"],"
            "\"token_logprobs\":[null,-1,-2,-0.25,-1],\"top_logprobs\":[null,{},{\"c\":-"
            "2},"
            "{\"\":-0.25,\"y\":-3},{}],\"text_offset\":[0,1,2,3,3]}}]}",
            &s, &err),
        WW_OK);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.at[1].gold.len, 0);
    assert_true(s.at[1].logprob == -0.25 && s.at[1].n == 2 && s.prompt_surprise == 1);
    assert_int_equal(s.at[1].top[0].bytes.len, 0);
    ww_scored_release(&s);
}

/* What stands where the end token should: "ab" -> "cd", then T at offset O. */
#define BEHIND(T, O)                                                                     \
    "{\"choices\":[{\"logprobs\":{\"tokens\":[\"ab\",\"c\",\"d\",\"" T                   \
    "\"],\"token_logprobs\":[null,-1,-1,-1],\"top_logprobs\":[null,{},{},{}],"           \
    "\"text_offset\":[0,2,3," O "]}}]}"

static void what_is_no_end_token_is_not_scored_as_one(void **state)
{
    (void)state;
    static const struct {
        const char *dialect, *body;
        enum ww_err code;
        const char *says;
    } cases[] = {
        {"openai-completions", BEHIND("</s>", "4"), WW_OK, ""},
        {"openai-completions", BEHIND("</", "4"), WW_E_USAGE, "is several tokens"},
        {"openai-completions", BEHIND("x", "4"), WW_E_UNSUPPORTED, "another token"},
        {"openai-completions", BEHIND("x", "5"), WW_E_UNSUPPORTED, "inside of a token"},
        {"sglang",
         "{\"meta_info\":{\"input_token_logprobs\":[[null,1,\"ab\"],[-1,2,\"cd\"],"
         "[-1,3,\"</\"],[-1,4,\"s>\"]],\"input_top_logprobs\":[null,[],[],[]]}}",
         WW_E_USAGE, "is several tokens"},
    };
    const struct ww_ask ask = ask_score("ab", "cd", "</s>", 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_scored s = {0};
        struct ww_error err = {0};
        const enum ww_err rc = get(cases[i].dialect, &ask, cases[i].body, &s, &err);
        if (rc != cases[i].code || !strstr(err.text, cases[i].says)) {
            fail_msg("case %zu: %s %s", i, ww_err_name(rc), err.text);
        }
        ww_scored_release(&s);
    }
}

static void what_comes_next_is_read_in_each_dialect(void **state)
{
    (void)state;
    static const struct {
        const char *dialect;
        const char *body;
    } cases[] = {
        {"openai-completions",
         "{\"choices\":[{\"logprobs\":{\"tokens\":[\"a\"],\"top_logprobs\":[{\"a\":-0.5,"
         "\"b\":-1,\"\\ufffd\":-2,\"\":-3}]}}]}"},
        {"vllm",
         "{\"choices\":[{\"logprobs\":{\"top_logprobs\":[{\"b\":-1,\"a\":-0.5}]}}]}"},
        {"openai-chat",
         "{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.5,"
         "\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97]},{\"token\":"
         "\"b\",\"logprob\":-1,\"bytes\":null}]}]}}]}"},
        {"llama-server",
         "{\"tokens_evaluated\":2,\"truncated\":false,\"completion_probabilities\":[{"
         "\"top_logprobs\":[{\"id\":4,\"token\":\"a\",\"bytes\":[97],\"logprob\":-0.5},{"
         "\"id\":5,\"token\":\"b\",\"bytes\":[98],\"logprob\":-1}]}]}"},
        {"sglang",
         "{\"meta_info\":{\"output_top_logprobs\":[[[-0.5,4,\"a\"],[-1,5,\"b\"]]],"
         "\"prompt_tokens\":2,\"completion_tokens\":1}}"},
        {"tgi",
         "{\"details\":{\"top_tokens\":[[{\"id\":4,\"text\":\"a\",\"logprob\":-0.5},{"
         "\"id\":5,\"text\":\"b\",\"logprob\":-1}]]}}"},
        {"ollama",
         "{\"logprobs\":[{\"token\":\"a\",\"logprob\":-0.5,\"top_logprobs\":[{\"token\":"
         "\"a\",\"logprob\":-0.5},{\"token\":\"b\",\"logprob\":-1}]}]}"},
    };
    const struct ww_ask ask = ask_next("ab", 5);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_scored s;
        struct ww_error err = {0};
        if (get(cases[i].dialect, &ask, cases[i].body, &s, &err)) {
            fail_msg("%s: %s", cases[i].dialect, err.text);
        }
        assert_int_equal(s.n, 1);
        assert_int_equal(s.at[0].n, 2);
        assert_true(is(s.at[0].top[0].bytes, "a") && s.at[0].top[0].logprob == -0.5);
        assert_true(is(s.at[0].top[1].bytes, "b") && s.at[0].top[1].logprob == -1);
        ww_scored_release(&s);
        assert_int_not_equal(get(cases[i].dialect, &ask, "{}", &s, &err), WW_OK);
        assert_int_not_equal(get(cases[i].dialect, &ask, "[]", &s, &err), WW_OK);
    }
}

static void prompts_are_scored_in_each_shape(void **state)
{
    (void)state;
    static const struct {
        const char *dialect;
        const char *body;
        uint32_t listed;
    } cases[] = {
        {"vllm",
         "{\"choices\":[{\"prompt_token_ids\":[1,7,8,9],\"prompt_logprobs\":[null,{\"7\":"
         "{"
         "\"logprob\":-1,\"decoded_token\":\"ab\"}},{\"8\":{\"logprob\":-0.5,\"decoded_"
         "token\":\"c\"},\"3\":{\"logprob\":-2,\"decoded_token\":\"q\"}},{\"3\":{"
         "\"logprob\":-0.1,\"decoded_token\":\"q\"},\"4\":{\"logprob\":-3,\"decoded_"
         "token\":"
         "\"r\"},\"9\":{\"logprob\":-7,\"decoded_token\":\"d\"}}]}]}",
         2},
        {"sglang",
         "{\"meta_info\":{\"input_token_logprobs\":[[null,7,\"ab\"],[-0.5,8,\"c\"],[-7,9,"
         "\"d\"]],\"input_top_logprobs\":[null,[[-0.5,8,\"c\"],[-2,3,\"q\"]],[[-0.1,3,"
         "\"q\"],[-3,4,\"r\"]]]}}",
         2},
        {"tgi",
         "{\"details\":{\"prefill\":[{\"id\":7,\"text\":\"ab\",\"logprob\":null},{\"id\":"
         "8,"
         "\"text\":\"c\",\"logprob\":-0.5},{\"id\":9,\"text\":\"d\",\"logprob\":-7}]}}",
         0},
    };
    const struct ww_ask ask = ask_score("ab", "cd", "", 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_scored s;
        struct ww_error err = {0};
        if (get(cases[i].dialect, &ask, cases[i].body, &s, &err)) {
            fail_msg("%s: %s", cases[i].dialect, err.text);
        }
        assert_int_equal(s.n, 2);
        assert_true(is(s.at[0].gold, "c") && s.at[0].logprob == -0.5);
        assert_true(is(s.at[1].gold, "d") && s.at[1].logprob == -7);
        assert_int_equal(s.at[1].n, cases[i].listed);
        ww_scored_release(&s);
        assert_int_equal(get(cases[i].dialect, &ask, "{}", &s, &err) != WW_OK, 1);
        const struct ww_ask other = ask_score("ab", "ce", "", 2);
        assert_int_equal(get(cases[i].dialect, &other, cases[i].body, &s, &err) != WW_OK,
                         1);
    }
}

static void tokens_without_text_are_told_apart(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    const struct ww_ask ask = ask_next("ab", 9);
    assert_int_equal(
        get("llama-server", &ask,
            "{\"completion_probabilities\":[{\"top_logprobs\":["
            "{\"id\":4,\"token\":\"\\ufffd\",\"bytes\":[226],\"logprob\":-0.5},"
            "{\"id\":5,\"token\":\"\\ufffd\",\"bytes\":[227],\"logprob\":-1},"
            "{\"id\":2,\"token\":\"\",\"bytes\":[],\"logprob\":-2},"
            "{\"id\":9,\"token\":\"\\u0000\",\"bytes\":[0],\"logprob\":-2.5},"
            "{\"id\":7,\"token\":\"x\",\"bytes\":[120],\"logprob\":-3},"
            "{\"id\":8,\"token\":\"x\",\"bytes\":[120],\"logprob\":-4}]}]}",
            &s, &err),
        WW_OK);
    assert_int_equal(s.at[0].n, 4); /* nobody knows which "x" is meant */
    assert_int_equal(s.at[0].top[1].bytes.data[0], 227);
    assert_memory_equal(s.at[0].top[2].bytes.data,
                        "\xFF"
                        "2",
                        2);
    ww_scored_release(&s);
}

static void a_cut_prompt_is_no_answer(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    const struct ww_ask ask = ask_next("ab", 9);
    assert_int_equal(get("llama-server", &ask,
                         "{\"truncated\":true,\"completion_probabilities\":[{\"top_"
                         "logprobs\":[]}]}",
                         &s, &err),
                     WW_E_UNSUPPORTED);
}

static void a_chat_is_not_asked_to_go_on(void **state)
{
    (void)state;
    struct ww_buf body;
    struct ww_error err = {0};
    struct ww_ask ask = ask_next("ab", 9);
    ask.answer = span("c");
    assert_int_equal(ww_dialect_write(ww_dialect_named("openai-chat"), &ask, &body, &err),
                     WW_E_UNSUPPORTED);
    ww_buf_release(&body);
}

static bool writes(const char *dialect, const struct ww_ask *ask, const char *part)
{
    struct ww_buf body;
    struct ww_error err = {0};
    OK(ww_dialect_write(ww_dialect_named(dialect), ask, &body, &err));
    const bool found = strstr(ww_buf_cstr(&body), part);
    ww_buf_release(&body);
    return found;
}

static void a_chat_that_goes_on_is_given_the_answer_so_far(void **state)
{
    (void)state;
    struct ww_hints hints = {.continues = WW_CONTINUES_ALONE};
    struct ww_ask ask = ask_next("ab", 9);
    const char *told = "\"continue_final_message\":true";
    ask.answer = span("c");
    ask.hints = &hints;
    assert_true(writes("openai-chat", &ask,
                       "[{\"role\":\"user\",\"content\":\"ab\"},"
                       "{\"role\":\"assistant\",\"content\":\"c\"}]"));
    assert_false(writes("openai-chat", &ask, told));
    hints.continues = WW_CONTINUES_TOLD;
    assert_true(writes("openai-chat", &ask, told));
    ask.skip = 2;
    assert_true(writes("openai-chat", &ask, "\"max_tokens\":3"));
}

static void scales_and_forced_tokens_are_written(void **state)
{
    (void)state;
    static const double scales[] = {0.5, -1};
    struct ww_ask ask = ask_next("ab", 9);
    assert_false(writes("llama-server", &ask, "lora"));
    assert_false(writes("llama-server", &ask, "logit_bias"));
    ask.scales = scales;
    ask.n_scales = 2;
    ask.forced = span("x");
    assert_true(writes("llama-server", &ask,
                       "\"lora\":[{\"id\":0,\"scale\":0.5},{\"id\":1,\"scale\":-1}]"));
    assert_true(writes("llama-server", &ask, "\"logit_bias\":[[\"x\",10000]]"));
    assert_true(writes("llama-server", &ask, "\"cache_prompt\":false"));
    ask.forced_id = 7;
    assert_true(writes("vllm", &ask, "\"logprob_token_ids\":[7]"));
    assert_true(writes("vllm", &ask, "\"return_tokens_as_token_ids\":true"));
}

static void a_forced_token_is_read_only_when_it_was_said(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    struct ww_ask ask = ask_next("ab", 1);
    static const char body[] =
        "{\"completion_probabilities\":[{\"id\":4,\"token\":\"x\",\"bytes\":[120],"
        "\"logprob\":-9.5,\"top_logprobs\":[{\"id\":5,\"token\":\"q\",\"bytes\":[113],"
        "\"logprob\":-0.1}]}]}";
    ask.forced = span("x");
    OK(get("llama-server", &ask, body, &s, &err));
    assert_int_equal(s.at[0].n, 1);
    assert_true(is(s.at[0].top[0].bytes, "x") && s.at[0].top[0].logprob == -9.5);
    ww_scored_release(&s);
    ask.forced = span("y");
    OK(get("llama-server", &ask, body, &s, &err));
    assert_int_equal(s.at[0].n, 0);
    ww_scored_release(&s);
    /* vLLM tells it by its number, beside the one that was said */
    static const char numbered[] =
        "{\"choices\":[{\"text\":\"q\",\"logprobs\":{\"tokens\":[\"token_id:5\"],"
        "\"token_logprobs\":[-0.1],\"text_offset\":[0],\"top_logprobs\":[{"
        "\"token_id:5\":-0.1,\"token_id:7\":-9.25}]}}]}";
    ask.forced_id = 7;
    OK(get("vllm", &ask, numbered, &s, &err));
    assert_int_equal(s.at[0].n, 1);
    assert_true(is(s.at[0].top[0].bytes, "y") && s.at[0].top[0].logprob == -9.25);
    ww_scored_release(&s);
    ask.forced_id = 8;
    OK(get("vllm", &ask, numbered, &s, &err));
    assert_int_equal(s.at[0].n, 0);
    ww_scored_release(&s);
}

static void an_end_token_without_text_is_told_by_its_number(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    const struct ww_hints hints = {.has_end_id = true, .end_id = 2};
    struct ww_ask ask = ask_next("ab", 9);
    ask.hints = &hints;
    ask.end = "</s>";
    OK(get("llama-server", &ask,
           "{\"completion_probabilities\":[{\"top_logprobs\":["
           "{\"id\":2,\"token\":\"\",\"bytes\":[],\"logprob\":-0.5}]}]}",
           &s, &err));
    assert_true(is(s.at[0].top[0].bytes, "</s>"));
    ww_scored_release(&s);
}

static void a_later_token_of_an_answer_is_read(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_error err = {0};
    struct ww_ask ask = ask_next("ab", 9);
    static const char body[] =
        "{\"choices\":[{\"logprobs\":{\"content\":["
        "{\"top_logprobs\":[{\"token\":\"a\",\"logprob\":-0.5}]},"
        "{\"top_logprobs\":[{\"token\":\"b\",\"logprob\":-0.25}]}]}}]}";
    ask.skip = 1;
    OK(get("openai-chat", &ask, body, &s, &err));
    assert_true(is(s.at[0].top[0].bytes, "b"));
    ww_scored_release(&s);
    ask.skip = 2; /* it ended before */
    OK(get("openai-chat", &ask, body, &s, &err));
    assert_int_equal(s.at[0].n, 0);
    ww_scored_release(&s);
}

static void a_record_is_read_strictly(void **state)
{
    (void)state;
    struct ww_scored s;
    struct ww_scored again;
    struct ww_error err = {0};
    const struct ww_ask ask = ask_score("ab", "cd", "", 2);
    assert_int_equal(
        get("openai-completions", &ask, ECHO("[null,-0.5,-7,-0.1]", TOPS), &s, &err),
        WW_OK);
    for (size_t len = 0; len < s.bytes.len; len++) {
        struct ww_error cut = {0};
        assert_int_equal(ww_scored_read(s.bytes.data, len, &again, &cut), WW_E_MALFORMED);
    }
    assert_int_equal(ww_scored_read(s.bytes.data, s.bytes.len, &again, &err), WW_OK);
    ww_scored_release(&again);
    ww_scored_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_gives_the_answers_tokens),
        cmocka_unit_test(zero_comes_in_several_spellings),
        cmocka_unit_test(faults_of_an_echo_are_told_apart),
        cmocka_unit_test(what_is_no_end_token_is_not_scored_as_one),
        cmocka_unit_test(an_end_token_is_scored),
        cmocka_unit_test(what_comes_next_is_read_in_each_dialect),
        cmocka_unit_test(prompts_are_scored_in_each_shape),
        cmocka_unit_test(tokens_without_text_are_told_apart),
        cmocka_unit_test(a_chat_that_goes_on_is_given_the_answer_so_far),
        cmocka_unit_test(scales_and_forced_tokens_are_written),
        cmocka_unit_test(a_forced_token_is_read_only_when_it_was_said),
        cmocka_unit_test(an_end_token_without_text_is_told_by_its_number),
        cmocka_unit_test(a_later_token_of_an_answer_is_read),
        cmocka_unit_test(a_cut_prompt_is_no_answer),
        cmocka_unit_test(a_chat_is_not_asked_to_go_on),
        cmocka_unit_test(a_record_is_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
