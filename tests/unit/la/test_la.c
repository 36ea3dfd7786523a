/* SPDX-License-Identifier: Apache-2.0 */
/* Each decomposition multiplied out again, in every shape: tall, wide, square, one. */
#include "ww_matrix_fixture.h"

#include <math.h>

#include "la/la.h"

static const size_t shapes[][2] = {{1, 1}, {7, 7}, {40, 13}, {13, 40}, {100, 64}, {1, 9}};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static void gemm_agrees_with_plain_loops_in_all_forms(void **state)
{
    uint64_t seed = 1;
    (void)state;
    for (int forms = 0; forms < 4; forms++) {
        const size_t m = 9;
        const size_t n = 14;
        const size_t k = 11;
        double *a = random_matrix(m, k, &seed);
        double *b = random_matrix(k, n, &seed);
        double *at = transpose_of(a, m, k);
        double *bt = transpose_of(b, k, n);
        double *want = product(m, n, k, a, b);
        double *got = random_matrix(m, n, &seed);
        double *old = copy_of(got, m * n);
        const bool ta = forms & 1;
        const bool tb = forms & 2;
        ww_la_gemm(ta ? WW_LA_TRANSPOSED : WW_LA_PLAIN,
                   tb ? WW_LA_TRANSPOSED : WW_LA_PLAIN, m, n, k, 2.0, ta ? at : a,
                   ta ? m : k, tb ? bt : b, tb ? k : n, -0.5, got, n);
        for (size_t i = 0; i < m * n; i++) {
            want[i] = 2.0 * want[i] - 0.5 * old[i];
        }
        assert_true(distance(got, want, m * n) < 1e-14);
        free(a), free(b), free(at), free(bt), free(want), free(got), free(old);
    }
}

static void gemm_f32_agrees_with_doubles(void **state)
{
    float a[6] = {1, 2, 3, 4, 5, 6};
    float b[6] = {1, -1, 0.5f, 2, 3, -2};
    float c[4];
    (void)state;
    ww_la_gemm_f32(WW_LA_PLAIN, WW_LA_PLAIN, 2, 2, 3, 1.0f, a, 3, b, 2, 0.0f, c, 2);
    const float want[4] = {11, -3, 24.5f, -6};
    for (int i = 0; i < 4; i++) {
        assert_true(c[i] == want[i]);
    }
}

static void syrk_fills_both_halves(void **state)
{
    uint64_t seed = 2;
    const size_t n = 12;
    const size_t k = 31;
    double *a = random_matrix(n, k, &seed);
    double *at = transpose_of(a, n, k);
    double *want = product(n, n, k, a, at);
    double *got = random_matrix(n, n, &seed);
    (void)state;
    ww_la_syrk(WW_LA_PLAIN, n, k, 1.0, a, k, 0.0, got);
    assert_true(distance(got, want, n * n) < 1e-14);
    ww_la_syrk(WW_LA_TRANSPOSED, n, k, 1.0, at, n, 0.0, got);
    assert_true(distance(got, want, n * n) < 1e-14);
    free(a), free(at), free(want), free(got);
}

static void eigen_multiplies_out(void **state)
{
    uint64_t seed = 3;
    (void)state;
    for (size_t n = 1; n < 150; n += 37) {
        struct ww_error err = {0};
        double *x = random_matrix(n, n, &seed);
        double *xt = transpose_of(x, n, n);
        double *a = copy_of(x, n * n);
        double *values = calloc(n, sizeof(*values));
        for (size_t i = 0; i < n * n; i++) {
            a[i] += xt[i];
        }
        double *vectors = copy_of(a, n * n);
        OK(ww_la_eigen(n, vectors, values, &err));
        double *t = transpose_of(vectors, n, n);
        double *square = product(n, n, n, vectors, t);
        assert_true(identity_error(square, n) < 1e-12);
        for (size_t i = 0; i < n; i++) {
            assert_true(i == 0 || values[i] >= values[i - 1]);
            for (size_t j = 0; j < n; j++) {
                t[j * n + i] *= values[i];
            }
        }
        double *back = product(n, n, n, t, vectors);
        assert_true(distance(back, a, n * n) < 1e-12);
        free(x), free(xt), free(a), free(values), free(vectors), free(t), free(square);
        free(back);
    }
}

static void svd_multiplies_out(void **state)
{
    uint64_t seed = 4;
    (void)state;
    for (size_t k = 0; k < N_SHAPES; k++) {
        struct ww_error err = {0};
        const size_t m = shapes[k][0];
        const size_t n = shapes[k][1];
        const size_t r = m < n ? m : n;
        double *a = random_matrix(m, n, &seed);
        double *work = copy_of(a, m * n);
        double *u = calloc(m * r, sizeof(*u));
        double *s = calloc(r, sizeof(*s));
        double *vt = calloc(r * n, sizeof(*vt));
        OK(ww_la_svd(m, n, work, u, s, vt, &err));
        double *ut = transpose_of(u, m, r);
        double *v = transpose_of(vt, r, n);
        double *uu = product(r, r, m, ut, u);
        double *vv = product(r, r, n, vt, v);
        assert_true(identity_error(uu, r) < 1e-12);
        assert_true(identity_error(vv, r) < 1e-12);
        for (size_t i = 0; i < r; i++) {
            assert_true(s[i] >= 0 && (i == 0 || s[i] <= s[i - 1]));
            for (size_t j = 0; j < m; j++) {
                u[j * r + i] *= s[i];
            }
        }
        double *back = product(m, n, r, u, vt);
        assert_true(distance(back, a, m * n) < 1e-12);
        free(a), free(work), free(u), free(s), free(vt), free(ut), free(v), free(uu);
        free(vv), free(back);
    }
}

static void qr_multiplies_out(void **state)
{
    uint64_t seed = 5;
    (void)state;
    for (size_t k = 0; k < N_SHAPES; k++) {
        struct ww_error err = {0};
        const size_t m = shapes[k][0];
        const size_t n = shapes[k][1];
        if (m < n) {
            continue;
        }
        double *a = random_matrix(m, n, &seed);
        double *q = copy_of(a, m * n);
        double *r = calloc(n * n, sizeof(*r));
        OK(ww_la_qr(m, n, q, r, &err));
        double *qt = transpose_of(q, m, n);
        double *square = product(n, n, m, qt, q);
        double *back = product(m, n, n, q, r);
        assert_true(identity_error(square, n) < 1e-12);
        assert_true(distance(back, a, m * n) < 1e-12);
        for (size_t i = 1; i < n; i++) {
            assert_true(r[i * n] == 0.0);
        }
        free(a), free(q), free(r), free(qt), free(square), free(back);
    }
}

static void inverse_and_division_agree(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 6;
    const size_t n = 50;
    const size_t m = 23;
    double *a = random_matrix(n, n, &seed);
    double *b = random_matrix(m, n, &seed);
    double *inverse = copy_of(a, n * n);
    double *lu = copy_of(a, n * n);
    double *x = copy_of(b, m * n);
    (void)state;
    OK(ww_la_invert(n, inverse, &err));
    double *one = product(n, n, n, inverse, a);
    assert_true(identity_error(one, n) < 1e-10);
    OK(ww_la_divide(m, n, x, lu, &err));
    double *back = product(m, n, n, x, a);
    assert_true(distance(back, b, m * n) < 1e-11);
    free(a), free(b), free(inverse), free(lu), free(x), free(one), free(back);
}

static void cholesky_multiplies_out_and_divides(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 7;
    const size_t n = 33;
    const size_t m = 10;
    double *x = random_matrix(n, 2 * n, &seed);
    double *a = calloc(n * n, sizeof(*a));
    double *b = random_matrix(m, n, &seed);
    double *y = copy_of(b, m * n);
    (void)state;
    ww_la_syrk(WW_LA_PLAIN, n, 2 * n, 1.0, x, 2 * n, 0.0, a);
    double *l = copy_of(a, n * n);
    OK(ww_la_cholesky(n, l, &err));
    double *lt = transpose_of(l, n, n);
    double *back = product(n, n, n, l, lt);
    assert_true(distance(back, a, n * n) < 1e-13);
    OK(ww_la_cholesky_divide(m, n, y, l, &err));
    double *right = product(m, n, n, y, a);
    assert_true(distance(right, b, m * n) < 1e-11);
    free(x), free(a), free(b), free(y), free(l), free(lt), free(back), free(right);
}

static void polar_is_orthonormal_and_nearest(void **state)
{
    struct ww_error err = {0};
    uint64_t seed = 8;
    const size_t m = 30;
    const size_t n = 12;
    size_t rank = 0;
    double *a = random_matrix(m, n, &seed);
    double *p = copy_of(a, m * n);
    (void)state;
    OK(ww_la_polar(m, n, p, &rank, &err));
    assert_int_equal(rank, n);
    double *pt = transpose_of(p, m, n);
    double *one = product(n, n, m, pt, p);
    double *h = product(n, n, m, pt, a);
    double *ht = transpose_of(h, n, n);
    assert_true(identity_error(one, n) < 1e-12);
    assert_true(distance(h, ht, n * n) < 1e-12);
    OK(ww_la_cholesky(n, h,
                      &err)); /* p^T a is positive definite: p is the polar factor */
    for (size_t i = 0; i < m; i++) {
        a[i * n + 1] = 3.0 * a[i * n];
    }
    OK(ww_la_polar(m, n, a, &rank, &err));
    assert_int_equal(rank, n - 1);
    free(a), free(p), free(pt), free(one), free(h), free(ht);
}

static void singular_matrices_are_refused(void **state)
{
    struct ww_error err = {0};
    double a[4] = {1, 2, 2, 4};
    double b[2] = {1, 1};
    (void)state;
    FAILS(ww_la_invert(2, a, &err), WW_E_UNSUPPORTED);
    double again[4] = {1, 2, 2, 4};
    FAILS(ww_la_divide(1, 2, b, again, &err), WW_E_UNSUPPORTED);
    double minus[4] = {-1, 0, 0, 1};
    FAILS(ww_la_cholesky(2, minus, &err), WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "positive definite"));
}

static void sizes_beyond_an_int_do_not_fit(void **state)
{
    (void)state;
    assert_true(ww_la_fits(WW_LA_MAX, 1));
    assert_false(ww_la_fits((unsigned long long)WW_LA_MAX + 1, 1));
    assert_false(ww_la_fits(1, 1ULL << 40));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_agrees_with_plain_loops_in_all_forms),
        cmocka_unit_test(gemm_f32_agrees_with_doubles),
        cmocka_unit_test(syrk_fills_both_halves),
        cmocka_unit_test(eigen_multiplies_out),
        cmocka_unit_test(svd_multiplies_out),
        cmocka_unit_test(qr_multiplies_out),
        cmocka_unit_test(inverse_and_division_agree),
        cmocka_unit_test(cholesky_multiplies_out_and_divides),
        cmocka_unit_test(polar_is_orthonormal_and_nearest),
        cmocka_unit_test(singular_matrices_are_refused),
        cmocka_unit_test(sizes_beyond_an_int_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
