/* SPDX-License-Identifier: Apache-2.0 */
/* Expected activations were computed with mpmath at 30 digits. */
#include "ww_test.h"

#include "arch/core.h"

static double act(enum ww_act_kind kind, double x)
{
    const struct ww_mlp mlp = {.n_neurons = 1, .act = kind};
    double h;
    ww_core_mlp(&mlp, NULL, &x, &h);
    return h;
}

static void activations_have_their_values(void **state)
{
    (void)state;
    NEAR(act(WW_FN_GELU, 1.5), 1.399789198096712901, 1e-15);
    NEAR(act(WW_FN_GELU, -0.5), -0.15426876936299344818, 1e-15);
    NEAR(act(WW_FN_GELU_TANH, 1.5), 1.3995715769802329224, 1e-15);
    NEAR(act(WW_FN_QUICK_GELU, 1.5), 1.3916621984470765747, 1e-15);
    NEAR(act(WW_FN_SILU, -0.5), -0.18877033439907271768, 1e-15);
    NEAR(act(WW_FN_RELU, -0.5), 0, 0);
    NEAR(act(WW_FN_RELU, 2.5), 2.5, 0);
    NEAR(act(WW_FN_RELU2, 2.5), 6.25, 0);
    NEAR(act(WW_FN_RELU2, -2.5), 0, 0);
    NEAR(act(WW_FN_TANH, 0.3), 0.29131261245159090582, 1e-15);
}

static void activations_stay_finite_far_out(void **state)
{
    (void)state;
    static const enum ww_act_kind kinds[] = {WW_FN_GELU, WW_FN_GELU_TANH,
                                             WW_FN_QUICK_GELU, WW_FN_SILU, WW_FN_TANH};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        assert_true(isfinite(act(kinds[i], -1e4)));
        assert_true(isfinite(act(kinds[i], 1e4)));
    }
}

static void gate_multiplies_up(void **state)
{
    (void)state;
    const struct ww_mlp mlp = {.n_neurons = 2, .gated = true, .act = WW_FN_RELU};
    double gate[2] = {2, -2};
    double up[2] = {-3, 5};
    ww_core_mlp(&mlp, gate, up, up);
    assert_true(up[0] == -6);
    assert_true(up[1] == 0);
}

static void route_normalised_softmax_first_equals_softmax_over_the_chosen(void **state)
{
    (void)state;
    struct ww_moe moe = {.n_experts = 4,
                         .top_k = 2,
                         .multiplier = 1,
                         .normalise = true,
                         .softmax_first = true};
    double scores[4] = {0.5, 2.0, -1.0, 1.0};
    double first[4];
    double late[4];
    ww_core_route(&moe, scores, NULL, first);
    moe.softmax_first = false;
    ww_core_route(&moe, scores, NULL, late);
    double share = 1 / (1 + exp(-1.0));
    NEAR(first[1], share, 1e-15);
    NEAR(first[3], 1 - share, 1e-15);
    for (size_t e = 0; e < 4; e++) {
        NEAR(first[e], late[e], 1e-15);
    }
    assert_true(first[0] == 0 && first[2] == 0);
}

static void route_without_normalising_keeps_the_softmax_over_all(void **state)
{
    (void)state;
    const struct ww_moe moe = {
        .n_experts = 3, .top_k = 1, .multiplier = 1, .softmax_first = true};
    double scores[3] = {0, log(2), 0};
    double w[3];
    ww_core_route(&moe, scores, NULL, w);
    NEAR(w[1], 0.5, 1e-15);
    assert_true(w[0] == 0 && w[2] == 0);
}

static void route_ties_go_to_the_lower_index(void **state)
{
    (void)state;
    struct ww_moe moe = {.n_experts = 4, .top_k = 2, .multiplier = 1, .normalise = true};
    double scores[4] = {1, 3, 1, 1};
    double w[4];
    for (int i = 0; i < 2; i++) {
        moe.softmax_first = i == 1;
        ww_core_route(&moe, scores, NULL, w);
        assert_true(w[0] > 0 && w[1] > w[0] && w[2] == 0 && w[3] == 0);
    }
}

static void route_takes_all_when_k_is_all(void **state)
{
    (void)state;
    const struct ww_moe moe = {.n_experts = 2, .top_k = 2, .multiplier = 1};
    double scores[2] = {1000, 1000};
    double w[2];
    ww_core_route(&moe, scores, NULL, w);
    NEAR(w[0], 0.5, 1e-15);
    NEAR(w[1], 0.5, 1e-15);
}

static void
route_sigmoid_scores_are_chosen_with_the_correction_and_weigh_without(void **state)
{
    (void)state;
    const struct ww_moe moe = {
        .n_experts = 3, .top_k = 1, .multiplier = 2, .sigmoid = true};
    double scores[3] = {0, 1, -1};
    double correction[3] = {0, 0, 5};
    double w[3];
    ww_core_route(&moe, scores, correction, w);
    assert_true(w[0] == 0 && w[1] == 0);
    NEAR(w[2], 2 / (1 + exp(1.0)), 1e-15);
    ww_core_route(&moe, scores, NULL, w);
    assert_true(w[0] == 0 && w[2] == 0);
    NEAR(w[1], 2 / (1 + exp(-1.0)), 1e-15);
}

static void route_softmax_with_a_correction_weighs_without(void **state)
{
    (void)state;
    const struct ww_moe moe = {
        .n_experts = 2, .top_k = 1, .multiplier = 1, .softmax_first = true};
    double scores[2] = {0, log(3)};
    double correction[2] = {1, 0};
    double w[2];
    ww_core_route(&moe, scores, correction, w);
    NEAR(w[0], 0.25, 1e-15);
    assert_true(w[1] == 0);
}

/* The best expert lies in the group with the smaller sum of two. */
static void route_chooses_inside_the_best_groups(void **state)
{
    (void)state;
    struct ww_moe moe = {.n_experts = 6,
                         .top_k = 2,
                         .n_groups = 2,
                         .top_groups = 1,
                         .group_best = 2,
                         .multiplier = 1,
                         .sigmoid = true};
    double scores[6] = {3, -9, -9, 1, 2, 0};
    double w[6];
    ww_core_route(&moe, scores, NULL, w);
    assert_true(w[0] == 0 && w[1] == 0 && w[2] == 0 && w[5] == 0);
    NEAR(w[3], 1 / (1 + exp(-1.0)), 1e-15);
    NEAR(w[4], 1 / (1 + exp(-2.0)), 1e-15);
    moe.group_best = 1;
    ww_core_route(&moe, scores, NULL, w);
    assert_true(w[0] > 0 && w[1] > 0 && w[3] == 0 && w[4] == 0);
    moe.top_groups = 2;
    ww_core_route(&moe, scores, NULL, w);
    assert_true(w[0] > 0 && w[4] > 0 && w[3] == 0);
}

static void clamped_gate_and_up_meet_their_limit(void **state)
{
    (void)state;
    const struct ww_mlp mlp = {
        .n_neurons = 3, .gated = true, .act = WW_FN_SWIGLU_CLAMPED, .limit = 2};
    double gate[3] = {9, -9, 1};
    double up[3] = {9, -9, 0.5};
    double low = 2 / (1 + exp(-1.702 * 2));
    ww_core_mlp(&mlp, gate, up, up);
    NEAR(up[0], low * 3, 1e-15);
    NEAR(up[1], -9 / (1 + exp(1.702 * 9)) * -1, 1e-15);
    NEAR(up[2], 1.5 / (1 + exp(-1.702)), 1e-15);
}

/* Two are close to the best, then one to the second. */
static void route_by_mixer_takes_shares_among_the_close(void **state)
{
    (void)state;
    const struct ww_moe moe = {.n_experts = 4, .top_k = 2, .mixer = 0.5};
    double scores[4] = {1, 4, 3, -1};
    double w[4];
    ww_core_route(&moe, scores, NULL, w);
    NEAR(w[1], 1 / (1 + exp(-1.0)), 1e-15);
    assert_true(w[2] == 1);
    assert_true(w[0] == 0 && w[3] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_have_their_values),
        cmocka_unit_test(activations_stay_finite_far_out),
        cmocka_unit_test(gate_multiplies_up),
        cmocka_unit_test(route_normalised_softmax_first_equals_softmax_over_the_chosen),
        cmocka_unit_test(route_without_normalising_keeps_the_softmax_over_all),
        cmocka_unit_test(route_ties_go_to_the_lower_index),
        cmocka_unit_test(
            route_sigmoid_scores_are_chosen_with_the_correction_and_weigh_without),
        cmocka_unit_test(route_softmax_with_a_correction_weighs_without),
        cmocka_unit_test(route_chooses_inside_the_best_groups),
        cmocka_unit_test(route_by_mixer_takes_shares_among_the_close),
        cmocka_unit_test(clamped_gate_and_up_meet_their_limit),
        cmocka_unit_test(route_takes_all_when_k_is_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
