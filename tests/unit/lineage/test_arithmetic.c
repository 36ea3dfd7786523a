/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds of arithmetic: each gives what its own steps give, and they differ. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lineage/arithmetic.h"
#include "model/convert.h"

#define N 1000

static float bf16(float v)
{
    const double wide = (double)v;
    uint16_t stored = 0;
    ww_from_double(WW_DTYPE_BF16, &wide, &stored, 1);
    ww_to_float(WW_DTYPE_BF16, &stored, &v, 1);
    return v;
}

struct inputs {
    float x[2][N];
    float base[N];
    float *rows[2];
};

static void make(struct inputs *in)
{
    uint32_t state = 7;
    for (size_t e = 0; e < N; e++) {
        float v[3];
        for (size_t i = 0; i < 3; i++) {
            state = state * 1664525u + 1013904223u;
            v[i] = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
        }
        in->base[e] = bf16(v[0]);
        in->x[0][e] = bf16(v[0] + 0.05f * v[1]);
        in->x[1][e] = bf16(v[0] + 0.05f * v[2]);
    }
    in->rows[0] = in->x[0];
    in->rows[1] = in->x[1];
}

static void compute(const char *name, const struct ww_weighing *w, struct inputs *in,
                    float *out)
{
    uint16_t stored[N];
    for (unsigned i = 1; i < WW_ARITHMETICS; i++) {
        if (strcmp(ww_arithmetic_name(i), name) == 0) {
            assert_true(ww_arithmetic_fits(i, w));
            ww_arithmetic_compute(i, w, in->rows, w->has_base ? in->base : NULL, N,
                                  stored);
            ww_to_float(WW_DTYPE_BF16, stored, out, N);
            return;
        }
    }
    fail();
}

static const struct ww_weighing sums = {
    .n = 2, .w = {0.3f, 0.6f}, .divisor = 0.9f, .lambda = 1, .dtype = WW_DTYPE_BF16};
static const struct ww_weighing deltas = {.n = 2,
                                          .w = {0.3f, 0.6f},
                                          .divisor = 1,
                                          .lambda = 0.7f,
                                          .has_base = true,
                                          .dtype = WW_DTYPE_BF16};

static void float_sums_are_those_of_float(void **state)
{
    struct inputs in;
    float out[N];
    (void)state;

    make(&in);
    compute("float32_sum", &sums, &in, out);
    for (size_t e = 0; e < N; e++) {
        const float a = in.x[0][e] * 0.3f;
        const float b = in.x[1][e] * 0.6f;
        const float sum = a + b;
        assert_true(out[e] == bf16(sum / 0.9f));
    }
    compute("float32_fused", &sums, &in, out);
    for (size_t e = 0; e < N; e++) {
        const float a = in.x[0][e] * 0.3f;
        assert_true(out[e] == bf16(fmaf(in.x[1][e], 0.6f, a) / 0.9f));
    }
    compute("float32_delta", &deltas, &in, out);
    for (size_t e = 0; e < N; e++) {
        const float a = (in.x[0][e] - in.base[e]) * 0.3f;
        const float b = (in.x[1][e] - in.base[e]) * 0.6f;
        const float scaled = (a + b) * 0.7f;
        assert_true(out[e] == bf16(in.base[e] + scaled));
    }
}

static void narrow_differences_are_rounded_step_by_step(void **state)
{
    struct inputs in;
    float out[N];
    float wide[N];
    size_t differ = 0;
    (void)state;

    make(&in);
    compute("narrow_delta", &deltas, &in, out);
    compute("float32_delta", &deltas, &in, wide);
    for (size_t e = 0; e < N; e++) {
        const float a = bf16(bf16(in.x[0][e] - in.base[e]) * bf16(0.3f));
        const float b = bf16(bf16(in.x[1][e] - in.base[e]) * bf16(0.6f));
        const float scaled = bf16(bf16(a + b) * 0.7f);
        assert_true(out[e] == bf16(in.base[e] + scaled));
        differ += out[e] != wide[e];
    }
    assert_true(differ > N / 100);
}

/* As scripts add models up, one statement after another. */
static void narrow_sums_of_scripts_are_rounded_after_every_operation(void **state)
{
    struct inputs in;
    float out[N];
    struct ww_weighing even = {
        .n = 2, .w = {0.4f, 0.4f}, .divisor = 0.8f, .lambda = 1, .dtype = WW_DTYPE_BF16};
    (void)state;

    make(&in);
    compute("narrow_steps", &sums, &in, out);
    for (size_t e = 0; e < N; e++) {
        const float a = bf16(in.x[0][e] * (0.3f / 0.9f));
        const float b = bf16(in.x[1][e] * (0.6f / 0.9f));
        assert_true(out[e] == bf16(a + b));
    }
    compute("narrow_steps_delta", &deltas, &in, out);
    for (size_t e = 0; e < N; e++) {
        const float a = bf16(bf16(in.x[0][e] - in.base[e]) * (0.3f * 0.7f));
        const float b = bf16(bf16(in.x[1][e] - in.base[e]) * (0.6f * 0.7f));
        assert_true(out[e] == bf16(bf16(in.base[e] + a) + b));
    }
    compute("narrow_steps_after", &even, &in, out);
    for (size_t e = 0; e < N; e++) {
        assert_true(out[e] == bf16(bf16(in.x[0][e] + in.x[1][e]) / 2));
    }
    even.has_base = true;
    even.divisor = 1;
    compute("narrow_steps_delta_after", &even, &in, out);
    for (size_t e = 0; e < N; e++) {
        const float a = bf16(in.x[0][e] - in.base[e]);
        const float b = bf16(in.x[1][e] - in.base[e]);
        assert_true(out[e] == bf16(in.base[e] + bf16(bf16(a + b) * 0.4f)));
    }
}

static void kinds_that_cannot_be_do_not_fit(void **state)
{
    struct ww_weighing w = sums;
    (void)state;

    for (unsigned i = 0; i < WW_ARITHMETICS; i++) {
        const bool delta = strstr(ww_arithmetic_name(i), "delta") != NULL;
        const bool after = strstr(ww_arithmetic_name(i), "after") != NULL;
        const bool here = i > 0 && i != WW_ARITHMETIC_PEER;
        assert_int_equal(ww_arithmetic_fits(i, &sums), here && !delta && !after);
        assert_int_equal(ww_arithmetic_fits(i, &deltas), here && !after);
    }
    assert_false(ww_arithmetic_fits(WW_ARITHMETIC_PEER, &deltas));
    assert_false(ww_arithmetic_is_wide(WW_ARITHMETIC_PEER));
    w.dtype = WW_DTYPE_F32;
    for (unsigned i = 1; i < WW_ARITHMETICS; i++) {
        if (ww_arithmetic_fits(i, &w)) {
            assert_true(ww_arithmetic_is_wide(i));
        }
    }
    assert_null(ww_arithmetic_name(WW_ARITHMETICS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_sums_are_those_of_float),
        cmocka_unit_test(narrow_differences_are_rounded_step_by_step),
        cmocka_unit_test(narrow_sums_of_scripts_are_rounded_after_every_operation),
        cmocka_unit_test(kinds_that_cannot_be_do_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
