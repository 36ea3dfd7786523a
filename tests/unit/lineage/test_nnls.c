/* SPDX-License-Identifier: Apache-2.0 */
/* Non-negative least squares: optimality is checked by the conditions of Kuhn and Tucker,
 * which no wrong solver meets by accident. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lineage/nnls.h"

#define ROWS 40
#define MAX 8

static uint64_t next(uint64_t *s)
{
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *s >> 33;
}

static double uniform(uint64_t *s)
{
    return (double)next(s) / (double)(UINT64_C(1) << 31) - 0.5;
}

static void random_problem(uint64_t *s, unsigned k, double *xx, double *xy)
{
    double x[ROWS][MAX];
    double y[ROWS];
    for (unsigned r = 0; r < ROWS; r++) {
        const double shared = uniform(s);
        y[r] = uniform(s);
        for (unsigned i = 0; i < k; i++) {
            x[r][i] = uniform(s) + 0.5 * shared;
            y[r] += (i % 2 ? -0.3 : 0.4) * x[r][i];
        }
    }
    for (unsigned i = 0; i < k; i++) {
        xy[i] = 0;
        for (unsigned j = 0; j < k; j++) {
            xx[i * k + j] = 0;
        }
        for (unsigned r = 0; r < ROWS; r++) {
            xy[i] += x[r][i] * y[r];
            for (unsigned j = 0; j < k; j++) {
                xx[i * k + j] += x[r][i] * x[r][j];
            }
        }
    }
}

static void solution_meets_the_conditions_of_kuhn_and_tucker(void **state)
{
    (void)state;
    const bool use[MAX] = {true, true, true, true, true, true, true, true};
    uint64_t seed = 7;
    unsigned zeros = 0;
    for (unsigned trial = 0; trial < 500; trial++) {
        const unsigned k = 1 + trial % MAX;
        double xx[MAX * MAX];
        double xy[MAX];
        double a[MAX];
        random_problem(&seed, k, xx, xy);
        ww_nnls(xx, k, xy, k, use, a);
        for (unsigned j = 0; j < k; j++) {
            double g = xy[j];
            for (unsigned i = 0; i < k; i++) {
                g -= xx[j * k + i] * a[i];
            }
            assert_true(a[j] >= 0);
            assert_true(a[j] > 0 ? fabs(g) < 1e-9 : g < 1e-9);
            zeros += a[j] == 0;
        }
    }
    assert_true(zeros > 300);
}

static void row_of_the_inverse_is_one(void **state)
{
    (void)state;
    const bool active[4] = {true, true, false, true};
    uint64_t seed = 9;
    double xx[16];
    double xy[4];
    double row[4];
    random_problem(&seed, 4, xx, xy);
    for (unsigned i = 0; i < 4; i++) {
        if (!active[i]) {
            assert_false(ww_inverse_row(xx, 4, 4, active, i, row));
            continue;
        }
        assert_true(ww_inverse_row(xx, 4, 4, active, i, row));
        for (unsigned j = 0; j < 4; j++) {
            double sum = 0;
            for (unsigned k = 0; k < 4; k++) {
                sum += row[k] * xx[k * 4 + j];
            }
            assert_true(!active[j] || fabs(sum - (i == j)) < 1e-9);
        }
    }
}

static void column_that_is_not_used_stays_zero(void **state)
{
    (void)state;
    const double xx[4] = {2, 1, 1, 2};
    const double xy[2] = {3, 3};
    const bool use[2] = {false, true};
    double a[2];
    ww_nnls(xx, 2, xy, 2, use, a);
    assert_true(a[0] == 0);
    assert_true(fabs(a[1] - 1.5) < 1e-12);
}

static void singular_system_ends_with_one_of_its_columns(void **state)
{
    (void)state;
    const double xx[4] = {1, 1, 1, 1};
    const double xy[2] = {1, 1};
    const bool use[2] = {true, true};
    double a[2];
    double diagonal[2];
    ww_nnls(xx, 2, xy, 2, use, a);
    assert_true(fabs(a[0] + a[1] - 1) < 1e-12);
    assert_false(ww_inverse_diagonal(xx, 2, 2, use, diagonal));
}

static void inverse_diagonal_is_that_of_the_active_part(void **state)
{
    (void)state;
    const double xx[9] = {4, 1, 9, 1, 3, 9, 9, 9, 99};
    const bool active[3] = {true, true, false};
    double diagonal[3];
    assert_true(ww_inverse_diagonal(xx, 3, 3, active, diagonal));
    assert_true(fabs(diagonal[0] - 3.0 / 11) < 1e-15);
    assert_true(fabs(diagonal[1] - 4.0 / 11) < 1e-15);
    assert_true(diagonal[2] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solution_meets_the_conditions_of_kuhn_and_tucker),
        cmocka_unit_test(row_of_the_inverse_is_one),
        cmocka_unit_test(column_that_is_not_used_stays_zero),
        cmocka_unit_test(singular_system_ends_with_one_of_its_columns),
        cmocka_unit_test(inverse_diagonal_is_that_of_the_active_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
