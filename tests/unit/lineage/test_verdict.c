/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves an answer in part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lineage/decompose_report.h"
#include "lineage/family.h"
#include "lineage/verdict_work.h"

/* Fine-tunes of few rounding steps have no elements that tell of another source. */
static void test_rates_alone_leave_an_answer_in_part(void **state)
{
    static struct ww_family family;
    struct ww_lineage_source source = {.included = true, .share = 0.8, .recipe = 0.8};
    struct ww_decompose_report r = {.sources = &source,
                                    .n_sources = 1,
                                    .unexplained = 0.6,
                                    .r2_ceiling = 0.97,
                                    .has_keep_rates = true};
    const struct ww_verdict_ask ask = {.family = &family};
    struct ww_subsets parts = {.strayed = -1};

    (void)state;
    assert_true(ww_verdict_in_part(&ask, &r, &parts, true));
    parts = (struct ww_subsets){.told = true, .sure = true, .explained = 0.9};
    assert_false(ww_verdict_in_part(&ask, &r, &parts, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_alone_leave_an_answer_in_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
