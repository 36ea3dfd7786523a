/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics against random signs: their moments, noise of uneven sizes, directions. */
#include "lineage/signflip.h"

#include <math.h>
#include <string.h>

#include "blends.h"
#include "ww_test.h"

#define SIDE 64

static struct ww_signflip flip;

static int open_room(void **state)
{
    (void)state;
    return ww_signflip_init(&flip, NULL) ? -1 : 0;
}

static int close_room(void **state)
{
    (void)state;
    ww_signflip_release(&flip);
    return 0;
}

/* As it is defined: sum over i < j of the squared product of rows. */
static double spectrum_of(const double *e, size_t m, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < m; i++) {
        for (size_t j = i + 1; j < m; j++) {
            double q = 0;
            for (size_t k = 0; k < n; k++) {
                q += e[i * n + k] * e[j * n + k];
            }
            sum += q * q;
        }
    }
    return sum;
}

static void mean_and_variance_are_those_over_all_signs(void **state)
{
    enum { M = 3, N = 4, SIGNS = 1 << (M * N) };
    static double e[M * N];
    struct ww_signflip_sum found;
    double sum = 0;
    double squares = 0;
    (void)state;

    for (unsigned i = 0; i < M * N; i++) {
        e[i] = flip.e[i] = bell(1) * (1 + i % 3);
    }
    const double own = spectrum_of(e, M, N);
    for (unsigned signs = 0; signs < SIGNS; signs++) {
        double turned[M * N];
        for (unsigned i = 0; i < M * N; i++) {
            turned[i] = signs >> i & 1 ? -e[i] : e[i];
        }
        const double t = spectrum_of(turned, M, N);
        sum += t;
        squares += t * t;
    }
    const double mean = sum / SIGNS;
    ww_signflip_set(&flip, M, N);
    ww_signflip_spectrum(&flip, &found);
    assert_true(fabs(found.excess - (own - mean)) < 1e-9 * mean);
    assert_true(fabs(found.variance - (squares / SIGNS - mean * mean)) <
                1e-9 * mean * mean);
}

/* Rows, columns and single elements of different size, as noise by the size of weights
 * is. */
static void fill(double *of, double directions)
{
    double left[SIDE];
    double right[SIDE];

    for (unsigned i = 0; i < SIDE; i++) {
        left[i] = bell(1);
        right[i] = bell(1);
    }
    for (unsigned i = 0; i < SIDE; i++) {
        for (unsigned j = 0; j < SIDE; j++) {
            const double size = (1 + i % 5) * (1 + j % 7) / 12.0 * exp(bell(0.5));
            of[i * SIDE + j] = size * bell(1) + directions * left[i] * right[j];
        }
    }
}

static double spectrum_score(void)
{
    struct ww_signflip_sum found;

    ww_signflip_set(&flip, SIDE, SIDE);
    ww_signflip_spectrum(&flip, &found);
    return ww_signflip_score(&found);
}

static void uneven_noise_is_noise_and_a_direction_shows(void **state)
{
    (void)state;

    for (unsigned draw = 0; draw < 20; draw++) {
        fill(flip.e, 0);
        assert_true(fabs(spectrum_score()) < 4);
        fill(flip.e, 2);
        assert_true(spectrum_score() > 4);
    }
}

/* Of many matrices, as they are asked. */
static void what_it_has_in_common_with_another_shows(void **state)
{
    enum { MATRICES = 20 };
    static double x[SIDE * SIDE];
    static double g[SIDE * SIDE];
    double spectrum = 0;
    (void)state;

    for (unsigned turn = 0; turn < 2; turn++) {
        struct ww_signflip_sum all[3] = {{0}};
        for (unsigned matrix = 0; matrix < MATRICES; matrix++) {
            struct ww_signflip_sum one[3];
            fill(x, 2);
            fill(flip.e, 0);
            for (unsigned i = 0; i < SIDE * SIDE && turn; i++) {
                flip.e[i] += 0.3 * x[i];
            }
            ww_signflip_set(&flip, SIDE, SIDE);
            ww_signflip_beside(&flip, x, &one[0], &one[1], &spectrum);
            assert_true(spectrum > 0);
            ww_signflip_leading(&flip, x, g);
            ww_signflip_along(&flip, g, &one[2]);
            for (unsigned i = 0; i < 3; i++) {
                ww_signflip_add(&all[i], &one[i]);
            }
        }
        for (unsigned i = 0; i < 3; i++) {
            assert_true((fabs(ww_signflip_score(&all[i])) > 4) == (turn == 1));
        }
    }
}

static void nothing_has_no_score(void **state)
{
    (void)state;

    memset(flip.e, 0, SIDE * SIDE * sizeof(double));
    assert_true(spectrum_score() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_variance_are_those_over_all_signs),
        cmocka_unit_test(uneven_noise_is_noise_and_a_direction_shows),
        cmocka_unit_test(what_it_has_in_common_with_another_shows),
        cmocka_unit_test(nothing_has_no_score),
    };
    return cmocka_run_group_tests(tests, open_room, close_room);
}
