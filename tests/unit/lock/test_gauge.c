/* SPDX-License-Identifier: Apache-2.0 */
/* Every class: the whole block commutes with what is drawn for it, and stops to do so
 * under each structural fault. */
#include "lock_fixture.h"

#include "lock/check_layout.h"
#include "lock/lens.h"

/* Legal with several keys, with and without factors; then each fault. */
static void check_class(struct lk_options o)
{
    struct ww_error err = {0};
    struct lk lk;
    lk_init(&lk, o);
    for (unsigned key = 0; key < 6; key++) {
        struct ww_secret *secret = lk_secret((uint8_t)(31 * key));
        struct ww_gauge gauge;
        double error = -1, adds = -1;
        OK(ww_gauge_init(&gauge, &lk.layout, secret, key % 2, WW_WRONG_NONE, &err));
        OK(ww_check_block(&gauge, &lk.weights, 0, &error, &adds, &err));
        assert_true(adds > 0.1);
        NEAR(error, 0, 1e-12);
        ww_gauge_release(&gauge);
        ww_secret_free(secret);
    }
    for (unsigned w = 1; w < WW_WRONG_COUNT; w++) {
        if (!ww_wrong_applies(&lk.layout, 0, (enum ww_wrong)w)) {
            continue;
        }
        struct ww_secret *secret = lk_secret(9);
        struct ww_gauge gauge;
        double error = -1, adds = -1;
        OK(ww_gauge_init(&gauge, &lk.layout, secret, false, (enum ww_wrong)w, &err));
        OK(ww_check_block(&gauge, &lk.weights, 0, &error, &adds, &err));
        if (!(error > 1e-3)) {
            fail_msg("fault '%s' changes the block by %g only",
                     ww_wrong_name((enum ww_wrong)w), error);
        }
        ww_gauge_release(&gauge);
        ww_secret_free(secret);
    }
    lk_free(&lk);
}

static unsigned faults_of(struct lk_options o)
{
    struct lk lk;
    unsigned mask = 0;
    lk_init(&lk, o);
    for (unsigned w = 1; w < WW_WRONG_COUNT; w++) {
        mask |= ww_wrong_applies(&lk.layout, 0, (enum ww_wrong)w) ? 1u << w : 0;
    }
    lk_free(&lk);
    return mask;
}

/* A fault that is not tried would make every check of a block pass. */
static void faults_are_tried_where_something_can_break(void **state)
{
    const unsigned rotary = 1u << WW_WRONG_PAIRING | 1u << WW_WRONG_FLIP;
    const unsigned usual =
        1u << WW_WRONG_HEADS | 1u << WW_WRONG_GATE | 1u << WW_WRONG_RESIDUAL;
    struct lk_options o = lk_llama();
    (void)state;
    assert_int_equal(faults_of(o), rotary | usual);
    o.rope_dims = 2; /* one pair: it has no other pairing */
    assert_int_equal(faults_of(o), 1u << WW_WRONG_FLIP | usual);
    o.rope = WW_ROPE_NONE;
    o.rope_dims = 0;
    o.qk_class = WW_QK_GL;
    assert_int_equal(faults_of(o), usual);
    o = lk_llama();
    o.moe = 1;
    assert_int_equal(faults_of(o), rotary | usual | 1u << WW_WRONG_EXPERTS);
    o = lk_llama();
    o.n_kv_heads = 1; /* all query heads are of one group */
    o.residual = WW_RESIDUAL_FIXED;
    assert_int_equal(faults_of(o), rotary | 1u << WW_WRONG_GATE);
}

static void half_split_rotary_commutes(void **state)
{
    (void)state;
    check_class(lk_llama());
}

static void adjacent_partial_rotary_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.rope = WW_ROPE_ADJACENT;
    o.rope_dims = 4;
    check_class(o);
    o.rope = WW_ROPE_HALF;
    check_class(o);
}

static void no_rotary_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.rope = WW_ROPE_NONE;
    o.rope_dims = 0;
    o.qk_class = WW_QK_GL;
    o.norm = WW_NORM_LAYER;
    o.residual = WW_RESIDUAL_PERM_SIGN;
    o.plain_mlp = true;
    o.conv1d = true;
    check_class(o);
    o.residual = WW_RESIDUAL_PERM;
    check_class(o);
}

static void head_norm_with_rotary_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.qk_class = WW_QK_RMS_HEAD;
    check_class(o);
    o.rope_dims = 4;
    check_class(o);
    o.qk_bias = true;
    check_class(o);
}

static void head_norm_without_rotary_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.qk_class = WW_QK_RMS_HEAD;
    o.rope = WW_ROPE_NONE;
    o.rope_dims = 0;
    check_class(o);
}

static void full_width_norm_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.qk_class = WW_QK_RMS_FULL;
    check_class(o);
    o.rope_dims = 4;
    check_class(o);
}

static void layer_norm_per_head_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.qk_class = WW_QK_LN_HEAD;
    check_class(o);
    o.rope_dims = 4;
    check_class(o);
    o.qk_bias = true;
    check_class(o);
}

static void weightless_norm_behind_rotary_commutes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.qk_class = WW_QK_L2_POST;
    check_class(o);
}

static void clamped_projections_commute(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.qk_class = WW_QK_CLAMP;
    o.vo_class = WW_VO_CLAMP;
    o.clip = 0.8;
    check_class(o);
}

static void alibi_keeps_its_heads(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.rope = WW_ROPE_NONE;
    o.rope_dims = 0;
    o.qk_class = WW_QK_GL;
    o.alibi = true;
    check_class(o);
}

static void fused_groups_with_sinks_commute(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.fused = true;
    o.sinks = true;
    check_class(o);
}

static void experts_commute(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.moe = 1;
    check_class(o);
    o.moe = 2;
    check_class(o);
}

static void grouped_experts_stay_together(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    o.moe = 1;
    o.n_groups = 2;
    struct lk lk;
    lk_init(&lk, o);
    for (unsigned key = 0; key < 8; key++) {
        struct ww_secret *secret = lk_secret((uint8_t)key);
        struct ww_gauge gauge;
        struct ww_element experts;
        OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
        OK(ww_gauge_experts(&gauge, 0, &experts, &err));
        for (uint32_t e = 0; e < experts.n; e++) {
            assert_int_equal(experts.perm[e] / 2, experts.perm[e ^ 1] / 2);
        }
        ww_element_release(&experts);
        ww_gauge_release(&gauge);
        ww_secret_free(secret);
    }
    lk_free(&lk);
}

static void fixed_residual_stays(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    struct ww_error err = {0};
    struct lk lk;
    lk_init(&lk, o);
    lk.layout.residual.group = WW_RESIDUAL_FIXED;
    struct ww_secret *secret = lk_secret(1);
    struct ww_gauge gauge;
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    assert_null(gauge.residual.perm);
    assert_int_equal(gauge.residual.n, o.width);
    struct ww_element element;
    OK(ww_gauge_space(&gauge, 0, &element, &err));
    assert_null(element.perm);
    ww_element_release(&element);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

/* Elements are permutations, of the space's size, and keys give different ones. */
static void every_space_moves_and_every_key_differs(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    lk_init(&lk, lk_llama());
    struct ww_secret *secrets[2] = {lk_secret(1), lk_secret(2)};
    struct ww_gauge gauges[2];
    for (int i = 0; i < 2; i++) {
        OK(ww_gauge_init(&gauges[i], &lk.layout, secrets[i], true, WW_WRONG_NONE, &err));
    }
    for (uint32_t s = 0; s < lk.layout.n_spaces; s++) {
        struct ww_element e[2];
        uint8_t seen[256] = {0};
        for (int i = 0; i < 2; i++) {
            OK(ww_gauge_space(&gauges[i], s, &e[i], &err));
            assert_int_equal(e[i].n, lk.spaces[s].size);
        }
        for (uint32_t i = 0; i < e[0].n; i++) {
            assert_true(e[0].perm[i] < e[0].n);
            assert_int_equal(seen[e[0].perm[i]]++, 0);
            assert_in_range(e[0].exp[i] + 5, 0, 10);
        }
        if (e[0].n > 8) {
            assert_memory_not_equal(e[0].perm, e[1].perm, e[0].n * sizeof(uint32_t));
        }
        ww_element_release(&e[0]);
        ww_element_release(&e[1]);
    }
    for (int i = 0; i < 2; i++) {
        ww_gauge_release(&gauges[i]);
        ww_secret_free(secrets[i]);
    }
    lk_free(&lk);
}

/* What a dense lock mixes has one factor, and not always none. */
static void even_heads_have_one_factor_each(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    lk_init(&lk, lk_llama());
    struct ww_secret *secret = lk_secret(1);
    struct ww_gauge gauge;
    unsigned differ[2] = {0, 0};
    OK(ww_gauge_init(&gauge, &lk.layout, secret, true, WW_WRONG_NONE, &err));
    for (int even = 0; even < 2; even++) {
        gauge.even_heads = even;
        for (uint32_t s = 0; s < lk.layout.n_spaces; s++) {
            struct ww_element e;
            const uint64_t width = lk.layout.attentions[0].v_dim;
            if (lk.spaces[s].kind != WW_SPACE_VALUE) {
                continue;
            }
            OK(ww_gauge_space(&gauge, s, &e, &err));
            for (uint64_t i = 0; i < e.n; i++) {
                differ[even] += e.exp[i] != e.exp[i / width * width];
            }
            ww_element_release(&e);
        }
    }
    assert_true(differ[0] > 0);
    assert_int_equal(differ[1], 0);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void scale_refuses_f16(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    o.dtype = WW_DTYPE_F16;
    struct lk lk;
    lk_init(&lk, o);
    struct ww_secret *secret = lk_secret(1);
    struct ww_gauge gauge;
    FAILS(ww_gauge_init(&gauge, &lk.layout, secret, true, WW_WRONG_NONE, &err),
          WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'q' is F16"));
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void short_secret_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    lk_init(&lk, lk_llama());
    struct ww_secret *secret = NULL;
    struct ww_gauge gauge;
    OK(ww_secret_new(31, &secret, &err));
    FAILS(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err),
          WW_E_KEY);
    ww_secret_free(secret);
    lk_free(&lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_tried_where_something_can_break),
        cmocka_unit_test(half_split_rotary_commutes),
        cmocka_unit_test(adjacent_partial_rotary_commutes),
        cmocka_unit_test(no_rotary_commutes),
        cmocka_unit_test(head_norm_with_rotary_commutes),
        cmocka_unit_test(head_norm_without_rotary_commutes),
        cmocka_unit_test(full_width_norm_commutes),
        cmocka_unit_test(layer_norm_per_head_commutes),
        cmocka_unit_test(weightless_norm_behind_rotary_commutes),
        cmocka_unit_test(clamped_projections_commute),
        cmocka_unit_test(alibi_keeps_its_heads),
        cmocka_unit_test(fused_groups_with_sinks_commute),
        cmocka_unit_test(experts_commute),
        cmocka_unit_test(grouped_experts_stay_together),
        cmocka_unit_test(fixed_residual_stays),
        cmocka_unit_test(every_space_moves_and_every_key_differs),
        cmocka_unit_test(even_heads_have_one_factor_each),
        cmocka_unit_test(scale_refuses_f16),
        cmocka_unit_test(short_secret_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
