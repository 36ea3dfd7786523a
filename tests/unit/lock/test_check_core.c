/* SPDX-License-Identifier: Apache-2.0 */
/* The cores accept what is legal and see every fault that no linear map can see. */
#include "lock_fixture.h"

#include "lock/check_core.h"

static enum ww_err run(struct lk_options o, enum ww_wrong wrong, bool scale,
                       double *worst, struct ww_error *err)
{
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(11);
    lk_init(&lk, o);
    assert_int_equal(ww_gauge_init(&gauge, &lk.layout, secret, scale, wrong, err), WW_OK);
    enum ww_err rc = ww_check_cores(&gauge, &lk.weights, worst, err);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
    return rc;
}

static void cores_accept_every_class(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static const enum ww_qk_class classes[] = {WW_QK_ROPE,     WW_QK_RMS_HEAD,
                                               WW_QK_RMS_FULL, WW_QK_LN_HEAD,
                                               WW_QK_L2_POST,  WW_QK_CLAMP};
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        struct lk_options o = lk_llama();
        double worst = -1;
        o.qk_class = classes[i];
        o.rope_dims = i % 2 ? 4 : 8;
        o.moe = (unsigned)i % 3;
        o.sinks = i % 2;
        o.clip = classes[i] == WW_QK_CLAMP ? 0.5 : 0;
        o.vo_class = classes[i] == WW_QK_CLAMP ? WW_VO_CLAMP : WW_VO_GL;
        OK(run(o, WW_WRONG_NONE, i % 2, &worst, &err));
        assert_true(worst >= 0 && worst < 1e-12);
    }
}

static void cores_see_faults(void **state)
{
    (void)state;
    static const struct {
        enum ww_wrong wrong;
        const char *text;
        bool layer_norm;
    } rows[] = {
        {WW_WRONG_PAIRING, "attention of 'decoder.0.self'", false},
        {WW_WRONG_FLIP, "attention of 'decoder.0.self'", false},
        {WW_WRONG_HEADS, "attention of 'decoder.0.self'", false},
        {WW_WRONG_RESIDUAL, "norm before attention of 'decoder.0'", false},
        {WW_WRONG_RESIDUAL, "norm before attention of 'decoder.0'", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct ww_error err = {0};
        struct lk_options o = lk_llama();
        double worst = 0;
        if (rows[i].layer_norm) {
            o.norm = WW_NORM_LAYER;
            o.residual = WW_RESIDUAL_PERM;
        }
        FAILS(run(o, rows[i].wrong, false, &worst, &err), WW_E_CHECK_FAILED);
        if (!strstr(err.text, rows[i].text)) {
            fail_msg("'%s' does not name '%s'", err.text, rows[i].text);
        }
        assert_true(worst > 1e-3);
    }
}

/* GELU is not odd: signs that the layout wrongly allows are seen at the activation. */
static void cores_see_a_layout_that_allows_too_much(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(11);
    double worst = 0;
    o.plain_mlp = true;
    lk_init(&lk, o);
    lk.mlps[0].sign_moves = true;
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    FAILS(ww_check_cores(&gauge, &lk.weights, &worst, &err), WW_E_CHECK_FAILED);
    assert_non_null(strstr(err.text, "MLP of 'decoder.0.mlp.0'"));
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void uncovered_attention_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    double worst = 0;
    o.vo_class = WW_VO_VNORM;
    FAILS(run(o, WW_WRONG_NONE, false, &worst, &err), WW_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cores_accept_every_class),
        cmocka_unit_test(cores_see_faults),
        cmocka_unit_test(cores_see_a_layout_that_allows_too_much),
        cmocka_unit_test(uncovered_attention_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
