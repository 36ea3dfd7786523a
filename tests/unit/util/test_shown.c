/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ww_test.h"
#include "weightward/report.h"

static void what_a_terminal_obeys_is_spelt_out(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"a line\nand\ttabs\n", "a line\nand\ttabs\n"},
        {"\x1b[31mred\x07\r", "\\u001b[31mred\\u0007\\u000d"},
        {"\xe2\x80\xaetxt\xe2\x80\xac \xc2\x9b", "\\u202etxt\\u202c \\u009b"},
        {"caf\xc3\xa9 \xf0\x9f\x94\x92", "caf\xc3\xa9 \xf0\x9f\x94\x92"},
        {"caf\xe9 \xff", "caf\\xe9 \\xff"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        size_t taken = 0;
        const size_t len = strlen(cases[i].text);
        const size_t n = ww_text_shown(cases[i].text, len, out, sizeof(out), &taken);
        assert_int_equal(taken, len);
        assert_int_equal(n, strlen(cases[i].shown));
        assert_memory_equal(out, cases[i].shown, n);
    }
}

static void a_character_in_two_pieces_waits_for_its_rest(void **state)
{
    (void)state;
    const char *text = "ab\xe2\x80\xae";
    char out[64];
    size_t taken = 0;
    assert_int_equal(ww_text_shown(text, 4, out, sizeof(out), &taken), 2);
    assert_int_equal(taken, 2);
    assert_int_equal(ww_text_shown(text + 2, 3, out, sizeof(out), &taken), 6);
    assert_int_equal(taken, 3);
    /* nothing is cut where there is no room */
    assert_int_equal(ww_text_shown(text, 5, out, 7, &taken), 2);
    assert_int_equal(taken, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_terminal_obeys_is_spelt_out),
        cmocka_unit_test(a_character_in_two_pieces_waits_for_its_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
