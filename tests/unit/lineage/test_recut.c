/* SPDX-License-Identifier: Apache-2.0 */
/* A config with other counts, and a file that nobody wrote. */
#include <string.h>

#include "lineage/recut.h"
#include "model/config.h"
#include "model/elements.h"
#include "ww_test.h"

/* The towers beside the language model, and lists inside of its own parts, have as many
 * entries as it has layers. */
static const char wrapped[] =
    "{\"model_type\": \"llava\", \"vision_config\": {\"num_hidden_layers\": 2,"
    " \"vocab_size\": 9, \"sizes\": [5, 6]}, \"text_config\": {\"model_type\": \"llama\","
    " \"num_hidden_layers\": 2, \"vocab_size\": 9, \"layer_types\": [\"a\", \"b\"],"
    " \"rope_scaling\": {\"short_factor\": [1.5, 2.5]}}}";

static double number(const struct ww_config *config, const char *path)
{
    double value = -1;
    assert_true(ww_jdouble(ww_config_at(config->root, path), &value));
    return value;
}

static void counts_of_the_language_model_alone_change(void **state)
{
    static const uint32_t layers[] = {1, 0, 1};
    struct ww_error err = {0};
    struct ww_config *from = NULL;
    struct ww_config *to = NULL;
    const char *kind = NULL;
    (void)state;

    OK(ww_config_parse((const uint8_t *)wrapped, strlen(wrapped), &from, &err));
    OK(ww_recut_config(from, layers, 3, 7, &to, &err));
    assert_true(number(to, "text_config.num_hidden_layers") == 3);
    assert_true(number(to, "text_config.vocab_size") == 7);
    const struct ww_jnode *types = ww_config_at(to->root, "text_config.layer_types");
    assert_int_equal(ww_jsize(types), 3);
    assert_true(ww_jstr(ww_jat(types, 2), &kind));
    assert_string_equal(kind, "b");
    assert_int_equal(
        ww_jsize(ww_config_at(to->root, "text_config.rope_scaling.short_factor")), 2);
    assert_true(number(to, "vision_config.num_hidden_layers") == 2);
    assert_true(number(to, "vision_config.vocab_size") == 9);
    assert_int_equal(ww_jsize(ww_config_at(to->root, "vision_config.sizes")), 2);
    ww_config_free(to);
    OK(ww_recut_config(from, NULL, 0, 0, &to, &err));
    assert_true(number(to, "text_config.num_hidden_layers") == 2);
    assert_true(number(to, "text_config.vocab_size") == 9);
    ww_config_free(to);
    FAILS(ww_recut_config(from, (const uint32_t[]){2}, 1, 0, &to, &err), WW_E_CONFIG);
    ww_config_free(from);
}

/* A byte says which tensor it is of, and where in it. */
static enum ww_err read_places(void *payload, uint32_t t, uint64_t at, void *out,
                               size_t n, struct ww_error *err)
{
    uint8_t *to = out;
    (void)payload;
    (void)err;
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(16 * (t + 1) + at + i);
    }
    return WW_OK;
}

static void bytes_are_asked_of_the_tensors_that_they_are_in(void **state)
{
    const struct ww_tensor tensors[] = {{.name = "a",
                                         .dtype = WW_DTYPE_U8,
                                         .rank = 1,
                                         .shape = {3},
                                         .n_elements = 3,
                                         .n_bytes = 3},
                                        {.name = "b",
                                         .dtype = WW_DTYPE_U8,
                                         .rank = 1,
                                         .shape = {4},
                                         .n_elements = 4,
                                         .n_bytes = 4}};
    static const uint8_t whole[15] = {0,    0,    0,    0,    0,    0,    0,   0,
                                      0x10, 0x11, 0x12, 0x20, 0x21, 0x22, 0x23};
    struct ww_error err = {0};
    struct ww_unwritten file;
    struct ww_model *model = NULL;
    uint8_t bytes[16];
    (void)state;

    OK(ww_unwritten_model("m", tensors, 2, "nobody wrote it", read_places, NULL, &file,
                          &model, &err));
    for (uint64_t from = 0; from <= sizeof(whole); from++) {
        for (size_t n = 0; n <= sizeof(whole) - from; n++) {
            OK(ww_weight_bytes(&model->files[0], from, bytes, n, &err));
            assert_memory_equal(bytes, whole + from, n);
        }
    }
    FAILS(ww_weight_bytes(&model->files[0], 8, bytes, 8, &err), WW_E_INTERNAL);
    FAILS(ww_weight_bytes(&model->files[0], 16, bytes, 0, &err), WW_E_INTERNAL);
    ww_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_the_language_model_alone_change),
        cmocka_unit_test(bytes_are_asked_of_the_tensors_that_they_are_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
