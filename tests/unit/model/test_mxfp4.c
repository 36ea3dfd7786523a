/* SPDX-License-Identifier: Apache-2.0 */
/* Values: bit for bit those of transformers, kept in tests/vectors/mxfp4. */
#include "model/mxfp4.h"

#include <math.h>

#include "model/convert.h"
#include "st_build.h"
#include "util/buf.h"
#include "util/fs.h"
#include "ww_test.h"

#define N (2 * 96 * 5)

static struct ww_model *open_vectors(struct ww_mxfp4 *of)
{
    struct ww_model *model = NULL;
    struct ww_error err = {0};
    struct ww_mxfp4 again;
    bool is = false;

    OK(ww_model_open(WW_VECTORS "/mxfp4", &model, &err));
    assert_int_equal(model->n_tensors, 2);
    OK(ww_mxfp4_find(model, 0, of, &is, &err));
    assert_true(is);
    OK(ww_mxfp4_find(model, 1, &again, &is, &err));
    assert_true(is);
    assert_int_equal(again.blocks, of->blocks);
    assert_int_equal(again.scales, of->scales);
    return model;
}

static void values_are_those_of_transformers(void **state)
{
    struct ww_error err = {0};
    struct ww_mxfp4 of;
    struct ww_model *model = open_vectors(&of);
    struct ww_mxfp4_windows *windows = ww_mxfp4_windows_new();
    struct ww_tensor shown;
    struct ww_buf want;
    double wanted[N];
    double values[N];
    double steps[N];
    (void)state;

    ww_mxfp4_show(model, &of, "experts.down_proj", &shown);
    assert_int_equal(shown.rank, 3);
    assert_int_equal(shown.shape[0], 2);
    assert_int_equal(shown.shape[1], 96);
    assert_int_equal(shown.shape[2], 5);
    assert_int_equal(shown.n_elements, N);
    ww_buf_init(&want, 1 << 16);
    OK(ww_file_read(WW_VECTORS "/mxfp4/values.bf16", &want, &err));
    assert_int_equal(want.len, 2 * N);
    ww_to_double(WW_DTYPE_BF16, want.data, wanted, N);
    OK(ww_mxfp4_read(model, &of, windows, 0, N, false, values, steps, &err));
    assert_memory_equal(values, wanted, sizeof(values));
    /* Any part is the same as of the whole. */
    for (size_t first = 0; first < N; first += 37) {
        for (size_t n = 1; n <= 700 && first + n <= N; n = 3 * n + 1) {
            double part[700];
            double step[700];
            OK(ww_mxfp4_read(model, &of, windows, first, n, false, part, step, &err));
            assert_memory_equal(part, wanted + first, n * sizeof(*part));
            assert_memory_equal(step, steps + first, n * sizeof(*step));
        }
    }
    ww_buf_release(&want);
    ww_mxfp4_windows_free(windows);
    ww_model_close(model);
}

static void cells_hold_their_values(void **state)
{
    struct ww_error err = {0};
    struct ww_mxfp4 of;
    struct ww_model *model = open_vectors(&of);
    struct ww_mxfp4_windows *windows = ww_mxfp4_windows_new();
    double values[N];
    double steps[N];
    double low[N];
    double high[N];
    (void)state;

    OK(ww_mxfp4_read(model, &of, windows, 0, N, false, values, steps, &err));
    OK(ww_mxfp4_read(model, &of, windows, 0, N, true, low, high, &err));
    for (size_t e = 0; e < N; e++) {
        assert_true(low[e] < values[e] && values[e] < high[e]);
        assert_true(steps[e] > 0);
        if (isfinite(low[e]) && isfinite(high[e])) {
            NEAR(high[e] - low[e], steps[e], 0);
        }
    }
    ww_mxfp4_windows_free(windows);
    ww_model_close(model);
}

static struct ww_model *one_block(char *folder, uint8_t scale, const char *shape)
{
    uint8_t file[400];
    char *header = (char *)file + 8;
    size_t n = 0;
    struct ww_model *model = NULL;
    struct ww_error err = {0};

    n = (size_t)snprintf(
        header, 300,
        "{\"w_blocks\":{\"dtype\":\"U8\",\"shape\":[1,1,1,16],\"data_offsets\":[0,16]},"
        "\"w_scales\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[16,17]}}",
        shape);
    ww_put_u64le(file, n);
    memset(header + n, 0x77, 16); /* 6 */
    file[8 + n + 16] = scale;
    put_bytes(folder, "model.safetensors", file, 8 + n + 17);
    OK(ww_model_open(folder, &model, &err));
    return model;
}

static void what_is_no_number_is_refused(void **state)
{
    char *folder = ww_test_mkdir();
    double value[32];
    double step[32];
    (void)state;

    for (unsigned scale = 250; scale <= 255; scale++) {
        struct ww_model *model = one_block(folder, (uint8_t)scale, "1,1,1");
        struct ww_mxfp4_windows *windows = ww_mxfp4_windows_new();
        struct ww_error err = {0};
        struct ww_mxfp4 of;
        bool is = false;
        OK(ww_mxfp4_find(model, 0, &of, &is, &err));
        assert_true(is);
        if (scale < 253) {
            OK(ww_mxfp4_read(model, &of, windows, 0, 32, false, value, step, &err));
            NEAR(value[31], ldexp(6, (int)scale - 127), 0);
        } else {
            FAILS(ww_mxfp4_read(model, &of, windows, 0, 32, false, value, step, &err),
                  WW_E_NONFINITE);
        }
        ww_mxfp4_windows_free(windows);
        ww_model_close(model);
    }
    ww_test_rmdir(folder);
}

static void halves_that_do_not_fit_are_none(void **state)
{
    char *folder = ww_test_mkdir();
    struct ww_model *model = one_block(folder, 127, "1");
    struct ww_error err = {0};
    struct ww_mxfp4 of;
    bool is = true;
    (void)state;

    OK(ww_mxfp4_find(model, 0, &of, &is, &err));
    assert_false(is);
    ww_model_close(model);
    ww_test_rmdir(folder);
}

/* A window holds all rows, and a header alone must not ask for much memory. */
static void more_rows_than_an_expert_has_are_none(void **state)
{
    char *folder = ww_test_mkdir();
    struct ww_model *model = one_block(folder, 127, "1,1,1");
    struct ww_error err = {0};
    struct ww_mxfp4 of;
    bool is = true;
    (void)state;

    model->tensors[0].shape[1] = model->tensors[1].shape[1] = 131073;
    OK(ww_mxfp4_find(model, 0, &of, &is, &err));
    assert_false(is);
    ww_model_close(model);
    ww_test_rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_transformers),
        cmocka_unit_test(cells_hold_their_values),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(halves_that_do_not_fit_are_none),
        cmocka_unit_test(more_rows_than_an_expert_has_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
