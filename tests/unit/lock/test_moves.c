/* SPDX-License-Identifier: Apache-2.0 */
/* Words for what moves, and the elements of latent attention on its dot products. */
#include "lock_fixture.h"

#include "lock/gauge.h"
#include "weightward/lock.h"

static struct ww_block_moves *moves_of(struct lk *lk, bool scale)
{
    struct ww_error err = {0};
    struct ww_block_moves *blocks = NULL;
    size_t n = 0;
    OK(ww_lock_moves(&lk->layout, scale, &blocks, &n, &err));
    assert_int_equal(n, 1);
    assert_string_equal(blocks[0].name, "decoder.0");
    return blocks;
}

static void expect_words(struct lk *lk, bool scale, const char *const *want, size_t n)
{
    struct ww_block_moves *blocks = moves_of(lk, scale);
    assert_int_equal(blocks[0].n_moved, n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(blocks[0].moved[i], want[i]);
    }
    ww_block_moves_free(blocks, 1);
}

static void words_follow_the_classes(void **state)
{
    (void)state;
    struct lk lk;
    static const char *const experts[] = {"residual",         "kv-groups",
                                          "query-heads",      "qk-signed-permutation",
                                          "qk-quarter-turns", "vo-signed-permutation",
                                          "neurons",          "neuron-signs",
                                          "experts"};
    static const char *const gpt2[] = {
        "residual", "kv-groups", "qk-signed-permutation", "vo-signed-permutation",
        "neurons",  "scales"};
    static const char *const layer_norm[] = {
        "residual", "kv-groups",   "query-heads", "qk-signs", "vo-signed-permutation",
        "neurons",  "neuron-signs"};
    struct lk_options o = lk_llama();
    o.moe = 1;
    o.rope_dims = 4;
    lk_init(&lk, o);
    expect_words(&lk, false, experts, 9);
    lk_free(&lk);
    o = lk_llama();
    o.qk_class = WW_QK_GL;
    o.rope = WW_ROPE_NONE;
    o.rope_dims = 0;
    o.n_kv_heads = 4;
    o.plain_mlp = true;
    lk_init(&lk, o);
    expect_words(&lk, true, gpt2, 6);
    lk_free(&lk);
    o = lk_llama();
    o.qk_class = WW_QK_LN_HEAD;
    lk_init(&lk, o);
    expect_words(&lk, false, layer_norm, 7);
    lk_free(&lk);
}

static void what_stays_has_a_reason(void **state)
{
    (void)state;
    struct lk lk;
    struct lk_options o = lk_llama();
    o.alibi = true;
    lk_init(&lk, o);
    struct ww_block_moves *blocks = moves_of(&lk, false);
    assert_non_null(strstr(blocks[0].reason, "heads stay"));
    ww_block_moves_free(blocks, 1);
    lk.layout.residual.group = WW_RESIDUAL_FIXED;
    lk.layout.residual.reason = "headless";
    lk.att.vo_class = WW_VO_NONE;
    lk.att.vo_reason = "shared";
    blocks = moves_of(&lk, false);
    assert_non_null(strstr(blocks[0].reason, "residual stays: headless; heads stay"));
    assert_non_null(strstr(blocks[0].reason, "values stay: shared"));
    ww_block_moves_free(blocks, 1);
    lk_free(&lk);
}

enum { HEADS = 4, NOPE = 6, ROPE = 4, LATENT = 10 };

/* q.k of a head over the part without rotary embedding and the shared rope part, the rope
 * pairs turned by a difference of positions. */
static double score(const double *q_nope, const double *k_nope, const double *q_rope,
                    const double *k_rope, int head)
{
    double sum = 0;
    for (int i = 0; i < NOPE; i++) {
        sum += q_nope[head * NOPE + i] * k_nope[head * NOPE + i];
    }
    for (int f = 0; f < ROPE / 2; f++) {
        double c = cos(1.3 / (1 + f)), s = sin(1.3 / (1 + f));
        double x = q_rope[head * ROPE + 2 * f], y = q_rope[head * ROPE + 2 * f + 1];
        sum += (c * x - s * y) * k_rope[2 * f] + (s * x + c * y) * k_rope[2 * f + 1];
    }
    return sum;
}

static void move(const struct ww_gauge *gauge, uint32_t space, enum ww_action action,
                 const double *x, double *y)
{
    struct ww_error err = {0};
    struct ww_element element;
    OK(ww_gauge_space(gauge, space, &element, &err));
    ww_element_apply(&element, action, x, y);
    ww_element_release(&element);
}

static void latent_attention_keeps_its_scores(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    struct lk_options o = lk_llama();
    o.n_kv_heads = 4;
    o.rope = WW_ROPE_ADJACENT;
    o.rope_dims = ROPE;
    lk_init(&lk, o);
    lk.att.qk_class = WW_QK_MLA;
    lk.att.mla_nope = NOPE;
    uint32_t qn = lk_space(&lk, WW_SPACE_MLA_Q_NOPE, HEADS * NOPE, 0, "q_nope");
    uint32_t kn = lk_space(&lk, WW_SPACE_MLA_K_NOPE, HEADS * NOPE, 0, "k_nope");
    uint32_t qr = lk_space(&lk, WW_SPACE_MLA_Q_ROPE, HEADS * ROPE, 0, "q_rope");
    uint32_t kr = lk_space(&lk, WW_SPACE_MLA_K_ROPE, ROPE, 0, "k_rope");
    uint32_t latent = lk_space(&lk, WW_SPACE_LATENT, LATENT, 0, "latent");
    struct ww_secret *secret = lk_secret(77);
    struct ww_gauge gauge;
    OK(ww_gauge_init(&gauge, &lk.layout, secret, true, WW_WRONG_NONE, &err));
    double x[4][HEADS * NOPE], y[4][HEADS * NOPE];
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < HEADS * NOPE; j++) {
            x[i][j] = lk_random(&lk);
        }
    }
    move(&gauge, qn, WW_ACT_DIRECT, x[0], y[0]);
    move(&gauge, kn, WW_ACT_INVERSE, x[1], y[1]);
    move(&gauge, qr, WW_ACT_DIRECT, x[2], y[2]);
    move(&gauge, kr, WW_ACT_INVERSE, x[3], y[3]);
    struct ww_element heads;
    OK(ww_gauge_space(&gauge, lk.att.query_head, &heads, &err));
    for (int h = 0; h < HEADS; h++) {
        NEAR(score(y[0], y[1], y[2], y[3], h),
             score(x[0], x[1], x[2], x[3], (int)heads.perm[h]), 1e-12);
    }
    ww_element_release(&heads);
    OK(ww_gauge_space(&gauge, latent, &heads, &err));
    assert_int_equal(heads.n, LATENT);
    uint32_t moved = 0;
    for (uint32_t i = 0; i < LATENT; i++) {
        moved += heads.perm[i] != i;
    }
    assert_true(moved > 0);
    ww_element_release(&heads);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_follow_the_classes),
        cmocka_unit_test(what_stays_has_a_reason),
        cmocka_unit_test(latent_attention_keeps_its_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
