/* SPDX-License-Identifier: Apache-2.0 */
/* Merged products of heads against the product formed in full and cut by its SVD. */
#include "ww_matrix_fixture.h"

#include "attack/product.h"
#include "la/la.h"

#define D 8
#define WX 40 /* width of direct rows */
#define WY 56 /* of inverse rows */

/* Rows of one head of two models, and what a merge makes of them. */
struct heads {
    double *x, *y, *x0, *y0; /* the true head and the anchor's */
    double *locked[2];
    double *gram[6];
    double locked_coef[2][D * D];
    double anchor_coef[2][D * D];
    double *made[2];
    struct ww_product product;
    struct ww_product_report report;
};

/* Below 0: no relative at all, of that size. */
static double *relative(const double *from, size_t n, double eps, uint64_t *seed)
{
    double *to = random_matrix(n, 1, seed);
    const double size = fabs(eps) * norm_of(from, n) / norm_of(to, n);
    for (size_t i = 0; i < n; i++) {
        to[i] = (eps < 0 ? 0 : from[i]) + size * to[i];
    }
    return to;
}

static double *gram(const double *a, const double *b, size_t width)
{
    double *bt = transpose_of(b, D, width);
    double *g = product(D, D, width, a, bt);
    free(bt);
    return g;
}

/* Lock the head by a; grams of everything. */
static void heads_init(struct heads *h, double eps, const double *a, uint64_t seed)
{
    struct ww_error err = {0};
    double *inverse = copy_of(a, D * D);
    memset(h, 0, sizeof(*h));
    h->x0 = random_matrix(D, WX, &seed);
    h->y0 = random_matrix(D, WY, &seed);
    h->x = relative(h->x0, (size_t)D * WX, eps, &seed);
    h->y = relative(h->y0, (size_t)D * WY, eps, &seed);
    OK(ww_la_invert(D, inverse, &err));
    double *back = transpose_of(inverse, D, D);
    h->locked[0] = product(D, WX, D, a, h->x);
    h->locked[1] = product(D, WY, D, back, h->y);
    h->gram[0] = gram(h->locked[0], h->locked[0], WX);
    h->gram[1] = gram(h->locked[1], h->locked[1], WY);
    h->gram[2] = gram(h->x0, h->x0, WX);
    h->gram[3] = gram(h->y0, h->y0, WY);
    h->gram[4] = gram(h->x0, h->locked[0], WX);
    h->gram[5] = gram(h->y0, h->locked[1], WY);
    h->product = (struct ww_product){D,
                                     {h->gram[0], h->gram[1]},
                                     {h->gram[2], h->gram[3]},
                                     {h->gram[4], h->gram[5]},
                                     0.5};
    free(inverse), free(back);
}

static void heads_free(struct heads *h)
{
    free(h->x), free(h->y), free(h->x0), free(h->y0), free(h->locked[0]),
        free(h->locked[1]);
    free(h->made[0]), free(h->made[1]);
    for (int i = 0; i < 6; i++) {
        free(h->gram[i]);
    }
}

static enum ww_err merge(struct heads *h, struct ww_error *err)
{
    double *const locked[2] = {h->locked_coef[0], h->locked_coef[1]};
    double *const anchor[2] = {h->anchor_coef[0], h->anchor_coef[1]};
    const double *anchors[2] = {h->x0, h->y0};
    const size_t widths[2] = {WX, WY};
    enum ww_err rc = ww_merge_products(&h->product, locked, anchor, &h->report, err);
    for (int side = 0; side < 2 && rc == WW_OK; side++) {
        const size_t w = widths[side];
        double *part = product(D, w, D, anchor[side], anchors[side]);
        free(h->made[side]);
        h->made[side] = product(D, w, D, locked[side], h->locked[side]);
        for (size_t i = 0; i < D * w; i++) {
            h->made[side][i] += part[i];
        }
        free(part);
    }
    return rc;
}

/* y^T x, WY x WX */
static double *full(const double *y, const double *x)
{
    double *yt = transpose_of(y, D, WY);
    double *m = product(WY, WX, D, yt, x);
    free(yt);
    return m;
}

/* weight y^T x + (1 - weight) y0^T x0 and its nearest matrix of rank D. */
static double *oracle(const struct heads *h, double weight, double *dropped)
{
    struct ww_error err = {0};
    double *m = full(h->y, h->x);
    double *m0 = full(h->y0, h->x0);
    double *u = calloc(WY * WX, sizeof(double));
    double *vt = calloc(WX * WX, sizeof(double));
    double *s = calloc(WX, sizeof(double));
    for (size_t i = 0; i < (size_t)WY * WX; i++) {
        m[i] = weight * m[i] + (1 - weight) * m0[i];
    }
    OK(ww_la_svd(WY, WX, m, u, s, vt, &err));
    for (size_t k = 0; k < WX; k++) {
        *dropped += k < D ? 0 : s[k] * s[k];
        for (size_t i = 0; i < WY; i++) {
            u[i * WX + k] *= k < D ? s[k] : 0;
        }
    }
    double *cut = product(WY, WX, WX, u, vt);
    free(m), free(m0), free(u), free(vt), free(s);
    return cut;
}

static double *random_lock(double condition, uint64_t seed)
{
    struct ww_error err = {0};
    double *u = random_matrix(D, D, &seed);
    double *v = random_matrix(D, D, &seed);
    OK(ww_la_qr(D, D, u, NULL, &err));
    OK(ww_la_qr(D, D, v, NULL, &err));
    for (size_t i = 0; i < (size_t)D * D; i++) {
        u[i] *= pow(condition, -(double)(i % D) / (D - 1));
    }
    double *a = product(D, D, D, u, v);
    free(u), free(v);
    return a;
}

static void merged_heads_are_the_svd_of_the_mean_product(void **unused)
{
    static const double eps[] = {0.01, 0.3, 3};
    static const double weights[] = {0.5, 0.2, 0.9};
    (void)unused;
    for (size_t i = 0; i < 9; i++) {
        struct heads h;
        struct ww_error err = {0};
        double dropped = 0;
        double *a = random_lock(4, 5 + i);
        heads_init(&h, eps[i / 3], a, 77 + i);
        h.product.weight = weights[i % 3];
        OK(merge(&h, &err));
        double *want = oracle(&h, weights[i % 3], &dropped);
        double *got = full(h.made[1], h.made[0]);
        NEAR(distance(got, want, (size_t)WY * WX), 0, 1e-10);
        NEAR(h.report.dropped, dropped, 1e-9 * h.report.merged);
        NEAR(h.report.merged - h.report.dropped,
             norm_of(want, (size_t)WY * WX) * norm_of(want, (size_t)WY * WX),
             1e-9 * h.report.merged);
        free(want), free(got), free(a);
        heads_free(&h);
    }
}

static void what_is_lost_shrinks_with_the_square_of_the_displacement(void **unused)
{
    double lost[2];
    (void)unused;
    for (int i = 0; i < 2; i++) {
        struct heads h;
        struct ww_error err = {0};
        double *a = random_lock(1, 3);
        heads_init(&h, i == 0 ? 0.1 : 0.01, a, 12);
        OK(merge(&h, &err));
        lost[i] = sqrt(h.report.dropped / h.report.merged);
        free(a);
        heads_free(&h);
    }
    assert_true(lost[0] > 0 && lost[0] < 0.02);
    NEAR(lost[0] / lost[1], 100, 20);
}

static void the_result_does_not_depend_on_the_lock(void **unused)
{
    struct heads plain;
    struct ww_error err = {0};
    double *identity = random_lock(1, 1);
    (void)unused;
    for (size_t i = 0; i < (size_t)D * D; i++) {
        identity[i] = i % (D + 1) == 0;
    }
    heads_init(&plain, 0.1, identity, 9);
    OK(merge(&plain, &err));
    for (int i = 0; i < 2; i++) {
        struct heads h;
        double *a = random_lock(i == 0 ? 4 : 1e4, 21);
        heads_init(&h, 0.1, a, 9);
        OK(merge(&h, &err));
        const double most = i == 0 ? 1e-9 : 1e-5;
        NEAR(distance(h.made[0], plain.made[0], (size_t)D * WX), 0, most);
        NEAR(distance(h.made[1], plain.made[1], (size_t)D * WY), 0, most);
        free(a);
        heads_free(&h);
    }
    free(identity);
    heads_free(&plain);
}

/* The rows lie as near to the anchor's as the true rows do, so further tools can go on.
 */
static void new_rows_are_near_the_anchor(void **unused)
{
    struct heads h;
    struct ww_error err = {0};
    double *a = random_lock(4, 8);
    (void)unused;
    heads_init(&h, 0.1, a, 10);
    OK(merge(&h, &err));
    assert_true(distance(h.made[0], h.x0, (size_t)D * WX) < 0.06);
    assert_true(distance(h.made[1], h.y0, (size_t)D * WY) < 0.06);
    assert_true(distance(h.locked[0], h.x0, (size_t)D * WX) > 0.5);
    free(a);
    heads_free(&h);
}

static void a_head_merged_with_its_locked_copy_is_itself(void **unused)
{
    struct heads h;
    struct ww_error err = {0};
    double *a = random_lock(10, 31);
    (void)unused;
    heads_init(&h, 0, a, 32);
    OK(merge(&h, &err));
    NEAR(distance(h.made[0], h.x0, (size_t)D * WX), 0, 1e-7);
    NEAR(distance(h.made[1], h.y0, (size_t)D * WY), 0, 1e-7);
    assert_true(h.report.dropped < 1e-12 * h.report.merged);
    NEAR(h.report.dot, sqrt(h.report.locked * h.report.anchor), 1e-9 * h.report.locked);
    free(a);
    heads_free(&h);
}

static void a_head_merged_with_another_head_is_neither(void **unused)
{
    struct heads h;
    struct ww_error err = {0};
    double *a = random_lock(1, 31);
    (void)unused;
    heads_init(&h, -1, a, 33);
    OK(merge(&h, &err));
    double *got = full(h.made[1], h.made[0]);
    double *m0 = full(h.y0, h.x0);
    assert_true(distance(got, m0, (size_t)WY * WX) > 0.3);
    assert_true(h.report.dropped > 0.05 * h.report.merged);
    assert_true(h.report.dot < 0.3 * sqrt(h.report.locked * h.report.anchor));
    free(got), free(m0), free(a);
    heads_free(&h);
}

static void a_head_of_fewer_directions_keeps_its_product(void **unused)
{
    struct heads h;
    struct ww_error err = {0};
    double *a = random_lock(1, 41);
    double dropped = 0;
    (void)unused;
    for (size_t i = 0; i < (size_t)D * D; i++) {
        a[i] = i % (D + 1) == 0;
    }
    heads_init(&h, 0.2, a, 42);
    for (size_t i = 0; i < (size_t)2 * WX; i++) {
        h.x[i] = h.x0[i] = h.locked[0][i] = 0; /* two of the rows */
    }
    for (int k = 0; k < 6; k += 2) {
        const double *left = k == 0 ? h.locked[0] : h.x0;
        const double *right = k == 2 ? h.x0 : h.locked[0];
        double *g = gram(left, right, WX);
        memcpy(h.gram[k], g, sizeof(double) * D * D);
        free(g);
    }
    OK(merge(&h, &err));
    double *want = oracle(&h, 0.5, &dropped);
    double *got = full(h.made[1], h.made[0]);
    NEAR(distance(got, want, (size_t)WY * WX), 0, 1e-7);
    free(want), free(got), free(a);
    heads_free(&h);
}

static void numbers_that_are_none_are_refused(void **unused)
{
    struct heads h;
    struct ww_error err = {0};
    double *a = random_lock(1, 51);
    (void)unused;
    heads_init(&h, 0.1, a, 52);
    h.gram[3][5] = NAN;
    FAILS(merge(&h, &err), WW_E_NONFINITE);
    assert_non_null(strstr(err.text, "NaN or infinity in the products of a head"));
    free(a);
    heads_free(&h);
}

/* A rotary pair by hand: complex rows q, k of two models. */
#define N 24
struct complex_rows {
    double complex q[2][N], k[2][N];
};

static double complex dot(const double complex *a, const double complex *b)
{
    double complex sum = 0;
    for (int i = 0; i < N; i++) {
        sum += a[i] * conj(b[i]);
    }
    return sum;
}

static struct complex_rows pair_rows(double eps, double complex lock, uint64_t seed)
{
    struct complex_rows r;
    for (int i = 0; i < N; i++) {
        r.q[1][i] = ww_complex(normal(&seed), normal(&seed));
        r.k[1][i] = ww_complex(normal(&seed), normal(&seed));
        r.q[0][i] = (r.q[1][i] + eps * ww_complex(normal(&seed), normal(&seed))) * lock;
        r.k[0][i] =
            (r.k[1][i] + eps * ww_complex(normal(&seed), normal(&seed))) / conj(lock);
    }
    return r;
}

static void merge_rows(const struct complex_rows *r, double weight, double complex q[N],
                       double complex k[N], struct ww_product_report *report)
{
    struct ww_product_pair pair = {.weight = weight};
    double complex coef[2][2];
    for (int i = 0; i < 4; i++) {
        pair.q[i / 2][i % 2] = dot(r->q[i / 2], r->q[i % 2]);
        pair.k[i / 2][i % 2] = dot(r->k[i / 2], r->k[i % 2]);
    }
    ww_merge_pair(&pair, coef[0], coef[1], report);
    for (int i = 0; i < N; i++) {
        q[i] = coef[0][0] * r->q[0][i] + coef[0][1] * r->q[1][i];
        k[i] = coef[1][0] * r->k[0][i] + coef[1][1] * r->k[1][i];
    }
}

/* [[re, -im], [im, re]] blocks: singular values and vectors come twice. */
static void put(double *m, size_t i, size_t j, double complex z)
{
    m[i * 2 * N + j] = m[(i + N) * 2 * N + j + N] = creal(z);
    m[i * 2 * N + j + N] = -cimag(z);
    m[(i + N) * 2 * N + j] = cimag(z);
}

static void a_merged_pair_is_the_best_of_rank_one(void **unused)
{
    const size_t n = 2 * N;
    (void)unused;
    for (unsigned i = 0; i < 12; i++) {
        static double m[4 * N * N], made[4 * N * N], u[4 * N * N], vt[4 * N * N],
            s[2 * N];
        const double weight = i % 3 == 0 ? 0.5 : i % 3 == 1 ? 0.1 : 0.8;
        const struct complex_rows r =
            pair_rows(i < 6 ? 0.1 : 2, ww_complex(0.3 * i - 1, 0.7), 60 + i);
        double complex q[N];
        double complex k[N];
        struct ww_product_report report;
        struct ww_error err = {0};
        merge_rows(&r, weight, q, k, &report);
        for (size_t a = 0; a < (size_t)N * N; a++) {
            const size_t x = a / N;
            const size_t y = a % N;
            put(m, x, y,
                weight * conj(r.q[0][x]) * r.k[0][y] +
                    (1 - weight) * conj(r.q[1][x]) * r.k[1][y]);
            put(made, x, y, conj(q[x]) * k[y]);
        }
        OK(ww_la_svd(n, n, m, u, s, vt, &err));
        for (size_t a = 0; a < n * n; a++) {
            m[a] =
                u[a / n * n] * s[0] * vt[a % n] + u[a / n * n + 1] * s[1] * vt[n + a % n];
        }
        NEAR(distance(made, m, n * n), 0, 1e-11);
        NEAR(report.dropped, s[2] * s[2], 1e-10 * report.merged);
        NEAR(report.merged, s[0] * s[0] + s[2] * s[2], 1e-10 * report.merged);
    }
}

static void a_pair_merged_with_its_locked_copy_is_itself(void **unused)
{
    const struct complex_rows r = pair_rows(0, ww_complex(-3, 4), 5);
    double complex q[N];
    double complex k[N];
    struct ww_product_report report;
    (void)unused;
    merge_rows(&r, 0.3, q, k, &report);
    for (int i = 0; i < N; i++) {
        NEAR(cabs(q[i] - r.q[1][i]), 0, 1e-12);
        NEAR(cabs(k[i] - r.k[1][i]), 0, 1e-12);
    }
    NEAR(report.dot, report.anchor, 1e-9 * report.anchor);
}

static void a_pair_of_nothing_stays_nothing(void **unused)
{
    struct ww_product_pair pair = {.weight = 0.5};
    double complex q[2];
    double complex k[2];
    struct ww_product_report report;
    (void)unused;
    ww_merge_pair(&pair, q, k, &report);
    for (int a = 0; a < 2; a++) {
        assert_true(q[a] == 0 && k[a] == 0);
    }
    assert_true(report.merged == 0 && report.dropped == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_heads_are_the_svd_of_the_mean_product),
        cmocka_unit_test(what_is_lost_shrinks_with_the_square_of_the_displacement),
        cmocka_unit_test(the_result_does_not_depend_on_the_lock),
        cmocka_unit_test(new_rows_are_near_the_anchor),
        cmocka_unit_test(a_head_merged_with_its_locked_copy_is_itself),
        cmocka_unit_test(a_head_merged_with_another_head_is_neither),
        cmocka_unit_test(a_head_of_fewer_directions_keeps_its_product),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(a_merged_pair_is_the_best_of_rank_one),
        cmocka_unit_test(a_pair_merged_with_its_locked_copy_is_itself),
        cmocka_unit_test(a_pair_of_nothing_stays_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
