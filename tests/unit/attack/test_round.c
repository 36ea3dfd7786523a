/* SPDX-License-Identifier: Apache-2.0 */
/* A signed permutation with powers of two is found again under noise. */
#include "ww_matrix_fixture.h"

#include "attack/solve.h"

#define D 48

static void hidden_element(double *t, uint32_t *perm, uint8_t *neg, int8_t *exponent,
                           uint64_t *seed)
{
    memset(t, 0, D * D * sizeof(*t));
    for (uint32_t i = 0; i < D; i++) {
        perm[i] = (i * 29 + 5) % D;
        neg[i] = fx_random(seed) & 1;
        exponent[i] = (int8_t)((int)(fx_random(seed) % 9) - 4);
        t[i * D + perm[i]] = ldexp(neg[i] ? -1.0 : 1.0, exponent[i]);
    }
}

static void the_element_is_found_under_noise(void **state)
{
    uint64_t seed = 131;
    (void)state;
    for (int trial = 0; trial < 20; trial++) {
        struct ww_error err = {0};
        double t[D * D];
        uint32_t perm[2][D];
        uint8_t neg[2][D];
        int8_t exponent[2][D];
        double residue = -1;
        hidden_element(t, perm[0], neg[0], exponent[0], &seed);
        OK(ww_round_signed_permutation(D, t, true, perm[1], neg[1], exponent[1], &residue,
                                       &err));
        assert_true(residue == 0.0);
        for (size_t j = 0; j < D; j++) {
            double length = 0;
            for (size_t i = 0; i < D; i++) {
                length = fmax(length, fabs(t[i * D + j]));
            }
            for (size_t i = 0; i < D; i++) {
                t[i * D + j] += 0.05 * length * normal(&seed);
            }
        }
        OK(ww_round_signed_permutation(D, t, true, perm[1], neg[1], exponent[1], &residue,
                                       &err));
        assert_memory_equal(perm[0], perm[1], sizeof(perm[0]));
        assert_memory_equal(neg[0], neg[1], sizeof(neg[0]));
        assert_memory_equal(exponent[0], exponent[1], sizeof(exponent[0]));
        assert_true(residue > 0.1 && residue < 0.9);
    }
}

static void without_scale_every_entry_is_one(void **state)
{
    struct ww_error err = {0};
    const double t[4] = {0.1, -3.0, 0.9, 0.2};
    uint32_t perm[2];
    uint8_t neg[2];
    int8_t exponent[2];
    double residue = 0;
    (void)state;
    OK(ww_round_signed_permutation(2, t, false, perm, neg, exponent, &residue, &err));
    assert_int_equal(perm[0], 1);
    assert_int_equal(neg[0], 1);
    assert_int_equal(exponent[0], 0);
    NEAR(residue, sqrt((0.01 + 4.0 + 0.01 + 0.04) / (0.01 + 9.0 + 0.81 + 0.04)), 1e-15);
}

/* The border between two exponents is at sqrt(2) times a power of two. */
static void exponents_round_on_the_logarithmic_scale(void **state)
{
    static const double values[] = {1.0,  1.41, 1.42, 2.8,  2.9,
                                    0.71, 0.70, 0.36, 0.35, 3e38};
    static const int want[] = {0, 0, 1, 1, 2, 0, -1, -1, -2, 120};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        struct ww_error err = {0};
        uint32_t perm = 9;
        uint8_t neg = 9;
        int8_t exponent = 9;
        double residue = 0;
        OK(ww_round_signed_permutation(1, &values[i], true, &perm, &neg, &exponent,
                                       &residue, &err));
        assert_int_equal(exponent, want[i]);
        assert_int_equal(perm, 0);
    }
}

static void nothing_and_nan_are_told_apart(void **state)
{
    struct ww_error err = {0};
    double t[4] = {0};
    uint32_t perm[2];
    uint8_t neg[2];
    int8_t exponent[2];
    double residue = 0;
    (void)state;
    OK(ww_round_signed_permutation(2, t, true, perm, neg, exponent, &residue, &err));
    assert_true(residue == 1.0);
    t[2] = INFINITY;
    FAILS(ww_round_signed_permutation(2, t, true, perm, neg, exponent, &residue, &err),
          WW_E_NONFINITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_element_is_found_under_noise),
        cmocka_unit_test(without_scale_every_entry_is_one),
        cmocka_unit_test(exponents_round_on_the_logarithmic_scale),
        cmocka_unit_test(nothing_and_nan_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
