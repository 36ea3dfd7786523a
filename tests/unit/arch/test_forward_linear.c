/* SPDX-License-Identifier: Apache-2.0 */
/* Linear maps on every kind of rectangle, against sums over explicit places. */
#include "ww_forward_fixture.h"

#include "arch/forward_impl.h"
#include "model/convert.h"

/* Where element (o, i) of the map lies in its tensor. */
typedef uint64_t (*place_fn)(uint64_t o, uint64_t i);

enum { TOKENS = 6, IN = 10 };

static void check(struct fx *fx, const struct ww_linear *linear, uint64_t n_out,
                  uint64_t n_in, place_fn place, const double *bias)
{
    struct ww_error err;
    struct ww_forward *f = NULL;
    double x[TOKENS * 64];
    double y[TOKENS * 64];
    for (uint64_t i = 0; i < TOKENS * n_in; i++) {
        x[i] = cos(0.7 * (double)i);
    }
    OK(ww_forward_new(&fx->layout, &fx->weights, &f, &err));
    for (int kept = 0; kept < 2; kept++) {
        bool is_kept = false;
        if (kept) {
            OK(ww_fw_keep(f, 1 << 20, &is_kept, &err));
            assert_true(is_kept);
        }
        OK(ww_fw_linear(f, linear, x, TOKENS, n_in, y, n_out, &err));
        for (uint64_t t = 0; t < TOKENS; t++) {
            for (uint64_t o = 0; o < n_out; o++) {
                double want = bias ? bias[o] : 0;
                for (uint64_t i = 0; i < n_in; i++) {
                    want += fx->data[linear->weight][place(o, i)] * x[t * n_in + i];
                }
                NEAR(y[t * n_out + o], want, 1e-13);
            }
        }
    }
    ww_fw_release(f);
    ww_forward_free(f);
}

static uint64_t plain(uint64_t o, uint64_t i)
{
    return o * IN + i;
}

static void plain_storage(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, IN);
    struct ww_linear linear = fx_linear(&fx, 37, IN, true);
    check(&fx, &linear, 37, IN, plain, fx.data[linear.bias]);
    fx_free(&fx);
}

static uint64_t transposed(uint64_t o, uint64_t i)
{
    return i * 37 + o;
}

static void transposed_storage(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, IN);
    struct ww_linear linear = fx_linear(&fx, IN, 37, false);
    linear.out_axis = 1;
    linear.in_axis = 0;
    check(&fx, &linear, 37, IN, transposed, NULL);
    fx_free(&fx);
}

/* Rows [q q k v] per group, 3 groups, heads of 2. */
static uint64_t grouped_key(uint64_t o, uint64_t i)
{
    return (o / 2 * 8 + 4 + o % 2) * IN + i;
}

static void per_group_storage_with_its_bias(void **state)
{
    (void)state;
    struct fx fx;
    double bias[6];
    fx_init(&fx, IN);
    struct ww_linear linear = fx_linear(&fx, 24, IN, true);
    fx.segments[0] =
        (struct ww_segment){.offset = 4, .stride = 8, .count = 3, .width = 2};
    linear.out_segment = 0;
    linear.bias_segment = 0;
    for (uint64_t o = 0; o < 6; o++) {
        bias[o] = fx.data[linear.bias][o / 2 * 8 + 4 + o % 2];
    }
    check(&fx, &linear, 6, IN, grouped_key, bias);
    fx_free(&fx);
}

/* Columns taken by twos out of fours. */
static uint64_t split_columns(uint64_t o, uint64_t i)
{
    return o * 20 + i / 2 * 4 + 1 + i % 2;
}

static void split_inputs(void **state)
{
    (void)state;
    struct fx fx;
    fx_init(&fx, IN);
    struct ww_linear linear = fx_linear(&fx, 5, 20, false);
    fx.segments[0] =
        (struct ww_segment){.offset = 1, .stride = 4, .count = 5, .width = 2};
    linear.in_segment = 0;
    check(&fx, &linear, 5, IN, split_columns, NULL);
    fx_free(&fx);
}

/* Expert 2 of [E, in, 2F], gate and up interleaved: up is the odd columns. */
static uint64_t interleaved_expert(uint64_t o, uint64_t i)
{
    return (2 * IN + i) * 14 + 2 * o + 1;
}

static void stacked_interleaved_experts_with_their_bias(void **state)
{
    (void)state;
    struct fx fx;
    double bias[7];
    fx_init(&fx, IN);
    struct ww_linear linear = fx_linear(&fx, 1, 1, false);
    linear.weight = fx_tensor(&fx, 3, IN, 14);
    linear.bias = fx_tensor(&fx, 3, 14, 0);
    linear.in_axis = 1;
    linear.out_axis = 2;
    linear.expert_axis = 0;
    linear.expert = 2;
    fx.segments[0] =
        (struct ww_segment){.offset = 1, .stride = 2, .count = 7, .width = 1};
    linear.out_segment = 0;
    linear.bias_segment = 0;
    for (uint64_t o = 0; o < 7; o++) {
        bias[o] = fx.data[linear.bias][2 * 14 + 2 * o + 1];
    }
    check(&fx, &linear, 7, IN, interleaved_expert, bias);
    fx_free(&fx);
}

static void short_formats_are_widened(void **state)
{
    (void)state;
    struct ww_error err;
    static const enum ww_dtype dtypes[] = {WW_DTYPE_F32, WW_DTYPE_F16, WW_DTYPE_BF16};
    for (size_t d = 0; d < 3; d++) {
        struct fx fx;
        struct ww_forward *f = NULL;
        double x[IN];
        double narrow[8 * IN];
        double y[8];
        fx_init(&fx, IN);
        struct ww_linear linear = fx_linear(&fx, 8, IN, false);
        memcpy(narrow, fx.data[0], sizeof(narrow));
        ww_from_double(dtypes[d], narrow, fx.data[0], 8 * IN);
        ww_to_double(dtypes[d], fx.data[0], narrow, 8 * IN);
        fx.tensors[0].dtype = dtypes[d];
        fx.tensors[0].n_bytes = 8 * IN * (ww_dtype_bits(dtypes[d]) / 8);
        for (int i = 0; i < IN; i++) {
            x[i] = i + 1;
        }
        OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
        OK(ww_fw_linear(f, &linear, x, 1, IN, y, 8, &err));
        for (int o = 0; o < 8; o++) {
            double want = 0;
            for (int i = 0; i < IN; i++) {
                want += narrow[o * IN + i] * x[i];
            }
            NEAR(y[o], want, 1e-12);
        }
        ww_forward_free(f);
        fx_free(&fx);
    }
}

static void maps_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct ww_error err;
    struct fx fx;
    struct ww_forward *f = NULL;
    double x[64] = {0};
    double y[64];
    fx_init(&fx, IN);
    const struct ww_linear good = fx_linear(&fx, 8, IN, true);
    struct ww_linear bad = good;
    OK(ww_forward_new(&fx.layout, &fx.weights, &f, &err));
    OK(ww_fw_linear(f, &good, x, 1, IN, y, 8, &err));
    FAILS(ww_fw_linear(f, &good, x, 1, IN + 1, y, 8, &err), WW_E_SHAPE);
    FAILS(ww_fw_linear(f, &good, x, 1, IN, y, 9, &err), WW_E_SHAPE);
    bad.weight = WW_NONE;
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 8, &err), WW_E_UNSUPPORTED);
    bad = good;
    bad.out_axis = 2;
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 8, &err), WW_E_SHAPE);
    bad = good;
    bad.out_axis = 1;
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 10, &err), WW_E_SHAPE);
    bad = good;
    bad.out_segment = 0;
    fx.segments[0] =
        (struct ww_segment){.offset = 1, .stride = 4, .count = 2, .width = 4};
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 8, &err), WW_E_SHAPE);
    fx.segments[0] =
        (struct ww_segment){.offset = 0, .stride = 1, .count = 0, .width = 4};
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 0, &err), WW_E_SHAPE);
    bad = good;
    bad.bias = fx_tensor(&fx, 7, 0, 0);
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 8, &err), WW_E_SHAPE);
    bad = good;
    bad.weight = fx_tensor(&fx, 8, IN, 2);
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 8, &err), WW_E_SHAPE);
    bad.weight = fx_tensor(&fx, 2, 8, IN);
    bad.out_axis = 1;
    bad.in_axis = 2;
    bad.expert_axis = 0;
    bad.expert = 2;
    FAILS(ww_fw_linear(f, &bad, x, 1, IN, y, 8, &err), WW_E_SHAPE);
    fx.tensors[0].dtype = WW_DTYPE_I64;
    ww_fw_release(f);
    FAILS(ww_fw_linear(f, &good, x, 1, IN, y, 8, &err), WW_E_QUANTISED);
    ww_forward_free(f);
    fx_free(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_storage),
        cmocka_unit_test(transposed_storage),
        cmocka_unit_test(per_group_storage_with_its_bias),
        cmocka_unit_test(split_inputs),
        cmocka_unit_test(stacked_interleaved_experts_with_their_bias),
        cmocka_unit_test(short_formats_are_widened),
        cmocka_unit_test(maps_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
