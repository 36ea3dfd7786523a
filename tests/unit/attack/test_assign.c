/* SPDX-License-Identifier: Apache-2.0 */
/* Assignments against all permutations of small sides, and a hidden order of large ones.
 */
#include "ww_matrix_fixture.h"

#include "attack/solve.h"

static double sum_of(size_t n, const double *score, const uint32_t *match)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += score[i * n + match[i]];
    }
    return sum;
}

static bool is_permutation(uint32_t n, const uint32_t *match)
{
    uint8_t *seen = calloc(n + 1, 1);
    bool good = true;
    for (uint32_t i = 0; i < n; i++) {
        good = good && match[i] < n && !seen[match[i]];
        seen[match[i] < n ? match[i] : n] = 1;
    }
    free(seen);
    return good;
}

/* Best sum with the rows before `at` fixed. */
static double best_sum(size_t n, const double *score, uint32_t *match, size_t at)
{
    double best = -HUGE_VAL;
    if (at == n) {
        return sum_of(n, score, match);
    }
    for (size_t i = at; i < n; i++) {
        const uint32_t here = match[at];
        match[at] = match[i], match[i] = here;
        best = fmax(best, best_sum(n, score, match, at + 1));
        match[i] = match[at], match[at] = here;
    }
    return best;
}

/* Without mutual best pairs in the way: every row prefers the first column. */
static void leftovers_are_assigned_exactly(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 121;
    (void)state;
    for (int trial = 0; trial < 200; trial++) {
        const size_t n = 2 + (size_t)trial % 6;
        double score[49];
        uint32_t match[7];
        uint32_t order[7] = {0, 1, 2, 3, 4, 5, 6};
        for (size_t i = 0; i < n * n; i++) {
            score[i] = uniform(&seed) + (i % n == 0 ? 10.0 : 0.0);
        }
        OK(ww_assign(n, score, match, &err));
        assert_true(is_permutation((uint32_t)n, match));
        uint32_t first = 0; /* the row that the first column likes best: mutual */
        for (uint32_t i = 1; i < n; i++) {
            first = score[i * n] > score[first * n] ? i : first;
        }
        assert_int_equal(match[first], 0);
        double rest[49];
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                rest[i * n + j] =
                    score[i * n + j] + (i == first && j == 0 ? 1000.0 : 0.0);
            }
        }
        assert_true(fabs(best_sum(n, rest, order, 0) - sum_of(n, rest, match)) < 1e-9);
    }
}

static void a_hidden_order_is_found(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 123;
    const size_t n = 600;
    double *score = calloc(n * n, sizeof(*score));
    uint32_t *order = calloc(n, sizeof(*order));
    uint32_t *match = calloc(n, sizeof(*match));
    (void)state;
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)(i * 251 % n);
        for (size_t j = 0; j < n; j++) {
            score[i * n + j] = 0.9 * uniform(&seed);
        }
        score[i * n + order[i]] = i % 5 ? 1.0 : 0.85; /* a fifth is not the row's best */
    }
    OK(ww_assign(n, score, match, &err));
    assert_true(is_permutation((uint32_t)n, match));
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        right += match[i] == order[i];
    }
    assert_true(right >= n * 4 / 5);
    assert_true(sum_of(n, score, match) >= sum_of(n, score, order) - 1e-9);
    free(score), free(order), free(match);
}

static void bad_input_is_refused(void **state)
{
    struct ww_error err = {0};
    double score[4] = {1, NAN, 0, 1};
    uint32_t match[2];
    (void)state;
    FAILS(ww_assign(2, score, match, &err), WW_E_NONFINITE);
    FAILS(ww_assign(8193, score, match, &err), WW_E_LIMIT);
    OK(ww_assign(0, score, match, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leftovers_are_assigned_exactly),
        cmocka_unit_test(a_hidden_order_is_found),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
