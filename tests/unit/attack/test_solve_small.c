/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs against a scan of the whole plane, neurons against the roots of the quartic. */
#include <complex.h>

#include "ww_matrix_fixture.h"

#include "attack/solve.h"

static double complex turn(double phase)
{
    return CMPLX(cos(phase), sin(phase));
}

static double pair_value(const struct ww_pair_problem *p, double r, double phase)
{
    const double complex pull =
        r * CMPLX(p->cq_re, p->cq_im) + CMPLX(p->ck_re, p->ck_im) / r;
    return p->alpha * r * r + p->beta / (r * r) - 2.0 * creal(turn(phase) * pull);
}

/* Rows of a pair, n long, and the anchor's at a relative distance; the lock's factor is
 * in them already. */
static struct ww_pair_problem random_pair(double noise, double complex lock,
                                          uint64_t *seed)
{
    struct ww_pair_problem p = {0};
    double complex cq = 0;
    double complex ck = 0;
    const double k_size = exp(normal(seed));
    for (int i = 0; i < 24; i++) {
        const double complex q = CMPLX(normal(seed), normal(seed));
        const double complex k = k_size * CMPLX(normal(seed), normal(seed));
        const double complex q0 = q + noise * CMPLX(normal(seed), normal(seed));
        const double complex k0 = k + noise * k_size * CMPLX(normal(seed), normal(seed));
        const double complex q1 = q / lock;
        const double complex k1 = k * conj(lock);
        p.alpha += creal(q1 * conj(q1));
        p.beta += creal(k1 * conj(k1));
        cq += conj(q0) * q1;
        ck += conj(k0) * k1;
    }
    p.cq_re = creal(cq), p.cq_im = cimag(cq);
    p.ck_re = creal(ck), p.ck_im = cimag(ck);
    return p;
}

static void pairs_are_never_above_a_scan(void **state)
{
    uint64_t seed = 101;
    (void)state;
    for (int i = 0; i < 3000; i++) {
        const double noise = 2.0 * uniform(&seed);
        const double complex lock = exp(2.0 * normal(&seed)) * turn(6.3 * uniform(&seed));
        const struct ww_pair_problem p = random_pair(noise, lock, &seed);
        double re = 0;
        double im = 0;
        ww_solve_pair(&p, &re, &im);
        const double r = hypot(re, im);
        const double mine = pair_value(&p, r, atan2(im, re));
        const double scale = p.alpha * r * r + p.beta / (r * r);
        for (int u = -100; u <= 100; u++) {
            const double radius = cabs(lock) * exp(u * 0.03);
            const double complex pull =
                radius * CMPLX(p.cq_re, p.cq_im) + CMPLX(p.ck_re, p.ck_im) / radius;
            const double other = pair_value(&p, radius, -carg(pull));
            assert_true(mine <= other + 1e-12 * scale);
        }
    }
}

static void a_pair_without_displacement_is_exact(void **state)
{
    uint64_t seed = 102;
    (void)state;
    for (int i = 0; i < 200; i++) {
        const double complex lock = exp(normal(&seed)) * turn(6.3 * uniform(&seed));
        struct ww_pair_problem p = random_pair(0.0, lock, &seed);
        double re = 0;
        double im = 0;
        ww_solve_pair(&p, &re, &im);
        assert_true(cabs(CMPLX(re, im) - lock) < 1e-14 * cabs(lock));
        p.unit = true;
        ww_solve_pair(&p, &re, &im);
        assert_true(cabs(CMPLX(re, im) - lock / cabs(lock)) < 1e-14);
    }
}

/* A scan over the radius alone cannot see a wrong phase convention; this one can. */
static void the_phase_turns_q_to_the_anchor(void **state)
{
    const struct ww_pair_problem p = {
        .alpha = 1, .beta = 1, .cq_re = 0, .cq_im = 1, .ck_re = 0, .ck_im = 1};
    double re = 0;
    double im = 0;
    (void)state;
    ww_solve_pair(&p, &re, &im); /* q0 = 1, q' = i: <q0, q'> = i, t i = 1 */
    NEAR(re, 0.0, 1e-14);
    NEAR(im, -1.0, 1e-14);
}

static void with_nothing_to_go_by_a_pair_stays(void **state)
{
    static const struct ww_pair_problem cases[] = {
        {0}, {.alpha = 1, .beta = 1}, {.unit = true}, {.alpha = 1, .cq_re = 0.0}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        double re = 7;
        double im = 7;
        ww_solve_pair(&cases[i], &re, &im);
        assert_true(re == 1.0 && im == 0.0);
    }
}

static double neuron_value(const struct ww_neuron_problem *p, double t)
{
    const double back = p->power == 2 ? t * t : t;
    return p->alpha * t * t - 2.0 * p->cu * t + p->beta / (back * back) -
           2.0 * p->cw / back;
}

static struct ww_neuron_problem random_neuron(double noise, double lock, int power,
                                              uint64_t *seed)
{
    struct ww_neuron_problem p = {.power = power};
    const double size = exp(normal(seed));
    for (int i = 0; i < 16; i++) {
        const double u = normal(seed);
        const double w = size * normal(seed);
        const double u1 = u / lock;
        const double w1 = w * (power == 2 ? lock * lock : lock);
        p.alpha += u1 * u1;
        p.beta += w1 * w1;
        p.cu += (u + noise * normal(seed)) * u1;
        p.cw += (w + noise * size * normal(seed)) * w1;
    }
    return p;
}

/* Newton with deflation would do; bisection between a fine grid's sign changes is
 * simpler: all real roots of alpha t^4 - cu t^3 + cw t - beta in the range that matters.
 * */
static double lowest_by_roots(const struct ww_neuron_problem *p)
{
    double best = HUGE_VAL;
    for (int sign = -1; sign <= 1; sign += 2) {
        double low = 1e-6;
        for (int i = 0; i < 4000; i++) {
            double high = low * 1.008;
            double a = sign * low;
            double b = sign * high;
            double fa =
                p->alpha * a * a * a * a - p->cu * a * a * a + p->cw * a - p->beta;
            double fb =
                p->alpha * b * b * b * b - p->cu * b * b * b + p->cw * b - p->beta;
            for (int k = 0; fa * fb <= 0 && k < 60; k++) {
                const double m = 0.5 * (a + b);
                const double fm =
                    p->alpha * m * m * m * m - p->cu * m * m * m + p->cw * m - p->beta;
                const bool left = fa * fm <= 0;
                b = left ? m : b;
                a = left ? a : m;
                fa = left ? fa : fm;
                best = k == 59 ? fmin(best, neuron_value(p, a)) : best;
            }
            low = high;
        }
    }
    return best;
}

static void neurons_reach_the_lowest_root_of_the_quartic(void **state)
{
    uint64_t seed = 111;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        const double sign = uniform(&seed) < 0.5 ? -1.0 : 1.0;
        const double lock = sign * exp(normal(&seed));
        const double noise = 0.7 * uniform(&seed);
        const struct ww_neuron_problem p = random_neuron(noise, lock, 1, &seed);
        const double t = ww_solve_neuron(&p);
        const double scale = p.alpha * t * t + p.beta / (t * t);
        if (noise < 0.4) {
            assert_true(t * sign > 0);
        }
        const double mine = neuron_value(&p, t);
        assert_true(mine <= lowest_by_roots(&p) + 1e-10 * scale);
    }
}

static void neurons_of_both_kinds_are_exact_without_displacement(void **state)
{
    uint64_t seed = 112;
    (void)state;
    for (int i = 0; i < 400; i++) {
        const int power = 1 + i % 2;
        const double lock = exp(normal(&seed)) * (i % 4 < 2 ? 1.0 : -1.0);
        struct ww_neuron_problem p = random_neuron(0.0, lock, power, &seed);
        assert_true(fabs(ww_solve_neuron(&p) / lock - 1.0) < 1e-12);
        p = random_neuron(0.0, fabs(lock), power, &seed);
        p.positive = true;
        assert_true(fabs(ww_solve_neuron(&p) / fabs(lock) - 1.0) < 1e-12);
    }
}

static void a_squared_relu_neuron_is_never_above_a_scan(void **state)
{
    uint64_t seed = 113;
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct ww_neuron_problem p =
            random_neuron(uniform(&seed), exp(normal(&seed)), 2, &seed);
        p.positive = true;
        const double t = ww_solve_neuron(&p);
        const double mine = neuron_value(&p, t);
        assert_true(t > 0);
        for (double u = 1e-3; u < 1e3; u *= 1.01) {
            assert_true(mine <= neuron_value(&p, u) + 1e-9 * fabs(mine));
        }
    }
}

static void a_dead_neuron_stays(void **state)
{
    const struct ww_neuron_problem none = {.power = 1};
    const struct ww_neuron_problem no_row = {.power = 1, .beta = 2, .cw = 1};
    (void)state;
    assert_true(ww_solve_neuron(&none) == 1.0);
    assert_true(ww_solve_neuron(&no_row) == 1.0);
}

/* The row has a factor of -4, its column was rounded away, or to something else. */
static void a_side_that_rounding_spoilt_does_not_decide(void **state)
{
    struct ww_neuron_problem p = {
        .alpha = 16, .cu = -4, .power = 1, .own_u = 1, .own_w = 1};
    (void)state;
    assert_true(ww_solve_neuron(&p) == -0.25);
    p.beta = 9;
    p.cw = 0.3;
    assert_true(ww_solve_neuron(&p) == -0.25);
    p = (struct ww_neuron_problem){
        .alpha = 9, .beta = 16, .cu = 0.3, .cw = -4, .power = 1, .own_u = 1, .own_w = 1};
    assert_true(ww_solve_neuron(&p) == -4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_never_above_a_scan),
        cmocka_unit_test(a_pair_without_displacement_is_exact),
        cmocka_unit_test(the_phase_turns_q_to_the_anchor),
        cmocka_unit_test(with_nothing_to_go_by_a_pair_stays),
        cmocka_unit_test(neurons_reach_the_lowest_root_of_the_quartic),
        cmocka_unit_test(neurons_of_both_kinds_are_exact_without_displacement),
        cmocka_unit_test(a_squared_relu_neuron_is_never_above_a_scan),
        cmocka_unit_test(a_dead_neuron_stays),
        cmocka_unit_test(a_side_that_rounding_spoilt_does_not_decide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
