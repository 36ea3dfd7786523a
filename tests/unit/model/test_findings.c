/* SPDX-License-Identifier: Apache-2.0 */
#include "model/findings.h"

#include "util/fault.h"
#include "ww_test.h"

static void findings_grow_and_keep_their_order(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_findings list = {0};
    for (int i = 0; i < 20; i++) {
        OK(ww_findings_add(&list, i % 2 ? WW_E_DUPLICATE : WW_OK, &err, "number %d", i));
    }
    assert_int_equal(list.n, 20);
    assert_string_equal(list.items[0].text, "number 0");
    assert_string_equal(list.items[19].text, "number 19");
    assert_int_equal(list.items[19].code, WW_E_DUPLICATE);
    ww_findings_release(&list);
    assert_null(list.items);
}

static void control_characters_are_escaped(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_findings list = {0};
    OK(ww_findings_add(&list, WW_OK, &err, "file '%s'", "a\x1b[2J\xff"));
    assert_string_equal(list.items[0].text, "file 'a\\x1b[2J\\xff'");
    ww_findings_release(&list);
}

static void memory_out_is_an_error(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth <= 2; nth++) {
        struct ww_error err = {0};
        struct ww_findings list = {0};
        ww_fault_arm(WW_FAULT_ALLOC, nth);
        FAILS(ww_findings_add(&list, WW_OK, &err, "x"), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_int_equal(list.n, 0);
        ww_findings_release(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings_grow_and_keep_their_order),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(memory_out_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
