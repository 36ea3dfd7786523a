/* SPDX-License-Identifier: Apache-2.0 */
/* Where characters begin and end, and a walk against masses worked out by hand. */
#include "ww_test.h"

#include <math.h>

#include "evo/byte_walk.h"

static size_t inside(const char *text)
{
    return ww_byte_inside((const uint8_t *)text, strlen(text));
}

static bool fits(const char *text, unsigned byte)
{
    return ww_byte_fits((const uint8_t *)text, strlen(text), byte);
}

static void text_ends_inside_of_a_character_or_does_not(void **state)
{
    (void)state;
    assert_int_equal(ww_byte_inside(NULL, 0), 0);
    assert_int_equal(inside("a"), 0);
    assert_int_equal(inside("\xC3"), 1);
    assert_int_equal(inside("\xC3\xA9"), 0);
    assert_int_equal(inside("a\xE2\x82"), 2);
    assert_int_equal(inside("\xE2\x82\xAC"), 0);
    assert_int_equal(inside("\xF0\x9F\x98"), 3);
    assert_int_equal(inside("\xF0\x9F\x98\x80"), 0);
}

static void only_what_makes_text_fits(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        assert_true(fits("", b) == ((b > 0 && b < 0x80) || (b >= 0xC2 && b <= 0xF4)));
        assert_true(fits("\xC3", b) == (b >= 0x80 && b <= 0xBF));
        assert_true(fits("\xE0", b) == (b >= 0xA0 && b <= 0xBF));
        assert_true(fits("\xED", b) == (b >= 0x80 && b <= 0x9F)); /* no surrogate */
        assert_true(fits("\xF0", b) == (b >= 0x90 && b <= 0xBF));
        assert_true(fits("\xF4", b) == (b >= 0x80 && b <= 0x8F));
        assert_true(fits("\xF0\x9F\x98", b) == (b >= 0x80 && b <= 0xBF));
    }
    assert_false(fits("a", WW_BYTE_END));
    assert_true(ww_byte_fits(NULL, 0, 'a'));
}

/* "ab" at once or in two tokens: the mass of "b" behind "a" comes from both. */
static void mass_of_a_byte_is_a_sum_over_ways(void **state)
{
    (void)state;
    static const uint8_t said[] = "ab";
    const struct ww_said_token at0[] = {
        {{said, 2}, log(0.5)}, {{said, 1}, log(0.3)}, {{said + 1, 1}, log(0.2)}};
    const struct ww_said_token at1[] = {{{said + 1, 1}, log(0.25)},
                                        {{NULL, 0}, log(0.75)}};
    const struct ww_scored_at lists[] = {{.top = at0, .n = 3}, {.top = at1, .n = 2}};
    struct ww_byte_walk walk;
    struct ww_error err = {0};
    bool ask = false;
    uint8_t bytes[WW_BYTE_CHOICES];
    struct ww_said_token list[WW_BYTE_CHOICES];
    double left = 0;
    ww_byte_walk_begin(&walk, "");
    OK(ww_byte_walk_enter(&walk, said, 0, &ask, &err));
    assert_true(ask);
    ww_byte_walk_told(&walk, 0, &lists[0]);
    ww_byte_walk_choose(&walk, said, 0);
    assert_true(fabs(walk.choice['a'] - 0.8) < 1e-12);
    assert_true(fabs(walk.choice['b'] - 0.2) < 1e-12);
    OK(ww_byte_walk_enter(&walk, said, 1, &ask, &err));
    assert_true(ask); /* 3 in 8 that "a" ended there */
    ww_byte_walk_told(&walk, 1, &lists[1]);
    ww_byte_walk_choose(&walk, said, 1);
    assert_true(fabs(walk.choice['b'] - (0.5 + 0.3 * 0.25) / 0.8) < 1e-12);
    assert_true(fabs(walk.choice[WW_BYTE_END] - 0.3 * 0.75 / 0.8) < 1e-12);
    assert_int_equal(ww_byte_walk_list(&walk, bytes, list, &left), 2);
    assert_true(fabs(left) < 1e-12);
    assert_int_equal(ww_byte_walk_needs(&walk, 2), 0);
    assert_int_equal(ww_byte_walk_needs(&walk, 3), 1);
    ww_byte_walk_release(&walk);
}

/* Lists of short tokens, then one of a long token: those that were given up stay so. */
static void what_was_given_up_is_not_looked_at_again(void **state)
{
    (void)state;
    static const uint8_t said[] = "abcdefgh";
    struct ww_said_token token[6];
    struct ww_scored_at at[6];
    struct ww_byte_walk walk;
    struct ww_error err = {0};
    size_t gone = 0;
    bool ask = false;
    ww_byte_walk_begin(&walk, "");
    for (size_t j = 0; j < 6; j++) {
        token[j] = (struct ww_said_token){{said + j, j < 5 ? 1 : 3}, log(0.5)};
        at[j] = (struct ww_scored_at){.top = &token[j], .n = 1};
        OK(ww_byte_walk_enter(&walk, said, j, &ask, &err));
        assert_true(ask);
        ww_byte_walk_told(&walk, j, &at[j]);
        assert_true(ww_byte_walk_needs(&walk, j) >= gone);
        for (; gone < ww_byte_walk_needs(&walk, j); gone++) {
            at[gone].top = NULL; /* its n stays: whoever looks falls */
        }
        ww_byte_walk_choose(&walk, said, j);
        assert_true(fabs(walk.choice[said[j]] - 0.5) < 1e-12);
    }
    assert_int_equal(gone, 3);
    OK(ww_byte_walk_enter(&walk, said, 6, &ask, &err));
    ww_byte_walk_choose(&walk, said, 6);
    assert_true(fabs(walk.choice['g'] - 1) < 1e-12); /* nothing else is known of "f" */
    ww_byte_walk_release(&walk);
}

static void a_token_that_ends_inside_of_a_character_is_refused(void **state)
{
    (void)state;
    static const uint8_t said[] = "\xC3\xA9";
    const struct ww_said_token half[] = {{{said, 1}, log(0.9)}, {{said, 2}, log(0.1)}};
    const struct ww_scored_at at = {.top = half, .n = 2};
    struct ww_byte_walk walk;
    struct ww_error err = {0};
    bool ask = false;
    ww_byte_walk_begin(&walk, "");
    OK(ww_byte_walk_enter(&walk, said, 0, &ask, &err));
    ww_byte_walk_told(&walk, 0, &at);
    assert_int_equal(ww_byte_walk_enter(&walk, said, 1, &ask, &err), WW_E_UNSUPPORTED);
    ww_byte_walk_release(&walk);
}

static void who_lists_nothing_that_leads_on_has_no_say(void **state)
{
    (void)state;
    static const uint8_t said[] = "\xC3\xA9"
                                  "b";
    const struct ww_said_token other[] = {{{said + 2, 1}, log(0.9)}};
    const struct ww_scored_at at = {.top = other, .n = 1};
    struct ww_byte_walk walk;
    struct ww_error err = {0};
    bool ask = false;
    ww_byte_walk_begin(&walk, "");
    OK(ww_byte_walk_enter(&walk, said, 0, &ask, &err));
    ww_byte_walk_told(&walk, 0, &at);
    OK(ww_byte_walk_enter(&walk, said, 1, &ask, &err));
    assert_false(ask);
    ww_byte_walk_choose(&walk, said, 1);
    assert_true(walk.choice[0xA9] == 1.0 / 257 && walk.choice[WW_BYTE_END] == 1.0 / 257);
    OK(ww_byte_walk_enter(&walk, said, 2, &ask, &err));
    assert_true(ask); /* behind the character it begins anew */
    ww_byte_walk_told(&walk, 2, &at);
    ww_byte_walk_choose(&walk, said, 2);
    assert_true(fabs(walk.choice['b'] - 0.9) < 1e-12);
    ww_byte_walk_release(&walk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_ends_inside_of_a_character_or_does_not),
        cmocka_unit_test(only_what_makes_text_fits),
        cmocka_unit_test(mass_of_a_byte_is_a_sum_over_ways),
        cmocka_unit_test(what_was_given_up_is_not_looked_at_again),
        cmocka_unit_test(a_token_that_ends_inside_of_a_character_is_refused),
        cmocka_unit_test(who_lists_nothing_that_leads_on_has_no_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
