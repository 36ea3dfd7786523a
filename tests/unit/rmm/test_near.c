/* SPDX-License-Identifier: Apache-2.0 */
/* Factors near those of an earlier version: the error that was asked for, in fewer bits,
 * in whatever coordinates the later version has; and what the form refuses. */
#include "ww_test.h"

#include "model/convert.h"
#include "rmm/own.h"
#include "util/fail.h"
#include "ww_random.h"

#define M 96
#define R 8
#define D 160

static double b0[M * R];
static double a0[R * D];
static double b1[M * R];
static double a1[R * D];

static void store(const struct ww_own *own, const struct ww_own_factors *f, double *b,
                  double *a)
{
    const enum ww_dtype dtype = ww_chunk_own_dtype(f->type);
    uint8_t bytes[8];
    for (size_t i = 0; i < (size_t)M * R + (size_t)R * D; i++) {
        const bool is_b = i < (size_t)M * R;
        const size_t at = is_b ? i : i - (size_t)M * R;
        const float scale = own->scales[is_b ? at % R : at / D];
        const int16_t q = is_b ? own->b[at] : own->a[at];
        double *to = is_b ? &b[at] : &a[at];
        if (f->near_b) {
            ww_from_double(dtype, is_b ? &f->near_b[at] : &f->near_a[at], bytes, 1);
            ww_chunk_near_number(f->type, q, scale, bytes, bytes);
        } else {
            ww_chunk_own_number(f->type, q, scale, bytes);
        }
        ww_to_double(dtype, bytes, to, 1);
    }
}

/* Columns of B mixed by a matrix and rows of A by its inverse: the same product. */
static void turn(double *b, double *a)
{
    for (size_t k = 0; k + 1 < R; k++) {
        for (size_t i = 0; i < M; i++) {
            b[i * R + k] += 0.7 * b[i * R + k + 1];
        }
        for (size_t j = 0; j < D; j++) {
            a[(k + 1) * D + j] -= 0.7 * a[k * D + j];
        }
    }
}

/* The first version as a package within an error has it, and a later one by `step`. */
static void make(struct ww_own_factors *f, double step)
{
    uint64_t seed = 3;
    struct ww_error err = {0};
    struct ww_own own;
    for (size_t i = 0; i < (size_t)M * R; i++) {
        b0[i] = fx_normal(&seed);
    }
    for (size_t i = 0; i < (size_t)R * D; i++) {
        a0[i] = fx_normal(&seed);
    }
    memcpy(b1, b0, sizeof(b0));
    memcpy(a1, a0, sizeof(a0));
    for (size_t i = 0; i < (size_t)M * R; i++) {
        b1[i] += step * fx_normal(&seed);
    }
    for (size_t i = 0; i < (size_t)R * D; i++) {
        a1[i] += step * fx_normal(&seed);
    }
    turn(b1, a1);
    *f = (struct ww_own_factors){
        .m = M, .r = R, .d = D, .b = b0, .a = a0, .type = ww_chunk_type_of(WW_DTYPE_F32)};
    OK(ww_own_fit(f, 0.05, &own, &err));
    store(&own, f, b0, a0);
    ww_own_release(&own);
    f->b = b1;
    f->a = a1;
}

static double mean_size(const struct ww_own *own)
{
    double sum = 0;
    for (size_t i = 0; i < (size_t)M * R; i++) {
        sum += abs(own->b[i]);
    }
    for (size_t i = 0; i < (size_t)R * D; i++) {
        sum += abs(own->a[i]);
    }
    return sum / (M * R + R * D);
}

static double error_of(const struct ww_own *own, const struct ww_own_factors *f)
{
    static double b[M * R];
    static double a[R * D];
    double error2 = 0;
    double norm2 = 0;
    store(own, f, b, a);
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < D; j++) {
            double want = 0;
            double got = 0;
            for (size_t k = 0; k < R; k++) {
                want += b1[i * R + k] * a1[k * D + j];
                got += b[i * R + k] * a[k * D + j];
            }
            norm2 += want * want;
            error2 += (want - got) * (want - got);
        }
    }
    return sqrt(error2 / norm2);
}

static void a_near_version_takes_smaller_integers(void **state)
{
    struct ww_own_factors f;
    struct ww_error err = {0};
    struct ww_own alone;
    struct ww_own near;
    (void)state;
    make(&f, 0.1);
    OK(ww_own_fit(&f, 0.05, &alone, &err));
    f.near_b = b0;
    f.near_a = a0;
    OK(ww_own_fit(&f, 0.05, &near, &err));
    assert_true(alone.fits && near.fits);
    const double error = error_of(&near, &f);
    NEAR(near.error, error, 1e-6);
    assert_true(error <= 0.05 && error > 0.04);
    /* What moved is a tenth, beside what was rounded: three bits less of five. */
    assert_true(mean_size(&near) * 5 < mean_size(&alone));
    ww_own_release(&alone);
    ww_own_release(&near);
}

static void nothing_near_does_not_fit(void **state)
{
    static double zero[R * D];
    struct ww_own_factors f;
    struct ww_error err = {0};
    struct ww_own near;
    (void)state;
    make(&f, 0.1);
    f.near_b = zero;
    f.near_a = zero;
    OK(ww_own_fit(&f, 0.05, &near, &err));
    assert_false(near.fits);
}

/* Every cut of a coded chunk is refused; a flipped bit is, or is read without harm. */
static void the_form_is_read_only_as_it_was_written(void **state)
{
    static const float scales[R] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t classes[R] = {0, 1, 2, 3, 0, 1, 2, 3};
    enum { N = 40 * R };
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    const struct ww_chunk_scales s = {.axis = 1,
                                      .rank = R,
                                      .row = 1,
                                      .scales = scales,
                                      .classes = classes,
                                      .near = true};
    struct ww_chunk_room *room = NULL;
    struct ww_error err = {0};
    int16_t integers[N];
    uint8_t near[2 * N];
    uint8_t out[2 * N];
    uint8_t other[2 * N];
    struct ww_buf coded;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        const uint16_t number = (uint16_t)(0x3f80 + i);
        integers[i] = (int16_t)(i % 7) - 3;
        memcpy(near + 2 * i, &number, 2);
    }
    OK(ww_chunk_room_new(&room, &err));
    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    OK(ww_chunk_own_encode(room, integers, N, &s, &coded, &err));
    assert_int_equal(coded.data[0], WW_CHUNK_KLT);
    assert_true(
        ww_chunk_decode(room, type, coded.data, coded.len, near, out, sizeof(out)));
    for (size_t i = 0; i < N; i++) {
        uint8_t want[2];
        ww_chunk_near_number(type, integers[i], scales[i % R], near + 2 * i, want);
        assert_memory_equal(out + 2 * i, want, 2);
        assert_true(integers[i] != 0 || memcmp(near + 2 * i, want, 2) == 0);
    }
    assert_false(
        ww_chunk_decode(room, type, coded.data, coded.len, NULL, out, sizeof(out)));
    for (size_t n = 0; n < coded.len; n++) {
        assert_false(
            ww_chunk_decode(room, type, coded.data, n, near, other, sizeof(out)));
    }
    for (size_t bit = 0; bit < 8 * coded.len; bit++) {
        coded.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        (void)!ww_chunk_decode(room, type, coded.data, coded.len, near, other,
                               sizeof(other));
        coded.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_false(
        ww_chunk_decode(room, type, coded.data, coded.len, near, out, sizeof(out) - 2));
    ww_buf_release(&coded);
    ww_chunk_room_free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_near_version_takes_smaller_integers),
        cmocka_unit_test(nothing_near_does_not_fit),
        cmocka_unit_test(the_form_is_read_only_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
