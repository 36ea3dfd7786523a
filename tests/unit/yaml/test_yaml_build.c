/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_fixture.h"

#define REFUSED(text, code, part) refused(text, sizeof(text) - 1, code, part)

static void recipe_is_read_with_its_lines(void **state)
{
    struct ww_yaml *yaml = parse("# a comment\nmodels:\n  - model: a/b\n    parameters:\n"
                                 "      weight: [0, 0.5]\nmerge_method: linear\n");
    const struct ww_ynode *root = ww_yaml_root(yaml, 0);
    const struct ww_ynode *first = ww_yfirst(ww_yget(root, "models"));
    const struct ww_ynode *weight = ww_yget(ww_yget(first, "parameters"), "weight");
    const char *s = NULL;
    double d = 0;
    (void)state;
    assert_int_equal(ww_yaml_count(yaml), 1);
    assert_true(ww_ystr(ww_yget(first, "model"), &s));
    assert_string_equal(s, "a/b");
    assert_int_equal(ww_ysize(weight), 2);
    assert_int_equal(ww_yline(weight), 5);
    assert_true(ww_ynumber(ww_ynext(ww_yfirst(weight)), &d));
    NEAR(d, 0.5, 0);
    ww_yaml_free(yaml);
}

static void documents_of_a_stream_are_kept_apart(void **state)
{
    struct ww_yaml *yaml = parse("---\na: &x 1\n---\n# nothing here\n---\nb: 2\n...\n");
    (void)state;
    assert_int_equal(ww_yaml_count(yaml), 2);
    assert_non_null(ww_yget(ww_yaml_root(yaml, 1), "b"));
    assert_null(ww_yaml_root(yaml, 2));
    ww_yaml_free(yaml);
    REFUSED("a: &x 1\n---\nb: *x\n", WW_E_YAML, "names nothing before it");
}

static void alias_is_a_copy_and_merge_key_fills_gaps(void **state)
{
    struct ww_yaml *yaml = parse("base: &b {weight: 1, density: 0.5}\n"
                                 "one: *b\n"
                                 "two: {<<: *b, density: 0.25}\n"
                                 "three: {<<: [{weight: 7}, *b]}\n");
    const struct ww_ynode *root = ww_yaml_root(yaml, 0);
    double d = 0;
    (void)state;
    assert_true(ww_ynumber(ww_yget(ww_yget(root, "one"), "density"), &d));
    NEAR(d, 0.5, 0);
    assert_true(ww_ynumber(ww_yget(ww_yget(root, "two"), "density"), &d));
    NEAR(d, 0.25, 0);
    assert_int_equal(ww_ysize(ww_yget(root, "two")), 2);
    assert_true(ww_ynumber(ww_yget(ww_yget(root, "three"), "weight"), &d));
    NEAR(d, 7, 0);
    assert_true(ww_ynumber(ww_yget(ww_yget(root, "three"), "density"), &d));
    ww_yaml_free(yaml);
    REFUSED("a: {<<: 3}\n", WW_E_YAML, "'<<' takes a map");
}

static void what_two_readers_see_differently_is_refused(void **state)
{
    (void)state;
    REFUSED("a: 1\nb: 2\na: 3\n", WW_E_YAML,
            "line 3: key 'a' is there already, in line 1");
    REFUSED("a: \xff\n", WW_E_YAML, "not UTF-8");
    REFUSED("a: b\0c\n", WW_E_YAML, "NUL byte");
    REFUSED("a: \"b\\0c\"\n", WW_E_YAML, "NUL in a scalar");
    REFUSED("[a]: 1\n", WW_E_YAML, "a key is a scalar");
    REFUSED("x: &a k\n*a : 1\n", WW_E_YAML, "a key is a scalar");
    REFUSED("a: !!python/object:os.system x\n", WW_E_YAML, "not supported");
    REFUSED("a: !!int text\n", WW_E_YAML, "does not fit");
    REFUSED("a: [1, 2\n", WW_E_YAML, "line 2");
    REFUSED("a:\n\t- b\n", WW_E_YAML,
            "line 2: found character that cannot start any "
            "token; a tab cannot");
    REFUSED("a: &x [*x]\n", WW_E_YAML, "stands inside what it names");
    REFUSED("a: 99999999999999999999\n", WW_E_YAML, "out of range");
}

static void limits_hold(void **state)
{
    char *text = calloc(1, (2u << 20) + 64);
    size_t n = 0;
    (void)state;
    assert_non_null(text);
    memset(text, ' ', (1u << 20) + 1);
    refused(text, (1u << 20) + 1, WW_E_LIMIT, "at most 1048576");
    memset(text, '[', 40);
    refused(text, 40, WW_E_LIMIT, "nested deeper than 32");
    for (int i = 0; i < 65537; i++) {
        n += (size_t)sprintf(text + n, "- 1\n");
    }
    refused(text, n, WW_E_LIMIT, "more than 65536 values");
    n = 0;
    for (int i = 0; i < 8193; i++) {
        n += (size_t)sprintf(text + n, "k%d: 1\n", i);
    }
    refused(text, n, WW_E_LIMIT, "more than 8192 keys");
    n = 0;
    for (int i = 0; i < 257; i++) {
        n += (size_t)sprintf(text + n, "- &a%d 1\n", i);
    }
    refused(text, n, WW_E_LIMIT, "more than 256 anchors");
    free(text);
}

static void aliases_of_aliases_do_not_explode(void **state)
{
    char text[2000];
    size_t n = (size_t)sprintf(text, "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n");
    (void)state;
    for (int i = 1; i < 9; i++) {
        n += (size_t)sprintf(text + n, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n",
                             i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    }
    refused(text, n, WW_E_LIMIT, "aliases counted as what they stand for");
}

static void empty_text_has_no_document(void **state)
{
    struct ww_yaml *yaml = parse("");
    (void)state;
    assert_int_equal(ww_yaml_count(yaml), 0);
    ww_yaml_free(yaml);
    yaml = parse("\xef\xbb\xbf"
                 "a: 1\n");
    assert_non_null(ww_yget(ww_yaml_root(yaml, 0), "a"));
    ww_yaml_free(yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipe_is_read_with_its_lines),
        cmocka_unit_test(documents_of_a_stream_are_kept_apart),
        cmocka_unit_test(alias_is_a_copy_and_merge_key_fills_gaps),
        cmocka_unit_test(what_two_readers_see_differently_is_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(aliases_of_aliases_do_not_explode),
        cmocka_unit_test(empty_text_has_no_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
