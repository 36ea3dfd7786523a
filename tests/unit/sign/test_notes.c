/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/notes.h"

#include "fixture.h"

static void a_sentence_is_kept_once(void **state)
{
    struct ww_error err = {0};
    struct ww_notes notes = {0};
    char **items = NULL;
    size_t n = 0;
    (void)state;

    for (int i = 0; i < 3; i++) {
        OK(ww_notes_add(&notes, &err, "origin of '%s'", "base"));
        OK(ww_notes_add(&notes, &err, "origin of '%s'", "other"));
    }
    OK(ww_notes_take(&notes, &items, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(items[0], "origin of 'base'");
    assert_string_equal(items[1], "origin of 'other'");
    struct ww_strlist list = {items, n, n};
    ww_strlist_release(&list);
}

static void beyond_the_limit_sentences_are_counted(void **state)
{
    struct ww_error err = {0};
    struct ww_notes notes = {0};
    char **items = NULL;
    size_t n = 0;
    (void)state;

    for (int i = 0; i < 203; i++) {
        OK(ww_notes_add(&notes, &err, "file %d", i));
        OK(ww_notes_add(&notes, &err, "file %d", 0));
    }
    OK(ww_notes_take(&notes, &items, &n, &err));
    assert_int_equal(n, 201);
    assert_string_equal(items[200], "and 3 more");
    struct ww_strlist list = {items, n, n};
    ww_strlist_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentence_is_kept_once),
        cmocka_unit_test(beyond_the_limit_sentences_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
