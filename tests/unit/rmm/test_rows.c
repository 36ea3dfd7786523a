/* SPDX-License-Identifier: Apache-2.0 */
/* Reversible model merging by rows: the error of Eckart and Young, exact where it must
 * be. */
#include "ww_test.h"

#include "rmm/own.h"
#include "rmm/rows.h"
#include "util/fail.h"
#include "ww_random.h"

#define MOST 16

static void make(double *vectors, size_t n, size_t r)
{
    uint64_t seed = 11;
    for (size_t i = 0; i < n * r; i++) {
        vectors[i] = (double)(fx_random(&seed) >> 11) / 9007199254740992.0 - 0.5;
    }
}

/* Squared error of all models at one position. */
static double error_of(const struct ww_rows *rows, const double *vectors)
{
    double mean[MOST];
    double directions[MOST * MOST];
    double coefficients[MOST * MOST];
    double one[MOST];
    struct ww_rows_room room = {0};
    struct ww_error err = {0};
    double sum = 0;
    OK(ww_rows_room_init(rows, &room, &err));
    ww_rows_fit(rows, vectors, &room, mean, directions, coefficients);
    ww_rows_room_release(&room);
    for (size_t j = 0; j < rows->p; j++) {
        double largest = 0;
        for (size_t k = 0; k < rows->r; k++) {
            const double v = directions[j * rows->r + k];
            largest = fabs(v) > fabs(largest) ? v : largest;
        }
        assert_true(largest >= 0);
    }
    for (size_t i = 0; i < rows->n; i++) {
        ww_rows_recover(rows, mean, directions, coefficients, i, one);
        for (size_t k = 0; k < rows->r; k++) {
            const double d = one[k] - vectors[i * rows->r + k];
            sum += d * d;
        }
    }
    return sum;
}

/* Sum of the eigenvalues that p directions leave out, of the centred vectors. */
static double left_out(const struct ww_rows *rows, const double *vectors)
{
    double centred[MOST * MOST];
    double gram[MOST * MOST] = {0};
    double values[MOST];
    double v[MOST * MOST];
    double sum = 0;
    for (size_t k = 0; k < rows->r; k++) {
        double mean = 0;
        for (size_t i = 0; i < rows->n; i++) {
            mean += vectors[i * rows->r + k] / (double)rows->n;
        }
        for (size_t i = 0; i < rows->n; i++) {
            centred[i * rows->r + k] = vectors[i * rows->r + k] - mean;
        }
    }
    for (size_t a = 0; a < rows->r; a++) {
        for (size_t b = 0; b < rows->r; b++) {
            for (size_t i = 0; i < rows->n; i++) {
                gram[a * rows->r + b] +=
                    centred[i * rows->r + a] * centred[i * rows->r + b];
            }
        }
    }
    ww_own_eigen(rows->r, gram, values, v);
    for (size_t k = rows->p; k < rows->r; k++) {
        sum += values[k];
    }
    return sum;
}

static void the_error_is_that_of_the_directions_left_out(void **state)
{
    static const size_t shapes[][2] = {{8, 16}, {8, 4}, {4, 8}, {2, 8}};
    double vectors[MOST * MOST];
    (void)state;
    for (size_t s = 0; s < WW_LEN(shapes); s++) {
        struct ww_rows rows = {.n = shapes[s][0], .r = shapes[s][1]};
        const size_t most = rows.n - 1 < rows.r ? rows.n - 1 : rows.r;
        make(vectors, rows.n, rows.r);
        for (rows.p = 1; rows.p <= most; rows.p++) {
            const double want = left_out(&rows, vectors);
            /* numbers of 16 bits: a relative 2^-9 of each */
            assert_true(fabs(error_of(&rows, vectors) - want) < 0.002 + 0.02 * want);
        }
    }
}

static void alike_models_need_no_direction(void **state)
{
    const struct ww_rows rows = {.n = 4, .r = 8, .p = 2};
    double vectors[MOST * MOST];
    (void)state;
    make(vectors, 1, 8);
    for (size_t i = 8; i < 32; i++) {
        vectors[i] = vectors[i - 8];
    }
    assert_true(error_of(&rows, vectors) < 1e-4);
}

/* The paper's table: p (r + n) + r of r n numbers. */
static void sizes_are_the_paper_s(void **state)
{
    struct ww_rows rows = {.n = 8, .r = 16};
    static const unsigned percents[] = {31, 50, 69, 88, 106};
    (void)state;
    for (rows.p = 1; rows.p <= WW_LEN(percents); rows.p++) {
        assert_int_equal((100 * ww_rows_numbers(&rows) + 64) / 128, percents[rows.p - 1]);
    }
    assert_int_equal(ww_rows_within(8, 16, 10, 10 * 2 * 88), 3);
    assert_int_equal(ww_rows_within(8, 16, 10, 10 * 2 * 88 - 2), 2);
    assert_int_equal(ww_rows_within(8, 16, 10, 100), 0);
    assert_int_equal(ww_rows_within(8, 16, 10, 1 << 20), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_error_is_that_of_the_directions_left_out),
        cmocka_unit_test(alike_models_need_no_direction),
        cmocka_unit_test(sizes_are_the_paper_s),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
