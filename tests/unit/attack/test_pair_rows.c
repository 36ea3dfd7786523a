/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "attack/pair_rows.h"
#include "lock/activation.h"

struct rows {
    size_t n, width;
    float *a, *b;
    uint32_t *perm;
    uint8_t *neg;
};

/* Rows of b, shuffled, with signs and noise, are a. */
static struct rows make(size_t n, size_t width, bool signs, double noise)
{
    struct rows r = {n,
                     width,
                     calloc(n * width, sizeof(float)),
                     calloc(n * width, sizeof(float)),
                     calloc(n, sizeof(uint32_t)),
                     calloc(n, 1)};
    uint64_t state = 5;
    for (size_t i = 0; i < n; i++) {
        const size_t j = ww_random_bits(&state) % (i + 1);
        r.perm[i] = r.perm[j];
        r.perm[j] = (uint32_t)i;
    }
    for (size_t i = 0; i < n * width; i++) {
        r.b[i] = (float)ww_random_activation(&state);
    }
    for (size_t i = 0; i < n; i++) {
        r.neg[i] = signs && ww_random_bits(&state) & 1;
        for (size_t k = 0; k < width; k++) {
            const double x =
                (double)r.b[r.perm[i] * width + k] + noise * ww_random_activation(&state);
            r.a[i * width + k] = (float)(r.neg[i] ? -3 * x : 3 * x);
        }
    }
    return r;
}

static void rows_free(struct rows *r)
{
    free(r->a);
    free(r->b);
    free(r->perm);
    free(r->neg);
}

static void expect_found(size_t n, size_t width, bool signs, double noise)
{
    struct ww_error err = {0};
    struct ww_matching m = {0};
    struct rows r = make(n, width, signs, noise);
    OK(ww_pair_rows(r.a, r.b, n, width, signs, &m, &err));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(m.match[i], r.perm[i]);
        assert_int_equal(m.cosine[i] < 0, r.neg[i]);
        assert_true(fabsf(m.cosine[i]) > 0.6F);
    }
    assert_true(ww_matching_mean(&m) > 0.6);
    ww_matching_release(&m);
    rows_free(&r);
}

static void rows_are_found_in_any_order(void **unused)
{
    (void)unused;
    expect_found(1, 3, false, 0);
    expect_found(60, 40, false, 0.1);
    expect_found(60, 40, true, 0.1);
    expect_found(200, 128, true, 0.6);
}

static void long_rows_are_compared_on_some_columns(void **unused)
{
    (void)unused;
    expect_found(700, 600, true, 0.5);
}

/* Rows without any content, and more doubtful ones than an assignment takes, still give a
 * permutation. */
static void what_cannot_be_told_apart_is_a_permutation_all_the_same(void **unused)
{
    (void)unused;
    struct ww_error err = {0};
    struct ww_matching m = {0};
    for (int kind = 0; kind < 2; kind++) {
        const size_t n = kind ? 1300 : 60;
        struct rows r = make(n, 20, false, 0.1);
        uint8_t *seen = calloc(n, 1);
        for (size_t i = 0; i < (kind ? n : 9) * 20; i++) {
            r.b[i] = 0;
            r.a[i] = kind ? 0 : r.a[i];
        }
        OK(ww_pair_rows(r.a, r.b, n, 20, false, &m, &err));
        for (size_t i = 0; i < n; i++) {
            assert_false(seen[m.match[i]]);
            seen[m.match[i]] = 1;
        }
        ww_matching_release(&m);
        rows_free(&r);
        free(seen);
    }
}

static void rows_of_strangers_are_not_alike(void **unused)
{
    (void)unused;
    struct ww_error err = {0};
    struct ww_matching m = {0};
    struct rows r = make(300, 200, true, 0);
    struct rows other = make(300, 200, true, 1);
    OK(ww_pair_rows(r.a, other.a, 300, 200, true, &m, &err));
    ww_matching_release(&m);
    for (size_t i = 0; i < 300 * 200; i++) {
        other.a[i] = (float)((i * 7919 + i * i % 1009) % 613) - 306;
    }
    OK(ww_pair_rows(r.a, other.a, 300, 200, true, &m, &err));
    assert_true(ww_matching_mean(&m) < 0.35);
    ww_matching_release(&m);
    rows_free(&r);
    rows_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found_in_any_order),
        cmocka_unit_test(long_rows_are_compared_on_some_columns),
        cmocka_unit_test(what_cannot_be_told_apart_is_a_permutation_all_the_same),
        cmocka_unit_test(rows_of_strangers_are_not_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
