/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_fixture.h"

#include "util/fail.h"

static void plain_scalars_have_the_types_of_the_safe_loader(void **state)
{
    static const struct {
        const char *text;
        enum ww_ytype type;
    } cases[] = {
        {"~", WW_Y_NULL},         {"", WW_Y_NULL},           {"yes", WW_Y_BOOL},
        {"Off", WW_Y_BOOL},       {"12", WW_Y_INT},          {"-3", WW_Y_INT},
        {"0.5", WW_Y_FLOAT},      {".5", WW_Y_FLOAT},        {"1.", WW_Y_FLOAT},
        {"1.0e-5", WW_Y_FLOAT},   {"1e-5", WW_Y_STRING},     {"1.0e5", WW_Y_STRING},
        {"'0.5'", WW_Y_STRING},   {"007", WW_Y_STRING},      {"0x10", WW_Y_STRING},
        {"0o17", WW_Y_STRING},    {"0b11", WW_Y_STRING},     {"1_000", WW_Y_STRING},
        {"1e3", WW_Y_STRING},     {"+1", WW_Y_INT},          {"on", WW_Y_BOOL},
        {"!!str 5", WW_Y_STRING}, {"!!float 5", WW_Y_FLOAT}, {"y", WW_Y_STRING},
        {"1:30", WW_Y_STRING},    {"./a", WW_Y_STRING},      {"[]", WW_Y_LIST},
        {"{}", WW_Y_MAP},         {".inf", WW_Y_STRING},     {"2001-01-01", WW_Y_STRING},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        char text[64];
        snprintf(text, sizeof(text), "a: %s\nb: 1\n", cases[i].text);
        struct ww_yaml *yaml = parse(text);
        if (ww_ytype(ww_yfirst(ww_yaml_root(yaml, 0))) != cases[i].type) {
            fail_msg("'%s' is %s", cases[i].text,
                     ww_ytype_name(ww_yfirst(ww_yaml_root(yaml, 0))));
        }
        ww_yaml_free(yaml);
    }
}

static void typed_reads_do_not_convert(void **state)
{
    struct ww_yaml *yaml = parse("s: '1e-5'\nt: abc\nb: true\ni: 3\nf: 0.1\nn: null\n"
                                 "o: -010\nd: 010.5\nx: 0x10\nk: 1_000\n");
    const struct ww_ynode *root = ww_yaml_root(yaml, 0);
    const char *s = NULL;
    bool b = false;
    int64_t i = 0;
    double d = 0;
    (void)state;
    assert_true(ww_ynumber(ww_yget(root, "s"), &d));
    NEAR(d, 1e-5, 0);
    assert_false(ww_ynumber(ww_yget(root, "t"), &d));
    assert_false(ww_ynumber(ww_yget(root, "b"), &d));
    assert_false(ww_ynumber(ww_yget(root, "o"), &d)); /* 8 to PyYAML */
    assert_false(ww_ynumber(ww_yget(root, "x"), &d)); /* 16 */
    assert_false(ww_ynumber(ww_yget(root, "k"), &d)); /* 1000 */
    assert_true(ww_ynumber(ww_yget(root, "d"), &d) && d == 10.5);
    assert_true(ww_ybool(ww_yget(root, "b"), &b) && b);
    assert_false(ww_ybool(ww_yget(root, "i"), &b));
    assert_true(ww_yi64(ww_yget(root, "i"), &i) && i == 3);
    assert_false(ww_yi64(ww_yget(root, "f"), &i));
    assert_false(ww_ystr(ww_yget(root, "i"), &s));
    assert_true(ww_ytext(ww_yget(root, "f"), &s));
    assert_string_equal(s, "0.1");
    assert_null(ww_yget(root, "n"));
    assert_null(ww_yget(ww_yget(root, "absent"), "x"));
    assert_false(ww_ystr(NULL, &s));
    ww_yaml_free(yaml);
}

static void unknown_key_is_refused_with_the_nearest_name(void **state)
{
    static const char *const known[] = {"merge_method", "base_model"};
    struct ww_yaml *yaml = parse("base_model: x\nmerge_metod: linear\n");
    struct ww_yaml *list = parse("[1]");
    struct ww_error err = {0};
    (void)state;
    FAILS(ww_yonly(ww_yaml_root(yaml, 0), known, 2, WW_E_RECIPE, "a recipe", &err),
          WW_E_RECIPE);
    assert_string_equal(err.text, "line 2: a recipe has an unknown key 'merge_metod'; is "
                                  "'merge_method' meant?");
    FAILS(ww_yonly(ww_yaml_root(list, 0), known, 2, WW_E_RECIPE, "a recipe", &err),
          WW_E_RECIPE);
    assert_non_null(strstr(err.text, "a list, a map is expected"));
    ww_yaml_free(yaml);
    ww_yaml_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_scalars_have_the_types_of_the_safe_loader),
        cmocka_unit_test(typed_reads_do_not_convert),
        cmocka_unit_test(unknown_key_is_refused_with_the_nearest_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
