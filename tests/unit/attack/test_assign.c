/* SPDX-License-Identifier: Apache-2.0 */
/* Assignments against all permutations of small sides, and a hidden order of large ones.
 */
#include "ww_matrix_fixture.h"

#include "attack/solve.h"
#include "weightward/model.h"

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

static void candidates_reach_the_best_sum(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 122;
    (void)state;
    for (int trial = 0; trial < 200; trial++) {
        const uint32_t n = 2 + (uint32_t)trial % 6;
        double score[49];
        uint32_t candidate[49];
        uint32_t match[7];
        uint32_t order[7] = {0, 1, 2, 3, 4, 5, 6};
        uint32_t guessed = 9;
        for (uint32_t i = 0; i < n * n; i++) {
            score[i] = uniform(&seed) + (i % n == 0 ? 3.0 : 0.0);
            candidate[i] = i % n;
        }
        OK(ww_assign_candidates(n, n, candidate, score, match, &guessed, &err));
        assert_true(is_permutation(n, match));
        assert_int_equal(guessed, 0);
        assert_true(fabs(best_sum(n, score, order, 0) - sum_of(n, score, match)) < 1e-9);
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

static void a_large_side_is_matched_from_candidates(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 124;
    const uint32_t n = 152000;
    const uint32_t k = 4;
    double *score = calloc((size_t)n * k, sizeof(*score));
    uint32_t *candidate = calloc((size_t)n * k, sizeof(*candidate));
    uint32_t *match = calloc(n, sizeof(*match));
    uint32_t guessed = 9;
    (void)state;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t c = 0; c < k; c++) {
            const uint32_t col = (uint32_t)(((uint64_t)i * 7919 + c * 1009) % n);
            candidate[(size_t)i * k + c] = col;
            score[(size_t)i * k + c] =
                c ? 0.6 * uniform(&seed) : 0.5 + 0.5 * uniform(&seed);
        }
    }
    OK(ww_assign_candidates(n, k, candidate, score, match, &guessed, &err));
    assert_true(is_permutation(n, match));
    assert_int_equal(guessed, 0);
    uint32_t right = 0;
    for (uint32_t i = 0; i < n; i++) {
        right += match[i] == (uint64_t)i * 7919 % n;
    }
    assert_true(right > n * 9 / 10);
    free(score), free(candidate), free(match);
}

static void rows_without_a_candidate_are_counted(void **state)
{
    struct ww_error err = {0};
    const uint32_t candidate[6] = {1, WW_NONE, 1, WW_NONE, WW_NONE, WW_NONE};
    const double score[6] = {0.5, 0, 0.9, 0, 0, 0};
    uint32_t match[3];
    uint32_t guessed = 0;
    (void)state;
    OK(ww_assign_candidates(3, 2, candidate, score, match, &guessed, &err));
    assert_int_equal(guessed, 2);
    assert_int_equal(match[1], 1); /* the better of the two that wanted it */
    assert_true(is_permutation(3, match));
}

static void bad_input_is_refused(void **state)
{
    struct ww_error err = {0};
    double score[4] = {1, NAN, 0, 1};
    const uint32_t candidate[2] = {0, 2};
    uint32_t match[2];
    uint32_t guessed = 0;
    (void)state;
    FAILS(ww_assign(2, score, match, &err), WW_E_NONFINITE);
    FAILS(ww_assign(8193, score, match, &err), WW_E_LIMIT);
    FAILS(ww_assign_candidates(2, 1, candidate, score, match, &guessed, &err),
          WW_E_USAGE);
    OK(ww_assign(0, score, match, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leftovers_are_assigned_exactly),
        cmocka_unit_test(candidates_reach_the_best_sum),
        cmocka_unit_test(a_hidden_order_is_found),
        cmocka_unit_test(a_large_side_is_matched_from_candidates),
        cmocka_unit_test(rows_without_a_candidate_are_counted),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
