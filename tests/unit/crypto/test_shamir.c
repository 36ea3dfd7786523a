/* SPDX-License-Identifier: Apache-2.0 */
/* The sharing itself, against values of an independent implementation. */
#include "crypto_test.h"

#include "../../vectors/crypto/shares.h"
#include "crypto/shamir.h"

static void products_agree_with_the_other_implementation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(share_products) / sizeof(share_products[0]); i++) {
        const uint8_t *p = share_products[i];
        assert_int_equal(ww_gf256_mul(p[0], p[1]), p[2]);
        assert_int_equal(ww_gf256_mul(p[1], p[0]), p[2]);
    }
    assert_int_equal(ww_gf256_inverse(0), 0);
    for (unsigned a = 1; a < 256; a++) {
        assert_int_equal(ww_gf256_mul((uint8_t)a, ww_gf256_inverse((uint8_t)a)), 1);
    }
}

/* One byte: 0x42 + 0x17 x + 0xa5 x^2 at 1 .. 5. */
static void the_published_byte_comes_out(void **state)
{
    static const uint8_t want[] = {0xf0, 0xce, 0x7c, 0xa0, 0x12};
    struct ww_error err = {0};
    uint8_t secret[32];
    uint8_t rows[64];
    struct ww_secret *shares = NULL;
    (void)state;
    memset(secret, 0x42, sizeof(secret));
    memset(rows, 0x17, 32);
    memset(rows + 32, 0xa5, 32);
    struct ww_secret *s = secret_of(secret, 32);
    struct ww_secret *c = secret_of(rows, 64);
    OK(ww_shamir_split(s, c, 3, 5, &shares, &err));
    const uint8_t *bytes = ww_secret_open(shares);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned b = 0; b < 32; b++) {
            assert_int_equal(bytes[32 * i + b], want[i]);
        }
    }
    ww_secret_free(shares);
    ww_secret_free(c);
    ww_secret_free(s);
}

static void shares_agree_with_the_other_implementation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(share_cases) / sizeof(share_cases[0]); i++) {
        const struct share_case *t = &share_cases[i];
        struct ww_error err = {0};
        struct ww_secret *secret = secret_of(t->secret, 32);
        struct ww_secret *rows = secret_of(t->coefficients, 32 * (t->threshold - 1));
        struct ww_secret *shares = NULL;
        OK(ww_shamir_split(secret, rows, t->threshold, t->n_shares, &shares, &err));
        assert_memory_equal(ww_secret_open(shares), t->shares, 32 * t->n_shares);
        ww_secret_free(shares);
        ww_secret_free(rows);
        ww_secret_free(secret);
    }
}

/* Every subset of 5 shares: those of 3 and more give the secret, smaller ones do not. */
static void every_subset_that_is_large_enough_gives_the_secret(void **state)
{
    const struct share_case *t = &share_cases[2];
    struct ww_secret *points[5];
    struct ww_secret *secret = secret_of(t->secret, 32);
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        points[i] = secret_of(t->shares + 32 * i, 32);
    }
    for (unsigned subset = 1; subset < 32; subset++) {
        struct ww_error err = {0};
        uint8_t xs[5];
        struct ww_secret *chosen[5];
        struct ww_secret *got = NULL;
        size_t n = 0;
        for (unsigned i = 0; i < 5; i++) {
            if (subset >> i & 1) {
                xs[n] = (uint8_t)(i + 1);
                chosen[n++] = points[i];
            }
        }
        OK(ww_shamir_combine(xs, chosen, n, &got, &err));
        assert_int_equal(ww_secret_equal(got, secret), n >= 3);
        ww_secret_free(got);
    }
    for (unsigned i = 0; i < 5; i++) {
        ww_secret_free(points[i]);
    }
    ww_secret_free(secret);
}

/* One share fits every secret: with random coefficients nothing of it shows. */
static void coefficients_are_drawn_anew(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = secret_of(share_cases[0].secret, 32);
    struct ww_secret *a = NULL;
    struct ww_secret *b = NULL;
    (void)state;
    OK(ww_shamir_split(secret, NULL, 2, 3, &a, &err));
    OK(ww_shamir_split(secret, NULL, 2, 3, &b, &err));
    assert_false(ww_secret_equal(a, b));
    assert_memory_not_equal(ww_secret_open(a), ww_secret_open(a) + 32, 32);
    ww_secret_free(a);
    ww_secret_free(b);
    ww_secret_free(secret);
}

static void impossible_numbers_are_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = secret_of(share_cases[0].secret, 32);
    struct ww_secret *points[2] = {secret, secret};
    struct ww_secret *out = NULL;
    static const uint8_t zero[] = {1, 0};
    static const uint8_t twice[] = {7, 7};
    (void)state;
    FAILS(ww_shamir_split(secret, NULL, 1, 3, &out, &err), WW_E_USAGE);
    FAILS(ww_shamir_split(secret, NULL, 4, 3, &out, &err), WW_E_USAGE);
    FAILS(ww_shamir_split(secret, NULL, 2, 256, &out, &err), WW_E_USAGE);
    FAILS(ww_shamir_combine(zero, points, 2, &out, &err), WW_E_SHARES);
    FAILS(ww_shamir_combine(twice, points, 2, &out, &err), WW_E_SHARES);
    assert_null(out);
    OK(ww_shamir_split(secret, NULL, 255, 255, &out, &err));
    ww_secret_free(out);
    ww_secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_agree_with_the_other_implementation),
        cmocka_unit_test(the_published_byte_comes_out),
        cmocka_unit_test(shares_agree_with_the_other_implementation),
        cmocka_unit_test(every_subset_that_is_large_enough_gives_the_secret),
        cmocka_unit_test(coefficients_are_drawn_anew),
        cmocka_unit_test(impossible_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
