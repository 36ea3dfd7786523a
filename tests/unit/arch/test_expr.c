/* SPDX-License-Identifier: Apache-2.0 */
/* The expression language of descriptors, on a config and a model of the test's own. */
#include "ww_model_fixture.h"

#include "arch/expr.h"
#include "arch/facts.h"

static const char config_text[] =
    "{\"n\": 12, \"zero\": 0, \"none\": null, \"half\": 0.5, \"yes\": true, \"no\": "
    "false,"
    " \"word\": \"gelu\", \"list\": [\"a\", \"b\"], \"num_attention_heads\": 6,"
    " \"hidden_size\": 48, \"rope\": {\"theta\": 100.0, \"type\": \"yarn\"}}";
static const char defaults_text[] =
    "{\"missing\": 7, \"none\": 9, \"n\": 1, \"rope.factor\": 3}";
static const char facts_text[] =
    "{\"x_twice\": \"2 * n\", \"kind\": \"l == 1 ? 'odd' : 'even'\", \"eps\": 0.25,"
    " \"causal\": false, \"x_loop\": \"$x_loop + 1\"}";

struct env {
    struct ww_json *config, *defaults, *facts;
    struct ww_fx *fx;
    struct ww_scope scope;
};

static struct ww_json *parse(const char *text)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    OK(ww_json_parse((const uint8_t *)text, strlen(text), &ww_json_limits_small, &json,
                     &err));
    return json;
}

static int set_up(void **state)
{
    struct env *e = calloc(1, sizeof(*e));
    e->config = parse(config_text);
    e->defaults = parse(defaults_text);
    e->facts = parse(facts_text);
    e->fx = ww_fx_new("{\"architectures\": [\"TinyForTests\", \"SmallModel\"]}");
    ww_fx_add(e->fx, "5,7", "m.a.weight");
    ww_fx_add(e->fx, "2", "top")->dtype = "BF16";
    ww_fx_find(e->fx, "top")->bytes = 2;
    ww_fx_add(e->fx, "3", "m.l.1.b");
    e->scope = (struct ww_scope){.config = ww_json_root(e->config),
                                 .defaults = ww_json_root(e->defaults),
                                 .facts = ww_json_root(e->facts),
                                 .model = ww_fx_open(e->fx),
                                 .prefix = "m.",
                                 .layer_prefix = "m.l.1.",
                                 .layer = 1};
    *state = e;
    return 0;
}

static int tear_down(void **state)
{
    struct env *e = *state;
    ww_json_free(e->config);
    ww_json_free(e->defaults);
    ww_json_free(e->facts);
    ww_fx_free(e->fx);
    free(e);
    return 0;
}

static void is_number(const struct env *e, const char *expr, double want)
{
    struct ww_error err = {0};
    struct ww_value v = {0};
    OK(ww_expr_eval(expr, &e->scope, &v, &err));
    if (v.kind != WW_V_NUMBER || fabs(v.number - want) > 1e-12) {
        fail_msg("%s: kind %d, %.17g, want %.17g", expr, v.kind, v.number, want);
    }
}

static void is_text(const struct env *e, const char *expr, const char *want)
{
    struct ww_error err = {0};
    struct ww_value v = {0};
    OK(ww_expr_eval(expr, &e->scope, &v, &err));
    assert_int_equal(v.kind, WW_V_TEXT);
    assert_int_equal(v.len, strlen(want));
    assert_memory_equal(v.text, want, v.len);
}

static void is_absent(const struct env *e, const char *expr)
{
    struct ww_error err = {0};
    struct ww_value v = {0};
    OK(ww_expr_eval(expr, &e->scope, &v, &err));
    assert_int_equal(v.kind, WW_V_ABSENT);
}

static void arithmetic_follows_precedence(void **state)
{
    struct env *e = *state;
    is_number(e, "1 + 2 * 3", 7);
    is_number(e, "(1 + 2) * 3", 9);
    is_number(e, "10 - 4 - 3", 3);
    is_number(e, "2 ^ 3 ^ 2", 512);
    is_number(e, "4 ^ -0.5", 0.5);
    is_number(e, "-2 ^ 2", -4);
    is_number(e, "7 % 4 + 1", 4);
    is_number(e, "int(2.9) + int(-2.9)", 0);
    is_number(e, "ln(1)", 0);
    is_number(e, "int(1000 * ln(n / 6))", 693);
    is_number(e, "sqrt(n * 3)", 6);
    is_number(e, "int(half * 25)", 12);
}

static void comparisons_and_logic_give_numbers(void **state)
{
    struct env *e = *state;
    is_number(e, "n == 12 and word == 'gelu'", 1);
    is_number(e, "n != 12 or no", 0);
    is_number(e, "not zero", 1);
    is_number(e, "not n == 3", 1);
    is_number(e, "n >= 12 and n <= 12 and n > 11 and n < 13", 1);
    is_number(e, "word == 12", 0);
    is_number(e, "yes == true and no == false", 1);
}

static void choices_try_keys_then_defaults_then_the_rest(void **state)
{
    struct env *e = *state;
    is_number(e, "n|3", 12);
    is_number(e, "missing", 7);
    is_number(e, "absent|3", 3);
    is_number(e, "absent|n|3", 12);
    is_number(e, "missing|n", 12); /* a present key goes before a default */
    is_number(e, "missing|3", 7);  /* a default goes before a constant */
    is_number(e, "none|3", 3);     /* null hides the default */
    is_absent(e, "none");
    is_absent(e, "absent");
    is_number(e, "rope.theta|1", 100);
    is_number(e, "rope.factor|1", 3);
    is_number(e, "absent.deep|4", 4);
}

static void absent_values_spread_through_arithmetic_but_not_comparison(void **state)
{
    struct env *e = *state;
    is_absent(e, "absent * 2 + 1");
    is_absent(e, "2 ^ absent");
    is_number(e, "absent == null", 1);
    is_number(e, "n == null", 0);
    is_number(e, "absent < 3", 0);
    is_number(e, "absent > 3", 0);
    is_number(e, "not absent", 1);
}

static void ternaries_evaluate_only_the_arm_taken(void **state)
{
    struct env *e = *state;
    is_number(e, "yes ? 1 : word * 2", 1);
    is_number(e, "no ? word * 2 : 5", 5);
    is_number(e, "no ? 1 : no ? 2 : 3", 3);
    is_text(e, "rope ? 'there' : 'not'", "there");
    is_number(e, "no ? 1 / zero : 8", 8);
}

static void layers_index_lists_and_name_tensors(void **state)
{
    struct env *e = *state;
    is_text(e, "list[l]", "b");
    is_text(e, "list[0]", "a");
    is_absent(e, "list[2]");
    is_absent(e, "word[l]");
    is_number(e, "l + 1", 2);
    is_number(e, "stored('a.weight') + stored('/top') + stored('.b')", 3);
    is_number(e, "stored('{l}.weight') + stored('{l}.weight', l)", 0);
    is_number(e, "stored('top') + stored('/a.weight') + stored('.c')", 0);
    is_number(e, "dim('a.weight', 1)", 7);
    is_absent(e, "dim('a.weight', 2)");
    is_absent(e, "dim('gone', 0)");
}

static void constants_round_to_the_stored_precision(void **state)
{
    struct env *e = *state;
    is_number(e, "rounded('/top', 55.4256)", 55.5);
    is_number(e, "rounded('a.weight', 0.1)", (double)0.1f);
    is_number(e, "rounded('gone', 0.1)", 0.1);
}

static void paths_may_be_computed(void **state)
{
    struct env *e = *state;
    is_number(e, "at('rope', 'theta')", 100);
    is_text(e, "at(yes ? 'rope' : '', 'type')", "yarn");
    is_absent(e, "at('', 'theta')");
    is_absent(e, "at(absent, 'theta')");
}

static void lists_are_counted(void **state)
{
    struct env *e = *state;
    is_number(e, "count('list')", 2);
    is_absent(e, "count('rope')");
    is_absent(e, "count('gone')");
    is_number(e, "count('gone')|7", 7);
}

static void classes_are_matched_in_all_entries(void **state)
{
    struct env *e = *state;
    is_number(e, "class('*Tiny*')", 1);
    is_number(e, "class('SmallModel') and not class('Small')", 1);
    is_number(e, "class('*ForMultipleChoice')", 0);
}

static void facts_hide_built_in_ones(void **state)
{
    struct env *e = *state;
    is_number(e, "$x_twice", 24);
    is_text(e, "$kind", "odd");
    is_number(e, "$eps", 0.25);
    is_number(e, "$head_dim", 8); /* built in: hidden / heads */
    is_number(e, "$kv_heads", 6); /* built in: heads */
    is_number(e, "$rope_theta|5", 10000);
}

static void malformed_expressions_are_descriptor_errors(void **state)
{
    static const char *const bad[] = {
        "",         "1 +",          "(1",       "1)",    "a b",    "'open",
        "$",        "$ x",          "$nothing", "1 ? 2", "int 3",  "at('a')",
        "stored()", "class()",      "class(3)", "list[", "list[]", "list[x]",
        "a||b",     "1.2.3",        "3x",       "== 3",  "and",    "dim('a.weight')",
        "sqrt(2",   "$x_undefined", "$x_loop",  "a = b", "a & b"};
    struct env *e = *state;
    struct ww_error err = {0};
    struct ww_value v = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ww_error_clear(&err);
        if (ww_expr_eval(bad[i], &e->scope, &v, &err) != WW_E_DESCRIPTOR) {
            fail_msg("'%s' accepted, or wrong code (%s)", bad[i], err.text);
        }
    }
}

static void deep_nesting_is_refused(void **state)
{
    struct env *e = *state;
    struct ww_error err = {0};
    struct ww_value v = {0};
    char deep[400];
    memset(deep, '(', 200);
    snprintf(deep + 200, sizeof(deep) - 200, "1");
    FAILS(ww_expr_eval(deep, &e->scope, &v, &err), WW_E_DESCRIPTOR);
    memset(deep, '-', 200);
    FAILS(ww_expr_eval(deep, &e->scope, &v, &err), WW_E_DESCRIPTOR);
}

static void text_in_arithmetic_is_a_config_error(void **state)
{
    struct env *e = *state;
    struct ww_error err = {0};
    struct ww_value v = {0};
    FAILS(ww_expr_eval("word * 2", &e->scope, &v, &err), WW_E_CONFIG);
    assert_non_null(strstr(err.text, "'word'"));
    FAILS(ww_expr_eval("list + 1", &e->scope, &v, &err), WW_E_CONFIG);
    FAILS(ww_expr_eval("1 / zero", &e->scope, &v, &err), WW_E_CONFIG);
    FAILS(ww_expr_eval("int(word)", &e->scope, &v, &err), WW_E_CONFIG);
}

static void checking_needs_no_config(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_value v = {0};
    OK(ww_expr_eval("$heads * dim('x', 0) + at('a', 'b') ? l : stored('y')", NULL, &v,
                    &err));
    FAILS(ww_expr_eval("$haeds", NULL, &v, &err), WW_E_DESCRIPTOR);
    assert_non_null(strstr(err.text, "heads"));
}

static void sizes_must_be_whole_and_in_range(void **state)
{
    struct env *e = *state;
    struct ww_error err = {0};
    uint64_t n = 0;
    struct ww_json *facts = parse(
        "{\"heads\": 2.5, \"hidden\": -1, \"ff\": \"word\", \"experts\": \"absent\","
        " \"vocab\": 1e12, \"head_dim\": 0}");
    e->scope.facts = ww_json_root(facts);
    FAILS(ww_fact_u64(&e->scope, "heads", &n, &err), WW_E_CONFIG);
    FAILS(ww_fact_u64(&e->scope, "hidden", &n, &err), WW_E_CONFIG);
    FAILS(ww_fact_u64(&e->scope, "ff", &n, &err), WW_E_CONFIG);
    FAILS(ww_fact_u64(&e->scope, "experts", &n, &err), WW_E_CONFIG);
    FAILS(ww_fact_u64(&e->scope, "vocab", &n, &err), WW_E_CONFIG);
    OK(ww_fact_u64(&e->scope, "head_dim", &n, &err));
    FAILS(ww_fact_size(&e->scope, "head_dim", &n, &err), WW_E_CONFIG);
    ww_json_free(facts);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(arithmetic_follows_precedence),
        T(comparisons_and_logic_give_numbers),
        T(choices_try_keys_then_defaults_then_the_rest),
        T(absent_values_spread_through_arithmetic_but_not_comparison),
        T(ternaries_evaluate_only_the_arm_taken),
        T(layers_index_lists_and_name_tensors),
        T(constants_round_to_the_stored_precision),
        T(lists_are_counted),
        T(classes_are_matched_in_all_entries),
        T(paths_may_be_computed),
        T(facts_hide_built_in_ones),
        T(malformed_expressions_are_descriptor_errors),
        T(deep_nesting_is_refused),
        T(text_in_arithmetic_is_a_config_error),
        T(checking_needs_no_config),
        T(sizes_must_be_whole_and_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
