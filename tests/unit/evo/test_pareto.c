/* SPDX-License-Identifier: Apache-2.0 */
/* Fronts and volumes against values worked out by hand and by sampling. */
#include "ww_test.h"

#include "evo/pareto.h"
#include "ww_random.h"

static void the_front_is_what_nothing_beats(void **state)
{
    (void)state;
    const double points[] = {1, 0, 0, 1, 0.5, 0.5, 0.4, 0.4, 1, 0, (double)NAN, 2};
    bool in[6];
    assert_int_equal(ww_pareto_front(points, 6, 2, in), 3);
    assert_true(in[0] && in[1] && in[2]);
    assert_false(in[3] || in[4] || in[5]); /* beaten; the same as one before; no number */
    assert_true(ww_pareto_dominates(points, points + 10, 2));
    assert_false(ww_pareto_dominates(points, points + 8, 2));
}

static void ends_are_lonely(void **state)
{
    (void)state;
    const double points[] = {0, 4, 1, 3, 2, 2, 4, 0};
    double c[4];
    ww_pareto_crowding(points, 4, 2, c);
    assert_true(isinf(c[0]) && isinf(c[3]));
    NEAR(c[1], 0.5 + 0.5, 1e-15);
    NEAR(c[2], 0.75 + 0.75, 1e-15);
}

static void volumes_are_exact(void **state)
{
    (void)state;
    const double two[] = {3, 1, 1, 3, 2, 2, -1, 5, (double)NAN, 9};
    const double zero[4] = {0, 0, 0, 0};
    NEAR(ww_pareto_volume(two, 5, 2, zero), 6, 1e-15);
    double points[8 * 4];
    uint64_t seed = 5;
    for (int i = 0; i < 32; i++) {
        points[i] = (double)(fx_random(&seed) >> 11) * 0x1p-53;
    }
    for (uint32_t k = 2; k <= 4; k++) {
        int inside = 0;
        for (int t = 0; t < 40000; t++) {
            double p[4];
            bool covered = false;
            for (uint32_t o = 0; o < k; o++) {
                p[o] = (double)(fx_random(&seed) >> 11) * 0x1p-53;
            }
            for (int i = 0; i < 8 && !covered; i++) {
                covered = true;
                for (uint32_t o = 0; o < k; o++) {
                    covered = covered && points[(uint32_t)i * k + o] >= p[o];
                }
            }
            inside += covered;
        }
        NEAR(ww_pareto_volume(points, 8, k, zero), inside / 40000.0, 0.012);
    }
    assert_true(ww_pareto_volume(two, 0, 2, zero) == 0);
}

/* Each that is taken adds as much as any other would. */
static void what_adds_most_is_picked(void **state)
{
    (void)state;
    enum { N = 60, WANT = 12 };
    const double reference[4] = {0.2, 0.2, 0.2, 0.2};
    double points[N * 4], taken[(WANT + 1) * 4], most[N];
    uint32_t picked[WANT];
    uint64_t seed = 8;
    for (uint32_t k = 2; k <= 4; k++) {
        for (int i = 0; i < N * 4; i++) {
            points[i] = (double)(fx_random(&seed) >> 11) * 0x1p-53;
        }
        points[7] = (double)NAN;
        const size_t n = ww_pareto_pick(points, N, k, reference, WANT, most, picked);
        assert_true(n > 2 && n <= WANT);
        double before = 0;
        for (size_t t = 0; t < n; t++) {
            double best = 0;
            double own = 0;
            for (uint32_t i = 0; i < N; i++) {
                memcpy(taken + t * k, points + i * k, k * sizeof(double));
                const double all = ww_pareto_volume(taken, t + 1, k, reference);
                own = i == picked[t] ? all : own;
                best = all > best ? all : best;
            }
            NEAR(own, best, 1e-12);
            assert_true(own > before);
            before = own;
            memcpy(taken + t * k, points + picked[t] * k, k * sizeof(double));
        }
    }
    const double low[] = {0.1, 0.9, 0.9, 0.1}; /* worse than the reference in something */
    assert_int_equal(ww_pareto_pick(low, 2, 2, reference, 2, most, picked), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_front_is_what_nothing_beats),
        cmocka_unit_test(ends_are_lonely),
        cmocka_unit_test(volumes_are_exact),
        cmocka_unit_test(what_adds_most_is_picked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
