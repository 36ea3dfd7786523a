/* SPDX-License-Identifier: Apache-2.0 */
/* Features and rules against what they must be by hand, and what each rule is for. */
#include "pool_world.h"

#include "evo/score.h"

static struct pool_world w;
static struct ww_pool_set set;

static int ends(void **state)
{
    (void)state;
    ww_pool_set_release(&set);
    return 0;
}

static struct ww_score score_of(enum ww_rule_id id, struct ww_rule *rule)
{
    static struct ww_item_score items[MOST];
    const struct ww_rule_fit options = {.seed = 5, .evaluations = 600};
    struct ww_error err = {0};
    OK(ww_rule_fit(id, &set, &options, rule, &err));
    OK(ww_score_items(rule, &set, items, &err));
    return ww_score_mean(items, NULL, set.items);
}

static void features_are_what_was_said(void **state)
{
    (void)state;
    struct ww_error err = {0};
    world_make(&w, 9, 8, V, 1);
    OK(ww_pool_set_make(&w.answers, &set, &err));
    assert_int_equal(set.n, 9 * LONG);
    assert_int_equal(set.first[9], set.n);
    assert_true(set.has_prefix);
    for (uint32_t m = 0; m < K; m++) {
        const struct ww_pool_position *at = &set.at[2 * LONG + 2]; /* item 2, token 2 */
        double sum = -w.at[2][m].gold - w.at[2][K + m].gold, h = 0;
        for (uint32_t v = 0; v < V; v++) {
            h -= exp(w.logprob[2][2][m][v]) * w.logprob[2][2][m][v];
        }
        NEAR(at->surprise[m], sum, 1e-12);
        NEAR(at->prefix[m], (1 + sum) / 3, 1e-12);
        NEAR(at->entropy[m], h, 1e-12);
        NEAR(at->gold[m], w.at[2][2 * K + m].gold, 0);
        assert_true(set.at[2 * LONG].surprise[m] == 0);
    }
}

static void entropy_of_a_cut_list_spreads_the_rest(void **state)
{
    (void)state;
    const uint32_t token[2] = {4, 7};
    const double logprob[2] = {log(0.5), log(0.3)};
    const struct ww_pool_list list = {token, logprob, 2};
    NEAR(ww_pool_entropy(&list, 6), -0.5 * log(0.5) - 0.3 * log(0.3) - 0.2 * log(0.2 / 4),
         1e-12);
    NEAR(ww_pool_entropy(&list, 2), -0.5 * log(0.5) - 0.3 * log(0.3), 1e-12);
}

static void the_answer_is_not_in_what_is_chosen_from(void **state)
{
    (void)state;
    struct ww_error err = {0};
    world_make(&w, 30, 0, 2, 2); /* nobody knows: the right token is often in no list */
    OK(ww_pool_set_make(&w.answers, &set, &err));
    unsigned hidden = 0;
    for (size_t t = 0; t < set.n; t++) {
        assert_false(set.known[t].gold_in_bucket);
        hidden += set.shown[t].gold_in_bucket;
    }
    assert_true(hidden > 10);
    struct ww_rule rule;
    struct ww_score s = score_of(WW_RULE_UNIFORM, &rule);
    assert_true(s.next * (double)set.n <= (double)(set.n - hidden));
}

static void distributions_sum_to_one(void **state)
{
    (void)state;
    struct ww_error err = {0};
    const struct ww_rule_fit options = {.seed = 5, .evaluations = 200};
    world_make(&w, 30, 8, 4, 3);
    OK(ww_pool_set_make(&w.answers, &set, &err));
    for (unsigned id = 0; id < WW_RULE_COUNT; id++) {
        struct ww_rule rule;
        OK(ww_rule_fit((enum ww_rule_id)id, &set, &options, &rule, &err));
        for (size_t t = 0; t < set.n; t++) {
            double out[V + 1], sum = 0;
            ww_rule_apply(&rule, &set.at[t], &set.shown[t], out);
            for (uint32_t i = 0; i <= set.shown[t].n; i++) {
                sum += isfinite(out[i]) ? exp(out[i]) : 0;
            }
            NEAR(sum, 1, 1e-9);
        }
    }
}

static void best_single_is_the_member_that_fits_best(void **state)
{
    (void)state;
    struct ww_error err = {0};
    world_make(&w, 30, 8, V, 4);
    for (size_t i = 0; i < 30; i++) { /* member 1 knows everything */
        uint64_t seed = 100 + i;
        for (uint32_t p = 0; p < LONG; p++) {
            world_say(&w, i, p, 1, 20, V, &seed);
        }
    }
    OK(ww_pool_set_make(&w.answers, &set, &err));
    struct ww_rule rule;
    struct ww_score s = score_of(WW_RULE_BEST_SINGLE, &rule);
    const struct ww_pool_data data = ww_pool_set_data(&set);
    assert_int_equal(rule.member, 1);
    NEAR(s.bits, ww_pool_member_bits(&data, 1), 1e-12);
    NEAR(s.next, 1, 0);
    NEAR(s.whole, 1, 0);
}

static void rules_are_ordered_by_what_they_can_express(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_rule rule;
    struct ww_score s[WW_RULE_COUNT];
    world_make(&w, 60, 8, V, 6);
    OK(ww_pool_set_make(&w.answers, &set, &err));
    for (unsigned id = 0; id < WW_RULE_COUNT; id++) {
        s[id] = score_of((enum ww_rule_id)id, &rule);
    }
    assert_true(s[WW_RULE_LINEAR].bits <= s[WW_RULE_UNIFORM].bits + 1e-4);
    assert_true(s[WW_RULE_LINEAR].bits <= s[WW_RULE_BEST_SINGLE].bits + 1e-4);
    assert_true(s[WW_RULE_ADAPTIVE].bits < s[WW_RULE_LINEAR].bits - 0.2);
    assert_true(s[WW_RULE_LOGLINEAR].bits < s[WW_RULE_BEST_SINGLE].bits);
    assert_true(s[WW_RULE_SIGNED].bits <= s[WW_RULE_LOGLINEAR].bits + 0.01);
    struct ww_item_score oracle[MOST];
    OK(ww_score_oracle(&set, oracle, &err));
    assert_true(ww_score_mean(oracle, NULL, set.items).bits <= s[WW_RULE_ADAPTIVE].bits);
}

static void only_what_is_asked_for_is_signed(void **state)
{
    (void)state;
    for (unsigned id = 0; id < WW_RULE_COUNT; id++) {
        assert_int_equal(ww_rule_on_request((enum ww_rule_id)id), id == WW_RULE_SIGNED);
    }
}

static void names_are_found_and_others_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    enum ww_rule_id id;
    for (unsigned i = 0; i < WW_RULE_COUNT; i++) {
        OK(ww_rule_find(ww_rule_name((enum ww_rule_id)i), &id, &err));
        assert_int_equal(id, i);
    }
    FAILS(ww_rule_find("adaptiv", &id, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "'adaptive'"));
}

static void answers_without_sense_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_answers none = {.k = K, .vocabulary = V};
    FAILS(ww_pool_set_make(&none, &set, &err), WW_E_USAGE);
    none.k = WW_POOL_MAX_MEMBERS + 1;
    FAILS(ww_pool_set_make(&none, &set, &err), WW_E_LIMIT);
    world_make(&w, 3, 8, V, 7);
    w.at[1][2].gold = (double)NAN;
    FAILS(ww_pool_set_make(&w.answers, &set, &err), WW_E_NONFINITE);
    world_make(&w, 3, 8, V, 7);
    w.token[1][2][1][0] = w.token[1][2][1][1];
    FAILS(ww_pool_set_make(&w.answers, &set, &err), WW_E_MALFORMED);
    world_make(&w, 3, 8, V, 7);
    w.surprise[2][1] = (double)NAN; /* no server need say it */
    OK(ww_pool_set_make(&w.answers, &set, &err));
    assert_false(set.has_prefix);
    assert_null(set.at[0].prefix);
}

/* A right token that no list shows and no question told is one of those that a list does
 * not show: what a server of the pool would take it for. */
static void what_is_untold_is_what_lists_leave(void **state)
{
    (void)state;
    struct ww_error err = {0};
    const uint32_t top = 3;
    world_make(&w, 3, 8, top, 7);
    struct ww_answer_at *at = &w.at[1][2]; /* the first position, a member that guesses */
    double left = 1;
    for (uint32_t i = 0; i < top; i++) {
        assert_true(w.token[1][0][2][i] != w.gold[1][0]);
        left -= exp(w.logprob[1][0][2][i]);
    }
    at->untold = true;
    at->gold = -77; /* by who does not know the vocabulary */
    OK(ww_pool_set_make(&w.answers, &set, &err));
    const size_t t = set.first[1];
    const double each = log(left / (V - top));
    NEAR(set.at[t].gold[2], each, 1e-12);
    NEAR(set.known[t].l[(size_t)set.known[t].gold * K + 2], each, 1e-12);
    NEAR(set.at[t + 1].surprise[2], -each, 1e-12);
    at->untold = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(features_are_what_was_said, ends),
        cmocka_unit_test(entropy_of_a_cut_list_spreads_the_rest),
        cmocka_unit_test_teardown(the_answer_is_not_in_what_is_chosen_from, ends),
        cmocka_unit_test_teardown(distributions_sum_to_one, ends),
        cmocka_unit_test_teardown(best_single_is_the_member_that_fits_best, ends),
        cmocka_unit_test_teardown(rules_are_ordered_by_what_they_can_express, ends),
        cmocka_unit_test(only_what_is_asked_for_is_signed),
        cmocka_unit_test(names_are_found_and_others_refused),
        cmocka_unit_test_teardown(answers_without_sense_are_refused, ends),
        cmocka_unit_test_teardown(what_is_untold_is_what_lists_leave, ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
