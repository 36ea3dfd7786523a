/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "arch/axes.h"

static struct ww_axis_expr parse(const char *text)
{
    struct ww_error err = {0};
    struct ww_axis_expr e;
    OK(ww_axis_parse(text, &e, &err));
    return e;
}

static void tokens_carry_space_and_action(void **state)
{
    (void)state;
    struct ww_axis_expr e = parse("q");
    assert_int_equal(e.n_parts, 1);
    assert_int_equal(e.units, WW_UNITS_NONE);
    assert_int_equal(e.parts[0].token->kind, WW_SPACE_QUERY);
    assert_int_equal(e.parts[0].action, WW_ACT_DIRECT);
    e = parse("q_nope'");
    assert_int_equal(e.parts[0].token->kind, WW_SPACE_MLA_Q_NOPE);
    assert_int_equal(e.parts[0].action, WW_ACT_INVERSE);
    e = parse("qk*");
    assert_int_equal(e.parts[0].token->kind, WW_SPACE_QK_GAIN);
    assert_int_equal(e.parts[0].action, WW_ACT_PERMUTE);
}

static void dashes_are_fixed_with_or_without_a_size(void **state)
{
    (void)state;
    struct ww_axis_expr e = parse("-");
    assert_null(e.parts[0].token);
    assert_null(e.parts[0].gap);
    e = parse("-vocab");
    assert_null(e.parts[0].token);
    assert_int_equal(e.parts[0].gap_len, 5);
    assert_memory_equal(e.parts[0].gap, "vocab", 5);
}

static void functions_cut_into_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum ww_units units;
        unsigned parts;
    } good[] = {
        {"cat(q, k', v)", WW_UNITS_NONE, 3},
        {"halves(ff*, ff)", WW_UNITS_NONE, 2},
        {"heads(q,k',v)", WW_UNITS_HEADS, 3},
        {"perhead(q_nope, q_rope)", WW_UNITS_HEADS, 2},
        {"gated(q, ctx*)", WW_UNITS_HEADS, 2},
        {"groups(q, k', v)", WW_UNITS_GROUPS, 3},
        {"blocks4(q, v, k')", WW_UNITS_FOUR, 3},
        {"pairs(ff*, ff)", WW_UNITS_ONES, 2},
        {"cat(res', -ff, res')", WW_UNITS_NONE, 3},
        {"tiles(res')", WW_UNITS_TILES, 1},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ww_axis_expr e = parse(good[i].text);
        assert_int_equal(e.units, good[i].units);
        assert_int_equal(e.n_parts, good[i].parts);
    }
    assert_int_equal(parse("heads(q, k', v)").parts[1].action, WW_ACT_INVERSE);
}

static void malformed_axes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "x",
                                      "q''",
                                      "q*'",
                                      "q ",
                                      "cat",
                                      "cat(",
                                      "cat()",
                                      "cat(q",
                                      "cat(q,)",
                                      "cat(q,-)",
                                      "what(q)",
                                      "cat(q))",
                                      "-nofact",
                                      "cat(q k)",
                                      "(q)",
                                      "Q",
                                      "cat(cat(q), k)",
                                      "cat(q,q,q,q,q,q,q)",
                                      "- vocab"};
    struct ww_error err = {0};
    struct ww_axis_expr e;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ww_error_clear(&err);
        if (ww_axis_parse(bad[i], &e, &err) != WW_E_DESCRIPTOR) {
            fail_msg("'%s' accepted", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_carry_space_and_action),
        cmocka_unit_test(dashes_are_fixed_with_or_without_a_size),
        cmocka_unit_test(functions_cut_into_units),
        cmocka_unit_test(malformed_axes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
