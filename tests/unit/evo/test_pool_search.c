/* SPDX-License-Identifier: Apache-2.0 */
/* A search over pool weights reaches what the convex solver proves to be the best. */
#include "ww_test.h"

#include "evo/cma.h"
#include "ww_pool_fixture.h"

#define K 10
#define N 150

static void a_search_over_ten_weights_reaches_the_optimum(void **state)
{
    (void)state;
    static struct ww_pool_union u[N];
    struct ww_error err = {0};
    double optimum[K] = {0};
    double start[K];
    double values[64];
    double best = 0;
    unsigned rounds = 0;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct ww_cma *cma = NULL;
        assert_true(fx_pool_make(u, N, K, 8, seed));
        OK(ww_pool_fit_loglinear(u, N, K, false, 0, optimum, &rounds, &err));
        for (int i = 0; i < K; i++) {
            start[i] = 1.0 / K;
        }
        const struct ww_cma_options o = {
            .n = K, .start = start, .sigma = 1.0 / 6, .seed = seed};
        OK(ww_cma_new(&o, &cma, &err));
        assert_true(ww_cma_lambda(cma) <= 64);
        for (uint32_t done = 0; done + ww_cma_lambda(cma) <= 400;
             done += ww_cma_lambda(cma)) {
            const double *x = ww_cma_ask(cma);
            for (uint32_t i = 0; i < ww_cma_lambda(cma); i++) {
                values[i] = fx_pool_bits(u, N, x + (size_t)i * K);
            }
            ww_cma_tell(cma, values);
        }
        (void)ww_cma_best(cma, &best);
        double least = fx_pool_bits(u, N, optimum);
        assert_true(best >= least - 1e-9);
        assert_true(best <= least + 0.01);
        assert_true(fx_pool_bits(u, N, start) > least + 0.1);
        ww_cma_free(cma);
        for (int t = 0; t < N; t++) {
            ww_pool_union_release(&u[t]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_over_ten_weights_reaches_the_optimum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
