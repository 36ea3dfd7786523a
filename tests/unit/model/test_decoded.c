/* SPDX-License-Identifier: Apache-2.0 */
#include "model/decoded.h"

#include "model/config.h"
#include "model/convert.h"
#include "model/elements.h"
#include "model/f8.h"
#include "model/packed.h"
#include "model/unwritten.h"
#include "st_build.h"

#define WEIGHTS                                                                          \
    "{\"a.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[4,6],\"data_offsets\":[0,24]},"     \
    "\"a.weight_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[24,"    \
    "40]},\"b.weight\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[40,48]}}"

/* A matrix of E4M3 with scales of 2 x 3 elements, and a vector of F32 behind it. */
static struct ww_model *open_eight(char **dir, const char *config)
{
    struct ww_error err = {0};
    struct ww_model *m = NULL;

    *dir = ww_test_mkdir();
    put_st(*dir, "model.safetensors", WEIGHTS, 48);
    put_text(*dir, "config.json", config);
    OK(ww_model_open(*dir, &m, &err));
    return m;
}

static void expect(enum ww_dtype dtype, uint8_t *out)
{
    const size_t size = ww_dtype_bits(dtype) / 8;

    for (size_t e = 0; e < 24; e++) {
        const size_t of = e / 6 / 2 * 2 + e % 6 / 3;
        uint8_t bytes[4];
        double scale = 0;
        float single = 0;
        double value = 0;
        for (size_t i = 0; i < 4; i++) {
            bytes[i] = (uint8_t)(24 + 4 * of + i);
        }
        ww_to_double(WW_DTYPE_F32, bytes, &scale, 1);
        single = (float)(ww_eight_bit_value(WW_DTYPE_F8_E4M3, (uint8_t)e) * scale);
        value = (double)single;
        ww_from_double(dtype, &value, out + e * size, 1);
    }
}

static void check(const char *config, enum ww_dtype dtype)
{
    struct ww_error err = {0};
    uint8_t want[24 * 4];
    uint8_t got[24 * 4];
    const size_t all = 24 * (size_t)(ww_dtype_bits(dtype) / 8);
    uint32_t n = 0;
    char *dir = NULL;
    struct ww_model *m = open_eight(&dir, config);

    OK(ww_model_decode(m, &n, &err));
    assert_int_equal(n, 1);
    assert_int_equal(m->n_tensors, 2);
    assert_int_equal(m->n_files, 2);
    assert_int_equal(ww_model_find(m, "a.weight_scale_inv"), WW_NONE);
    const uint32_t a = ww_model_find(m, "a.weight");
    const struct ww_tensor *t = &m->tensors[a];
    assert_int_equal(t->dtype, dtype);
    assert_int_equal(t->n_bytes, all);
    assert_int_equal(t->shape[1], 6);
    expect(dtype, want);
    OK(ww_model_read(m, a, got, &err));
    assert_memory_equal(got, want, all);
    /* From any byte to any other. */
    for (size_t from = 0; from < all; from++) {
        for (size_t len = 1; len <= all - from; len++) {
            OK(ww_weight_bytes(&m->files[t->file], t->offset + from, got, len, &err));
            assert_memory_equal(got, want + from, len);
        }
    }
    FAILS(ww_weight_bytes(&m->files[t->file], t->offset + all, got, 1, &err),
          WW_E_INTERNAL);
    OK(ww_model_read(m, ww_model_find(m, "b.weight"), got, &err));
    assert_int_equal(got[0], 40);
    OK(ww_model_floats(m, dir, &err));
    FAILS(ww_model_plain(m, dir, &err), WW_E_QUANTISED); /* by its config */
    OK(ww_model_unchanged(m, &err));
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void eight_bits_are_read_as_floats_of_the_config(void **state)
{
    (void)state;
    check("{\"quantization_config\":{\"quant_method\":\"fp8\"}}", WW_DTYPE_BF16);
    check("{\"torch_dtype\":\"float32\",\"quantization_config\":{\"quant_method\":"
          "\"fp8\"}}",
          WW_DTYPE_F32);
    check("{\"dtype\":\"float16\",\"quantization_config\":{\"quant_method\":\"fp8\"}}",
          WW_DTYPE_F16);
}

static void a_model_of_floats_stays(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m = NULL;
    uint32_t n = 7;
    char *dir = ww_test_mkdir();

    put_one(dir, "model.safetensors", "a.weight");
    put_text(dir, "config.json", "{\"quantization_config\":{\"quant_method\":\"fp8\"}}");
    OK(ww_model_open(dir, &m, &err));
    OK(ww_model_decode(m, &n, &err));
    assert_int_equal(n, 0);
    assert_int_equal(m->n_files, 1);
    OK(ww_model_floats(m, dir, &err)); /* whatever its config says */
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void scales_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m = NULL;
    uint32_t n = 0;
    char *dir = ww_test_mkdir();

    put_st(dir, "model.safetensors",
           "{\"a.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[4,6],\"data_offsets\":[0,24]}"
           ",\"a.weight_scale\":{\"dtype\":\"F32\",\"shape\":[3,1],\"data_offsets\":[24,"
           "36]}}",
           36);
    OK(ww_model_open(dir, &m, &err));
    FAILS(ww_model_decode(m, &n, &err), WW_E_QUANTISED);
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static enum ww_err read_nothing(void *payload, uint32_t tensor, uint64_t at, void *out,
                                size_t n, struct ww_error *err)
{
    (void)payload, (void)tensor, (void)at, (void)out, (void)n, (void)err;
    return WW_OK;
}

/* In a file that is nearly all hole: as F32 they would be 2^64 bytes, and none of them.
 */
static void weights_whose_floats_no_file_holds_are_refused(void **state)
{
    (void)state;
    const struct ww_tensor t = {.name = "a.weight",
                                .dtype = WW_DTYPE_F8_E4M3,
                                .rank = 2,
                                .shape = {UINT64_C(1) << 61, 2},
                                .n_elements = UINT64_C(1) << 62,
                                .n_bytes = UINT64_C(1) << 62};
    struct ww_error err = {0};
    struct ww_unwritten file;
    struct ww_model *m = NULL;
    uint32_t n = 0;

    OK(ww_unwritten_model("m", &t, 1, "f", read_nothing, NULL, &file, &m, &err));
    FAILS(ww_model_decode(m, &n, &err), WW_E_LIMIT);
    ww_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_bits_are_read_as_floats_of_the_config),
        cmocka_unit_test(a_model_of_floats_stays),
        cmocka_unit_test(scales_that_do_not_fit_are_refused),
        cmocka_unit_test(weights_whose_floats_no_file_holds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
