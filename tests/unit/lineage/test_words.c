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

static void selections_that_are_not_told_apart_are_all_listed(void **state)
{
    static const char *const selections[] = {
        "ties",        "breadcrumbs", "breadcrumbs_ties", "sce",
        "dare_linear", "dare_ties",   "della_linear",     "della"};
    static struct ww_decompose_report report;

    (void)state;
    ww_verdict_say(&report, WW_SAY_SELECTED);
    assert_string_equal(report.method, "unclear");
    for (size_t i = 0; i < sizeof(selections) / sizeof(selections[0]); i++) {
        assert_true(lists(&report, selections[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selections_that_are_not_told_apart_are_all_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
