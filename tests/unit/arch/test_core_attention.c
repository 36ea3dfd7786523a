/* SPDX-License-Identifier: Apache-2.0 */
/* Attention between the projections, against sums written out head by head. */
#include "ww_test.h"

#include "arch/core.h"

enum { N = 5, H = 4, G = 2, D = 3, DV = 2 };

struct rig {
    struct ww_attention att;
    struct ww_attention_inputs in; /* its arrays are those below */
    uint64_t positions[N];
    double q[N * H * D];
    double k[N * G * D];
    double v[N * G * DV];
    double context[N * H * DV];
};

static void rig_init(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    r->att = (struct ww_attention){.name = "a",
                                   .n_heads = H,
                                   .n_kv_heads = G,
                                   .head_dim = D,
                                   .v_dim = DV,
                                   .causal = true,
                                   .scale = 0.7,
                                   .qk_class = WW_QK_GL};
    for (int i = 0; i < N; i++) {
        r->positions[i] = (uint64_t)i;
    }
    for (int i = 0; i < N * H * D; i++) {
        r->q[i] = sin(1 + 1.7 * i);
    }
    for (int i = 0; i < N * G * D; i++) {
        r->k[i] = cos(2 + 1.3 * i);
    }
    for (int i = 0; i < N * G * DV; i++) {
        r->v[i] = sin(3 + 0.9 * i);
    }
}

static void run(struct rig *r)
{
    struct ww_error err;
    r->in.q.rows = r->q;
    r->in.k.rows = r->k;
    r->in.v = r->v;
    r->in.q.positions = r->in.k.positions = r->positions;
    r->in.q.n = r->in.k.n = N;
    OK(ww_core_attention(&r->att, &r->in, r->context, &err));
}

/* The same from the definition; extra is added to the capped score. */
static double expected(const struct rig *r, int i, int h, int e,
                       double (*extra)(int i, int j, int h), int (*sees)(int i, int j))
{
    int g = h / (H / G);
    double sum = r->in.sinks ? exp(r->in.sinks[h]) : 0;
    double value = 0;
    for (int j = 0; j < N; j++) {
        double s = 0;
        if (!sees(i, j)) {
            continue;
        }
        for (int x = 0; x < D; x++) {
            s += r->q[(i * H + h) * D + x] * r->k[(j * G + g) * D + x];
        }
        s *= r->att.scale;
        s = r->att.softcap > 0 ? r->att.softcap * tanh(s / r->att.softcap) : s;
        s += extra ? extra(i, j, h) : 0;
        sum += exp(s);
        value += exp(s) * r->v[(j * G + g) * DV + e];
    }
    return value / sum;
}

static void check(const struct rig *r, double (*extra)(int, int, int),
                  int (*sees)(int, int))
{
    for (int i = 0; i < N; i++) {
        for (int h = 0; h < H; h++) {
            for (int e = 0; e < DV; e++) {
                NEAR(r->context[(i * H + h) * DV + e], expected(r, i, h, e, extra, sees),
                     1e-14);
            }
        }
    }
}

static int sees_back(int i, int j)
{
    return j <= i;
}
static int sees_two_back(int i, int j)
{
    return j <= i && i - j < 2;
}
static int sees_all(int i, int j)
{
    (void)i;
    (void)j;
    return 1;
}

static void heads_of_a_group_share_keys_and_values(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    run(&r);
    check(&r, NULL, sees_back);
}

static void masks_follow_positions_and_window(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.window = 2;
    run(&r);
    check(&r, NULL, sees_two_back);
    rig_init(&r);
    r.att.causal = false;
    run(&r);
    check(&r, NULL, sees_all);
    rig_init(&r);
    r.att.cross = true;
    run(&r);
    check(&r, NULL, sees_all);
}

static int sees_near(int i, int j)
{
    return abs(i - j) <= 1;
}

static void two_sided_windows_count_the_border_in(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.causal = false;
    r.att.window = 1;
    run(&r);
    check(&r, NULL, sees_near);
}

static void constant_values_come_back_because_rows_sum_to_one(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < N * G * DV; i++) {
        r.v[i] = 1;
    }
    run(&r);
    for (int i = 0; i < N * H * DV; i++) {
        NEAR(r.context[i], 1, 1e-15);
    }
}

static void huge_scores_do_not_overflow(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.scale = 1e6;
    run(&r);
    for (int i = 0; i < N * H * DV; i++) {
        assert_true(isfinite(r.context[i]));
    }
}

static void softcap_and_sinks_do_what_they_say(void **state)
{
    (void)state;
    struct rig r;
    double sinks[H] = {0.3, -1, 2, 0};
    rig_init(&r);
    r.att.softcap = 0.8;
    r.in.sinks = sinks;
    run(&r);
    check(&r, NULL, sees_back);
}

static double alibi_extra(int i, int j, int h)
{
    (void)i;
    static const double slopes[H] = {0.25, 0.0625, 0.015625, 0.00390625};
    return slopes[h] * j;
}

static void alibi_adds_slope_times_position(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.alibi = true;
    run(&r);
    check(&r, alibi_extra, sees_back);
}

static double alibi_scaled_extra(int i, int j, int h)
{
    return 0.7 * alibi_extra(i, j, h);
}

static void falcon_scales_its_bias_too(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.alibi = true;
    r.att.alibi_scaled = true;
    run(&r);
    check(&r, alibi_scaled_extra, sees_back);
}

static const double table[4 * H] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8,
                                    0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6};

static double table_extra(int i, int j, int h)
{
    /* 4 two-sided buckets: one exact distance and one for all others, each side. */
    int bucket = i == j ? 0 : j < i ? 1 : 3;
    return table[bucket * H + h];
}

static void relative_bias_reads_its_table(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.causal = false;
    r.att.relative_buckets = 4;
    r.att.relative_max_distance = 8;
    r.in.relative_bias = table;
    run(&r);
    check(&r, table_extra, sees_all);
}

static void clip_bounds_queries_keys_and_values(void **state)
{
    (void)state;
    struct rig r;
    struct rig clipped;
    rig_init(&r);
    clipped = r;
    r.att.clip = 0.5;
    double *arrays[] = {clipped.q, clipped.k, clipped.v};
    int sizes[] = {N * H * D, N * G * D, N * G * DV};
    for (int a = 0; a < 3; a++) {
        for (int i = 0; i < sizes[a]; i++) {
            arrays[a][i] = fmax(-0.5, fmin(0.5, arrays[a][i]));
        }
    }
    run(&r);
    run(&clipped);
    assert_memory_equal(r.context, clipped.context, sizeof(r.context));
    assert_true(r.v[2] != clipped.v[2]);
}

/* Norms checked against ww_core_norm applied by hand, at the widths the class says. */
static void norm_by_hand(double *x, int rows, int width, int groups, const double *gain,
                         int gain_step)
{
    const struct ww_norm norm = {.kind = WW_NORM_RMS, .eps = 1e-6};
    for (int i = 0; i < rows * groups; i++) {
        struct ww_norm_values values = {gain + i % groups * gain_step, NULL};
        ww_core_norm(&norm, values, x + i * width, x + i * width, (size_t)width);
    }
}

static void check_norms(enum ww_qk_class qk_class, bool per_head, int q_width,
                        int k_width, int gain_step)
{
    struct rig r;
    struct rig hand;
    double gain[H * D];
    for (int i = 0; i < H * D; i++) {
        gain[i] = 0.5 + 0.1 * i;
    }
    rig_init(&r);
    hand = r;
    r.att.qk_class = qk_class;
    r.att.qk_gain_per_head = per_head;
    r.att.q_norm = (struct ww_norm){.kind = WW_NORM_RMS, .eps = 1e-6};
    r.att.k_norm = r.att.q_norm;
    r.in.q.norm.gain = gain;
    r.in.k.norm.gain = gain;
    norm_by_hand(hand.q, N, q_width, H * D / q_width, gain, gain_step);
    norm_by_hand(hand.k, N, k_width, G * D / k_width, gain, gain_step);
    run(&r);
    run(&hand);
    assert_memory_equal(r.context, hand.context, sizeof(r.context));
}

static void qk_norms_have_the_width_of_their_class(void **state)
{
    (void)state;
    check_norms(WW_QK_RMS_HEAD, false, D, D, 0);
    check_norms(WW_QK_LN_HEAD, true, D, D, D);
    check_norms(WW_QK_RMS_FULL, true, H * D, G * D, 0);
    check_norms(WW_QK_RMS_FULL, false, H * D, G * D, 0);
}

static void clamp_by_hand(double *x, size_t n, double limit)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = x[i] > limit ? limit : x[i] < -limit ? -limit : x[i];
    }
}

/* Behind everything else that is done to queries and keys. */
static void last_norm_comes_behind_the_clip(void **state)
{
    (void)state;
    struct rig r, hand;
    double gain[D];
    for (size_t i = 0; i < D; i++) {
        gain[i] = 0.5 + 0.25 * (double)i;
    }
    rig_init(&r);
    hand = r;
    r.att.qk_class = WW_QK_RMS_HEAD;
    r.att.qk_norm_last = true;
    r.att.clip = 0.4;
    r.att.q_norm = (struct ww_norm){.kind = WW_NORM_RMS, .eps = 1e-6};
    r.att.k_norm = r.att.q_norm;
    r.in.q.norm.gain = gain;
    r.in.k.norm.gain = gain;
    clamp_by_hand(hand.q, N * H * D, 0.4);
    clamp_by_hand(hand.k, N * G * D, 0.4);
    clamp_by_hand(hand.v, N * G * DV, 0.4);
    norm_by_hand(hand.q, N, D, H, gain, 0);
    norm_by_hand(hand.k, N, D, G, gain, 0);
    run(&r);
    run(&hand);
    assert_memory_equal(r.context, hand.context, sizeof(r.context));
}

static void gate_multiplies_by_its_sigmoid(void **state)
{
    (void)state;
    struct rig plain;
    struct rig gated;
    double gate[N * H * DV];
    rig_init(&plain);
    gated = plain;
    for (int i = 0; i < N * H * DV; i++) {
        gate[i] = 0.2 * i - 4;
    }
    gated.in.gate = gate;
    run(&plain);
    run(&gated);
    for (int i = 0; i < N * H * DV; i++) {
        NEAR(gated.context[i], plain.context[i] / (1 + exp(-gate[i])), 1e-15);
    }
}

static int sees_own_chunk(int i, int j)
{
    return j <= i && j / 2 == i / 2;
}

static void chunks_hide_what_lies_before_them(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.att.chunk = 2;
    run(&r);
    check(&r, NULL, sees_own_chunk);
}

/* The same as longer queries. */
static void queries_grow_with_their_position(void **state)
{
    (void)state;
    struct rig grown, plain;
    rig_init(&grown);
    rig_init(&plain);
    grown.att.temper = 0.3;
    grown.att.temper_floor = 2;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < H * D; j++) {
            plain.q[i * H * D + j] *= 1 + 0.3 * log(1 + floor((i + 1) / 2.0));
        }
    }
    run(&grown);
    run(&plain);
    for (int i = 0; i < N * H * DV; i++) {
        NEAR(grown.context[i], plain.context[i], 1e-14);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_a_group_share_keys_and_values),
        cmocka_unit_test(masks_follow_positions_and_window),
        cmocka_unit_test(two_sided_windows_count_the_border_in),
        cmocka_unit_test(constant_values_come_back_because_rows_sum_to_one),
        cmocka_unit_test(huge_scores_do_not_overflow),
        cmocka_unit_test(softcap_and_sinks_do_what_they_say),
        cmocka_unit_test(alibi_adds_slope_times_position),
        cmocka_unit_test(falcon_scales_its_bias_too),
        cmocka_unit_test(relative_bias_reads_its_table),
        cmocka_unit_test(clip_bounds_queries_keys_and_values),
        cmocka_unit_test(qk_norms_have_the_width_of_their_class),
        cmocka_unit_test(last_norm_comes_behind_the_clip),
        cmocka_unit_test(chunks_hide_what_lies_before_them),
        cmocka_unit_test(queries_grow_with_their_position),
        cmocka_unit_test(gate_multiplies_by_its_sigmoid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
