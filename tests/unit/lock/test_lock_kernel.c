/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel against a naive reference over multi-indices, its inverse, and its probes.
 */
#include "lock_fixture.h"

#include <float.h>

#include "lock/lock_kernel.h"
#include "lock/probe.h"
#include "lock/row_gather.h"
#include "util/fail.h"

static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                       WW_DTYPE_F64};

/* out[index] by axis maps, one element at a time; slices from axis 0. */
static double naive(const struct lk *lk, const struct ww_gauge *gauge, uint32_t tensor,
                    const double *in, uint64_t flat)
{
    struct ww_error err = {0};
    const struct ww_tensor *t = &lk->tensors[tensor];
    uint64_t index[3] = {0}, source = 0, rest = flat;
    double sign = 1;
    int exp = 0;
    for (unsigned a = t->rank; a-- > 0;) {
        index[a] = rest % t->shape[a];
        rest /= t->shape[a];
    }
    for (unsigned a = 0; a < t->rank; a++) {
        struct ww_element map;
        OK(ww_axis_map(gauge, tensor, a, index[0], &map, &err));
        source = source * t->shape[a] + (map.perm ? map.perm[index[a]] : index[a]);
        sign *= map.perm && map.neg[index[a]] ? -1 : 1;
        exp += map.perm ? map.exp[index[a]] : 0;
        ww_element_release(&map);
    }
    return sign * ldexp(in[source], exp);
}

static void check_tensors(struct lk_options o, bool scale)
{
    struct ww_error err = {0};
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(5);
    lk_init(&lk, o);
    OK(ww_gauge_init(&gauge, &lk.layout, secret, scale, WW_WRONG_NONE, &err));
    for (uint32_t i = 0; i < lk.model.n_tensors; i++) {
        const struct ww_tensor *t = &lk.tensors[i];
        struct ww_lock_job job = {.gauge = &gauge};
        struct ww_lock_job back = {.gauge = &gauge, .inverse = true};
        uint8_t *out = malloc((size_t)t->n_bytes);
        uint8_t *again = malloc((size_t)t->n_bytes);
        double *x = malloc(t->n_elements * sizeof(*x));
        double *y = malloc(t->n_elements * sizeof(*y));
        assert_true(ww_tensor_moves(&lk.layout, i));
        OK(ww_lock_tensor(&job, i, lk.data[i], out, &err));
        OK(ww_lock_tensor(&back, i, out, again, &err));
        assert_memory_equal(again, lk.data[i], (size_t)t->n_bytes);
        ww_to_double(t->dtype, lk.data[i], x, t->n_elements);
        ww_to_double(t->dtype, out, y, t->n_elements);
        uint64_t step = t->n_elements / 97 + 1;
        for (uint64_t e = 0; e < t->n_elements; e += step) {
            NEAR(y[e], naive(&lk, &gauge, i, x, e), 0);
        }
        free(out);
        free(again);
        free(x);
        free(y);
    }
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void every_tensor_is_as_naive_says_and_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(dtypes); i++) {
        struct lk_options o = lk_llama();
        o.dtype = dtypes[i];
        check_tensors(o, dtypes[i] != WW_DTYPE_F16);
        o.fused = o.conv1d = o.sinks = true;
        o.qk_class = WW_QK_RMS_HEAD;
        check_tensors(o, false);
    }
}

static void experts_come_back(void **state)
{
    (void)state;
    for (unsigned moe = 1; moe <= 2; moe++) {
        struct lk_options o = lk_llama();
        o.dtype = WW_DTYPE_BF16;
        o.moe = moe;
        check_tensors(o, true);
        o.width = 288; /* rows long enough to stay rows */
        o.n_neurons = 300;
        check_tensors(o, true);
    }
}

/* Rows are taken whole where they are long, folded into columns where they are short. */
static void views_fold_short_rows(void **state)
{
    (void)state;
    struct lk lk;
    struct ww_tensor_view view;
    struct lk_options o = lk_llama();
    o.dtype = WW_DTYPE_BF16;
    o.width = 256;
    lk_init(&lk, o);
    ww_tensor_view(&lk.layout, lk.att.q.weight, &view);
    assert_int_equal(view.n_rows, 32);
    assert_int_equal(view.n_cols, 256);
    assert_int_equal(view.row_bytes, 512);
    ww_tensor_view(&lk.layout, lk.att.o.weight, &view); /* [256, 32] */
    assert_int_equal(view.n_rows, 1);
    assert_int_equal(view.n_cols, 256 * 32);
    ww_tensor_view(&lk.layout, lk.block.norm_self.gain, &view);
    assert_int_equal(view.n_rows, 1);
    assert_int_equal(view.n_cols, 256);
    lk_free(&lk);
}

/* [5, 3, 2, 2] with axis 0 moved, as a patch embedding; rows are whole kernels. */
static void trailing_axes_are_one_column(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    struct ww_tensor_view view;
    lk_init(&lk, lk_llama());
    uint32_t t = lk_tensor(&lk, "patch", 24, 30, 40, 0, 1);
    lk_bind(&lk, t, 0, 0, WW_ACT_DIRECT);
    ww_tensor_view(&lk.layout, t, &view);
    assert_int_equal(view.n_rows, 24);
    assert_int_equal(view.n_cols, 1200);
    struct ww_secret *secret = lk_secret(3);
    struct ww_gauge gauge;
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    struct ww_lock_job job = {.gauge = &gauge};
    double *out = malloc((size_t)lk.tensors[t].n_bytes);
    const double *in = (const double *)(const void *)lk.data[t];
    OK(ww_lock_tensor(&job, t, in, out, &err));
    for (uint64_t i = 0; i < 24 * 1200; i += 7) {
        NEAR(out[i], naive(&lk, &gauge, t, in, i), 0);
    }
    free(out);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void set_value(struct lk *lk, uint32_t tensor, uint64_t i, double value)
{
    unsigned width = ww_dtype_bits(lk->o.dtype) / 8;
    ww_from_double(lk->o.dtype, &value, lk->data[tensor] + i * width, 1);
}

static void nan_and_infinity_are_refused_with_their_place(void **state)
{
    (void)state;
    static const double bad[] = {(double)NAN, HUGE_VAL, -HUGE_VAL};
    struct ww_error err = {0};
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        for (size_t b = 0; b < WW_LEN(bad); b++) {
            struct lk_options o = lk_llama();
            o.dtype = dtypes[d];
            struct lk lk;
            lk_init(&lk, o);
            struct ww_secret *secret = lk_secret(3);
            struct ww_gauge gauge;
            uint32_t t = lk.mlps[0].down.weight;
            uint8_t *out = malloc((size_t)lk.tensors[t].n_bytes);
            OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
            struct ww_lock_job job = {.gauge = &gauge};
            OK(ww_lock_tensor(&job, t, lk.data[t], out, &err));
            set_value(&lk, t, 123, bad[b]);
            FAILS(ww_lock_tensor(&job, t, lk.data[t], out, &err), WW_E_NONFINITE);
            assert_non_null(strstr(err.text, "'down': element 123 is NaN or infinite"));
            job.inverse = true;
            FAILS(ww_lock_tensor(&job, t, lk.data[t], out, &err), WW_E_DAMAGED);
            free(out);
            ww_gauge_release(&gauge);
            ww_secret_free(secret);
            lk_free(&lk);
        }
    }
}

/* The largest and smallest normal numbers of a type, zero and subnormals. */
static void factors_stay_in_the_normal_range(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct {
        enum ww_dtype dtype;
        double largest, smallest;
    } rows[] = {{WW_DTYPE_BF16, 0x1.fep127, 0x1p-126},
                {WW_DTYPE_F16, 65504, 0x1p-14},
                {WW_DTYPE_F32, 0x1.fffffep127, 0x1p-126},
                {WW_DTYPE_F64, DBL_MAX, DBL_MIN}};
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        struct ww_element cols;
        struct ww_row_gather gather;
        double values[4] = {1.5, 0, -0.75, rows[i].largest};
        double got[4];
        uint8_t row[32];
        size_t at = 99;
        OK(ww_element_init(&cols, 4, &err));
        cols.exp[0] = 3;
        cols.exp[1] = 3;
        cols.exp[2] = -3;
        OK(ww_row_gather_init(&gather, rows[i].dtype, &cols, &err));
        ww_from_double(rows[i].dtype, values, row, 4);
        assert_true(ww_row_scale(&gather, 0, row, &at));
        ww_to_double(rows[i].dtype, row, got, 4);
        NEAR(got[0], 12, 0);
        NEAR(got[1], 0, 0);
        NEAR(got[2], -0.09375, 0);
        NEAR(got[3], rows[i].largest, 0);
        assert_false(ww_row_scale(&gather, 1, row, &at)); /* the largest overflows */
        assert_int_equal(at, 3);
        values[3] = rows[i].smallest;
        ww_from_double(rows[i].dtype, values, row, 4);
        assert_false(ww_row_scale(&gather, -1, row, &at));
        assert_int_equal(at, 3);
        values[3] = rows[i].smallest / 2;
        ww_from_double(rows[i].dtype, values, row, 4);
        assert_false(ww_row_scale(&gather, 2, row, &at)); /* subnormal to begin with */
        values[3] = rows[i].smallest * 2;
        ww_from_double(rows[i].dtype, values, row, 4);
        assert_true(ww_row_scale(&gather, -1, row, &at));
        ww_row_gather_release(&gather);
        ww_element_release(&cols);
    }
}

/* Rows longer than 65,536 columns take the wide index, at any alignment of the source. */
static void wide_and_unaligned_rows_are_gathered(void **state)
{
    (void)state;
    struct ww_error err = {0};
    for (uint32_t n = 65530; n < 65545; n += 7) {
        struct ww_element cols;
        struct ww_row_gather gather;
        uint8_t *in = malloc(2 * n + 1);
        uint16_t *out = malloc(2 * n);
        OK(ww_element_init(&cols, n, &err));
        for (uint32_t j = 0; j < n; j++) {
            uint16_t x = (uint16_t)(j * 7919) & 0x3fff;
            memcpy(in + 1 + 2 * j, &x, 2);
            cols.perm[j] = n - 1 - j;
            cols.neg[j] = j % 3 == 0;
        }
        OK(ww_row_gather_init(&gather, WW_DTYPE_BF16, &cols, &err));
        assert_int_equal(gather.wide != NULL, n > 65536);
        assert_true(ww_row_gather(&gather, true, in + 1, out));
        for (uint32_t j = 0; j < n; j++) {
            uint16_t want = (uint16_t)((n - 1 - j) * 7919) & 0x3fff;
            want ^= j % 3 == 0 ? 0 : 0x8000;
            assert_int_equal(out[j], want);
        }
        ww_row_gather_release(&gather);
        ww_element_release(&cols);
        free(in);
        free(out);
    }
}

/* Run the kernel on a tensor tile by tile, with probes; spoil may change the output of a
 * tile before it is probed again. */
struct tile_run {
    struct ww_probes *probes;
    enum ww_err rc;
    struct ww_error err;
};

static void run_tiles(struct lk *lk, const struct ww_gauge *gauge, uint32_t tensor,
                      uint64_t rows_per_tile,
                      void (*spoil)(uint8_t *out, uint64_t row_bytes),
                      struct tile_run *run)
{
    struct ww_error *err = &run->err;
    struct ww_tensor_view view;
    const uint32_t *row_map = NULL;
    void *kernel = NULL;
    struct ww_probe *probe = NULL;
    const struct ww_lock_job job = {.gauge = gauge, .probes = run->probes};
    const struct ww_lock_piece piece = {&job, tensor};
    ww_tensor_view(&lk->layout, tensor, &view);
    uint8_t *out = malloc((size_t)(view.n_rows * view.row_bytes));
    const uint8_t **rows = malloc(view.n_rows * sizeof(*rows));
    assert_int_equal(ww_lock_kernel.open(&piece, view.n_rows, view.row_bytes, 1, &kernel,
                                         &row_map, err),
                     WW_OK);
    assert_int_equal(ww_probe_new(run->probes, tensor, &probe, err), WW_OK);
    for (uint64_t r = 0; r < view.n_rows; r++) {
        rows[r] = lk->data[tensor] + (row_map ? row_map[r] : r) * view.row_bytes;
    }
    run->rc = WW_OK;
    for (uint64_t r = 0; r < view.n_rows && !run->rc; r += rows_per_tile) {
        const uint8_t *const *source = rows + r;
        struct ww_tile tile = {.first_row = r,
                               .row_bytes = view.row_bytes,
                               .rows = &source,
                               .n_sources = 1,
                               .out = out + r * view.row_bytes,
                               .n_rows = view.n_rows - r < rows_per_tile ? view.n_rows - r
                                                                         : rows_per_tile};
        run->rc = ww_lock_kernel.run(kernel, &tile, err);
        if (!run->rc && spoil) {
            spoil(tile.out, view.row_bytes);
            run->rc = ww_probe_tile(probe, &tile, row_map, err);
        }
    }
    ww_probe_free(probe, false);
    assert_int_equal(ww_lock_kernel.close(kernel, !run->rc, err), WW_OK);
    free(rows);
    free(out);
}

static void probes_accept_every_tensor(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct ww_error err = {0};
        struct lk_options o = lk_llama();
        o.dtype = dtypes[i % 4];
        o.moe = i % 3;
        o.fused = i & 1;
        o.conv1d = i & 2;
        o.width = 280;
        o.n_neurons = 300;
        struct lk lk;
        struct ww_gauge gauge;
        struct ww_secret *secret = lk_secret((uint8_t)i);
        lk_init(&lk, o);
        OK(ww_gauge_init(&gauge, &lk.layout, secret, o.dtype != WW_DTYPE_F16,
                         WW_WRONG_NONE, &err));
        struct tile_run run = {0};
        OK(ww_probes_new(&gauge, &run.probes, &err));
        for (uint32_t t = 0; t < lk.model.n_tensors; t++) {
            run_tiles(&lk, &gauge, t, 5, NULL, &run);
            if (run.rc) {
                fail_msg("%s", run.err.text);
            }
        }
        assert_true(ww_probes_max_error(run.probes) < WW_PROBE_LIMIT);
        assert_true(ww_probes_max_error(run.probes) > 0);
        assert_int_equal(ww_probes_linears(run.probes),
                         4 + 1 + (o.moe ? 3 * LK_EXPERTS + 1 : 3));
        ww_probes_free(run.probes);
        ww_gauge_release(&gauge);
        ww_secret_free(secret);
        lk_free(&lk);
    }
}

static void flip_one_sign(uint8_t *out, uint64_t row_bytes)
{
    out[row_bytes / 2 + 1] ^= 0x80;
}

static void swap_two_columns(uint8_t *out, uint64_t row_bytes)
{
    uint8_t kept[2] = {out[0], out[1]};
    memcpy(out, out + row_bytes - 2, 2);
    memcpy(out + row_bytes - 2, kept, 2);
}

static void repeat_a_row(uint8_t *out, uint64_t row_bytes)
{
    memcpy(out, out + row_bytes, row_bytes);
}

static void probes_catch_a_spoilt_output(void **state)
{
    (void)state;
    void (*const spoils[])(uint8_t *, uint64_t) = {flip_one_sign, swap_two_columns,
                                                   repeat_a_row};
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    o.dtype = WW_DTYPE_BF16;
    o.width = 280;
    o.n_neurons = 300;
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(1);
    lk_init(&lk, o);
    const uint32_t tensors[] = {lk.att.q.weight, lk.mlps[0].down.weight, lk.layout.embed};
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    for (size_t s = 0; s < WW_LEN(spoils); s++) {
        for (size_t t = 0; t < WW_LEN(tensors); t++) {
            struct tile_run run = {0};
            OK(ww_probes_new(&gauge, &run.probes, &err));
            run_tiles(&lk, &gauge, tensors[t], 4, spoils[s], &run);
            assert_int_equal(run.rc, WW_E_CHECK_FAILED);
            assert_non_null(strstr(run.err.text, lk.names[tensors[t]]));
            ww_probes_free(run.probes);
        }
    }
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

/* A layout that states the wrong action for an axis: the kernel does as told, the probe
 * knows what an input axis must do. */
static void probes_catch_a_wrong_action(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    o.width = 280;
    o.n_neurons = 300;
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(1);
    lk_init(&lk, o);
    const uint32_t down = lk.mlps[0].down.weight;
    lk.segments[lk.bindings[down].axis[1].first_segment].action = WW_ACT_PERMUTE;
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    struct tile_run run = {0};
    OK(ww_probes_new(&gauge, &run.probes, &err));
    run_tiles(&lk, &gauge, down, 4, NULL, &run);
    assert_int_equal(run.rc, WW_E_CHECK_FAILED);
    ww_probes_free(run.probes);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void single_row_tensors_are_compared_exactly(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk_options o = lk_llama();
    o.dtype = WW_DTYPE_BF16;
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_secret *secret = lk_secret(1);
    lk_init(&lk, o);
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    struct tile_run run = {0};
    OK(ww_probes_new(&gauge, &run.probes, &err));
    run_tiles(&lk, &gauge, lk.block.norm_self.gain, 1, flip_one_sign, &run);
    assert_int_equal(run.rc, WW_E_CHECK_FAILED);
    ww_probes_free(run.probes);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_is_as_naive_says_and_comes_back),
        cmocka_unit_test(experts_come_back),
        cmocka_unit_test(views_fold_short_rows),
        cmocka_unit_test(trailing_axes_are_one_column),
        cmocka_unit_test(nan_and_infinity_are_refused_with_their_place),
        cmocka_unit_test(factors_stay_in_the_normal_range),
        cmocka_unit_test(wide_and_unaligned_rows_are_gathered),
        cmocka_unit_test(probes_accept_every_tensor),
        cmocka_unit_test(probes_catch_a_spoilt_output),
        cmocka_unit_test(probes_catch_a_wrong_action),
        cmocka_unit_test(single_row_tensors_are_compared_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
