/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks put together from the tested parts; what a caller may rely on. */
#include "ww_forward_fixture.h"

#include "arch/core.h"
#include "arch/forward_impl.h"
#include "util/fault.h"

enum { D = 6, N = 4, V = 11 };

static const uint64_t positions[N] = {0, 1, 2, 3};

static void fill(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = sin(0.3 + 1.1 * (double)i);
    }
}

/* rows += from */
static void add(double *rows, const double *from)
{
    for (int i = 0; i < N * D; i++) {
        rows[i] += from[i];
    }
}

/* The forms, from ww_fw_norm, ww_fw_attention and ww_fw_feed. */
static void expected_block(struct ww_forward *f, const struct ww_block *b, double *x)
{
    struct ww_error err;
    const struct ww_attention *att = &f->layout->attentions[b->self];
    double h[N * D];
    double a[N * D];
    double m[N * D];
    bool post = b->form == WW_BLOCK_POST;
    memcpy(h, x, sizeof(h));
    if (!post) {
        OK(ww_fw_norm(f, &b->norm_self, x, h, N, D, &err));
    }
    const struct ww_fw_attended self = {
        .x = h, .positions = positions, .n = N, .source = h, .m = N};
    OK(ww_fw_attention(f, att, &self, a, &err));
    if (b->form == WW_BLOCK_SANDWICH) {
        OK(ww_fw_norm(f, &b->post_self, a, a, N, D, &err));
    }
    if (b->form == WW_BLOCK_PARALLEL) {
        if (b->norm_mlp.kind != WW_NORM_NONE) {
            OK(ww_fw_norm(f, &b->norm_mlp, x, h, N, D, &err));
        }
        OK(ww_fw_feed(f, b, h, N, m, &err));
        add(x, a);
        add(x, m);
        return;
    }
    add(x, a);
    OK(ww_fw_norm(f, post ? &b->norm_self : &b->norm_mlp, x, post ? x : h, N, D, &err));
    OK(ww_fw_feed(f, b, post ? x : h, N, m, &err));
    if (b->form == WW_BLOCK_SANDWICH) {
        OK(ww_fw_norm(f, &b->post_mlp, m, m, N, D, &err));
    }
    add(x, m);
    if (post) {
        OK(ww_fw_norm(f, &b->norm_mlp, x, x, N, D, &err));
    }
}

static void check_form(enum ww_block_form form, bool own_norm)
{
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    double x[N * D];
    double y[N * D];
    fx_init(&fx, D);
    uint32_t block = fx_block(&fx, form);
    fx.blocks[block].post_self = fx_norm(&fx, WW_NORM_RMS, D);
    fx.blocks[block].post_mlp = fx_norm(&fx, WW_NORM_RMS, D);
    if (!own_norm) {
        fx.blocks[block].norm_mlp.kind = WW_NORM_NONE;
    }
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    fill(x, N * D);
    OK(ww_forward_block(f, block, x, y, positions, N, NULL, 0, &err));
    assert_int_equal(fx.n_held, 0);
    double want[N * D];
    memcpy(want, x, sizeof(x));
    expected_block(f, &fx.blocks[block], want);
    ww_fw_release(f);
    for (int i = 0; i < N * D; i++) {
        NEAR(y[i], want[i], 1e-14);
    }
    OK(ww_forward_block(f, block, x, x, positions, N, NULL, 0, &err));
    assert_memory_equal(x, y, sizeof(x));
    ww_forward_free(f);
    fx_free(&fx);
}

static void forms_put_norms_and_branches_in_their_order(void **state)
{
    (void)state;
    check_form(WW_BLOCK_PRE, true);
    check_form(WW_BLOCK_PARALLEL, true);
    check_form(WW_BLOCK_PARALLEL, false);
    check_form(WW_BLOCK_POST, true);
    check_form(WW_BLOCK_SANDWICH, true);
}

static void layer_scale_and_multiplier_act_on_the_branches(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    double x[N * D];
    double y[N * D];
    fx_init(&fx, D);
    fx_block(&fx, WW_BLOCK_PRE);
    fx.blocks[0].mlp = WW_NONE;
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    fill(x, N * D);
    OK(ww_forward_block(f, 0, x, y, positions, N, NULL, 0, &err));
    fx.blocks[0].scale_self = fx_tensor(&fx, D, 0, 0);
    fx.blocks[0].residual_multiplier = 0.25;
    double scaled[N * D];
    OK(ww_forward_block(f, 0, x, scaled, positions, N, NULL, 0, &err));
    for (int i = 0; i < N * D; i++) {
        double lambda = fx.data[fx.blocks[0].scale_self][i % D];
        NEAR(scaled[i], x[i] + 0.25 * lambda * (y[i] - x[i]), 1e-14);
    }
    ww_forward_free(f);
    fx_free(&fx);
}

static void experts_add_up_by_their_weights(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    double x[N * D];
    double y[N * D];
    fx_init(&fx, D);
    for (int e = 0; e < 4; e++) {
        fx_mlp(&fx, 5);
    }
    fx.moes[0] = (struct ww_moe){.name = "experts",
                                 .n_experts = 3,
                                 .top_k = 2,
                                 .n_groups = 1,
                                 .multiplier = 1,
                                 .correction = WW_NONE,
                                 .normalise = true,
                                 .softmax_first = true,
                                 .router = fx_linear(&fx, 3, D, false),
                                 .first_mlp = 0,
                                 .shared_mlp = 3,
                                 .shared_gated = true,
                                 .shared_gate = fx_linear(&fx, 1, D, false)};
    struct ww_block block = {.name = "block", .moe = 0, .mlp = WW_NONE};
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    fill(x, N * D);
    OK(ww_fw_feed(f, &block, x, N, y, &err));
    double scores[N * 3];
    double gate[N];
    double parts[4][N * D];
    OK(ww_fw_linear(f, &fx.moes[0].router, x, N, D, scores, 3, &err));
    OK(ww_fw_linear(f, &fx.moes[0].shared_gate, x, N, D, gate, 1, &err));
    for (uint32_t e = 0; e < 4; e++) {
        struct ww_block single = {.name = "single", .mlp = e, .moe = WW_NONE};
        OK(ww_fw_feed(f, &single, x, N, parts[e], &err));
    }
    for (int t = 0; t < N; t++) {
        double w[4];
        ww_core_route(&fx.moes[0], scores + t * 3, NULL, w);
        w[3] = 1 / (1 + exp(-gate[t]));
        for (int i = t * D; i < (t + 1) * D; i++) {
            double want = w[0] * parts[0][i] + w[1] * parts[1][i] + w[2] * parts[2][i] +
                          w[3] * parts[3][i];
            NEAR(y[i], want, 1e-14);
        }
    }
    ww_fw_release(f);
    ww_forward_free(f);
    fx_free(&fx);
}

static void cross_attention_reads_the_encoder_only(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    double x[N * D];
    double y[N * D];
    double z[N * D];
    double encoder[2 * D];
    fx_init(&fx, D);
    fx_block(&fx, WW_BLOCK_PRE);
    fx.blocks[0].cross = fx_attention(&fx, 2, 2, 4);
    fx.attentions[fx.blocks[0].cross].cross = true;
    fx.blocks[0].norm_cross = fx_norm(&fx, WW_NORM_RMS, D);
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    fill(x, N * D);
    fill(encoder, 2 * D);
    FAILS(ww_forward_block(f, 0, x, y, positions, N, NULL, 0, &err), WW_E_USAGE);
    OK(ww_forward_block(f, 0, x, y, positions, N, encoder, 2, &err));
    encoder[D] += 1;
    OK(ww_forward_block(f, 0, x, z, positions, N, encoder, 2, &err));
    assert_true(fabs(y[0] - z[0]) > 1e-6);
    ww_forward_free(f);
    fx_free(&fx);
}

static void later_tokens_do_not_change_earlier_logits(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    const uint32_t tokens[N] = {3, 1, 10, 0};
    double all[N * V];
    double some[N * V];
    fx_init(&fx, D);
    fx_language_model(&fx, 2, V);
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    assert_int_equal(ww_forward_vocab(f), V);
    OK(ww_forward_logits(f, tokens, N, NULL, 0, all, &err));
    for (size_t n = 1; n < N; n++) {
        OK(ww_forward_logits(f, tokens, n, NULL, 0, some, &err));
        assert_memory_equal(some, all, n * V * sizeof(double));
    }
    ww_forward_free(f);
    fx_free(&fx);
}

static uint32_t argmax(const double *x)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < V; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

static void greedy_follows_the_logits_and_stops_behind_eos(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    uint32_t tokens[16] = {3, 1, 10};
    uint32_t want[16] = {3, 1, 10};
    double logits[16 * V];
    size_t n_out = 0;
    fx_init(&fx, D);
    fx_language_model(&fx, 2, V);
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    for (size_t n = 3; n < 9; n++) {
        OK(ww_forward_logits(f, want, n, NULL, 0, logits, &err));
        want[n] = argmax(logits + (n - 1) * V);
    }
    OK(ww_forward_greedy(f, tokens, 3, 6, UINT32_MAX, &n_out, &err));
    assert_int_equal(n_out, 9);
    assert_memory_equal(tokens, want, 9 * sizeof(uint32_t));
    int got = fx.n_got;
    OK(ww_forward_greedy(f, tokens, 3, 6, want[3], &n_out, &err));
    assert_int_equal(n_out, 4);
    assert_int_equal(fx.n_got, got); /* weights were kept */
    OK(ww_forward_greedy(f, tokens, 3, 0, UINT32_MAX, &n_out, &err));
    assert_int_equal(n_out, 3);
    FAILS(ww_forward_greedy(f, tokens, 0, 3, UINT32_MAX, &n_out, &err), WW_E_USAGE);
    ww_forward_free(f);
    fx_free(&fx);
}

static void what_cannot_be_answered_is_refused(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    struct ww_forward *f = NULL;
    uint32_t tokens[N] = {3, 1, V, 0};
    double out[N * V];
    size_t n_out;
    fx_init(&fx, D);
    fx_language_model(&fx, 1, V);
    FAILS(ww_forward_new(NULL, NULL, &f, &err), WW_E_USAGE);
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    FAILS(ww_forward_logits(f, tokens, N, NULL, 0, out, &err), WW_E_USAGE);
    tokens[2] = 2;
    FAILS(ww_forward_logits(f, tokens, N, tokens, 2, out, &err), WW_E_USAGE);
    FAILS(ww_forward_block(f, 1, out, out, positions, 1, NULL, 0, &err), WW_E_USAGE);
    fx.attentions[0].vo_class = WW_VO_SUBNORM;
    FAILS(ww_forward_logits(f, tokens, N, NULL, 0, out, &err), WW_E_UNSUPPORTED);
    fx.attentions[0].vo_class = WW_VO_GL;
    fx.attentions[0].n_kv_heads = 3;
    FAILS(ww_forward_logits(f, tokens, N, NULL, 0, out, &err), WW_E_SHAPE);
    fx.attentions[0].n_kv_heads = 2;
    fx.refuse = fx.attentions[0].v.weight;
    FAILS(ww_forward_logits(f, tokens, N, NULL, 0, out, &err), WW_E_IO);
    fx.refuse = WW_NONE;
    fx.layout.task = "classifier";
    FAILS(ww_forward_logits(f, tokens, N, NULL, 0, out, &err), WW_E_UNSUPPORTED);
    FAILS(ww_forward_greedy(f, tokens, 2, 1, 0, &n_out, &err), WW_E_UNSUPPORTED);
    OK(ww_forward_hidden(f, tokens, N, out, &err));
    fx.layout.embed = WW_NONE;
    FAILS(ww_forward_hidden(f, tokens, N, out, &err), WW_E_UNSUPPORTED);
    ww_forward_free(f);
    fx_free(&fx);
}

static void every_failed_allocation_comes_back_as_an_error(void **state)
{
    (void)state;
    struct fx fx;
    struct ww_error err;
    enum ww_err rc = WW_E_NOMEM;
    unsigned long failed = 0;
    fx_init(&fx, D);
    fx_language_model(&fx, 1, V);
    while (rc != WW_OK) {
        struct ww_forward *f = NULL;
        uint32_t tokens[8] = {3, 1};
        size_t n_out = 0;
        ww_error_clear(&err);
        ww_fault_arm(WW_FAULT_ALLOC, ++failed);
        rc = ww_forward_new(&fx.layout, &fx.weights, &f, &err);
        if (!rc) {
            rc = ww_forward_greedy(f, tokens, 2, 2, UINT32_MAX, &n_out, &err);
        }
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_true(rc == WW_OK || rc == WW_E_NOMEM);
        ww_forward_free(f);
        assert_int_equal(fx.n_held, 0);
    }
    assert_true(failed > 30);
    fx_free(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_put_norms_and_branches_in_their_order),
        cmocka_unit_test(layer_scale_and_multiplier_act_on_the_branches),
        cmocka_unit_test(experts_add_up_by_their_weights),
        cmocka_unit_test(cross_attention_reads_the_encoder_only),
        cmocka_unit_test(later_tokens_do_not_change_earlier_logits),
        cmocka_unit_test(greedy_follows_the_logits_and_stops_behind_eos),
        cmocka_unit_test(what_cannot_be_answered_is_refused),
        cmocka_unit_test(every_failed_allocation_comes_back_as_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
