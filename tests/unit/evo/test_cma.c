/* SPDX-License-Identifier: Apache-2.0 */
/* The search finds minima, keeps to its box, and is the same when it is told the same. */
#include "ww_test.h"

#include "evo/cma.h"
#include "la/exact_eigen.h"
#include "ww_random.h"

#define N 6

static double sphere(const double *x)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        sum += (x[i] - 0.5) * (x[i] - 0.5);
    }
    return sum;
}

static double ellipsoid(const double *x)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        sum += pow(1e6, i / (N - 1.0)) * x[i] * x[i];
    }
    return sum;
}

static double rosenbrock(const double *x)
{
    double sum = 0;
    for (int i = 0; i + 1 < N; i++) {
        double a = x[i + 1] - x[i] * x[i];
        sum += 100 * a * a + (1 - x[i]) * (1 - x[i]);
    }
    return sum;
}

static double rastrigin(const double *x)
{
    double sum = 0;
    for (int i = 0; i < N; i++) {
        sum += x[i] * x[i] - 10 * cos(2 * acos(-1) * x[i]) + 10;
    }
    return sum;
}

static double undefined_left(const double *x)
{
    return x[0] < 0 ? (double)NAN : sphere(x);
}

struct run {
    uint64_t evaluations;
    double best;
    double x[N];
    uint32_t restarts;
};

static struct run search(double (*f)(const double *), struct ww_cma_options o,
                         double target, uint64_t budget)
{
    struct ww_error err = {0};
    struct ww_cma *cma = NULL;
    struct run run = {.best = (double)INFINITY};
    assert_int_equal(ww_cma_new(&o, &cma, &err), WW_OK);
    while (run.best > target && run.evaluations < budget && !ww_cma_stopped(cma)) {
        double values[2048];
        const double *x = ww_cma_ask(cma);
        for (uint32_t k = 0; k < ww_cma_lambda(cma); k++) {
            values[k] = f(x + k * N);
            run.evaluations++;
        }
        ww_cma_tell(cma, values);
        const double *best = ww_cma_best(cma, &run.best);
        if (best) {
            memcpy(run.x, best, sizeof(run.x));
        }
    }
    run.restarts = ww_cma_restart(cma);
    ww_cma_free(cma);
    return run;
}

static void finds_the_minima_of_test_functions(void **state)
{
    (void)state;
    const double start[N] = {1.5, -1, 0.3, 2, -0.7, 1};
    const struct {
        double (*f)(const double *);
        enum ww_cma_form form;
        uint64_t budget;
    } cases[] = {{sphere, WW_CMA_AUTO, 1500},
                 {sphere, WW_CMA_DIAGONAL, 1500},
                 {ellipsoid, WW_CMA_AUTO, 4000},
                 {ellipsoid, WW_CMA_DIAGONAL, 3000},
                 {rosenbrock, WW_CMA_AUTO, 6000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run run = search(
            cases[i].f,
            (struct ww_cma_options){
                .n = N, .start = start, .sigma = 0.5, .form = cases[i].form, .seed = i},
            1e-12, cases[i].budget);
        assert_true(run.best <= 1e-12);
    }
}

static void restarts_leave_a_local_minimum(void **state)
{
    (void)state;
    const double start[N] = {3, 3, -3, 3, -3, 3};
    const double low[N] = {-5, -5, -5, -5, -5, -5};
    const double high[N] = {5, 5, 5, 5, 5, 5};
    struct ww_cma_options o = {
        .n = N, .start = start, .sigma = 0.3, .low = low, .high = high, .seed = 3};
    struct run alone = search(rastrigin, o, 1e-8, 100000);
    assert_true(alone.best > 0.5);
    o.restarts = 7;
    struct run run = search(rastrigin, o, 1e-8, 400000);
    assert_true(run.best <= 1e-8 && run.restarts > 0);
}

static void candidates_stay_in_the_box(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_cma *cma = NULL;
    const double start[N] = {1, 1, 1, 1, 1, 0.2};
    const double low[N] = {1, 0.9, 0, 0, 0, 0.2};
    const double high[N] = {2, 1.1, 5, 1, 1, 0.2};
    struct ww_cma_options o = {
        .n = N, .start = start, .sigma = 3, .low = low, .high = high};
    assert_int_equal(ww_cma_new(&o, &cma, &err), WW_OK);
    for (int g = 0; g < 200; g++) {
        double values[64];
        const double *x = ww_cma_ask(cma);
        for (uint32_t k = 0; k < ww_cma_lambda(cma); k++) {
            for (int i = 0; i < N; i++) {
                assert_true(x[k * N + (unsigned)i] >= low[i] &&
                            x[k * N + (unsigned)i] <= high[i]);
            }
            values[k] = sphere(x + k * N);
        }
        ww_cma_tell(cma, values);
    }
    double value;
    const double *best = ww_cma_best(cma, &value);
    assert_true(fabs(best[0] - 1) < 1e-3 && fabs(best[1] - 0.9) < 1e-3 && best[5] == 0.2);
    ww_cma_free(cma);
}

static void the_same_values_give_the_same_candidates(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_cma *a = NULL, *b = NULL;
    const double start[N] = {0};
    struct ww_cma_options o = {.n = N, .start = start, .sigma = 0.1, .seed = 42};
    assert_int_equal(ww_cma_new(&o, &a, &err), WW_OK);
    double log[40][64];
    for (int g = 0; g < 40; g++) {
        const double *x = ww_cma_ask(a);
        for (uint32_t k = 0; k < ww_cma_lambda(a); k++) {
            log[g][k] = rosenbrock(x + k * N);
        }
        ww_cma_tell(a, log[g]);
    }
    assert_int_equal(ww_cma_new(&o, &b, &err), WW_OK);
    for (int g = 0; g < 40; g++) { /* told from the log, nothing evaluated */
        (void)ww_cma_ask(b);
        ww_cma_tell(b, log[g]);
    }
    assert_memory_equal(ww_cma_ask(a), ww_cma_ask(b),
                        ww_cma_lambda(a) * N * sizeof(double));
    ww_cma_free(b);
    o.seed = 43;
    assert_int_equal(ww_cma_new(&o, &b, &err), WW_OK);
    assert_memory_not_equal(ww_cma_ask(a), ww_cma_ask(b), N * sizeof(double));
    ww_cma_free(a);
    ww_cma_free(b);
}

static void values_that_are_no_number_rank_last(void **state)
{
    (void)state;
    const double start[N] = {0.1, 0, 0, 0, 0, 0};
    struct run run = search(undefined_left,
                            (struct ww_cma_options){.n = N, .start = start, .sigma = 0.3},
                            1e-10, 3000);
    assert_true(run.best <= 1e-10);
}

static double never(const double *x)
{
    (void)x;
    return (double)NAN;
}

static void a_search_without_values_ends(void **state)
{
    (void)state;
    const double start[N] = {0};
    struct run run = search(
        never, (struct ww_cma_options){.n = N, .start = start, .sigma = 1}, 0, 1000);
    assert_true(run.evaluations < 20 && isinf(run.best));
}

static enum ww_err refusal(struct ww_cma_options o)
{
    struct ww_error err = {0};
    struct ww_cma *cma = NULL;
    enum ww_err rc = ww_cma_new(&o, &cma, &err);
    assert_null(cma);
    return rc;
}

static void options_without_sense_are_refused(void **state)
{
    (void)state;
    const double start[2] = {0, 2};
    const double low[2] = {-1, -1}, high[2] = {1, 1};
    struct ww_cma_options o = {
        .n = 2, .start = start, .sigma = 0.1, .low = low, .high = high};
    assert_int_equal(refusal(o), WW_E_USAGE);
    o.low = o.high = NULL;
    o.sigma = 0;
    assert_int_equal(refusal(o), WW_E_USAGE);
    o.sigma = 1;
    o.lambda = 3;
    assert_int_equal(refusal(o), WW_E_USAGE);
    o.n = 0;
    assert_int_equal(refusal(o), WW_E_LIMIT);
}

static void eigenvectors_give_the_matrix_back(void **state)
{
    (void)state;
    enum { M = 17 };
    double a[M * M], copy[M * M], values[M], v[M * M];
    uint64_t seed = 5;
    for (int i = 0; i < M; i++) {
        for (int j = 0; j <= i; j++) {
            a[i * M + j] = a[j * M + i] = (double)(int64_t)fx_random(&seed) * 0x1p-63;
        }
    }
    memcpy(copy, a, sizeof(a));
    assert_true(ww_exact_eigen(copy, M, values, v));
    for (int i = 0; i < M; i++) {
        for (int j = 0; j < M; j++) {
            double sum = 0, dot = 0;
            for (int k = 0; k < M; k++) {
                sum += v[i * M + k] * values[k] * v[j * M + k];
                dot += v[k * M + i] * v[k * M + j];
            }
            assert_true(fabs(sum - a[i * M + j]) < 1e-14 && fabs(dot - (i == j)) < 1e-14);
        }
    }
    a[3] = (double)NAN;
    assert_false(ww_exact_eigen(a, M, values, v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_minima_of_test_functions),
        cmocka_unit_test(restarts_leave_a_local_minimum),
        cmocka_unit_test(candidates_stay_in_the_box),
        cmocka_unit_test(the_same_values_give_the_same_candidates),
        cmocka_unit_test(values_that_are_no_number_rank_last),
        cmocka_unit_test(a_search_without_values_ends),
        cmocka_unit_test(options_without_sense_are_refused),
        cmocka_unit_test(eigenvectors_give_the_matrix_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
