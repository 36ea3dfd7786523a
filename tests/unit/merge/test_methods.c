/* SPDX-License-Identifier: Apache-2.0 */
/* The table of methods: sorted, complete, and found by name. */
#include "ww_test.h"

#include "merge/kernel.h"

static void the_table_is_sorted_and_complete(void **state)
{
    (void)state;
    size_t n = 0;
    const struct ww_method *table = ww_methods(&n);
    assert_true(n > 2);
    for (size_t i = 0; i < n; i++) {
        const struct ww_method *m = &table[i];
        assert_true(i == 0 || strcmp(table[i - 1].name, m->name) < 0);
        assert_ptr_equal(ww_method_find(m->name), m);
        assert_true(m->summary && *m->summary && m->evidence && *m->evidence);
        assert_true(m->paper && m->order_reason);
        assert_true(m->order_free || *m->order_reason);
        assert_true(m->min_sources >= 1 && m->max_sources >= m->min_sources);
        assert_true(m->max_sources * (m->stats == WW_STATS_SHAPE ? 2 : 1) + 1 <= 63);
        assert_true(m->n_params <= WW_METHOD_MAX_PARAMS);
        assert_true(m->ops && m->ops->open && m->ops->block);
        assert_true(!m->ops->scan == !m->ops->fold && !m->ops->scan == !m->ops->scanned);
        for (size_t p = 0; p < m->n_params; p++) {
            const struct ww_method_param *q = &m->params[p];
            assert_int_equal(ww_method_param(m, q->name), p);
            assert_true(q->min <= q->fallback && q->fallback <= q->max);
            assert_true(q->kind != WW_PARAM_BOOL || (q->min == 0 && q->max == 1));
        }
    }
}

static void an_unknown_name_is_not_found(void **state)
{
    (void)state;
    assert_null(ww_method_find("no such method"));
    assert_int_equal(ww_method_param(ww_method_find("linear"), "density"), WW_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sorted_and_complete),
        cmocka_unit_test(an_unknown_name_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
