/* SPDX-License-Identifier: Apache-2.0 */
/* A library that is there, one that is not, one without a function. */
#include "ww_test.h"

#include "util/library.h"

static struct {
    double (*cos)(double);
    double (*floor)(double);
} functions;
static const char *const names[] = {"cos", "floor"};
static const char *const wrong[] = {"cos", "weightward_is_not_there"};

static void functions_are_found_once(void **state)
{
    (void)state;
    static struct ww_library libm =
        WW_LIBRARY_INIT("libm.so.6", "angles", names, functions);
    struct ww_error err = {0};

    assert_int_equal(ww_library_load(&libm, &err), WW_OK);
    assert_true(functions.cos(0) == 1 && functions.floor(2.5) == 2);
    memset(&functions, 0, sizeof(functions));
    assert_int_equal(ww_library_load(&libm, &err), WW_OK);
    assert_null(functions.cos);
}

static void what_is_optional_may_be_absent(void **state)
{
    (void)state;
    static struct ww_library libm =
        WW_LIBRARY_INIT("libm.so.6", "angles", wrong, functions);
    struct ww_error err = {0};

    libm.n_optional = 1;
    assert_int_equal(ww_library_load(&libm, &err), WW_OK);
    assert_true(functions.cos(0) == 1 && !functions.floor);
}

static void what_is_absent_is_named(void **state)
{
    (void)state;
    static struct ww_library absent =
        WW_LIBRARY_INIT("libweightward-absent.so.1", "angles", names, functions);
    static struct ww_library old =
        WW_LIBRARY_INIT("libm.so.6", "angles", wrong, functions);

    for (int i = 0; i < 2; i++) {
        struct ww_error err = {0};
        struct ww_error other = {0};
        assert_int_equal(ww_library_load(&absent, &err), WW_E_LIBRARY);
        assert_non_null(strstr(
            err.text, "angles: the library libweightward-absent.so.1 cannot be loaded"));
        assert_int_equal(ww_library_load(&old, &other), WW_E_LIBRARY);
        assert_non_null(strstr(other.text, "has no function weightward_is_not_there"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_found_once),
        cmocka_unit_test(what_is_optional_may_be_absent),
        cmocka_unit_test(what_is_absent_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
