/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "merge/json_edit.h"
#include "util/fail.h"

static void edited(const char *text, struct ww_json_edits *edits, const char *want)
{
    struct ww_error err = {0};
    struct ww_buf out;
    ww_buf_init(&out, 4096);
    OK(ww_json_edit((const uint8_t *)text, strlen(text), edits, &out, &err));
    assert_string_equal(ww_buf_cstr(&out), want);
    ww_buf_release(&out);
}

static void only_the_named_member_changes(void **state)
{
    struct ww_json_edit e[] = {{.key = "n", .value = "7"}};
    struct ww_json_edits edits = {.items = e, .n = 1};
    (void)state;
    edited("{\n  \"a\": 10000.0,\n  \"n\" : 1e-05,\n  \"s\": \"n\\\"\",\n  \"o\": "
           "{\"n\": 1}\n}\n",
           &edits,
           "{\n  \"a\": 10000.0,\n  \"n\" : 7,\n  \"s\": \"n\\\"\",\n  \"o\": {\"n\": "
           "1}\n}\n");
    assert_true(e[0].done);
}

static void section_is_edited_too(void **state)
{
    struct ww_json_edit e[] = {{.key = "n", .value = "7"}};
    struct ww_json_edits edits = {.items = e, .n = 1, .section = "text_config"};
    (void)state;
    edited("{\"n\":1,\"text_config\":{\"n\":2,\"x\":{\"n\":3}},\"v\":{\"n\":4}}", &edits,
           "{\"n\":7,\"text_config\":{\"n\":7,\"x\":{\"n\":3}},\"v\":{\"n\":4}}");
}

static void absent_member_is_inserted_when_asked(void **state)
{
    struct ww_json_edit e[] = {{.key = "n", .value = "7", .insert = true},
                               {.key = "m", .value = "8"}};
    struct ww_json_edits edits = {.items = e, .n = 2};
    (void)state;
    edited("{\n  \"a\": 1\n}\n", &edits, "{\n  \"a\": 1,\n  \"n\": 7\n}\n");
    e[0].done = false;
    edited("{}", &edits, "{\n  \"n\": 7}");
}

static void items_per_layer_are_taken_by_layer(void **state)
{
    static const uint32_t from[] = {0, 1, 1, 2};
    struct ww_json_edit e[] = {{.key = "layer_types", .list = WW_LIST_BY_LAYER}};
    struct ww_json_edits edits = {
        .items = e, .n = 1, .old_layers = 3, .layer_from = from, .new_layers = 4};
    (void)state;
    edited("{\"layer_types\": [\"a\" , \"b,]\",{\"c\":[1]}], \"z\": [1,2,3]}", &edits,
           "{\"layer_types\": [\"a\", \"b,]\", \"b,]\", {\"c\":[1]}], \"z\": [1,2,3]}");
    edited("{\"layer_types\": [1,2]}", &edits, "{\"layer_types\": [1,2]}");
    edited("{\"layer_types\": null}", &edits, "{\"layer_types\": null}");
}

static void numbers_of_layers_are_those_of_their_new_places(void **state)
{
    static const uint32_t from[] = {0, 1, 1, 7}; /* the last stands in for 7 */
    struct ww_json_edit e[] = {{.key = "mlp_only_layers", .list = WW_LIST_OF_LAYERS}};
    struct ww_json_edits edits = {
        .items = e, .n = 1, .old_layers = 3, .layer_from = from, .new_layers = 4};
    (void)state;
    edited("{\"mlp_only_layers\": [ 1 ,2], \"z\": 1}", &edits,
           "{\"mlp_only_layers\": [1, 2, 3], \"z\": 1}");
    edited("{\"mlp_only_layers\": []}", &edits, "{\"mlp_only_layers\": []}");
    edited("{\"mlp_only_layers\": [7]}", &edits, "{\"mlp_only_layers\": []}");
    edited("{\"mlp_only_layers\": null}", &edits, "{\"mlp_only_layers\": null}");
}

static void what_is_no_object_is_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_json_edits edits = {0};
    struct ww_buf out;
    (void)state;
    ww_buf_init(&out, 64);
    FAILS(ww_json_edit((const uint8_t *)"[1]", 3, &edits, &out, &err), WW_E_CONFIG);
    FAILS(ww_json_edit((const uint8_t *)"{\"a\":1,}", 8, &edits, &out, &err), WW_E_JSON);
    ww_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_named_member_changes),
        cmocka_unit_test(section_is_edited_too),
        cmocka_unit_test(absent_member_is_inserted_when_asked),
        cmocka_unit_test(items_per_layer_are_taken_by_layer),
        cmocka_unit_test(numbers_of_layers_are_those_of_their_new_places),
        cmocka_unit_test(what_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
