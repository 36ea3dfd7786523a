/* SPDX-License-Identifier: Apache-2.0 */
/* Options and bytes of answers, from members whose tokens are made up: every number can
 * be checked by hand. */
#include "ww_test.h"

#include <math.h>

#include "evo/features.h"
#include "evo/gather.h"
#include "evo/rules.h"

#define PROMPT "p"

static struct ww_error err;
static unsigned questions;

static struct ww_span span(const char *text)
{
    return (struct ww_span){(const uint8_t *)text, strlen(text)};
}

/* What a member says behind a text: "TOKEN SHARE, ...". */
struct said {
    const char *behind;
    const char *token[4];
    double share[4];
};

/* Member 0 has tokens of one byte, member 1 "ab" as one token beside its parts. */
static const struct said first[] = {
    {"", {"a", "x"}, {0.5, 0.25}},
    {"a", {"b", "x"}, {0.5, 0.25}},
    {"ab", {"</s>", "c"}, {0.75, 0.25}},
    {NULL, {NULL}, {0}},
};
static const struct said second[] = {
    {"", {"ab", "a", "x"}, {0.5, 0.25, 0.125}},
    {"a", {"b", "y"}, {0.5, 0.5}},
    {"ab", {"</s>"}, {0.5}},
    {NULL, {NULL}, {0}},
};
static const struct said *const first_and_second[] = {first, second};
static const struct said *const *members_say = first_and_second;

static const struct said *find(const struct said *list, struct ww_span behind)
{
    while (list->behind && !ww_span_eq(span(list->behind), behind)) {
        list++;
    }
    return list->behind ? list : NULL;
}

static enum ww_err next(uint32_t member, const struct ww_ask *ask, bool *found,
                        struct ww_scored *out, struct ww_error *e)
{
    struct ww_scored_writer w;
    struct ww_said_token tokens[4];
    const struct said *s = find(members_say[member], ask->answer);
    size_t n = 0;
    *found = s != NULL;
    if (!s) {
        return WW_OK;
    }
    for (; n < 4 && s->token[n]; n++) {
        tokens[n] = (struct ww_said_token){span(s->token[n]), log(s->share[n])};
    }
    OK(ww_scored_begin(&w, 4, e));
    OK(ww_scored_add(&w, span(""), (double)NAN, tokens, n, e));
    return ww_scored_end(&w, (double)NAN, 0, out, e);
}

/* Whole answers: every byte of member 0's has -1, all of member 1's -2 and its end -1. */
static enum ww_err whole(uint32_t member, const struct ww_ask *ask, bool *found,
                         struct ww_scored *out, struct ww_error *e)
{
    struct ww_scored_writer w;
    *found = true;
    OK(ww_scored_begin(&w, 4, e));
    for (size_t i = 0; i < ask->answer.len && member == 0; i++) {
        const struct ww_span byte = {ask->answer.data + i, 1};
        OK(ww_scored_add(&w, byte, -1, NULL, 0, e));
    }
    if (member == 1) {
        OK(ww_scored_add(&w, ask->answer, -2, NULL, 0, e));
        OK(ww_scored_add(&w, span(""), -1, NULL, 0, e));
    }
    return ww_scored_end(&w, (double)NAN, 0, out, e);
}

static enum ww_err fetch(void *payload, uint32_t member, const struct ww_ask *ask,
                         const uint8_t key[32], bool *found, struct ww_scored *out,
                         struct ww_error *e)
{
    const uint32_t *missing = payload;
    (void)key;
    questions++;
    if (missing && *missing == questions) {
        *found = false;
        return WW_OK;
    }
    return ask->score ? whole(member, ask, found, out, e)
                      : next(member, ask, found, out, e);
}

static struct ww_member members[2] = {
    {.name = "one", .url = "http://h", .model = "m", .dialect = "auto", .end = "</s>"},
    {.name = "two", .url = "http://h", .model = "n", .dialect = "auto", .end = "</s>"}};
static struct ww_member_facts facts[2];
static const struct ww_members pool = {.k = 2, .member = members};

static struct ww_gather with(enum ww_evo_level level, bool scores)
{
    for (int k = 0; k < 2; k++) {
        facts[k].dialect = ww_dialect_named("openai-completions");
        facts[k].scores_prompts = scores;
    }
    return (struct ww_gather){
        .members = &pool, .facts = facts, .top = 4, .fetch = fetch, .level = level};
}

static double share_of(const struct ww_gathered *g, uint32_t at, uint32_t member,
                       const char *token)
{
    const struct ww_scored_at *list = g->at[(size_t)at * g->k + member];
    for (uint32_t i = 0; i < list->n; i++) {
        if (ww_span_eq(list->top[i].bytes, span(token))) {
            return exp(list->top[i].logprob);
        }
    }
    return 0;
}

static void bytes_come_from_all_places_where_tokens_end(void **state)
{
    (void)state;
    struct ww_gather gather = with(WW_EVO_BYTES, false);
    const struct ww_task_item item = {.prompt = span(PROMPT), .answer = span("ab")};
    struct ww_gathered g;
    questions = 0;
    OK(ww_gather_item(&gather, &item, 0, &g, &err));
    assert_true(g.complete && g.n == 3 && g.vocabulary == WW_GATHER_BYTES);
    assert_int_equal(questions, 6);
    assert_int_equal(g.n_said, 6);
    assert_true(ww_span_eq(g.gold[0], span("a")) && g.gold[2].len == 0);
    NEAR(share_of(&g, 0, 0, "a"), 0.5, 1e-12);
    NEAR(share_of(&g, 0, 0, "x"), 0.25, 1e-12);
    NEAR(share_of(&g, 1, 0, "b"), 0.5, 1e-12);
    NEAR(share_of(&g, 2, 0, ""), 0.75, 1e-12);
    NEAR(g.logprob[2 * 2 + 0], log(0.75), 1e-12);
    /* "ab" and "a" both begin with a */
    NEAR(share_of(&g, 0, 1, "a"), 0.75, 1e-12);
    /* behind a: "ab" goes on with 0.5 of 0.75, "a" ended with 0.25 and says b or y */
    NEAR(share_of(&g, 1, 1, "b"), (0.5 + 0.25 * 0.5) / 0.75, 1e-12);
    NEAR(share_of(&g, 1, 1, "y"), 0.25 * 0.5 / 0.75, 1e-12);
    NEAR(g.logprob[1 * 2 + 1], log(0.625 / 0.75), 1e-12);
    /* both ways to "ab" end there */
    NEAR(share_of(&g, 2, 1, ""), 0.5, 1e-12);
    ww_gathered_release(&g);
}

/* A byte that no list shows has its share of what is left, and the walk begins anew. */
static void a_byte_that_nobody_lists_is_not_the_end(void **state)
{
    (void)state;
    struct ww_gather gather = with(WW_EVO_BYTES, false);
    const struct ww_task_item item = {.prompt = span(PROMPT), .answer = span("q")};
    struct ww_gathered g;
    struct ww_member one = members[0];
    struct ww_members alone = {.k = 1, .member = &one};
    one.end = "";
    gather.members = &alone;
    OK(ww_gather_item(&gather, &item, 0, &g, &err));
    assert_true(g.complete && g.n == 1);
    NEAR(g.logprob[0], log(0.25 / 255), 1e-9);
    ww_gathered_release(&g);
}

/* Of "\u00e9" lists show nothing: both bytes have their share of what is left, and the
 * next question is behind them. */
static void a_character_that_nobody_lists_is_walked_over(void **state)
{
    (void)state;
    static const struct said about[] = {
        {"", {"a"}, {0.5}}, {"\xC3\xA9", {"a", "x"}, {0.75, 0.25}}, {NULL, {NULL}, {0}}};
    static const struct said *const says[] = {about};
    struct ww_gather gather = with(WW_EVO_BYTES, false);
    const struct ww_task_item item = {.prompt = span(PROMPT),
                                      .answer = span("\xC3\xA9"
                                                     "a")};
    struct ww_gathered g;
    struct ww_member one = members[0];
    struct ww_members alone = {.k = 1, .member = &one};
    one.end = "";
    gather.members = &alone;
    members_say = says;
    questions = 0;
    OK(ww_gather_item(&gather, &item, 0, &g, &err));
    members_say = first_and_second;
    assert_true(g.complete && g.n == 3);
    assert_int_equal(questions, 2);
    NEAR(g.logprob[0], log(0.5 / 256), 1e-9);
    NEAR(g.logprob[1], log(1.0 / 257), 1e-9);
    NEAR(g.logprob[2], log(0.75), 1e-12);
    ww_gathered_release(&g);
}

static void what_bytes_cannot_be_asked_about_is_refused(void **state)
{
    (void)state;
    static const struct said half[] = {{"", {"\xC3"}, {0.75}}, {NULL, {NULL}, {0}}};
    static const struct said *const says[] = {half, half};
    static const uint8_t many[16385] = {'a'};
    struct ww_gather gather = with(WW_EVO_BYTES, false);
    struct ww_task_item item = {.prompt = span(PROMPT), .answer = span("\xC3\xA9")};
    struct ww_gathered g;
    members_say = says;
    FAILS(ww_gather_item(&gather, &item, 3, &g, &err), WW_E_UNSUPPORTED);
    members_say = first_and_second;
    assert_non_null(strstr(err.text, "item 4: a token ends inside"));
    item.answer = (struct ww_span){many, sizeof(many)};
    FAILS(ww_gather_item(&gather, &item, 0, &g, &err), WW_E_LIMIT);
}

static void options_are_sums_of_whatever_tokens(void **state)
{
    (void)state;
    struct ww_gather gather = with(WW_EVO_OPTIONS, true);
    struct ww_span options[2] = {span("ab"), span("xyz")};
    const struct ww_task_item item = {
        .prompt = span(PROMPT), .answer = span("ab"), .options = options, .n_options = 2};
    struct ww_gathered g;
    OK(ww_gather_item(&gather, &item, 0, &g, &err));
    assert_true(g.complete && g.n == 1 && g.vocabulary == 2 && g.n_said == 4);
    NEAR(share_of(&g, 0, 0, "ab"), 1 / (1 + exp(-1)), 1e-12); /* -2 against -3 */
    NEAR(share_of(&g, 0, 0, "xyz"), 1 - 1 / (1 + exp(-1)), 1e-12);
    NEAR(share_of(&g, 0, 1, "ab"), 0.5, 1e-12); /* -3 against -3 */
    NEAR(g.logprob[0], -log(1 + exp(-1)), 1e-12);
    ww_gathered_release(&g);
    gather.per_byte = true;
    OK(ww_gather_item(&gather, &item, 0, &g, &err));
    NEAR(share_of(&g, 0, 0, "ab"), 0.5, 1e-12);                /* -1 against -1 */
    NEAR(share_of(&g, 0, 1, "ab"), 1 / (1 + exp(0.5)), 1e-12); /* -1.5 against -1 */
    ww_gathered_release(&g);
}

static void options_are_walked_where_nobody_scores(void **state)
{
    (void)state;
    struct ww_gather gather = with(WW_EVO_OPTIONS, false);
    struct ww_span options[2] = {span("a"), span("ab")};
    const struct ww_task_item item = {
        .prompt = span(PROMPT), .answer = span("ab"), .options = options, .n_options = 2};
    struct ww_gathered g;
    OK(ww_gather_item(&gather, &item, 0, &g, &err));
    /* member 1: "ab" as one token 0.5, and its end 0.5 */
    assert_true(g.complete && g.n == 1);
    assert_true(share_of(&g, 0, 1, "ab") > 0.99);
    ww_gathered_release(&g);
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    struct ww_span options[2] = {span("a"), span("ab")};
    struct ww_task_item item = {
        .prompt = span(PROMPT), .answer = span("ab"), .options = options, .n_options = 2};
    const enum ww_evo_level levels[] = {WW_EVO_OPTIONS, WW_EVO_BYTES};
    for (int l = 0; l < 2; l++) {
        for (uint32_t missing = 1; missing <= 4; missing++) {
            struct ww_gather gather = with(levels[l], l == 0);
            struct ww_gathered g;
            gather.payload = &missing;
            questions = 0;
            OK(ww_gather_item(&gather, &item, 0, &g, &err));
            assert_false(g.complete);
            assert_int_equal(questions, missing);
            ww_gathered_release(&g);
        }
    }
    struct ww_gather gather = with(WW_EVO_OPTIONS, true);
    struct ww_gathered g;
    item.n_options = 0;
    FAILS(ww_gather_item(&gather, &item, 6, &g, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "item 7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_from_all_places_where_tokens_end),
        cmocka_unit_test(a_byte_that_nobody_lists_is_not_the_end),
        cmocka_unit_test(a_character_that_nobody_lists_is_walked_over),
        cmocka_unit_test(what_bytes_cannot_be_asked_about_is_refused),
        cmocka_unit_test(options_are_sums_of_whatever_tokens),
        cmocka_unit_test(options_are_walked_where_nobody_scores),
        cmocka_unit_test(what_is_missing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
