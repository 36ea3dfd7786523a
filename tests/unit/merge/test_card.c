/* SPDX-License-Identifier: Apache-2.0 */
/* Licences that models' cards state, and the card of a merge. */
#include "plan_fixture.h"

#include "merge/card.h"

static void licences_that_differ_are_named(void **state)
{
    struct pm *pm = pm_new();
    (void)state;
    ww_fx_file(pm->model[0], "README.md", "---\nlicense: gpl-3.0\n---\n# x\n");
    ww_fx_file(pm->model[1], "README.md",
               "---\nlicense: other\nlicense_name: cc-by-nc-4.0\n---\n");
    PM_OK(LINEAR);
    assert_true(warned(pm,
                       "licence 'gpl-3.0' of 'm0' and licence 'cc-by-nc-4.0' of 'm1': "
                       "one forbids commercial use"));
    assert_true(file_has(pm, "README.md", "license: \"other\"\n"));
    pm_free(pm);
    pm = pm_new();
    ww_fx_file(pm->model[0], "README.md", "---\nlicense: mit\n---\n");
    ww_fx_file(pm->model[1], "README.md", "---\nlicense: mit\n---\n");
    PM_OK(LINEAR);
    assert_int_equal(pm->warnings.n, 0);
    assert_true(file_has(pm, "README.md", "license: \"mit\"\n"));
    pm_free(pm);
}

/* As cards are found on the hub: what cannot be read is not taken for no licence. */
static void odd_cards_are_read_or_told(void **state)
{
    static const struct {
        const char *card; /* beside one that says apache-2.0 */
        const char *warning;
        const char *license; /* of the output */
    } cases[] = {
        {"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n", "licence 'mit' of 'm1'",
         "\"other\""},
        {"\n\n--- \nlicense: [mit]\n---", "licence 'mit' of 'm1'", "\"other\""},
        {"---\nlicense:\n- mit\n- apache-2.0\n---\n", "licence 'mit, apache-2.0' of",
         "\"other\""},
        {"---\nlicense: \"mit\\n---\\nx: 1\"\n---\n", "licence 'mit --- x: 1' of",
         "\"other\""},
        {"---\nlicense:\n\tmit\n---\n", "of 'm1' cannot be read", "\"other\""},
        {"---\nlicense: mit\n", "of 'm1' cannot be read", "\"other\""},
        {"---\nlicense: {a: mit}\n---\n", "of 'm1' is no text", "\"other\""},
        {"---\nlicense: Apache-2.0\n---\n", NULL, "\"apache-2.0\""},
        {"# no front matter\n", NULL, "\"apache-2.0\""},
    };
    struct pm *pm = NULL;
    (void)state;

    for (size_t i = 0; i < WW_LEN(cases); i++) {
        char line[80];
        pm = pm_new();
        ww_fx_file(pm->model[0], "README.md", "---\nlicense: apache-2.0\n---\n");
        ww_fx_file(pm->model[1], "README.md", cases[i].card);
        PM_OK(LINEAR);
        assert_int_equal(pm->warnings.n, cases[i].warning != NULL);
        assert_true(!cases[i].warning || warned(pm, cases[i].warning));
        snprintf(line, sizeof(line), "license: %s\nbase_model_relation",
                 cases[i].license);
        assert_true(file_has(pm, "README.md", line));
        pm_free(pm);
    }
    pm = pm_new();
    ww_fx_file(pm->model[0], "README.md",
               "---\nlicense: other\nlicense_name: own\n---\n");
    ww_fx_file(pm->model[1], "README.md",
               "---\nlicense: other\nlicense_name: own\n---\n");
    PM_OK(LINEAR);
    assert_int_equal(pm->warnings.n, 0);
    assert_true(file_has(pm, "README.md", "license: \"other\"\nlicense_name: \"own\"\n"));
    pm_free(pm);
}

/* An address is carried, a file's name only where the file is in the output. */
static void link_of_a_licence_is_carried(void **state)
{
    static const struct {
        const char *link;
        const char *written;
    } cases[] = {
        {"https://a.example/LICENSE", "license_link: \"https://a.example/LICENSE\"\n"},
        {"LICENSE", "license_link: \"LICENSE\"\n"},
        {"LICENSE.md", "license_name: \"own\"\nbase_model_relation"},
        {"{a: b}", "license_name: \"own\"\nbase_model_relation"},
    };
    char card[120];
    (void)state;

    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct pm *pm = pm_new();
        snprintf(card, sizeof(card),
                 "---\nlicense: other\nlicense_name: own\nlicense_link: %s\n---\n",
                 cases[i].link);
        ww_fx_file(pm->model[0], "LICENSE", "all rights\n");
        ww_fx_file(pm->model[1], "README.md", card);
        PM_OK(LINEAR);
        assert_true(file_has(pm, "README.md", cases[i].written));
        pm_free(pm);
        pm = pm_new();
        ww_fx_file(pm->model[0], "LICENSE", "all rights\n");
        ww_fx_file(pm->model[0], "README.md", "---\nlicense: mit\n---\n");
        ww_fx_file(pm->model[1], "README.md", card);
        PM_OK(LINEAR);
        assert_false(file_has(pm, "README.md", "license_link"));
        pm_free(pm);
    }
}

static void licence_table_knows_what_excludes_what(void **state)
{
    (void)state;
    assert_null(ww_licence_conflict("mit", "apache-2.0"));
    assert_null(ww_licence_conflict("gpl-3.0", "gpl-3.0"));
    assert_non_null(ww_licence_conflict("cc-by-nd-4.0", "cc-by-nd-4.0"));
    assert_non_null(ww_licence_conflict("gpl-3.0", "cc-by-sa-4.0"));
    assert_non_null(ww_licence_conflict("cc-by-nc-4.0", "agpl-3.0"));
    assert_null(ww_licence_conflict("cc-by-nc-4.0", "mit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(licences_that_differ_are_named),
        cmocka_unit_test(odd_cards_are_read_or_told),
        cmocka_unit_test(link_of_a_licence_is_carried),
        cmocka_unit_test(licence_table_knows_what_excludes_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
