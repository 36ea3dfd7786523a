/* SPDX-License-Identifier: Apache-2.0 */
/* Factors as integers: the error that was asked for, and the bits that it should cost. */
#include "ww_test.h"

#include "model/convert.h"
#include "rmm/own.h"
#include "util/fail.h"
#include "ww_random.h"

#define M 96
#define R 8
#define D 160

/* Latent index k shrinks by decay^k; the last `empty` ones are zero in B. */
static void make(double *b, double *a, double decay, unsigned empty)
{
    uint64_t seed = 3;
    for (size_t i = 0; i < (size_t)M * R; i++) {
        b[i] = i % R >= R - empty ? 0 : fx_normal(&seed) * pow(decay, (double)(i % R));
    }
    for (size_t i = 0; i < (size_t)R * D; i++) {
        a[i] = fx_normal(&seed);
    }
}

/* Relative error of the products, from the numbers that a decoder gives. */
static double error_of(const double *b, const double *a, const struct ww_own *own,
                       struct ww_chunk_type type)
{
    static double b2[M * R];
    static double a2[R * D];
    double error2 = 0;
    double norm2 = 0;
    uint8_t bytes[8];
    for (size_t i = 0; i < (size_t)M * R; i++) {
        ww_chunk_own_number(type, own->b[i], own->scales[i % R], bytes);
        ww_to_double(ww_chunk_own_dtype(type), bytes, &b2[i], 1);
    }
    for (size_t i = 0; i < (size_t)R * D; i++) {
        ww_chunk_own_number(type, own->a[i], own->scales[i / D], bytes);
        ww_to_double(ww_chunk_own_dtype(type), bytes, &a2[i], 1);
    }
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < D; j++) {
            double want = 0;
            double got = 0;
            for (size_t k = 0; k < R; k++) {
                want += b[i * R + k] * a[k * D + j];
                got += b2[i * R + k] * a2[k * D + j];
            }
            norm2 += want * want;
            error2 += (want - got) * (want - got);
        }
    }
    return sqrt(error2 / norm2);
}

static void the_error_is_what_was_asked_for(void **state)
{
    static const double bounds[] = {0.4, 0.1, 0.02};
    static const enum ww_dtype dtypes[] = {WW_DTYPE_F32, WW_DTYPE_BF16, WW_DTYPE_F16};
    static double b[M * R];
    static double a[R * D];
    struct ww_error err = {0};
    (void)state;
    for (unsigned shape = 0; shape < 3; shape++) {
        make(b, a, shape == 1 ? 0.5 : 1, shape == 2 ? 3 : 0);
        for (size_t e = 0; e < WW_LEN(bounds); e++) {
            for (size_t d = 0; d < WW_LEN(dtypes); d++) {
                struct ww_own own;
                const struct ww_chunk_type type = ww_chunk_type_of(dtypes[d]);
                const struct ww_own_factors f = {M, R, D, b, a, type, NULL, NULL};
                OK(ww_own_fit(&f, bounds[e], &own, &err));
                assert_true(own.fits);
                const double error = error_of(b, a, &own, type);
                assert_true(error <= bounds[e] * 1.000001);
                /* not much smaller either, or bits are wasted */
                assert_true(error > 0.9 * bounds[e]);
                NEAR(own.error, error, 1e-6);
                ww_own_release(&own);
            }
        }
    }
}

/* Nothing of a 16-bit float is fine enough: those are coded exactly by the caller. */
static void what_a_type_cannot_hold_does_not_fit(void **state)
{
    static double b[M * R];
    static double a[R * D];
    struct ww_own own;
    struct ww_error err = {0};
    (void)state;
    make(b, a, 1, 0);
    struct ww_own_factors f = {M,    R,   D, b, a, ww_chunk_type_of(WW_DTYPE_BF16),
                               NULL, NULL};
    OK(ww_own_fit(&f, 1e-4, &own, &err));
    assert_false(own.fits);
    assert_null(own.a);
    memset(b, 0, sizeof(b));
    f.type = ww_chunk_type_of(WW_DTYPE_F32);
    OK(ww_own_fit(&f, 0.1, &own, &err)); /* no product at all */
    assert_false(own.fits);
    b[3] = NAN;
    OK(ww_own_fit(&f, 0.1, &own, &err));
    assert_false(own.fits);
    ww_own_release(&own);
}

static size_t code(struct ww_chunk_room *room, const int16_t *q, size_t n,
                   const struct ww_chunk_scales *s, uint8_t *back, bool check)
{
    struct ww_error err = {0};
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    struct ww_buf coded;
    ww_buf_init(&coded, 1 << 20);
    OK(ww_chunk_own_encode(room, q, n, s, &coded, &err));
    assert_true(ww_chunk_decode(room, type, coded.data, coded.len, NULL, back, 2 * n));
    for (size_t i = 0; i < n && check; i++) {
        const uint64_t at = s->first + i;
        const size_t k = (size_t)(s->axis ? at % s->rank : at / s->row);
        uint8_t want[2];
        ww_chunk_own_number(type, q[i], s->scales[k], want);
        assert_memory_equal(back + 2 * i, want, 2);
    }
    for (size_t len = 0; len < coded.len; len += 1 + coded.len / 300) {
        assert_false(ww_chunk_decode(room, type, coded.data, len, NULL, back, 2 * n));
    }
    const size_t size = coded.len;
    ww_buf_release(&coded);
    return size;
}

/* Flat spectrum and bound 0.1: log2(2 / 0.1^2) / 2 + 0.25 = 4.1 bits for each number, and
 * a little for tables. */
static void integers_come_back_at_the_expected_price(void **state)
{
    enum { ROWS = 600, COLUMNS = 900 };
    static double b[ROWS * R];
    static double a[R * COLUMNS];
    static uint8_t back[2 * R * COLUMNS];
    struct ww_chunk_room *room = NULL;
    struct ww_own own;
    struct ww_error err = {0};
    uint64_t seed = 5;
    (void)state;
    for (size_t i = 0; i < WW_LEN(b); i++) {
        b[i] = fx_normal(&seed);
    }
    for (size_t i = 0; i < WW_LEN(a); i++) {
        a[i] = fx_normal(&seed);
    }
    const struct ww_own_factors f = {
        ROWS, R, COLUMNS, b, a, ww_chunk_type_of(WW_DTYPE_BF16), NULL, NULL};
    OK(ww_own_fit(&f, 0.1, &own, &err));
    OK(ww_chunk_room_new(&room, &err));
    const struct ww_chunk_scales rows = {0,    R, COLUMNS, 0, own.scales, own.classes_a,
                                         false};
    const struct ww_chunk_scales columns = {1, R, 1, 0, own.scales, own.classes_b, false};
    const size_t n = code(room, own.a, WW_LEN(a), &rows, back, true) +
                     code(room, own.b, WW_LEN(b), &columns, back, true);
    NEAR(8 * (double)n / (R * (ROWS + COLUMNS)), 4.25, 0.25);
    /* A chunk that begins within a row. */
    const struct ww_chunk_scales rest = {0,    R, COLUMNS, 100, own.scales, own.classes_a,
                                         false};
    (void)code(room, own.a + 100, 1300, &rest, back, true);
    ww_chunk_room_free(room);
    ww_own_release(&own);
}

static void impossible_heads_are_refused(void **state)
{
    static const uint64_t bad[][4] = {/* axis, rank, row, first */
                                      {2, 2, 4, 0},
                                      {0, 0, 4, 0},
                                      {0, 5000, 4, 0},
                                      {0, 2, 0, 0},
                                      {0, 2, 4, 1},
                                      {0, 2, 4, UINT64_MAX - 3},
                                      {1, 2, 1, UINT64_MAX - 3}};
    static const float scales[2] = {1, 2};
    static const uint8_t classes[2] = {0, 1};
    static const int16_t q[8] = {0, 1, -1, 5, 300, -32767, 32767, 0};
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_F32);
    const struct ww_chunk_scales good = {0, 2, 4, 0, scales, classes, false};
    struct ww_chunk_room *room = NULL;
    struct ww_error err = {0};
    struct ww_buf coded;
    uint8_t back[32];
    (void)state;
    ww_buf_init(&coded, 10000);
    OK(ww_chunk_room_new(&room, &err));
    OK(ww_chunk_own_encode(room, q, 8, &good, &coded, &err));
    assert_true(ww_chunk_decode(room, type, coded.data, coded.len, NULL, back, 32));
    uint8_t head[21];
    memcpy(head, coded.data + 1, sizeof(head));
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        coded.data[1] = (uint8_t)bad[i][0];
        memcpy(coded.data + 2, &(uint32_t){(uint32_t)bad[i][1]}, 4);
        memcpy(coded.data + 6, &bad[i][2], 8);
        memcpy(coded.data + 14, &bad[i][3], 8);
        assert_false(ww_chunk_decode(room, type, coded.data, coded.len, NULL, back, 32));
    }
    memcpy(coded.data + 1, head, sizeof(head));
    coded.data[25] = 0x7f; /* a scale that is no number */
    coded.data[24] |= 0x80;
    assert_false(ww_chunk_decode(room, type, coded.data, coded.len, NULL, back, 32));
    ww_buf_release(&coded);
    ww_chunk_room_free(room);
}

static void eigenvalues_are_those_of_a_known_matrix(void **state)
{
    /* Second differences: 2 - 2 cos(pi k / (n + 1)). */
    enum { N = 12 };
    double a[N * N] = {0};
    double values[N];
    double v[N * N];
    (void)state;
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = 2;
        if (i + 1 < N) {
            a[i * N + i + 1] = -1;
            a[(i + 1) * N + i] = -1;
        }
    }
    ww_own_eigen(N, a, values, v);
    for (size_t k = 0; k < N; k++) {
        NEAR(values[k], 2 - 2 * cos(3.14159265358979323846 * (double)(N - k) / (N + 1)),
             1e-13);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_error_is_what_was_asked_for),
        cmocka_unit_test(what_a_type_cannot_hold_does_not_fit),
        cmocka_unit_test(integers_come_back_at_the_expected_price),
        cmocka_unit_test(impossible_heads_are_refused),
        cmocka_unit_test(eigenvalues_are_those_of_a_known_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
