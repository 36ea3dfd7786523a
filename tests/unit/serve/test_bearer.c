/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of clients: which files are read, which headers are let in. */
#include "ww_test.h"

#include <sys/stat.h>

#include "serve/bearer.h"

static enum ww_err read_text(const char *text, mode_t mode, struct ww_bearers *out,
                             struct ww_error *err)
{
    char *dir = ww_test_mkdir();
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/keys", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, mode) == 0);
    const enum ww_err rc = ww_bearers_read(path, out, err);
    ww_test_rmdir(dir);
    return rc;
}

static void a_key_of_the_file_is_let_in_and_no_other(void **state)
{
    (void)state;
    struct ww_bearers b;
    struct ww_error err = {0};
    OK(read_text("first-key-of-two-01\n\nsecond-key-of-two-2", 0600, &b, &err));
    assert_int_equal(b.n, 2);
    assert_true(ww_bearers_allow(&b, "Bearer first-key-of-two-01"));
    assert_true(ww_bearers_allow(&b, "bearer second-key-of-two-2"));
    assert_false(ww_bearers_allow(&b, "Bearer first-key-of-two-0"));
    assert_false(ww_bearers_allow(&b, "Bearer first-key-of-two-011"));
    assert_false(ww_bearers_allow(&b, "Bearer "));
    assert_false(ww_bearers_allow(&b, "Basic first-key-of-two-01"));
    assert_false(ww_bearers_allow(&b, "first-key-of-two-01"));
    assert_false(ww_bearers_allow(&b, NULL));
    ww_bearers_release(&b);
    assert_true(ww_bearers_allow(&b, NULL)); /* no keys: everybody */
}

static void files_that_hold_no_keys_are_refused(void **state)
{
    (void)state;
    struct ww_bearers b;
    struct ww_error err = {0};
    FAILS(read_text("first-key-of-two-01\n", 0640, &b, &err), WW_E_KEY_ACCESS);
    FAILS(read_text("\n\n", 0600, &b, &err), WW_E_KEYFILE);
    FAILS(read_text("first-key-of-two-01\nfifteen-signs-0\n", 0600, &b, &err),
          WW_E_KEYFILE);
    assert_non_null(strstr(err.text, "line 2"));
    FAILS(read_text("first-key-of-two 01\n", 0600, &b, &err), WW_E_KEYFILE);
    FAILS(read_text("first-key-of-two-01\r\n", 0600, &b, &err), WW_E_KEYFILE);
    FAILS(ww_bearers_read("/nonexistent/keys", &b, &err), WW_E_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_of_the_file_is_let_in_and_no_other),
        cmocka_unit_test(files_that_hold_no_keys_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
