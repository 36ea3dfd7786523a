/* SPDX-License-Identifier: Apache-2.0 */
/* Where an answer ends, what a stream may show, which tokens are text; templates; and
 * addresses. */
#include "ww_test.h"

#include "serve/fused_answer.h"
#include "serve/door.h"
#include "serve/stop.h"
#include "serve/template.h"
#include "util/clock.h"

static const char *const stops[] = {"aab", "xyz"};

static size_t find(const char *text, size_t from)
{
    return ww_stop_find(stops, 2, (const uint8_t *)text, strlen(text), from);
}

static size_t held(const char *text)
{
    return ww_stop_held(stops, 2, (const uint8_t *)text, strlen(text));
}

static void the_earliest_stop_is_found_across_tokens(void **state)
{
    (void)state;
    assert_int_equal(find("..aab", 4), 2);
    assert_int_equal(find("xyzaab", 0), 0);
    assert_int_equal(find(".aaab.xyz", 3), 2);
    assert_int_equal(find("aa", 1), 2);
    assert_int_equal(find("aab..", 5), 5); /* was looked at before */
    assert_int_equal(ww_stop_find(stops, 0, (const uint8_t *)"aab", 3, 0), 3);
}

static void what_may_become_a_stop_is_held_back(void **state)
{
    (void)state;
    assert_int_equal(held(""), 0);
    assert_int_equal(held("...a"), 1);
    assert_int_equal(held("..aaa"), 2);
    assert_int_equal(held("a"), 1);
    assert_int_equal(held("..xy"), 2);
    assert_int_equal(held("..xyw"), 0);
}

static bool token(const char *bytes, size_t len, size_t *out)
{
    const struct ww_member member = {.end = "</s>"};
    struct ww_span span = {0};
    const bool text =
        ww_answer_token(&member, (struct ww_span){(const uint8_t *)bytes, len}, &span);
    *out = span.len;
    return text;
}

static void tokens_that_are_no_text_are_told_from_the_end(void **state)
{
    (void)state;
    size_t len = 9;
    assert_true(token("ab", 2, &len) && len == 2);
    assert_true(token("</s>", 4, &len) && len == 0);
    assert_true(token("", 0, &len) && len == 0);
    assert_true(token("\xc3\xa4", 2, &len) && len == 2);
    assert_false(token("\xc3", 1, &len));
    assert_false(token("\xff"
                       "17",
                       3, &len));
    assert_false(token("a\0b", 3, &len));
}

static enum ww_err template_of(const char *chat, struct ww_members *m,
                               struct ww_chat_template *out, struct ww_error *err)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   "members:\n  - {name: a, url: 'http://127.0.0.1:1', model: m}\n%s",
                   chat);
    assert_int_equal(
        ww_members_parse((const uint8_t *)text, strlen(text), "pool", m, err), WW_OK);
    ww_error_clear(err);
    return ww_chat_template_read(m, out, err);
}

static void a_template_is_six_texts_and_nothing_else(void **state)
{
    (void)state;
    struct ww_members m;
    struct ww_chat_template t;
    struct ww_error err = {0};
    OK(template_of("chat: {user: ['U:', \"\\n\"], answer: 'A:'}\n", &m, &t, &err));
    assert_true(t.given && !t.system.before);
    assert_string_equal(t.user.before, "U:");
    assert_string_equal(t.user.after, "\n");
    assert_string_equal(t.begin, "");
    ww_members_release(&m);
    OK(template_of("", &m, &t, &err));
    assert_false(t.given);
    ww_members_release(&m);
    static const char *const wrong[] = {"chat: {answer: 'A:'}\n",
                                        "chat: {user: ['U:']}\n",
                                        "chat: {user: 'U:'}\n",
                                        "chat: {user: ['U:', ''], users: 1}\n",
                                        "chat: 7\n",
                                        "chat: {user: ['U:', ''], begin: []}\n"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        FAILS(template_of(wrong[i], &m, &t, &err), WW_E_MALFORMED);
        ww_members_release(&m);
    }
}

static void addresses_of_this_machine_are_told_from_others(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int here; /* -1: refused */
    } cases[] = {
        {"127.0.0.1:8600", 1},
        {"127.1.2.3:0", 1},
        {"[::1]:8600", 1},
        {"0.0.0.0:8600", 0},
        {"[::]:8600", 0},
        {"192.168.1.1:80", 0},
        {"localhost:80", -1},
        {"127.0.0.1", -1},
        {"127.0.0.1:", -1},
        {"::1:80", -1},
        {"127.0.0.1:65536", -1},
        {"[]:1", -1},
        {":1", -1},
        {"[:1", -1},
        {"127.0.0.1:+1", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        bool here = false;
        const enum ww_err rc = ww_door_address(cases[i].text, &here, &err);
        if (rc != (cases[i].here < 0 ? WW_E_USAGE : WW_OK) ||
            here != (cases[i].here == 1)) {
            fail_msg("%s: %s, here %d", cases[i].text, ww_err_name(rc), here);
        }
    }
}

static void an_answer_has_its_time(void **state)
{
    (void)state;
    struct ww_error err = {0};
    OK(ww_answer_in_time(ww_now(), &err));
    FAILS(ww_answer_in_time(ww_now() - WW_ANSWER_SECONDS - 1, &err), WW_E_LIMIT);
    assert_string_equal(err.text, "an answer took more than 600 seconds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_stop_is_found_across_tokens),
        cmocka_unit_test(what_may_become_a_stop_is_held_back),
        cmocka_unit_test(tokens_that_are_no_text_are_told_from_the_end),
        cmocka_unit_test(a_template_is_six_texts_and_nothing_else),
        cmocka_unit_test(addresses_of_this_machine_are_told_from_others),
        cmocka_unit_test(an_answer_has_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
