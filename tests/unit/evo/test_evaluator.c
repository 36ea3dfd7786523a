/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that answer, and all the ways in which they do not. */
#include "ww_test.h"

#include <stdio.h>

#include "evo/evaluator.h"
#include "util/fs.h"

static struct ww_error err;

static struct ww_trial ask(const char *mode, const char *text, uint32_t retries)
{
    const char *argv[] = {WW_FAKE_EVALUATOR, mode, NULL};
    struct ww_evaluator e = {
        .argv = argv, .parallel = 2, .retries = retries, .seconds = 1};
    struct ww_trial t = {.part = "search", .seed = 5};
    char *folder = ww_test_mkdir();
    t.path = ww_path_join(folder, "r.yml");
    OK(ww_file_write(t.path, text, strlen(text), 0600, true, &err));
    OK(ww_evaluate(&e, &t, 1, &err));
    ww_test_rmdir(folder);
    return t;
}

static void scores_are_read(void **state)
{
    (void)state;
    struct ww_trial t = ask("quadratic", "x: 0.3\n", 0);
    assert_int_equal(t.n, 1);
    assert_true(t.scores[0] == 0);
    assert_int_equal(t.attempts, 1);
    ww_trial_release(&t);
    t = ask("items", "x: [0.3, 0.6]\n", 0);
    assert_int_equal(t.n, 20);
    ww_trial_release(&t);
    t = ask("flaky", "x: 0.3\n", 1);
    assert_int_equal(t.n, 1);
    assert_int_equal(t.attempts, 2);
    ww_trial_release(&t);
}

static void failures_are_outcomes(void **state)
{
    (void)state;
    const struct {
        const char *mode;
        const char *why;
    } cases[] = {{"fails", "status 3"},  {"garbage", "1"},       {"nan", "no number"},
                 {"killed", "signal 9"}, {"hangs", "1 seconds"}, {"two", "list"},
                 {"flaky", "status 9"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t retries = i == 0 ? 3 : 0;
        struct ww_trial t = ask(cases[i].mode, "x: 0.7\n", retries);
        assert_int_equal(t.n, 0);
        assert_null(t.scores);
        assert_int_equal(t.attempts, retries + 1);
        if (!strstr(t.why, cases[i].why)) {
            fail_msg("%s: '%s'", cases[i].mode, t.why);
        }
        ww_trial_release(&t);
    }
}

static void answers_are_strict(void **state)
{
    (void)state;
    const char *names[] = {"a", "b"};
    const struct ww_evaluator plain = {0};
    const struct ww_evaluator named = {.objectives = names, .n_objectives = 2};
    const struct {
        const struct ww_evaluator *e;
        const char *text;
        uint32_t n;
    } cases[] = {{&plain, "{\"score\": 1e2, \"note\": \"x\"}", 1},
                 {&plain, "{\"scores\": [1, 2, 3]}", 3},
                 {&plain, "{\"scores\": []}", 0},
                 {&plain, "{\"scores\": [1, null]}", 0},
                 {&plain, "{\"score\": 1, \"scores\": [1]}", 0},
                 {&plain, "{\"score\": \"1\"}", 0},
                 {&plain, "{\"score\": NaN}", 0},
                 {&plain, "{\"score\": 1} {\"score\": 2}", 0},
                 {&plain, "[1]", 0},
                 {&plain, "", 0},
                 {&named, "{\"scores\": {\"b\": 1, \"a\": 2}}", 2},
                 {&named, "{\"scores\": {\"b\": 1}}", 0},
                 {&named, "{\"scores\": {\"b\": 1, \"c\": 2}}", 0},
                 {&named, "{\"scores\": {\"a\": 1, \"b\": 2, \"c\": 3}}", 0},
                 {&named, "{\"score\": 1}", 0},
                 {&named, "{\"scores\": [1, 2]}", 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_trial t = {0};
        const uint8_t *text = (const uint8_t *)cases[i].text;
        bool good = ww_evaluator_read(cases[i].e, text, strlen(cases[i].text), &t);
        if (good != (cases[i].n > 0) || t.n != cases[i].n || (!good && !t.why[0])) {
            fail_msg("%s: %u scores, '%s'", cases[i].text, t.n, t.why);
        }
        if (cases[i].e == &named && good) {
            assert_true(t.scores[0] == 2 && t.scores[1] == 1);
        }
        ww_trial_release(&t);
    }
}

static int stop(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    (void)phase;
    (void)done;
    (void)total;
    return 1;
}

static void cancelling_leaves_no_child(void **state)
{
    (void)state;
    const char *argv[] = {WW_FAKE_EVALUATOR, "hangs", NULL};
    struct ww_evaluator e = {
        .argv = argv, .parallel = 1, .seconds = 1000, .progress = stop};
    struct ww_trial t = {.part = "search"};
    char *folder = ww_test_mkdir();
    t.path = ww_path_join(folder, "r.yml");
    OK(ww_file_write(t.path, "x: 0.7\n", 7, 0600, true, &err));
    FAILS(ww_evaluate(&e, &t, 1, &err), WW_E_CANCELLED);
    argv[0] = "/nonexistent/program";
    e.progress = NULL;
    FAILS(ww_evaluate(&e, &t, 1, &err), WW_E_NOTFOUND);
    e.parallel = 0;
    FAILS(ww_evaluate(&e, &t, 1, &err), WW_E_USAGE);
    ww_trial_release(&t);
    ww_test_rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_read),
        cmocka_unit_test(failures_are_outcomes),
        cmocka_unit_test(answers_are_strict),
        cmocka_unit_test(cancelling_leaves_no_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
