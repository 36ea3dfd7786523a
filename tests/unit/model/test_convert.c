/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge is a slow routine of its own: it builds the value of every bit pattern from
 * the definition (sign, exponent, fraction) with ldexp, and rounds by searching the
 * sorted list of those values.
 */
#include "model/convert.h"

#include <float.h>

#include "model/gguf.h"
#include "model/recode.h"
#include "util/fail.h"
#include "ww_test.h"

struct format {
    enum ww_dtype dtype;
    int fraction_bits;
    int exponent_bits;
};

static const struct format f16 = {WW_DTYPE_F16, 10, 5};
static const struct format bf16 = {WW_DTYPE_BF16, 7, 8};

/* NaN gives NAN. */
static double slow_value(const struct format *f, unsigned bits)
{
    int bias = (1 << (f->exponent_bits - 1)) - 1;
    int exponent = (int)(bits >> f->fraction_bits) & ((1 << f->exponent_bits) - 1);
    int fraction = (int)bits & ((1 << f->fraction_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == (1 << f->exponent_bits) - 1) {
        return fraction ? (double)NAN : sign * (double)INFINITY;
    }
    if (exponent == 0) {
        return sign * ldexp(fraction, 1 - bias - f->fraction_bits);
    }
    return sign *
           ldexp(fraction + (1 << f->fraction_bits), exponent - bias - f->fraction_bits);
}

/* Bits of the nearest, ties to the even pattern. Infinity counts as one step beyond the
 * largest finite value, as IEEE 754 says. */
static unsigned slow_round(const struct format *f, double d)
{
    unsigned sign = signbit(d) ? 0x8000 : 0;
    unsigned inf = ((1U << f->exponent_bits) - 1) << f->fraction_bits;
    double mag = fabs(d);
    unsigned low = 0;
    unsigned high = inf;
    if (isinf(d)) {
        return sign | inf;
    }
    while (high - low > 1) { /* largest pattern whose value is <= mag */
        unsigned mid = low + (high - low) / 2;
        if (slow_value(f, mid) <= mag) {
            low = mid;
        } else {
            high = mid;
        }
    }
    double below = slow_value(f, low);
    double above =
        low + 1 == inf ? 2 * below - slow_value(f, low - 1) : slow_value(f, low + 1);
    /* below <= mag < above or beyond; differences of doubles this close are exact */
    double down = mag - below;
    double up = above - mag;
    if (down > up || (down == up && (low & 1))) {
        low++;
    }
    return sign | low;
}

static unsigned narrow_one(const struct format *f, double d)
{
    uint16_t h = 0;
    ww_from_double(f->dtype, &d, &h, 1);
    return h;
}

static void widening_is_exact_for_all_patterns(const struct format *f)
{
    static uint16_t all[65536];
    static float floats[65536];
    static double doubles[65536];
    for (unsigned i = 0; i < 65536; i++) {
        all[i] = (uint16_t)i;
    }
    ww_to_float(f->dtype, all, floats, 65536);
    ww_to_double(f->dtype, all, doubles, 65536);
    for (unsigned i = 0; i < 65536; i++) {
        double want = slow_value(f, i);
        if (isnan(want)) {
            assert_true(isnan(floats[i]) && isnan(doubles[i]));
            continue;
        }
        assert_true((double)floats[i] == want && doubles[i] == want);
        assert_int_equal(!signbit(doubles[i]), !(i & 0x8000)); /* -0 stays -0 */
        assert_int_equal(!signbit(floats[i]), !(i & 0x8000));
    }
}

static void f16_widens_exactly(void **state)
{
    (void)state;
    widening_is_exact_for_all_patterns(&f16);
}

static void bf16_widens_exactly(void **state)
{
    (void)state;
    widening_is_exact_for_all_patterns(&bf16);
}

static void check_round(const struct format *f, double d)
{
    unsigned got = narrow_one(f, d);
    unsigned want = slow_round(f, d);
    if (got != want) {
        fail_msg("%s: %a gave 0x%04x, want 0x%04x", ww_dtype_name(f->dtype), d, got,
                 want);
    }
}

/* Each value, the tie between it and the next, and the doubles on both sides of each. */
static void rounds_as_the_slow_routine(const struct format *f)
{
    for (unsigned i = 0; i < 65536; i++) {
        double v = slow_value(f, i);
        if (isnan(v)) {
            assert_true(isnan(slow_value(f, narrow_one(f, v))));
            continue;
        }
        assert_int_equal(narrow_one(f, v), i);
        check_round(f, v);
        if (isinf(v)) {
            continue;
        }
        double next = slow_value(f, i + 1);
        if (isinf(next)) { /* the tie lies half a step beyond the largest */
            next = 2 * v - slow_value(f, i - 1);
        }
        double tie = v / 2 + next / 2;
        check_round(f, tie);
        check_round(f, nextafter(tie, (double)INFINITY));
        check_round(f, nextafter(tie, (double)-INFINITY));
        check_round(f, nextafter(v, (double)INFINITY));
        check_round(f, nextafter(v, (double)-INFINITY));
        check_round(f, v + (next - v) * 0.25);
    }
}

static void f16_rounds_once_to_nearest_even(void **state)
{
    (void)state;
    rounds_as_the_slow_routine(&f16);
}

static void bf16_rounds_once_to_nearest_even(void **state)
{
    (void)state;
    rounds_as_the_slow_routine(&bf16);
}

static void extremes_round_as_the_slow_routine(void **state)
{
    (void)state;
    static const double values[] = {
        DBL_MAX,         DBL_MIN,        0x1p-1074, 0x1p-149, 0x1p-150, 0x1.8p-150,
        (double)FLT_MAX, 0x1.ffffffp127, 0x1p128,   0.0,      1.0,      65504,
        65519.999999,    65520,          65536,     1e-300};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        check_round(&f16, values[i]);
        check_round(&f16, -values[i]);
        check_round(&bf16, values[i]);
        check_round(&bf16, -values[i]);
    }
    assert_int_equal(narrow_one(&f16, (double)INFINITY), 0x7c00);
    assert_int_equal(narrow_one(&bf16, (double)-INFINITY), 0xff80);
}

/* Doubles spread over all exponents that matter, from a fixed generator. */
static void random_doubles_round_as_the_slow_routine(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252U;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double d = ldexp((double)(x >> 11), (int)(x % 300) - 53 - 160);
        check_round(&f16, i & 1 ? d : -d);
        check_round(&bf16, i & 1 ? d : -d);
    }
}

static void f32_and_f64_pass_through_or_round_once(void **state)
{
    (void)state;
    const double in[] = {1.0, 1.0 + 0x1p-24, 1.0 + 0x1.8p-23, -0.0, 0x1p-149, 1e300};
    float narrow[6];
    double back[6];
    float wide[6];
    ww_from_double(WW_DTYPE_F32, in, narrow, 6);
    assert_true(narrow[0] == 1.0F && narrow[1] == 1.0F && narrow[2] == 1.0F + 0x1p-22F);
    assert_true(signbit(narrow[3]) && narrow[4] == 0x1p-149F && isinf((double)narrow[5]));
    ww_to_double(WW_DTYPE_F32, narrow, back, 6);
    assert_true(back[4] == 0x1p-149 && back[2] == 1.0 + 0x1p-22);
    ww_to_float(WW_DTYPE_F32, narrow, wide, 6);
    assert_memory_equal(wide, narrow, sizeof(wide));
    ww_from_double(WW_DTYPE_F64, in, back, 6);
    assert_memory_equal(back, in, sizeof(in));
    ww_to_double(WW_DTYPE_F64, in, back, 6);
    assert_memory_equal(back, in, sizeof(in));
    ww_to_float(WW_DTYPE_F64, in, wide, 6);
    assert_memory_equal(wide, narrow, sizeof(wide));
}

static void unaligned_bytes_and_every_small_count_work(void **state)
{
    (void)state;
    static const enum ww_dtype dtypes[] = {WW_DTYPE_F16, WW_DTYPE_BF16, WW_DTYPE_F32,
                                           WW_DTYPE_F64};
    for (size_t t = 0; t < 4; t++) {
        size_t width = ww_dtype_bits(dtypes[t]) / 8;
        for (size_t n = 0; n < 70; n++) {
            uint8_t raw[70 * 8 + 1];
            double in[70];
            double out[70];
            float floats[70];
            for (size_t i = 0; i < n; i++) {
                in[i] = (double)i - 3.5;
            }
            memset(raw, 0xee, sizeof(raw));
            ww_from_double(dtypes[t], in, raw + 1, n);
            assert_int_equal(raw[0], 0xee);
            assert_true(n == 70 || raw[1 + n * width] == 0xee);
            ww_to_double(dtypes[t], raw + 1, out, n);
            ww_to_float(dtypes[t], raw + 1, floats, n);
            for (size_t i = 0; i < n; i++) {
                assert_true(out[i] == in[i] && (double)floats[i] == in[i]);
            }
        }
    }
}

static void nonfinite_patterns_are_counted(void **state)
{
    (void)state;
    static uint16_t all[65536];
    for (unsigned i = 0; i < 65536; i++) {
        all[i] = (uint16_t)i;
    }
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_F16, all, 65536), 2 * 1024);
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_BF16, all, 65536), 2 * 128);
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_BF16, all, 0), 0);
    const float floats[] = {1, NAN, -INFINITY, FLT_MAX, INFINITY, 0};
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_F32, floats, 6), 3);
    const double doubles[] = {DBL_MAX, (double)NAN, (double)INFINITY, -0.0};
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_F64, doubles, 4), 2);
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_F64, doubles, 1), 0);
}

static void nonfinite_counts_do_not_wrap(void **state)
{
    (void)state;
    enum { N = 200001 };
    uint16_t *inf = malloc(N * sizeof(*inf));
    assert_non_null(inf);
    for (int i = 0; i < N; i++) {
        inf[i] = 0x7f80;
    }
    assert_int_equal(ww_count_nonfinite(WW_DTYPE_BF16, inf, N), N);
    free(inf);
}

/* A scale of 3 x 2^-24 may have been 2.5 or 3.5 of those: a sixth of each value. One of 1
 * was within 2^-11, and a quantiser of Q2_K divides by the scale as it is stored. */
static void values_divided_before_the_scale_was_rounded_are_unsure(void **state)
{
    uint8_t block[136] = {3, 0};
    double slack[256];
    float v[256];
    (void)state;

    block[2] = 5; /* Q8_0 */
    ww_gguf_slack(WW_GGUF_Q8_0, block, 1, slack);
    NEAR(slack[0], 5 * 0x1p-25, 1e-12);
    NEAR(slack[1], 0, 0);
    block[4] = 1; /* IQ4_XS: a scale of 1 - 32 */
    ww_gguf_to_float(WW_GGUF_IQ4_XS, block, 1, v);
    ww_gguf_slack(WW_GGUF_IQ4_XS, block, 1, slack);
    NEAR(slack[0], fabs((double)v[0]) / 6, 1e-12);
    block[0] = 0;
    block[1] = 0x3c;
    block[3] = 0x3c; /* Q4_1: a least value of 1 besides */
    block[2] = 0;
    ww_gguf_slack(WW_GGUF_Q4_1, block, 1, slack);
    NEAR(slack[0], (block[4] & 15) * 0x1p-11 + 0x1p-11, 0);
    ww_gguf_slack(WW_GGUF_Q2_K, block, 1, slack);
    NEAR(slack[0], 0, 0);
}

static unsigned recode_one(enum ww_dtype from, enum ww_dtype to, uint32_t bits)
{
    uint8_t src[4];
    uint8_t out[4] = {0};
    uint32_t back = 0;
    memcpy(src, &bits, 4); /* the lower half comes first */
    ww_recode(from, to, src, out, 1);
    memcpy(&back, out, 4);
    return back;
}

static unsigned slow_recode(const struct format *to, double value, unsigned sign)
{
    const unsigned exponent = ((1U << to->exponent_bits) - 1) << to->fraction_bits;
    return isnan(value) ? sign << 15 | exponent | 1U << (to->fraction_bits - 1)
                        : slow_round(to, value);
}

/* Into F32 exactly, a NaN with its payload; into the other format as if it were that. */
static void recoded_patterns(const struct format *from, const struct format *to)
{
    for (unsigned i = 0; i < 65536; i++) {
        const double value = slow_value(from, i);
        const float wide = (float)value;
        const uint32_t nan = (i & 0x8000) << 16 | 0x7f800000 |
                             (i & ((1U << from->fraction_bits) - 1))
                                 << (23 - from->fraction_bits);
        uint32_t bits = 0;
        memcpy(&bits, &wide, 4);
        assert_int_equal(recode_one(from->dtype, WW_DTYPE_F32, i),
                         isnan(value) ? nan : bits);
        assert_int_equal(recode_one(from->dtype, to->dtype, i),
                         slow_recode(to, value, i >> 15));
    }
}

static void patterns_of_16_bits_are_recoded_as_the_slow_routine(void **state)
{
    (void)state;
    recoded_patterns(&f16, &bf16);
    recoded_patterns(&bf16, &f16);
}

/* Around every number of the narrower formats and what lies between two, and anywhere. */
static void patterns_of_32_bits_are_recoded_as_the_slow_routine(void **state)
{
    static const struct format *const to[] = {&f16, &bf16};
    (void)state;
    for (size_t f = 0; f < WW_LEN(to); f++) {
        for (unsigned i = 0; i < 1U << 18; i++) {
            const uint32_t near =
                recode_one(to[f]->dtype, WW_DTYPE_F32, i & 0x8000 ? i * 77 : i);
            const uint32_t half = 1U << (22 - to[f]->fraction_bits);
            const uint32_t moves[] = {0, 1, half - 1, half, half + 1, 2 * half - 1};
            const uint32_t bits =
                i >> 16 == 3 ? i * 0x9e3779b9U : near + moves[(i + i / 7) % 6];
            float value = 0;
            memcpy(&value, &bits, 4);
            assert_int_equal(recode_one(WW_DTYPE_F32, to[f]->dtype, bits),
                             slow_recode(to[f], (double)value, bits >> 31));
        }
    }
    assert_false(ww_recodes(WW_DTYPE_F32, WW_DTYPE_F32));
    assert_false(ww_recodes(WW_DTYPE_F64, WW_DTYPE_F32));
    assert_false(ww_recodes(WW_DTYPE_BF16, WW_DTYPE_I16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_widens_exactly),
        cmocka_unit_test(bf16_widens_exactly),
        cmocka_unit_test(f16_rounds_once_to_nearest_even),
        cmocka_unit_test(bf16_rounds_once_to_nearest_even),
        cmocka_unit_test(extremes_round_as_the_slow_routine),
        cmocka_unit_test(random_doubles_round_as_the_slow_routine),
        cmocka_unit_test(f32_and_f64_pass_through_or_round_once),
        cmocka_unit_test(unaligned_bytes_and_every_small_count_work),
        cmocka_unit_test(nonfinite_patterns_are_counted),
        cmocka_unit_test(nonfinite_counts_do_not_wrap),
        cmocka_unit_test(patterns_of_16_bits_are_recoded_as_the_slow_routine),
        cmocka_unit_test(patterns_of_32_bits_are_recoded_as_the_slow_routine),
        cmocka_unit_test(values_divided_before_the_scale_was_rounded_are_unsure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
