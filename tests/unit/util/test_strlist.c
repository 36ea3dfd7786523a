/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "util/fault.h"
#include "util/str.h"

static void list_grows_and_sorts_by_bytes(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_strlist list = {0};
    static const char *const in[] = {"b", "\xc3\xa9", "B", "a", "ab",
                                     "_", "",         "b", "z", "y"};
    static const char *const out[] = {"",  "B", "_", "a", "ab",
                                      "b", "b", "y", "z", "\xc3\xa9"};
    for (size_t i = 0; i < 10; i++) {
        OK(ww_strlist_add(&list, in[i], &err));
    }
    assert_true(ww_strlist_has(&list, "ab"));
    assert_false(ww_strlist_has(&list, "c"));
    ww_strlist_sort(&list);
    for (size_t i = 0; i < 10; i++) {
        assert_string_equal(list.items[i], out[i]);
    }
    ww_strlist_release(&list);
    assert_int_equal(list.n, 0);
    ww_strlist_release(&list);
    ww_strlist_release(NULL);
}

static void empty_list_can_be_used(void **state)
{
    (void)state;
    struct ww_strlist list = {0};
    ww_strlist_sort(&list);
    assert_false(ww_strlist_has(&list, ""));
}

static void failed_add_leaves_the_list_whole(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_strlist list = {0};
    for (unsigned long n = 1; n <= 2; n++) {
        ww_fault_arm(WW_FAULT_ALLOC, n);
        FAILS(ww_strlist_add(&list, "x", &err), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_int_equal(list.n, 0);
    }
    OK(ww_strlist_add(&list, "x", &err));
    ww_strlist_release(&list);
}

static void a_formatted_line_is_added_and_cut(void **state)
{
    struct ww_error err = {0};
    struct ww_strlist list = {0};
    char longer[600];
    (void)state;
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    OK(ww_lines_add(&list.items, &list.n, &err, "%d of '%s'", 3, "a"));
    OK(ww_lines_add(&list.items, &list.n, &err, "%s", longer));
    assert_int_equal(list.n, 2);
    assert_string_equal(list.items[0], "3 of 'a'");
    assert_int_equal(strlen(list.items[1]), 511);
    /* What others chose begins no line, and is UTF-8 where it was cut. */
    OK(ww_lines_add(&list.items, &list.n, &err, "'%.4s'", "x\n\xc3\xa9"));
    OK(ww_lines_add(&list.items, &list.n, &err, "'%.2s'", "x\xc3\xa9"));
    assert_string_equal(list.items[2], "'x\\x0a\xc3\xa9'");
    assert_string_equal(list.items[3], "'x\\xc3'");
    ww_strlist_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_formatted_line_is_added_and_cut),
        cmocka_unit_test(list_grows_and_sorts_by_bytes),
        cmocka_unit_test(empty_list_can_be_used),
        cmocka_unit_test(failed_add_leaves_the_list_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
