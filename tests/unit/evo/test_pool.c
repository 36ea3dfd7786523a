/* SPDX-License-Identifier: Apache-2.0 */
/* Fitted weights against what is known of their optima; cut lists against full ones. */
#include "ww_test.h"

#include "evo/features.h"
#include "evo/loglinear.h"
#include "ww_random.h"

#define K 4
#define V 30
#define N 200

static double uniform(uint64_t *seed)
{
    return (double)((fx_random(seed) >> 11) + 1) * 0x1p-53;
}

struct world {
    double logp[N][K][V];
    uint32_t gold[N];
    double at_gold[N][K], entropy[N][K], surprise[N][K];
    struct ww_pool_position at[N];
    struct ww_pool_data data;
    uint32_t token[V];
};

/* Members that know the answer more or less well; answers of four tokens. */
static void make(struct world *w, uint64_t seed)
{
    for (uint32_t v = 0; v < V; v++) {
        w->token[v] = v;
    }
    for (int t = 0; t < N; t++) {
        w->gold[t] = (uint32_t)(fx_random(&seed) % V);
        for (int m = 0; m < K; m++) {
            double sum = 0;
            bool knows = (t / 4) % K == m; /* whole answers are one member's */
            for (int v = 0; v < V; v++) {
                double p = uniform(&seed) * uniform(&seed) +
                           (knows && (uint32_t)v == w->gold[t] ? 20 : 0.0);
                w->logp[t][m][v] = p;
                sum += p;
            }
            double h = 0;
            for (int v = 0; v < V; v++) {
                double l = log(w->logp[t][m][v] / sum);
                w->logp[t][m][v] = l;
                h -= exp(l) * l;
            }
            w->at_gold[t][m] = w->logp[t][m][w->gold[t]];
            w->entropy[t][m] = h;
            w->surprise[t][m] = t % 4 ? w->surprise[t - 1][m] - w->at_gold[t - 1][m] : 0;
        }
        w->at[t] = (struct ww_pool_position){.gold = w->at_gold[t],
                                             .entropy = w->entropy[t],
                                             .surprise = w->surprise[t],
                                             .item = (uint32_t)(t / 4),
                                             .weight = 1};
    }
    w->data = (struct ww_pool_data){.k = K, .n = N, .at = w->at};
}

static void static_weights_are_the_optimum(void **state)
{
    (void)state;
    static struct world w;
    struct ww_error err = {0};
    struct ww_pool_linear rule, other;
    unsigned rounds;
    make(&w, 1);
    assert_int_equal(ww_pool_fit_static(&w.data, 1e-4, &rule, &rounds, &err), WW_OK);
    double best = ww_pool_linear_bits(&w.data, &rule);
    uint64_t seed = 2;
    for (int i = 0; i < 300; i++) {
        other = rule;
        for (int m = 0; m < K; m++) {
            other.prior[m] += (uniform(&seed) - 0.5) * (i % 2 ? 0.1 : 4);
        }
        assert_true(ww_pool_linear_bits(&w.data, &other) >= best - 1e-4);
    }
    ww_pool_uniform(K, &other);
    assert_true(ww_pool_linear_bits(&w.data, &other) >= best);
    for (uint32_t m = 0; m < K; m++) {
        assert_true(ww_pool_member_bits(&w.data, m) > best);
    }
}

static void a_pool_of_one_is_its_member(void **state)
{
    (void)state;
    static struct world w;
    struct ww_error err = {0};
    struct ww_pool_linear rule;
    unsigned rounds;
    make(&w, 3);
    w.data.k = 1;
    assert_int_equal(ww_pool_fit_static(&w.data, 1e-6, &rule, &rounds, &err), WW_OK);
    NEAR(ww_pool_linear_bits(&w.data, &rule), ww_pool_member_bits(&w.data, 0), 1e-12);
}

static void the_answer_so_far_tells_whose_it_is(void **state)
{
    (void)state;
    static struct world w;
    struct ww_error err = {0};
    struct ww_pool_linear fixed, rule, again;
    const bool use[WW_POOL_FEATURES] = {true, true, false};
    uint64_t n = 1500;
    unsigned rounds;
    make(&w, 4);
    assert_int_equal(ww_pool_fit_static(&w.data, 1e-4, &fixed, &rounds, &err), WW_OK);
    assert_int_equal(ww_pool_fit_adaptive(&w.data, use, 1e-3, 7, &rule, &n, &err), WW_OK);
    assert_true(n > 100 && n <= 1500);
    double gained =
        ww_pool_linear_bits(&w.data, &fixed) - ww_pool_linear_bits(&w.data, &rule);
    assert_true(gained > 0.5 && rule.a[WW_POOL_SURPRISE] > 0 &&
                rule.a[WW_POOL_PREFIX] == 0);
    n = 1500;
    assert_int_equal(ww_pool_fit_adaptive(&w.data, use, 1e-3, 7, &again, &n, &err),
                     WW_OK);
    assert_memory_equal(&rule, &again, sizeof(rule));
    /* on answers that were not fitted */
    make(&w, 5);
    assert_true(
        ww_pool_linear_bits(&w.data, &fixed) - ww_pool_linear_bits(&w.data, &rule) > 0.5);
}

/* The others are fitted as if the pool had never had it, to the bit; it is heard where
 * they are surprised. */
static void a_member_that_nobody_misses_stays_low(void **state)
{
    (void)state;
    static struct world w;
    struct ww_error err = {0};
    struct ww_pool_linear rule, without;
    const bool use[WW_POOL_FEATURES] = {true, true, false};
    const int last = K - 1;
    uint64_t n = 1000;
    uint64_t fewer = 1000;
    make(&w, 6);
    for (int t = 0; t < N; t++) {
        w.at[t].weight =
            (t / 4) % K == last ? 0 : 1; /* nothing that the last one knows */
    }
    OK(ww_pool_fit_adaptive(&w.data, use, 1e-3, 7, &rule, &n, &err));
    w.data.k = K - 1;
    OK(ww_pool_fit_adaptive(&w.data, use, 1e-3, 7, &without, &fewer, &err));
    assert_true(n > fewer && n <= 2000);
    for (int m = 0; m < last; m++) {
        assert_true(rule.prior[m] == without.prior[m]);
        assert_true(rule.prior[last] < rule.prior[m] - 7);
    }
    assert_memory_equal(rule.a, without.a, sizeof(rule.a));
    double weights[K];
    ww_pool_linear_weights(&rule, &w.at[1], weights); /* of an item of the first one */
    assert_true(weights[last] < 1e-3);
    ww_pool_linear_weights(&rule, &w.at[4 * last + 2], weights);
    assert_true(weights[last] > 0.5); /* more than all others together */
    /* Weights in another unit are the same weights. */
    struct ww_pool_linear scaled;
    w.data.k = K;
    n = 1000;
    for (int t = 0; t < N; t++) {
        w.at[t].weight *= 0x1p-20;
    }
    OK(ww_pool_fit_adaptive(&w.data, use, 1e-3, 7, &scaled, &n, &err));
    assert_memory_equal(scaled.a, rule.a, sizeof(rule.a));
    assert_memory_equal(scaled.prior, rule.prior, sizeof(rule.prior));
}

static void weights_follow_the_published_special_case(void **state)
{
    (void)state;
    static struct world w;
    struct ww_pool_linear rule;
    double got[K];
    make(&w, 6);
    ww_pool_uniform(K, &rule);
    rule.a[WW_POOL_SURPRISE] = 1;
    ww_pool_linear_weights(&rule, &w.at[3], got);
    double sum = 0;
    for (int m = 0; m < K; m++) {
        sum += exp(-w.surprise[3][m]);
    }
    for (int m = 0; m < K; m++) {
        NEAR(got[m], exp(-w.surprise[3][m]) / sum, 1e-12);
    }
}

static int larger_first(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return x[1] < y[1] ? 1 : x[1] > y[1] ? -1 : 0;
}

/* The n likeliest tokens of each member. */
static void unions(struct world *w, uint32_t n, bool gold_known, struct ww_pool_union *u)
{
    struct ww_error err = {0};
    for (int t = 0; t < N; t++) {
        uint32_t token[K][V];
        double logp[K][V];
        struct ww_pool_list lists[K];
        for (int m = 0; m < K; m++) {
            double pairs[V][2];
            for (int v = 0; v < V; v++) {
                pairs[v][0] = v;
                pairs[v][1] = w->logp[t][m][v];
            }
            qsort(pairs, V, sizeof(pairs[0]), larger_first);
            for (uint32_t i = 0; i < n; i++) {
                token[m][i] = (uint32_t)pairs[i][0];
                logp[m][i] = pairs[i][1];
            }
            lists[m] = (struct ww_pool_list){token[m], logp[m], n};
        }
        const struct ww_pool_choice choice = {lists, w->gold[t],
                                              gold_known ? w->at_gold[t] : NULL};
        assert_int_equal(ww_pool_union_make(&choice, K, V, &u[t], &err), WW_OK);
    }
}

static void release(struct ww_pool_union *u)
{
    for (int t = 0; t < N; t++) {
        ww_pool_union_release(&u[t]);
    }
}

static void full_lists_give_the_exact_pool(void **state)
{
    (void)state;
    static struct world w;
    static struct ww_pool_union u[N];
    const double weights[K] = {0.3, 0.7, -0.2, 0.4};
    make(&w, 8);
    unions(&w, V, false, u);
    double loss = 0;
    for (int t = 0; t < N; t++) {
        double s[V], sum = 0, out[V + 1];
        for (int v = 0; v < V; v++) {
            s[v] = 0;
            for (int m = 0; m < K; m++) {
                s[v] += weights[m] * w.logp[t][m][v];
            }
            sum += exp(s[v]);
        }
        double want = s[w.gold[t]] - log(sum);
        NEAR(ww_pool_loglinear(&u[t], weights, out), want, 1e-10);
        loss -= want;
    }
    NEAR(ww_pool_loglinear_loss(u, N, weights, NULL, NULL), loss / N, 1e-10);
    release(u);
}

static void cut_lists_still_sum_to_one(void **state)
{
    (void)state;
    static struct world w;
    static struct ww_pool_union u[N];
    const double weights[K] = {0.3, 0.7, -0.2, 0.4};
    make(&w, 9);
    unions(&w, 5, false, u);
    for (int t = 0; t < N; t++) {
        double out[V + 1], sum = 0;
        double gold = ww_pool_loglinear(&u[t], weights, out);
        for (uint32_t i = 0; i <= u[t].n; i++) {
            sum += isfinite(out[i]) ? exp(out[i]) : 0;
        }
        NEAR(sum, 1, 1e-12);
        assert_true(u[t].gold_in_bucket == (u[t].gold == u[t].n) && gold < 0);
        for (uint32_t m = 0; m < K; m++) { /* every member sums to one as well */
            double one = exp(u[t].log_others) * exp(u[t].l[u[t].n * K + m]);
            for (uint32_t i = 0; i < u[t].n; i++) {
                one += exp(u[t].l[i * K + m]);
            }
            NEAR(one, 1, 1e-9);
        }
    }
    release(u);
}

static void gradient_and_curvature_are_the_differences(void **state)
{
    (void)state;
    static struct world w;
    static struct ww_pool_union u[N];
    double weights[K] = {0.3, 0.7, -0.2, 0.4};
    double g[K], h[K * K], up[K], down[K];
    make(&w, 10);
    unions(&w, 6, true, u);
    (void)ww_pool_loglinear_loss(u, N, weights, g, h);
    for (int m = 0; m < K; m++) {
        const double e = 1e-5;
        const double before = weights[m];
        weights[m] = before + e;
        double high = ww_pool_loglinear_loss(u, N, weights, up, NULL);
        weights[m] = before - e;
        double low = ww_pool_loglinear_loss(u, N, weights, down, NULL);
        weights[m] = before;
        NEAR((high - low) / (2 * e), g[m], 1e-8);
        for (int j = 0; j < K; j++) {
            NEAR((up[j] - down[j]) / (2 * e), h[m * K + j], 1e-7);
        }
    }
    release(u);
}

static void fitted_weights_are_the_least_loss(void **state)
{
    (void)state;
    static struct world w;
    static struct ww_pool_union u[N];
    make(&w, 11);
    unions(&w, 8, true, u);
    for (int non_negative = 0; non_negative < 2; non_negative++) {
        struct ww_error err = {0};
        double best[K], other[K], g[K];
        unsigned rounds;
        assert_int_equal(
            ww_pool_fit_loglinear(u, N, K, non_negative, 0, best, &rounds, &err), WW_OK);
        double least = ww_pool_loglinear_loss(u, N, best, g, NULL);
        for (int m = 0; m < K; m++) {
            assert_true(non_negative ? best[m] >= 0 && g[m] > -1e-4 : fabs(g[m]) < 1e-4);
        }
        uint64_t seed = 3;
        for (int i = 0; i < 100; i++) {
            for (int m = 0; m < K; m++) {
                other[m] = best[m] + (uniform(&seed) - 0.5) * 0.2;
                other[m] = non_negative && other[m] < 0 ? 0 : other[m];
            }
            assert_true(ww_pool_loglinear_loss(u, N, other, NULL, NULL) >= least - 1e-8);
        }
    }
    release(u);
}

/* A position of weight 2 counts as two, in the loss and in what is fitted to it. */
static void a_weight_is_how_often_a_position_counts(void **state)
{
    (void)state;
    static struct world w;
    static struct ww_pool_union u[N];
    static struct ww_pool_union doubled[N + N / 2];
    const double at[K] = {0.3, 0.7, -0.2, 0.4};
    struct ww_error err = {0};
    double one[K], two[K];
    unsigned rounds;
    make(&w, 12);
    unions(&w, 8, true, u);
    memcpy(doubled, u, sizeof(u));
    memcpy(doubled + N, u, sizeof(u) / 2);
    for (int t = 0; t < N / 2; t++) {
        u[t].weight = 2;
    }
    NEAR(ww_pool_loglinear_loss(u, N, at, NULL, NULL),
         ww_pool_loglinear_loss(doubled, N + N / 2, at, NULL, NULL), 1e-12);
    assert_int_equal(ww_pool_fit_loglinear(u, N, K, true, 1e-4, one, &rounds, &err),
                     WW_OK);
    assert_int_equal(
        ww_pool_fit_loglinear(doubled, N + N / 2, K, true, 1e-4, two, &rounds, &err),
        WW_OK);
    for (int m = 0; m < K; m++) {
        NEAR(one[m], two[m], 1e-6);
    }
    release(u);
}

static enum ww_err union_of(const uint32_t *token, const double *logp, uint32_t n)
{
    struct ww_error err = {0};
    struct ww_pool_union u;
    const struct ww_pool_list list = {token, logp, n};
    const struct ww_pool_choice choice = {&list, 0, NULL};
    enum ww_err rc = ww_pool_union_make(&choice, 1, V, &u, &err);
    if (!rc) {
        ww_pool_union_release(&u);
    }
    return rc;
}

static void lists_without_sense_are_refused(void **state)
{
    (void)state;
    const uint32_t token[3] = {4, 5, 4}, far[1] = {V};
    const double logp[3] = {-1, -2, -3}, wrong[1] = {0.5}, nan[1] = {(double)NAN};
    const double floor[2] = {-1e-9, -3.4e38};
    assert_int_equal(union_of(token, logp, 3), WW_E_MALFORMED);
    assert_int_equal(union_of(far, logp, 1), WW_E_MALFORMED);
    assert_int_equal(union_of(token, wrong, 1), WW_E_MALFORMED);
    assert_int_equal(union_of(token, nan, 1), WW_E_NONFINITE);
    assert_int_equal(union_of(token, floor, 2), WW_OK);
}

static void a_list_of_nothing_leaves_all_mass(void **state)
{
    (void)state;
    const struct ww_pool_list list = {NULL, NULL, 0};
    const double gold_logprob = -2;
    const struct ww_pool_choice choice = {
        .lists = &list, .gold = 1, .gold_logprob = &gold_logprob};
    struct ww_pool_union u;
    struct ww_error err = {0};
    OK(ww_pool_union_make(&choice, 1, 8, &u, &err));
    assert_int_equal(u.n, 1);
    NEAR(u.l[0], -2, 0);
    NEAR(u.l[1], -log(8), 1e-12);
    NEAR(ww_pool_unseen(&list, 8), -log(8), 1e-12);
    NEAR(ww_pool_entropy(&list, 8), log(8), 1e-12);
    ww_pool_union_release(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_weights_are_the_optimum),
        cmocka_unit_test(a_pool_of_one_is_its_member),
        cmocka_unit_test(the_answer_so_far_tells_whose_it_is),
        cmocka_unit_test(a_member_that_nobody_misses_stays_low),
        cmocka_unit_test(weights_follow_the_published_special_case),
        cmocka_unit_test(full_lists_give_the_exact_pool),
        cmocka_unit_test(cut_lists_still_sum_to_one),
        cmocka_unit_test(gradient_and_curvature_are_the_differences),
        cmocka_unit_test(fitted_weights_are_the_least_loss),
        cmocka_unit_test(a_weight_is_how_often_a_position_counts),
        cmocka_unit_test(lists_without_sense_are_refused),
        cmocka_unit_test(a_list_of_nothing_leaves_all_mass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
