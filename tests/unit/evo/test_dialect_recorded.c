/* SPDX-License-Identifier: Apache-2.0 */
/* Whole answers as the servers' documentation shows them, with everything that lies
 * around what is read: members that are not looked at must do no harm. */
#include "ww_test.h"

#include <math.h>

#include "evo/dialect.h"

static struct ww_span span(const char *text)
{
    return (struct ww_span){(const uint8_t *)text, strlen(text)};
}

static void get(const char *dialect, const struct ww_ask *ask, const char *body,
                struct ww_scored *out)
{
    struct ww_error err = {0};
    if (ww_dialect_read(ww_dialect_named(dialect), ask, (const uint8_t *)body,
                        strlen(body), out, &err)) {
        fail_msg("%s: %s", dialect, err.text);
    }
}

/* The answer "cd" behind "ab", with the end token where one is named; lists of 2. */
static struct ww_ask score(const char *end)
{
    return (struct ww_ask){.score = true,
                           .prompt = span("ab"),
                           .answer = span("cd"),
                           .end = end,
                           .model = "m",
                           .top = 2};
}

static struct ww_ask next(void)
{
    return (struct ww_ask){
        .prompt = span("ab"), .answer = span(""), .end = "", .model = "m", .top = 2};
}

static void is_list(const struct ww_scored_at *at, const char *one, double first,
                    const char *two, double second)
{
    assert_int_equal(at->n, 2);
    assert_true(ww_span_eq(at->top[0].bytes, span(one)) && at->top[0].logprob == first);
    assert_true(ww_span_eq(at->top[1].bytes, span(two)) && at->top[1].logprob == second);
}

static bool wrote(const char *dialect, const struct ww_ask *ask, const char *part)
{
    struct ww_buf body;
    struct ww_error err = {0};
    OK(ww_dialect_write(ww_dialect_named(dialect), ask, &body, &err));
    const bool found = strstr(ww_buf_cstr(&body), part) != NULL;
    ww_buf_release(&body);
    return found;
}

static void vllm_scores_a_prompt(void **state)
{
    (void)state;
    static const char body[] =
        "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1763768447,"
        "\"model\":\"m\",\"choices\":[{\"index\":0,\"text\":\" x\",\"logprobs\":null,"
        "\"finish_reason\":\"length\",\"stop_reason\":null,\"token_ids\":[15],"
        "\"prompt_logprobs\":[null,"
        "{\"7\":{\"logprob\":-4.5,\"rank\":31,\"decoded_token\":\"ab\"},"
        "\"3\":{\"logprob\":-0.5,\"rank\":1,\"decoded_token\":\"q\"}},"
        "{\"8\":{\"logprob\":-0.5,\"rank\":1,\"decoded_token\":\"c\"},"
        "\"3\":{\"logprob\":-2,\"rank\":2,\"decoded_token\":\"q\"}},"
        "{\"9\":{\"logprob\":-7,\"rank\":40,\"decoded_token\":\"d\"},"
        "\"3\":{\"logprob\":-0.25,\"rank\":1,\"decoded_token\":\"q\"},"
        "\"4\":{\"logprob\":-3,\"rank\":2,\"decoded_token\":\"r\"}},"
        "{\"2\":{\"logprob\":-0.125,\"rank\":1,\"decoded_token\":\"</s>\"},"
        "\"3\":{\"logprob\":-5,\"rank\":2,\"decoded_token\":\"q\"}}],"
        "\"prompt_token_ids\":[1,7,8,9,2]}],\"service_tier\":null,"
        "\"system_fingerprint\":null,\"usage\":{\"prompt_tokens\":5,\"total_tokens\":6,"
        "\"completion_tokens\":1,\"prompt_tokens_details\":null},"
        "\"kv_transfer_params\":null}";
    const struct ww_ask ask = score("</s>");
    struct ww_scored s;
    get("vllm", &ask, body, &s);
    assert_int_equal(s.n, 3);
    assert_true(s.prompt_surprise == 4.5 && s.tokens == 6);
    is_list(&s.at[0], "c", -0.5, "q", -2);
    is_list(&s.at[1], "q", -0.25, "r", -3); /* "d" was added as the right one */
    assert_true(s.at[1].logprob == -7);
    assert_true(s.at[2].logprob == -0.125 && s.at[2].gold.len == 0);
    ww_scored_release(&s);
    assert_true(wrote("vllm", &ask, "\"prompt_logprobs\":2"));
    assert_true(wrote("vllm", &ask, "\"return_token_ids\":true"));
}

/* A server that was started with --return-tokens-as-token-ids. */
static void vllm_tokens_told_by_number_are_no_texts(void **state)
{
    (void)state;
    static const char completion[] =
        "{\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":{\"text_offset\":[0],"
        "\"token_logprobs\":[-0.5],\"tokens\":[\"token_id:264\"],\"top_logprobs\":["
        "{\"token_id:264\":-0.5,\"token_id:9\":-1.25}]},\"finish_reason\":\"length\"}]}";
    static const char chat[] =
        "{\"choices\":[{\"index\":0,\"logprobs\":{\"content\":[{\"token\":"
        "\"token_id:264\",\"logprob\":-0.5,\"bytes\":[116,111,107],\"top_logprobs\":["
        "{\"token\":\"token_id:264\",\"logprob\":-0.5,\"bytes\":[116,111,107]},"
        "{\"token\":\"token_id:9\",\"logprob\":-1.25,\"bytes\":[116,111,107]}]}]}}]}";
    const struct ww_ask ask = next();
    struct ww_scored s;
    get("vllm", &ask, completion, &s);
    is_list(&s.at[0],
            "\xFF"
            "264",
            -0.5,
            "\xFF"
            "9",
            -1.25);
    ww_scored_release(&s);
    get("openai-chat", &ask, chat, &s);
    is_list(&s.at[0],
            "\xFF"
            "264",
            -0.5,
            "\xFF"
            "9",
            -1.25);
    ww_scored_release(&s);
}

static void sglang_scores_and_goes_on(void **state)
{
    (void)state;
    static const char body[] =
        "{\"text\":\" x\",\"output_ids\":[15],\"meta_info\":{\"id\":\"0a\","
        "\"finish_reason\":{\"type\":\"length\",\"length\":1},\"prompt_tokens\":4,"
        "\"weight_version\":\"default\",\"input_token_logprobs\":[[null,1,\"<s>\"],"
        "[-4.5,7,\"ab\"],[-0.5,8,\"c\"],[-7,9,\"d\"]],\"output_token_logprobs\":["
        "[-0.5,15,\" x\"]],\"input_top_logprobs\":[null,[[-0.5,3,\"q\"],[-2,4,\"r\"]],"
        "[[-0.5,8,\"c\"],[-2,3,\"q\"]],[[-0.25,3,\"q\"],[-3,4,\"r\"]]],"
        "\"output_top_logprobs\":[[[-0.5,15,\" x\"],[-1,3,\"q\"]]],"
        "\"completion_tokens\":1,\"cached_tokens\":0,\"e2e_latency\":0.01}}";
    const struct ww_ask ask = score("");
    const struct ww_ask more = next();
    struct ww_scored s;
    get("sglang", &ask, body, &s);
    assert_int_equal(s.n, 2);
    assert_true(s.prompt_surprise == 4.5 && s.tokens == 5);
    is_list(&s.at[0], "c", -0.5, "q", -2);
    is_list(&s.at[1], "q", -0.25, "r", -3);
    ww_scored_release(&s);
    get("sglang", &more, body, &s);
    is_list(&s.at[0], " x", -0.5, "q", -1);
    ww_scored_release(&s);
    assert_true(wrote("sglang", &ask, "\"logprob_start_len\":0"));
    assert_true(wrote("sglang", &more, "\"logprob_start_len\":-1"));
    assert_true(wrote("sglang", &more, "\"top_logprobs_num\":2"));
}

static void tgi_scores_without_lists_and_goes_on(void **state)
{
    (void)state;
    static const char body[] =
        "{\"generated_text\":\" x\",\"details\":{\"best_of_sequences\":null,"
        "\"finish_reason\":\"length\",\"generated_tokens\":1,\"seed\":null,\"prefill\":["
        "{\"id\":1,\"text\":\"<s>\",\"logprob\":null},{\"id\":7,\"text\":\"ab\","
        "\"logprob\":-4.5},{\"id\":8,\"text\":\"c\",\"logprob\":-0.5},{\"id\":9,"
        "\"text\":\"d\",\"logprob\":-7}],\"tokens\":[{\"id\":15,\"text\":\" x\","
        "\"logprob\":-0.5,\"special\":false}],\"top_tokens\":[[{\"id\":15,\"text\":"
        "\" x\",\"logprob\":-0.5,\"special\":false},{\"id\":3,\"text\":\"q\","
        "\"logprob\":-1,\"special\":false}]]}}";
    static const char bare[] =
        "{\"generated_text\":\" x\",\"details\":{\"finish_reason\":\"length\","
        "\"generated_tokens\":1,\"prefill\":[],\"seed\":null,\"tokens\":[],"
        "\"top_tokens\":null}}";
    const struct ww_ask ask = score("");
    const struct ww_ask more = next();
    struct ww_scored s;
    struct ww_error err = {0};
    get("tgi", &ask, body, &s);
    assert_true(s.n == 2 && s.at[0].n == 0 && s.at[1].logprob == -7);
    assert_true(s.prompt_surprise == 4.5);
    ww_scored_release(&s);
    get("tgi", &more, body, &s);
    is_list(&s.at[0], " x", -0.5, "q", -1);
    ww_scored_release(&s);
    /* newer ones skip the prefill, and say nothing about it */
    FAILS(ww_dialect_read(ww_dialect_named("tgi"), &ask, (const uint8_t *)bare,
                          strlen(bare), &s, &err),
          WW_E_UNSUPPORTED);
    FAILS(ww_dialect_read(ww_dialect_named("tgi"), &more, (const uint8_t *)bare,
                          strlen(bare), &s, &err),
          WW_E_UNSUPPORTED);
    assert_true(wrote("tgi", &ask, "\"decoder_input_details\":true"));
    assert_true(wrote("tgi", &more, "\"top_n_tokens\":2"));
}

static void ollama_lists_with_bytes(void **state)
{
    (void)state;
    static const char body[] =
        "{\"model\":\"m\",\"created_at\":\"2025-11-13T12:46:02.322107Z\",\"response\":"
        "\"H\",\"done\":true,\"done_reason\":\"length\",\"total_duration\":661622667,"
        "\"load_duration\":535133167,\"prompt_eval_count\":3,\"prompt_eval_duration\":"
        "51514750,\"eval_count\":1,\"eval_duration\":16629751,\"logprobs\":[{\"token\":"
        "\"H\",\"logprob\":-0.5,\"bytes\":[72],\"top_logprobs\":[{\"token\":\"H\","
        "\"logprob\":-0.5,\"bytes\":[72]},{\"token\":\"\xEF\xBF\xBD\",\"logprob\":-1,"
        "\"bytes\":[195]}]}]}";
    static const char without[] = /* before 0.12.11 */
        "{\"model\":\"m\",\"response\":\"H\",\"done\":true,\"done_reason\":\"length\"}";
    static const char replaced[] = /* made from what was printed */
        "{\"done_reason\":\"length\",\"logprobs\":[{\"token\":\"H\",\"logprob\":-0.5,"
        "\"top_logprobs\":[{\"token\":\"H\",\"logprob\":-0.5,\"bytes\":[72]},{\"token\":"
        "\"\xEF\xBF\xBD\",\"logprob\":-1,\"bytes\":[239,191,189]}]}]}";
    struct ww_ask ask = next();
    struct ww_scored s;
    struct ww_error err = {0};
    get("ollama", &ask, replaced, &s);
    assert_true(s.at[0].n == 1 && ww_span_eq(s.at[0].top[0].bytes, span("H")));
    ww_scored_release(&s);
    get("ollama", &ask, body, &s);
    is_list(&s.at[0], "H", -0.5, "\xC3", -1);
    assert_int_equal(s.tokens, 4);
    ww_scored_release(&s);
    FAILS(ww_dialect_read(ww_dialect_named("ollama"), &ask, (const uint8_t *)without,
                          strlen(without), &s, &err),
          WW_E_UNSUPPORTED);
    assert_true(wrote("ollama", &ask, "\"top_logprobs\":2"));
    ask.top = 64;
    assert_true(wrote("ollama", &ask, "\"top_logprobs\":20"));
}

/* It numbers its tokens and gives their own bytes, of which one may spell U+FFFD. */
static void llama_server_gives_a_token_s_own_bytes(void **state)
{
    (void)state;
    static const char body[] =
        "{\"content\":\"H\",\"completion_probabilities\":[{\"id\":5,\"token\":\"H\","
        "\"bytes\":[72],\"logprob\":-0.5,\"top_logprobs\":[{\"id\":5,\"token\":\"H\","
        "\"bytes\":[72],\"logprob\":-0.5},{\"id\":9,\"token\":\"\xEF\xBF\xBD\","
        "\"bytes\":[239,191,189],\"logprob\":-1}]}]}";
    const struct ww_ask ask = next();
    struct ww_scored s;
    get("llama-server", &ask, body, &s);
    is_list(&s.at[0], "H", -0.5, "\xEF\xBF\xBD", -1);
    ww_scored_release(&s);
}

/* Ollama leaves the end token out of its lists, and OpenAI's chats do: where it is the
 * likeliest there is no list at all. */
static void an_end_without_a_list_is_the_likeliest(void **state)
{
    (void)state;
    static const struct {
        const char *dialect, *body;
    } cases[] = {
        {"ollama", "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":"
                   "\"stop\",\"prompt_eval_count\":3,\"eval_count\":1}"},
        {"openai-chat",
         "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
         "\"\"},\"logprobs\":{\"content\":[],\"refusal\":null},\"finish_reason\":"
         "\"stop\"}],\"usage\":{\"total_tokens\":4}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_ask ask = next();
        struct ww_scored s;
        get(cases[i].dialect, &ask, cases[i].body, &s);
        assert_true(s.n == 1 && s.at[0].n == 0 && s.tokens == 4);
        ww_scored_release(&s);
        ask.end = "</s>";
        get(cases[i].dialect, &ask, cases[i].body, &s);
        assert_true(s.n == 1 && s.at[0].n == 1);
        assert_true(ww_span_eq(s.at[0].top[0].bytes, span("</s>")));
        assert_true(fabs(s.at[0].top[0].logprob + log(2)) < 1e-6);
        ww_scored_release(&s);
    }
    /* a server that stopped and has no log-probabilities says nothing */
    static const char without[] =
        "{\"choices\":[{\"logprobs\":null,\"finish_reason\":\"stop\"}]}";
    const struct ww_ask ask = next();
    struct ww_scored s;
    struct ww_error err = {0};
    FAILS(ww_dialect_read(ww_dialect_named("openai-chat"), &ask, (const uint8_t *)without,
                          strlen(without), &s, &err),
          WW_E_UNSUPPORTED);
}

/* llama-cpp-python: the beginning of the text and special tokens print as nothing. */
static void an_end_token_that_prints_as_nothing_is_scored(void **state)
{
    (void)state;
    static const char body[] =
        "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":"
        "\"m\",\"choices\":[{\"text\":\"abcx\",\"index\":0,\"logprobs\":{\"tokens\":["
        "\"ab\",\"c\",\"\",\"x\"],\"text_offset\":[0,2,3,3],\"token_logprobs\":[null,"
        "-0.5,-0.125,-0.1],\"top_logprobs\":[null,{\"c\":-0.5,\"q\":-1,\"\":-60},"
        "{\"q\":-2.5,\"\":-0.125},{\"x\":-0.1,\"\":-9}]},\"finish_reason\":\"length\"}],"
        "\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1,\"total_tokens\":5}}";
    const struct ww_hints hints = {.hides_end = true};
    struct ww_ask ask = score("<eos>");
    struct ww_scored s;
    ask.answer = span("c");
    get("openai-completions", &ask, body, &s);
    assert_true(s.n == 2 && s.nameless_end && s.at[1].logprob == -0.125);
    is_list(&s.at[0], "c", -0.5, "q", -1);
    ww_scored_release(&s);
    /* what follows "abc": the list of that place, and the end with its own number */
    ask.score = false;
    ask.hints = &hints;
    get("openai-completions", &ask, body, &s);
    assert_true(s.n == 1 && isnan(s.at[0].logprob));
    is_list(&s.at[0], "<eos>", -0.125, "q", -2.5);
    ww_scored_release(&s);
    /* a server that shows another token there scored no end */
    ask.answer = span("");
    static const char other[] =
        "{\"choices\":[{\"logprobs\":{\"tokens\":[\"ab\",\"x\"],\"text_offset\":"
        "[0,2],\"token_logprobs\":[null,-0.1],\"top_logprobs\":[null,{\"x\":-0.1}]}}]}";
    struct ww_error err = {0};
    FAILS(ww_dialect_read(ww_dialect_named("openai-completions"), &ask,
                          (const uint8_t *)other, strlen(other), &s, &err),
          WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "where '<eos>' was to be scored"));
    ask.answer = span("c");
    assert_true(wrote("openai-completions", &ask, "\"prompt\":\"abc<eos>\""));
    assert_true(wrote("openai-completions", &ask, "\"echo\":true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vllm_scores_a_prompt),
        cmocka_unit_test(vllm_tokens_told_by_number_are_no_texts),
        cmocka_unit_test(sglang_scores_and_goes_on),
        cmocka_unit_test(tgi_scores_without_lists_and_goes_on),
        cmocka_unit_test(ollama_lists_with_bytes),
        cmocka_unit_test(llama_server_gives_a_token_s_own_bytes),
        cmocka_unit_test(an_end_without_a_list_is_the_likeliest),
        cmocka_unit_test(an_end_token_that_prints_as_nothing_is_scored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
