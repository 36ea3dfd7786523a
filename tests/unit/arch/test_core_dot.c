/* SPDX-License-Identifier: Apache-2.0 */
/* The order of additions is a promise: checked bit for bit against plain loops. */
#include "ww_test.h"

#include "arch/core_dot.h"

#define MOST 67

static double noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) / 9007199254740992.0 - 0.5;
}

static double plain_dot(const double *a, const double *b, size_t len)
{
    double lane[8] = {0};
    for (size_t i = 0; i < len; i++) {
        lane[i % 8] += a[i] * b[i];
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void dot_has_the_documented_order_at_every_length(void **state)
{
    (void)state;
    double a[MOST + 1];
    double b[MOST + 1];
    uint64_t seed = 1;
    for (size_t i = 0; i <= MOST; i++) {
        a[i] = noise(&seed) * (i % 3 ? 1 : 1e9);
        b[i] = noise(&seed);
    }
    for (size_t len = 0; len <= MOST; len++) {
        /* One element on, so that no load is aligned to its vector. */
        double got = ww_dot(a + 1, b + 1, len);
        double want = plain_dot(a + 1, b + 1, len);
        assert_memory_equal(&got, &want, sizeof(got));
    }
}

static void many_rows_give_the_bits_of_one_row(void **state)
{
    (void)state;
    enum { ROWS = 11, LDX = MOST + 2, LDY = 3 };
    static double x[ROWS * LDX];
    double w[MOST];
    double y[ROWS * LDY];
    uint64_t seed = 2;
    for (size_t i = 0; i < ROWS * LDX; i++) {
        x[i] = noise(&seed);
    }
    for (size_t i = 0; i < MOST; i++) {
        w[i] = noise(&seed);
    }
    for (size_t n = 0; n <= ROWS; n++) {
        for (size_t i = 0; i < ROWS * LDY; i++) {
            y[i] = 77;
        }
        ww_dot_many(w, x, LDX, n, MOST, y, LDY);
        for (size_t t = 0; t < ROWS; t++) {
            double want = t < n ? ww_dot(w, x + t * LDX, MOST) : 77;
            assert_memory_equal(&y[t * LDY], &want, sizeof(want));
            assert_true(y[t * LDY + 1] == 77);
        }
    }
}

static void pairs_give_the_bits_of_single_products(void **state)
{
    (void)state;
    double rows[WW_DOT_PAIRS][MOST + 1];
    const double *const x[WW_DOT_PAIRS] = {rows[0] + 1, rows[1] + 1, rows[2] + 1};
    uint64_t seed = 3;
    for (size_t i = 0; i < WW_DOT_PAIRS * (MOST + 1); i++) {
        rows[i % WW_DOT_PAIRS][i / WW_DOT_PAIRS] = noise(&seed) * (i % 5 ? 1 : 1e9);
    }
    for (size_t n = 2; n <= WW_DOT_PAIRS; n++) {
        for (size_t len = 0; len <= MOST; len++) {
            double got[WW_DOT_PAIRS * (WW_DOT_PAIRS + 1) / 2];
            const double *next = got;
            ww_dot_pairs(x, n, len, got);
            for (size_t a = 0; a < n; a++) {
                for (size_t b = a; b < n; b++, next++) {
                    const double want = ww_dot(x[a], x[b], len);
                    assert_memory_equal(next, &want, sizeof(want));
                }
            }
        }
    }
}

static void add_scaled_adds(void **state)
{
    (void)state;
    double y[3] = {1, 2, 3};
    double x[3] = {10, 20, 30};
    ww_add_scaled(y, 0.5, x, 2);
    assert_true(y[0] == 6 && y[1] == 12 && y[2] == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dot_has_the_documented_order_at_every_length),
        cmocka_unit_test(many_rows_give_the_bits_of_one_row),
        cmocka_unit_test(pairs_give_the_bits_of_single_products),
        cmocka_unit_test(add_scaled_adds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
