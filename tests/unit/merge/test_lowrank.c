/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "merge/lowrank.h"
#include "ww_random.h"
#include "ww_test.h"

#define M 1900
#define N 1300
#define R 9

static float matrix[M * N];

static double unit(uint64_t *state)
{
    return (double)(fx_random(state) >> 11) * 0x1p-53;
}

/* Singular values that fall, and a little noise behind them. */
static void fill(void)
{
    static double left[M * R];
    static double right[R * N];
    uint64_t state = 11;

    for (size_t i = 0; i < M * R; i++) {
        left[i] = unit(&state) - 0.5;
    }
    for (size_t i = 0; i < R * N; i++) {
        right[i] = unit(&state) - 0.5;
    }
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < N; j++) {
            double sum = 1e-4 * (unit(&state) - 0.5);
            for (size_t k = 0; k < R; k++) {
                sum += left[i * R + k] * right[k * N + j] / (double)(1 + k * k);
            }
            matrix[i * N + j] = (float)sum;
        }
    }
}

static enum ww_err read_rows(void *payload, size_t first, size_t count, double *out,
                             struct ww_error *err)
{
    size_t *most = payload;
    (void)err;

    *most = count > *most ? count : *most;
    for (size_t i = 0; i < count * N; i++) {
        out[i] = (double)matrix[first * N + i];
    }
    return WW_OK;
}

static double norm(void)
{
    double sum = 0;

    for (size_t i = 0; i < (size_t)M * N; i++) {
        sum += (double)matrix[i] * (double)matrix[i];
    }
    return sum;
}

static double product(const struct ww_lowrank *l, size_t i, size_t j)
{
    double sum = 0;

    for (size_t k = 0; k < l->rank; k++) {
        sum += (double)l->b[i * l->rank + k] * (double)l->a[k * N + j];
    }
    return sum;
}

static void reading_rows_gives_what_the_matrix_gives(void **state)
{
    struct ww_lowrank held = {0};
    struct ww_lowrank read = {0};
    struct ww_error err = {0};
    size_t most = 0;
    double worst = 0;
    (void)state;

    fill();
    const struct ww_lowrank_rows rows = {M, N, norm(), read_rows, &most};
    OK(ww_lowrank_of(M, N, matrix, R, 0, &held, &err));
    OK(ww_lowrank_streamed(&rows, R, 0, &read, &err));
    assert_int_equal(held.rank, R);
    assert_int_equal(read.rank, R);
    assert_true(most < M); /* more than one block */
    assert_true(fabs(held.kept - read.kept) < 1e-12);
    for (size_t i = 0; i < M; i += 7) {
        for (size_t j = 0; j < N; j += 5) {
            worst = fmax(worst, fabs(product(&held, i, j) - product(&read, i, j)));
        }
    }
    assert_true(worst < 2e-6); /* the factors' own float32 */
    ww_lowrank_release(&held);
    ww_lowrank_release(&read);
}

static void an_energy_is_kept_by_as_few_as_a_full_decomposition_takes(void **state)
{
    struct ww_lowrank held = {0};
    struct ww_lowrank read = {0};
    struct ww_error err = {0};
    size_t most = 0;
    (void)state;

    const struct ww_lowrank_rows rows = {M, N, norm(), read_rows, &most};
    OK(ww_lowrank_streamed(&rows, 40, 0.98, &read, &err));
    OK(ww_lowrank_streamed(&rows, 40, 0, &held, &err));
    assert_true(read.rank < R && read.kept >= 0.98);
    assert_int_equal(held.rank, 40);
    double sum = 0;
    for (size_t k = 0; k + 1 < read.rank; k++) {
        double length = 0;
        for (size_t j = 0; j < N; j++) {
            length += (double)read.a[k * N + j] * (double)read.a[k * N + j];
        }
        sum += length * length; /* sqrt(s) times a unit row */
    }
    assert_true(sum < 0.98 * rows.total); /* one fewer keeps less */
    ww_lowrank_release(&held);
    ww_lowrank_release(&read);
}

static enum ww_err fails(void *payload, size_t first, size_t count, double *out,
                         struct ww_error *err)
{
    (void)count;
    (void)err;
    out[0] = 0;
    return first > 0 ? *(enum ww_err *)payload : WW_OK;
}

static void a_failed_read_ends_it(void **state)
{
    enum ww_err code = WW_E_IO;
    const struct ww_lowrank_rows rows = {M, N, 1, fails, &code};
    struct ww_lowrank out = {0};
    struct ww_error err = {0};
    (void)state;

    assert_int_equal(ww_lowrank_streamed(&rows, R, 0, &out, &err), WW_E_IO);
    assert_null(out.a);
    assert_null(out.b);
}

static void what_is_held_grows_with_the_matrix(void **state)
{
    (void)state;
    assert_true(ww_lowrank_bytes(M, N, R, 0) >= sizeof(double) * M * N);
    assert_true(ww_lowrank_bytes(M, N, R, 0.9) >= 3 * sizeof(double) * M * N);
    assert_true(ww_lowrank_bytes(14336, 4096, 64, 0) > (uint64_t)96 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_rows_gives_what_the_matrix_gives),
        cmocka_unit_test(an_energy_is_kept_by_as_few_as_a_full_decomposition_takes),
        cmocka_unit_test(a_failed_read_ends_it),
        cmocka_unit_test(what_is_held_grows_with_the_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
