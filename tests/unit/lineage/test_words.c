/* SPDX-License-Identifier: Apache-2.0 */
/* What is not told from a method is listed whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lineage/verdict_work.h"

static bool lists(const struct ww_decompose_report *r, const char *name)
{
    bool found = false;

    for (size_t i = 0; r->not_excluded[i]; i++) {
        found |= strcmp(r->not_excluded[i], name) == 0;
    }
    return found;
}

static void expect_all(const struct ww_decompose_report *r, const char *const *names)
{
    for (size_t i = 0; names[i]; i++) {
        assert_true(lists(r, names[i]));
    }
}

static void selections_that_are_not_told_apart_are_all_listed(void **state)
{
    static const char *const all[] = {"ties",         "breadcrumbs", "breadcrumbs_ties",
                                      "sce",          "dare_linear", "dare_ties",
                                      "della_linear", "della",       NULL};
    static const char *const at_random[] = {"dare_linear", "dare_ties", "della_linear",
                                            "della", NULL};
    static const char *const short_ones[] = {"ties", "sce", NULL};
    static struct ww_decompose_report report;

    (void)state;
    ww_verdict_say(&report, WW_SAY_SELECTED);
    assert_string_equal(report.method, "unclear");
    expect_all(&report, all);
    ww_verdict_say(&report, WW_SAY_NOISY);
    expect_all(&report, at_random);
    ww_verdict_say(&report, WW_SAY_BLEND);
    expect_all(&report, short_ones);
}

static void ties_that_gives_most_bits_may_be_breadcrumbs(void **state)
{
    static const struct ww_keep keep = {.dropped = 0.4};
    static const struct ww_subsets parts = {.told = true, .sure = true, .explained = 1};
    static struct ww_contest contest = {.method = "ties", .equals = {"breadcrumbs"}};
    static struct ww_decompose_report report;

    (void)state;
    contest.match = 0.96;
    report.unexplained = 0.2;
    ww_verdict_conclude(&report, &contest, &keep, &parts);
    assert_string_equal(report.method, "ties");
    assert_string_equal(report.not_excluded[0], "breadcrumbs");
    assert_string_equal(report.not_excluded[1], "breadcrumbs_ties");
    assert_null(report.not_excluded[2]); /* none twice */
    contest.match = 1;
    contest.equals[0] = NULL;
    ww_verdict_conclude(&report, &contest, &keep, &parts);
    assert_null(report.not_excluded[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selections_that_are_not_told_apart_are_all_listed),
        cmocka_unit_test(ties_that_gives_most_bits_may_be_breadcrumbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
