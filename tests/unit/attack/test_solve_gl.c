/* SPDX-License-Identifier: Apache-2.0 */
/* The joint fix on random heads: what the lock did is gone up to gauge drift, the result
 * does not depend on the lock's matrix, and the function of the head is kept. */
#include "ww_matrix_fixture.h"

#include "attack/solve.h"
#include "la/la.h"

#define D 16 /* of the head */
#define W 96 /* of the residual stream */

struct head {
    double *q; /* fine-tuned, D x W */
    double *k;
    double *q0; /* the anchor */
    double *k0;
    double *locked_q;
    double *locked_k;
    struct ww_gl_problem p;
    double *gram[4];
};

static double *gram_of(const double *x, const double *y)
{
    double *g = calloc(D * D, sizeof(*g));
    assert_non_null(g);
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, D, D, W, 1.0, x, W, y, W, 0.0, g, D);
    return g;
}

static double *moved(const double *x, double eps, uint64_t *seed)
{
    double *y = random_matrix(D, W, seed);
    const double size = eps * norm_of(x, D * W) / norm_of(y, D * W);
    for (size_t i = 0; i < D * W; i++) {
        y[i] = x[i] + size * y[i];
    }
    return y;
}

static void head_free(struct head *h)
{
    free(h->q), free(h->k), free(h->q0), free(h->k0), free(h->locked_q),
        free(h->locked_k);
    for (int i = 0; i < 4; i++) {
        free(h->gram[i]);
    }
}

/* A head at relative distance eps from its anchor. */
static struct head head_new(double eps, uint64_t seed)
{
    struct head h = {0};
    h.q0 = random_matrix(D, W, &seed);
    h.k0 = random_matrix(D, W, &seed);
    h.q = moved(h.q0, eps, &seed);
    h.k = moved(h.k0, eps, &seed);
    return h;
}

/* Locked by a (Q' = a Q, K' = a^-T K). */
static void lock(struct head *h, const double *a)
{
    struct ww_error err = {0};
    double *inverse = copy_of(a, D * D);
    OK(ww_la_invert(D, inverse, &err));
    double *back = transpose_of(inverse, D, D);
    free(h->locked_q), free(h->locked_k);
    h->locked_q = product(D, W, D, a, h->q);
    h->locked_k = product(D, W, D, back, h->k);
    for (int i = 0; i < 4; i++) {
        free(h->gram[i]);
    }
    h->gram[0] = gram_of(h->locked_q, h->locked_q);
    h->gram[1] = gram_of(h->q0, h->locked_q);
    h->gram[2] = gram_of(h->locked_k, h->locked_k);
    h->gram[3] = gram_of(h->k0, h->locked_k);
    const double q = norm_of(h->q0, D * W);
    const double k = norm_of(h->k0, D * W);
    h->p = (struct ww_gl_problem){D,          h->gram[0], h->gram[1],
                                  h->gram[2], h->gram[3], q * q + k * k};
    free(inverse), free(back);
}

/* Orthogonal times diagonal times orthogonal, singular values from 1 to 1 / condition. */
static double *matrix_of_condition(double condition, uint64_t seed)
{
    struct ww_error err = {0};
    double *u = random_matrix(D, D, &seed);
    double *v = random_matrix(D, D, &seed);
    OK(ww_la_qr(D, D, u, NULL, &err));
    OK(ww_la_qr(D, D, v, NULL, &err));
    for (size_t i = 0; i < D * D; i++) {
        u[i] *= pow(condition, -(double)(i % D) / (D - 1));
    }
    double *a = product(D, D, D, u, v);
    free(u), free(v);
    return a;
}

/* |M_att - M| / |M - M_0| with M = Q^T K. */
static double function_error(const struct head *h, const double *t, const double *t_inv)
{
    double *back = transpose_of(t_inv, D, D);
    double *q = product(D, W, D, t, h->locked_q);
    double *k = product(D, W, D, back, h->locked_k);
    double *m[3];
    const double *pairs[3][2] = {{q, k}, {h->q, h->k}, {h->q0, h->k0}};
    for (int i = 0; i < 3; i++) {
        m[i] = calloc(W * W, sizeof(double));
        ww_la_gemm(WW_LA_TRANSPOSED, WW_LA_PLAIN, W, W, D, 1.0, pairs[i][0], W,
                   pairs[i][1], W, 0.0, m[i], W);
    }
    double off = 0;
    double task = 0;
    for (size_t i = 0; i < W * W; i++) {
        off += (m[0][i] - m[1][i]) * (m[0][i] - m[1][i]);
        task += (m[1][i] - m[2][i]) * (m[1][i] - m[2][i]);
    }
    free(back), free(q), free(k), free(m[0]), free(m[1]), free(m[2]);
    return sqrt(off / task);
}

static void without_displacement_the_lock_is_inverted(void **state)
{
    (void)state;
    for (double condition = 1; condition < 2e4; condition *= 10) {
        struct ww_error err = {0};
        struct ww_gl_report report;
        struct head h = head_new(0.0, 21);
        double *a = matrix_of_condition(condition, 22);
        double t[D * D];
        double inv[D * D];
        lock(&h, a);
        OK(ww_solve_gl(&h.p, t, inv, &report, &err));
        double *one = product(D, D, D, t, a);
        assert_true(report.converged);
        assert_true(fabs(report.objective) < 1e-9);
        assert_true(identity_error(one, D) < 1e-13 * condition * condition + 1e-11);
        free(one), free(a);
        head_free(&h);
    }
}

static void the_result_does_not_depend_on_the_lock(void **state)
{
    static const double distances[] = {1e-3, 1e-2, 5e-2, 0.2, 0.5};
    (void)state;
    for (size_t e = 0; e < sizeof(distances) / sizeof(*distances); e++) {
        struct ww_error err = {0};
        struct head h = head_new(distances[e], 31 + e);
        double *first = NULL;
        for (double condition = 1; condition < 2e4; condition *= 10) {
            struct ww_gl_report report;
            double *a = matrix_of_condition(condition, 41 + e);
            double t[D * D];
            double inv[D * D];
            lock(&h, a);
            OK(ww_solve_gl(&h.p, t, inv, &report, &err));
            double *ta = product(D, D, D, t, a);
            assert_true(report.converged);
            assert_true(report.steps <= 30);
            assert_true(function_error(&h, t, inv) < 1e-6);
            if (!first) {
                first = copy_of(ta, D * D);
            }
            assert_true(distance(ta, first, D * D) < 1e-6);
            /* What is left is drift of the order of the displacement. */
            assert_true(identity_error(ta, D) < 2.0 * distances[e]);
            free(ta), free(a);
        }
        free(first);
        head_free(&h);
    }
}

static void ten_thousand_is_reproduced_closely(void **state)
{
    struct ww_error err = {0};
    struct ww_gl_report report;
    struct head h = head_new(1e-2, 51);
    double *one = matrix_of_condition(1.0, 52);
    double *bad = matrix_of_condition(1e4, 53);
    double t[2][D * D];
    double inv[D * D];
    (void)state;
    lock(&h, one);
    OK(ww_solve_gl(&h.p, t[0], inv, &report, &err));
    double *first = product(D, D, D, t[0], one);
    lock(&h, bad);
    OK(ww_solve_gl(&h.p, t[1], inv, &report, &err));
    double *second = product(D, D, D, t[1], bad);
    assert_true(distance(second, first, D * D) < 2e-7);
    free(one), free(bad), free(first), free(second);
    head_free(&h);
}

/* Singular values that fall like 1 / j: each start but the polar one begins badly. */
static void an_ill_conditioned_head_is_solved(void **state)
{
    (void)state;
    for (double condition = 1; condition < 2e2; condition *= 10) {
        struct ww_error err = {0};
        struct ww_gl_report report;
        struct head h = head_new(0.0, 55);
        uint64_t seed = 56;
        for (size_t i = 0; i < D * W; i++) {
            h.q0[i] /= (double)(i / W + 1);
            h.k0[i] /= (double)(i / W + 1);
        }
        free(h.q), free(h.k);
        h.q = moved(h.q0, 5e-2, &seed);
        h.k = moved(h.k0, 5e-2, &seed);
        double *a = matrix_of_condition(condition, 57);
        double t[D * D];
        double inv[D * D];
        lock(&h, a);
        OK(ww_solve_gl(&h.p, t, inv, &report, &err));
        assert_true(report.converged && report.steps <= 20);
        assert_true(function_error(&h, t, inv) < 1e-9);
        double *ta = product(D, D, D, t, a);
        assert_true(identity_error(ta, D) < 0.5);
        free(a), free(ta);
        head_free(&h);
    }
}

/* A different lock's matrix applied wrongly must be visible in the same number. */
static void a_wrong_matrix_shows_in_the_function(void **state)
{
    struct ww_error err = {0};
    struct ww_gl_report report;
    struct head h = head_new(1e-2, 61);
    double *a = matrix_of_condition(4.0, 62);
    double t[D * D];
    double inv[D * D];
    (void)state;
    lock(&h, a);
    OK(ww_solve_gl(&h.p, t, inv, &report, &err));
    assert_true(function_error(&h, t, inv) < 1e-9);
    for (size_t i = 0; i < D; i++) {
        inv[i] *= 1.01;
    }
    assert_true(function_error(&h, t, inv) > 1e-3);
    free(a);
    head_free(&h);
}

static void the_minimum_is_stationary_and_no_neighbour_is_lower(void **state)
{
    struct ww_error err = {0};
    struct ww_gl_report report;
    struct head h = head_new(0.2, 71);
    double *a = matrix_of_condition(10.0, 72);
    double t[D * D];
    double inv[D * D];
    uint64_t seed = 73;
    (void)state;
    lock(&h, a);
    OK(ww_solve_gl(&h.p, t, inv, &report, &err));
    for (int trial = 0; trial < 40; trial++) {
        double *x = random_matrix(D, D, &seed);
        for (size_t i = 0; i < D * D; i++) {
            x[i] = 1e-3 * x[i] + (i % (D + 1) == 0 ? 1.0 : 0.0);
        }
        double *near = product(D, D, D, x, t);
        double *near_inv = copy_of(near, D * D);
        OK(ww_la_invert(D, near_inv, &err));
        double *back = transpose_of(near_inv, D, D);
        double *q = product(D, W, D, near, h.locked_q);
        double *k = product(D, W, D, back, h.locked_k);
        const double q_off = distance(q, h.q0, D * W) * norm_of(h.q0, D * W);
        const double k_off = distance(k, h.k0, D * W) * norm_of(h.k0, D * W);
        assert_true((q_off * q_off + k_off * k_off) / h.p.n0 > report.objective);
        free(x), free(near), free(near_inv), free(back), free(q), free(k);
    }
    free(a);
    head_free(&h);
}

static void orthogonal_solver_inverts_a_rotation(void **state)
{
    struct ww_error err = {0};
    struct head h = head_new(1e-2, 81);
    double *a = matrix_of_condition(1.0, 82);
    double t[D * D];
    (void)state;
    lock(&h, a);
    OK(ww_solve_orthogonal(&h.p, t, &err));
    double *one = product(D, D, D, t, a);
    double *tt = transpose_of(t, D, D);
    double *square = product(D, D, D, t, tt);
    assert_true(identity_error(square, D) < 1e-12);
    assert_true(identity_error(one, D) < 1e-2);
    free(a), free(one), free(tt), free(square);
    head_free(&h);
}

/* T W' = W0 P with P the projector on the row space of the fine-tuned head: the published
 * solver returns the anchor there, and with Q and K solved apart the function changes. */
static void one_sided_solver_projects_the_anchor(void **state)
{
    struct ww_error err = {0};
    struct head h = head_new(1e-2, 91);
    double *a = matrix_of_condition(4.0, 92);
    double tq[D * D];
    double tk[D * D];
    (void)state;
    lock(&h, a);
    OK(ww_solve_one_sided(D, h.p.gq, h.p.cq, 1e-8, tq, &err));
    OK(ww_solve_one_sided(D, h.p.gk, h.p.ck, 1e-8, tk, &err));
    double *q = product(D, W, D, tq, h.locked_q);
    double *square = gram_of(h.q, h.q);
    double *coefficient = gram_of(h.q0, h.q);
    OK(ww_la_divide(D, D, coefficient, square, &err));
    double *want = product(D, W, D, coefficient, h.q);
    assert_true(distance(q, want, D * W) < 1e-8);
    double *kt = transpose_of(tk, D, D); /* stands in for the inverse */
    const double off = function_error(&h, tq, kt);
    assert_true(off > 0.2 && off < 1.0);
    free(a), free(q), free(square), free(coefficient), free(want), free(kt);
    head_free(&h);
}

static void a_singular_side_is_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_gl_report report;
    struct head h = head_new(1e-2, 95);
    double *a = matrix_of_condition(1.0, 96);
    double t[D * D];
    double inv[D * D];
    (void)state;
    for (size_t j = 0; j < W; j++) {
        h.k[3 * W + j] = h.k[2 * W + j];
    }
    lock(&h, a);
    FAILS(ww_solve_gl(&h.p, t, inv, &report, &err), WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "other side"));
    h.gram[0][5] = NAN;
    FAILS(ww_solve_gl(&h.p, t, inv, &report, &err), WW_E_NONFINITE);
    h.p.d = 0;
    FAILS(ww_solve_gl(&h.p, t, inv, &report, &err), WW_E_LIMIT);
    free(a);
    head_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_displacement_the_lock_is_inverted),
        cmocka_unit_test(the_result_does_not_depend_on_the_lock),
        cmocka_unit_test(ten_thousand_is_reproduced_closely),
        cmocka_unit_test(an_ill_conditioned_head_is_solved),
        cmocka_unit_test(a_wrong_matrix_shows_in_the_function),
        cmocka_unit_test(the_minimum_is_stationary_and_no_neighbour_is_lower),
        cmocka_unit_test(orthogonal_solver_inverts_a_rotation),
        cmocka_unit_test(one_sided_solver_projects_the_anchor),
        cmocka_unit_test(a_singular_side_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
