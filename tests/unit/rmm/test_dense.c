/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of matrices within an error: the bound, the bits, and what a decoder refuses.
 */
#include "ww_test.h"

#include "model/convert.h"
#include "rmm/dense.h"
#include "util/fail.h"
#include "ww_random.h"

#define N 20000

static uint8_t weights[4 * N];
static uint8_t base[4 * N];
static uint8_t back[4 * N];

/* A base of deviation 0.02 and a change of deviation `move`. */
static struct ww_dense_input make(enum ww_dtype dtype, double move)
{
    const size_t width = ww_dtype_bits(dtype) / 8;
    uint64_t seed = 7;
    for (size_t i = 0; i < N; i++) {
        double b = 0.02 * fx_normal(&seed);
        double w = 0;
        ww_from_double(dtype, &b, base + i * width, 1);
        ww_to_double(dtype, base + i * width, &b, 1);
        w = b + move * fx_normal(&seed);
        ww_from_double(dtype, &w, weights + i * width, 1);
    }
    return (struct ww_dense_input){dtype, weights, base, N};
}

/* Coded bytes, decoded again into back; its error and its length along the true change.
 */
static size_t there_and_back(const struct ww_dense_input *in, const struct ww_dense *d,
                             double *error, double *along)
{
    const struct ww_chunk_type type = ww_chunk_type_of(in->dtype);
    const size_t n_bytes = N * type.width;
    const struct ww_chunk_plain plain = {type, weights, base, n_bytes};
    struct ww_error err = {0};
    struct ww_chunk_room *room = NULL;
    struct ww_buf coded;
    double e2 = 0;
    double dot = 0;
    double norm2 = 0;
    size_t len = 0;
    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    OK(ww_chunk_room_new(&room, &err));
    OK(ww_chunk_dense_encode(room, &plain, &d->levels, &coded, &err));
    len = coded.len;
    assert_false(ww_chunk_decode(room, type, coded.data, len, NULL, back, n_bytes));
    assert_false(ww_chunk_decode(room, type, coded.data, len - 1, base, back, n_bytes));
    assert_true(ww_chunk_decode(room, type, coded.data, len, base, back, n_bytes));
    for (size_t i = 0; i < N; i++) {
        double x[3];
        ww_to_double(in->dtype, weights + i * type.width, &x[0], 1);
        ww_to_double(in->dtype, base + i * type.width, &x[1], 1);
        ww_to_double(in->dtype, back + i * type.width, &x[2], 1);
        e2 += (x[0] - x[2]) * (x[0] - x[2]);
        dot += (x[2] - x[1]) * (x[0] - x[1]);
        norm2 += (x[0] - x[1]) * (x[0] - x[1]);
    }
    *error = sqrt(e2 / norm2);
    *along = dot / norm2;
    ww_buf_release(&coded);
    ww_chunk_room_free(room);
    return len;
}

static void a_change_comes_back_within_its_bound_for_each_type(void **state)
{
    static const enum ww_dtype types[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32};
    (void)state;
    for (size_t t = 0; t < WW_LEN(types); t++) {
        for (double bound = 0.1; bound < 1; bound *= 2) {
            const struct ww_dense_input in = make(types[t], 1e-3);
            struct ww_error err = {0};
            struct ww_dense d;
            double error = 0;
            double along = 0;
            OK(ww_dense_fit(&in, bound, &d, &err));
            assert_true(d.fits);
            (void)there_and_back(&in, &d, &error, &along);
            assert_true(fabs(error - d.error) < 1e-9);
            assert_true(error <= bound && error > 0.9 * bound);
            assert_true(along > 0.98 && along < 1.02);
        }
    }
}

/* The widest cells are those that a Gaussian needs, so they stop none. */
static void a_gaussian_has_the_cells_that_its_bound_allows(void **state)
{
    const struct ww_dense_input in = make(WW_DTYPE_F32, 1e-3);
    (void)state;
    for (unsigned i = 1; i < 20; i++) {
        const double bound = 0.05 * i;
        struct ww_error err = {0};
        struct ww_dense d;
        OK(ww_dense_fit(&in, bound, &d, &err));
        assert_true(d.fits);
        if (!(d.error <= bound && d.error > 0.98 * bound)) {
            fail_msg("bound %g: error %g", bound, d.error);
        }
    }
}

/* 0.8 is a cell of 2.5 deviations, which costs a Gaussian 0.96 bits. */
static void one_bit_buys_a_change_of_full_length(void **state)
{
    const struct ww_dense_input in = make(WW_DTYPE_F32, 1e-3);
    struct ww_error err = {0};
    struct ww_dense d;
    double error = 0;
    double along = 0;
    size_t len = 0;
    (void)state;
    OK(ww_dense_fit(&in, 0.8, &d, &err));
    len = there_and_back(&in, &d, &error, &along);
    assert_true(8.0 * (double)len / N < 1.05);
    OK(ww_dense_fit(&in, 1, &d, &err));
    assert_true(d.fits);
    assert_int_equal(there_and_back(&in, &d, &error, &along), 1);
}

/* An embedding: one row in twenty is trained. Its length alone would allow cells in which
 * all but the largest numbers are lost. */
static void heavy_tails_do_not_widen_the_cells(void **state)
{
    const struct ww_dense_input in = make(WW_DTYPE_F32, 1e-3);
    struct ww_error err = {0};
    struct ww_dense d;
    double error = 0;
    double along = 0;
    uint64_t seed = 11;
    double sum = 0;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        const float x = ((float)(fx_random(&seed) % 2000) - 1000) / 1000;
        const float change = i / 64 % 20 == 0 ? x : 0.1F * x;
        memcpy(weights + i * sizeof(change), &change, sizeof(change));
        memset(base + i * sizeof(change), 0, sizeof(change));
        sum += (double)change * (double)change;
    }
    OK(ww_dense_fit(&in, 0.8, &d, &err));
    assert_true(d.fits);
    assert_true((double)d.levels.step < 2.65 * sqrt(sum / N));
    (void)there_and_back(&in, &d, &error, &along);
    assert_true(error < 0.7 && along > 0.98);
}

static void what_cannot_be_kept_does_not_fit(void **state)
{
    const struct ww_dense_input in = make(WW_DTYPE_BF16, 0);
    struct ww_error err = {0};
    struct ww_dense d;
    (void)state;
    OK(ww_dense_fit(&in, 0.5, &d, &err));
    assert_false(d.fits); /* there is no change at all */
}

static void the_base_s_bits_stay_where_nothing_changed(void **state)
{
    static const uint16_t odd[] = {0x8000, 0x0001, 0x8001, 0x0000};
    const struct ww_dense_input in = make(WW_DTYPE_BF16, 1e-3);
    struct ww_error err = {0};
    struct ww_dense d;
    double error = 0;
    double along = 0;
    (void)state;
    memcpy(base, odd, sizeof(odd)); /* -0 and subnormals */
    memcpy(weights, odd, sizeof(odd));
    OK(ww_dense_fit(&in, 0.5, &d, &err));
    (void)there_and_back(&in, &d, &error, &along);
    assert_memory_equal(back, odd, sizeof(odd));
}

/* Any byte of the head changed: refused, or other numbers, and never out of bounds. */
static void damaged_heads_are_refused(void **state)
{
    const struct ww_dense_input in = make(WW_DTYPE_BF16, 1e-3);
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    struct ww_error err = {0};
    struct ww_chunk_room *room = NULL;
    struct ww_dense d;
    struct ww_buf coded;
    (void)state;
    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    OK(ww_chunk_room_new(&room, &err));
    OK(ww_dense_fit(&in, 0.5, &d, &err));
    OK(ww_chunk_dense_encode(room,
                             &(struct ww_chunk_plain){type, weights, base, (size_t)2 * N},
                             &d.levels, &coded, &err));
    const struct {
        unsigned at;
        uint8_t value;
    } changes[] = {
        {1, (uint8_t)(coded.data[1] + 1)}, /* largest exponent */
        {2, 2},                            /* tables */
        {3, 0},
        {3, WW_CHUNK_LEVELS - 1},
        {3, WW_CHUNK_LEVELS + 1}, /* levels */
        {7, 0x80},
        {7, 0x7f}, /* a level below zero, one that is no number */
    };
    coded.data[6] |= 0x80; /* so that 0x7f above it is an infinity; another level else */
    assert_true(
        ww_chunk_decode(room, type, coded.data, coded.len, base, back, (size_t)2 * N));
    for (size_t i = 0; i < WW_LEN(changes); i++) {
        const uint8_t was = coded.data[changes[i].at];
        coded.data[changes[i].at] = changes[i].value;
        assert_false(ww_chunk_decode(room, type, coded.data, coded.len, base, back,
                                     (size_t)2 * N));
        coded.data[changes[i].at] = was;
    }
    ww_buf_release(&coded);
    ww_chunk_room_free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_comes_back_within_its_bound_for_each_type),
        cmocka_unit_test(a_gaussian_has_the_cells_that_its_bound_allows),
        cmocka_unit_test(one_bit_buys_a_change_of_full_length),
        cmocka_unit_test(heavy_tails_do_not_widen_the_cells),
        cmocka_unit_test(what_cannot_be_kept_does_not_fit),
        cmocka_unit_test(the_base_s_bits_stay_where_nothing_changed),
        cmocka_unit_test(damaged_heads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
