/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of names; what fits was computed by Python's re.fullmatch. */
#include "ww_test.h"

#include <time.h>

#include "util/pattern.h"

static int fits(const char *text, const char *name)
{
    struct ww_pattern *p = NULL;
    struct ww_error err = {0};
    const enum ww_err rc = ww_pattern_new(text, &p, &err);
    int yes = -1;

    if (rc) {
        assert_int_equal(rc, WW_E_UNSUPPORTED);
        assert_null(p);
        return yes;
    }
    yes = ww_pattern_fits(p, name);
    assert_int_equal(ww_pattern_fits(p, name), yes);
    ww_pattern_free(p);
    return yes;
}

static void names_fit_as_in_python(void **state)
{
    static const struct {
        const char *text;
        const char *name;
        int want;
    } cases[] = {
        {"q_proj", "q_proj", 1},
        {"q_proj", "q_proj2", 0},
        {"q.proj", "q_proj", 1},
        {"", "", 1},
        {"", "a", 0},
        {"a|b|", "", 1},
        {"layers\\.(0|1[0-3])\\..*_proj", "layers.12.self_attn.q_proj", 1},
        {"layers\\.(0|1[0-3])\\..*_proj", "layers.14.self_attn.q_proj", 0},
        {"(?:ab)+?c", "ababc", 1},
        {"(ab){2}", "abab", 1},
        {"(ab){2}", "ab", 0},
        {"a{2,3}", "aaaa", 0},
        {"a{2,}", "aaaa", 1},
        {"a{,1}b", "b", 1},
        {"(a?){3}", "aa", 1},
        {"\\d+\\w\\s\\D", "12_ x", 1},
        {"[^a-c]x[]-]", "dx-", 1},
        {"[^a-c]x[]-]", "bx]", 0},
        {"[\\d.]+", "1.2", 1},
        {"^a$", "a", 1},
        {"b^a", "ba", 0},
        {"a$|ab", "ab", 1},
        {"(a*)*", "aaaa", 1},
        {"(a|aa)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 0},
        {"a)(b", "ab", -1},
        {"(a", "a", -1},
        {"[a", "a", -1},
        {"a**", "a", -1},
        {"*a", "a", -1},
        {"(?=a)a", "a", -1},
        {"(?i)a", "a", -1},
        {"(a)\\1", "aa", -1},
        {"\\ba", "a", -1},
        {"a\\", "a", -1},
        {"a{3,2}", "a", -1},
        {"a{x}", "a", -1},
        {"\xc3\xa9?", "", -1},
        {"a.{2}b",
         "a\xc3\xa9\xc3\xa9"
         "b",
         1},
        {"a.{4}b",
         "a\xc3\xa9\xc3\xa9"
         "b",
         0},
        {"a[^x]b",
         "a\xe2\x82\xac"
         "b",
         1},
        {"((a{500}){500}){500}", "a", -1},
        {"((((((((((((((((((((((((((((((((((a))))))))))))))))))))))))))))))))))", "a",
         -1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int got = fits(cases[i].text, cases[i].name);
        if (got != cases[i].want) {
            fail_msg("'%s' and '%s': %d", cases[i].text, cases[i].name, got);
        }
    }
}

static void the_beginning_is_that_of_the_name(void **state)
{
    struct ww_pattern *p = NULL;
    struct ww_error err = {0};
    (void)state;

    OK(ww_pattern_new("^b|c", &p, &err));
    assert_true(ww_pattern_fits_end(p, "b"));
    assert_false(ww_pattern_fits_end(p, "a.b"));
    assert_true(ww_pattern_fits_end(p, "a.b.c"));
    assert_false(ww_pattern_fits_end(p, "a.bc"));
    assert_false(ww_pattern_fits(p, "a.c"));
    ww_pattern_free(p);
}

/* Of every dot a new beginning, and of each all states: once through the name all the
 * same. */
static void hostile_expressions_take_no_longer(void **state)
{
    char text[4100];
    char name[4001];
    struct ww_pattern *p = NULL;
    struct ww_error err = {0};
    (void)state;

    for (size_t i = 0; i < 4000; i++) {
        name[i] = i % 2 ? 'a' : '.';
    }
    name[4000] = 0;
    OK(ww_pattern_new(".{0,1000}b", &p, &err));
    const clock_t before = clock();
    assert_false(ww_pattern_fits_end(p, name));
    assert_true(clock() - before < 5 * CLOCKS_PER_SEC);
    ww_pattern_free(p);
    memset(text, 'a', sizeof(text));
    text[0] = '[';
    text[4095] = ']';
    text[4096] = 0;
    OK(ww_pattern_new(text, &p, &err));
    ww_pattern_free(p);
    text[4096] = '*';
    text[4097] = 0;
    FAILS(ww_pattern_new(text, &p, &err), WW_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_fit_as_in_python),
        cmocka_unit_test(the_beginning_is_that_of_the_name),
        cmocka_unit_test(hostile_expressions_take_no_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
