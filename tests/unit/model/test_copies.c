/* SPDX-License-Identifier: Apache-2.0 */
#include "st_build.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/model.h"

/* One file beside model.safetensors (which holds F32[2] "x"), and what is found. */
struct copy_case {
    const char *folder; /* made first, or NULL */
    const char *file;
    const char *tensor; /* NULL: a file of size bytes, else one F32[2] tensor */
    size_t size;
    int code; /* of the finding; -1: none is made */
};

static const struct copy_case cases[] = {
    {NULL, "README.md", NULL, 10, -1},
    {NULL, "tokenizer.model", NULL, 10, -1},
    {NULL, "tokenizer.bin", NULL, 10, -1},
    {NULL, "config.json.bak", NULL, 2 << 20, -1},
    {NULL, "training_args.bin", NULL, 10, WW_OK},
    {NULL, "rng_state_0.pth", NULL, 10, WW_OK},
    {NULL, "scheduler.pt", NULL, 10, WW_OK},
    {NULL, "pytorch_model.bin", NULL, 10, WW_E_DUPLICATE},
    {NULL, "pytorch_model-00001-of-00002.bin", NULL, 10, WW_E_DUPLICATE},
    {NULL, "weights.bin", NULL, 1 << 20, WW_E_DUPLICATE},
    {NULL, "weights.bin", NULL, (1 << 20) - 1, -1},
    {NULL, "model.pt", NULL, 10, WW_E_DUPLICATE},
    {NULL, "optimizer.pt", NULL, 10, WW_E_DUPLICATE},
    {NULL, "model.pth", NULL, 10, WW_E_DUPLICATE},
    {NULL, "model.ckpt", NULL, 10, WW_E_DUPLICATE},
    {NULL, "tf_model.h5", NULL, 10, WW_E_DUPLICATE},
    {NULL, "flax_model.msgpack", NULL, 10, WW_E_DUPLICATE},
    {NULL, "rust_model.ot", NULL, 10, WW_E_DUPLICATE},
    {NULL, "model-q4.gguf", NULL, 10, WW_E_DUPLICATE},
    {NULL, "openvino_model.bin", NULL, 10, WW_E_DUPLICATE},
    {"onnx", "onnx/model.onnx", NULL, 10, WW_E_DUPLICATE},
    {"onnx", "onnx/model.onnx_data", NULL, 10, WW_E_DUPLICATE},
    {"original", "original/consolidated.00.pth", NULL, 10, WW_E_DUPLICATE},
    {"original", "original/params.json", NULL, 10, -1},
    {"original", "original/anything.safetensors", "unknown", 0, WW_E_DUPLICATE},
    {NULL, "consolidated.safetensors", "unknown", 0, WW_E_DUPLICATE},
    {NULL, "model.fp16.safetensors", "x", 0, WW_E_DUPLICATE},
    {NULL, "other.safetensors", "unknown", 0, WW_E_DUPLICATE},
    {NULL, "adapter_model.safetensors", "lora", 0, WW_E_ADAPTER},
    {"a", "a/adapter_model.safetensors", "lora", 0, WW_E_ADAPTER},
    {"2_Dense", "2_Dense/model.safetensors", "linear.weight", 0, WW_OK},
    {"checkpoint-5", "checkpoint-5/model.safetensors", "x", 0, WW_E_DUPLICATE},
    {"sub", "sub/consolidated.safetensors", "y", 0, WW_E_DUPLICATE},
    {"sub", "sub/broken.safetensors", NULL, 10, WW_E_DUPLICATE},
};

static void put_case(const char *dir, const struct copy_case *c)
{
    if (c->folder) {
        put_folder(dir, c->folder);
    }
    if (c->tensor) {
        put_one(dir, c->file, c->tensor);
    } else {
        char *bytes = test_calloc(c->size, 1);
        put_bytes(dir, c->file, bytes, c->size);
        test_free(bytes);
    }
}

static void check(const struct copy_case *c)
{
    struct ww_error err = {0};
    struct ww_model *model;
    char *dir = ww_test_mkdir();
    put_one(dir, "model.safetensors", "x");
    put_case(dir, c);
    OK(ww_model_open(dir, &model, &err));
    if (c->code < 0) {
        if (model->n_findings != 0) {
            fail_msg("%s: finding '%s'", c->file, model->findings[0].text);
        }
    } else if (model->n_findings != 1 || (int)model->findings[0].code != c->code ||
               !strstr(model->findings[0].text, c->file)) {
        fail_msg("%s: %u findings, first %s", c->file, model->n_findings,
                 model->n_findings ? model->findings[0].text : "");
    }
    if (c->code > 0) {
        FAILS(ww_model_check_lockable(model, &err), (enum ww_err)c->code);
        assert_non_null(strstr(err.text, c->file));
    } else {
        OK(ww_model_check_lockable(model, &err));
    }
    assert_int_equal(model->n_side, 1); /* a copy is a side file all the same */
    assert_string_equal(model->side[0].path, c->file);
    ww_model_close(model);
    ww_test_rmdir(dir);
}

static void every_kind_of_copy_is_found_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        check(&cases[i]);
    }
}

static void the_same_name_with_another_shape_is_no_copy(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *model;
    char *dir = ww_test_mkdir();
    put_one(dir, "model.safetensors", "x");
    put_folder(dir, "sub");
    put_st(dir, "sub/rank.safetensors",
           "{\"x\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", 8);
    put_st(dir, "sub/size.safetensors",
           "{\"x\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", 12);
    OK(ww_model_open(dir, &model, &err));
    assert_int_equal(model->n_findings, 2);
    assert_int_equal(model->findings[0].code, WW_OK);
    assert_int_equal(model->findings[1].code, WW_OK);
    ww_model_close(model);
    ww_test_rmdir(dir);
}

static void a_pipe_is_a_remark_and_no_side_file(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *model;
    char path[1024];
    char *dir = ww_test_mkdir();
    put_one(dir, "model.safetensors", "x");
    snprintf(path, sizeof(path), "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    OK(ww_model_open(dir, &model, &err));
    assert_int_equal(model->n_side, 0);
    assert_int_equal(model->n_findings, 1);
    assert_non_null(strstr(model->findings[0].text, "'pipe'"));
    ww_model_close(model);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_copy_is_found_and_nothing_else),
        cmocka_unit_test(the_same_name_with_another_shape_is_no_copy),
        cmocka_unit_test(a_pipe_is_a_remark_and_no_side_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
