/* SPDX-License-Identifier: Apache-2.0 */
/* The exact product has the bits of the three plain loops, whatever its blocks are. */
#include "ww_matrix_fixture.h"

#include "la/exact.h"

static void has_the_bits_of_plain_loops(void **state)
{
    static const size_t sizes[][3] = {{1, 1, 1},     {4, 16, 256}, {5, 17, 257},
                                      {3, 40, 600},  {64, 64, 64}, {8, 8, 0},
                                      {37, 100, 300}};
    uint64_t seed = 11;
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const size_t m = sizes[i][0];
        const size_t n = sizes[i][1];
        const size_t k = sizes[i][2];
        double *a = random_matrix(m, k, &seed);
        double *b = random_matrix(k, n, &seed);
        double *c = random_matrix(m, n, &seed);
        double *want = product(m, n, k, a, b);
        ww_exact_gemm(m, n, k, a, k, b, n, 0, c, n);
        assert_memory_equal(c, want, m * n * sizeof(*c));
        free(a), free(b), free(c), free(want);
    }
}

static void adds_to_what_is_there_and_keeps_the_padding(void **state)
{
    const double a[2] = {2, 3};
    const double b[4] = {1, 7, 10, 7};
    double c[4] = {100, -1, 0, -1};
    (void)state;
    ww_exact_gemm(2, 1, 1, a, 1, b, 2, 1, c, 2);
    const double want[4] = {102, -1, 3, -1};
    assert_memory_equal(c, want, sizeof(c));
    ww_exact_gemm(1, 1, 2, a, 2, b, 2, 1, c, 2);
    assert_true(c[0] == 134.0 && c[1] == -1.0);
}

static float *singles(const double *a, size_t n)
{
    float *out = calloc(n + 1, sizeof(*out));
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)a[i];
    }
    return out;
}

static void singles_have_the_bits_of_plain_loops(void **state)
{
    static const size_t sizes[][3] = {{1, 1, 1},    {4, 32, 256}, {5, 17, 257},
                                      {32, 20, 70}, {7, 16, 3},   {8, 8, 0},
                                      {5, 150, 70}};
    uint64_t seed = 12;
    (void)state;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        const size_t m = sizes[s][0];
        const size_t n = sizes[s][1];
        const size_t k = sizes[s][2];
        double *wide_a = random_matrix(m, k, &seed);
        double *wide_b = random_matrix(k, n, &seed);
        float *a = singles(wide_a, m * k);
        float *b = singles(wide_b, k * n);
        float *c = calloc(m * n, sizeof(*c));
        assert_non_null(c);
        ww_exact_gemm_f32(m, n, k, a, k, b, n, 0, c, n);
        for (size_t i = 0; i < m * n; i++) {
            float sum = 0;
            for (size_t p = 0; p < k; p++) {
                sum += a[i / n * k + p] * b[p * n + i % n];
            }
            assert_memory_equal(&c[i], &sum, sizeof(sum));
        }
        free(wide_a), free(wide_b), free(a), free(b), free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_bits_of_plain_loops),
        cmocka_unit_test(singles_have_the_bits_of_plain_loops),
        cmocka_unit_test(adds_to_what_is_there_and_keeps_the_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
