/* SPDX-License-Identifier: Apache-2.0 */
#include "weightward/model.h"

#include "model/config.h"
#include "st_build.h"
#include "util/fail.h"
#include "util/fault.h"

#define A_NAME "model-00001-of-00002.safetensors"
#define B_NAME "model-00002-of-00002.safetensors"
#define INDEX_NAME "model.safetensors.index.json"
#define INDEX(total)                                                                     \
    "{\"metadata\":{\"total_size\":" total "},\"weight_map\":{\"a\":\"" A_NAME           \
    "\",\"b\":\"" B_NAME "\"}}"

/* Two shards, an index, a config and a readme. */
static char *make_sharded(void)
{
    char *dir = ww_test_mkdir();
    put_one(dir, A_NAME, "a");
    put_one(dir, B_NAME, "b");
    put_text(dir, INDEX_NAME, INDEX("16"));
    put_text(dir, "config.json", "{\"model_type\":\"llama\"}");
    put_text(dir, "README.md", "hello");
    return dir;
}

static void a_sharded_model_is_opened_whole(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char *dir = make_sharded();
    OK(ww_model_open(dir, &m, &err));
    assert_string_equal(m->path, dir);
    assert_string_equal(m->name, strrchr(dir, '/') + 1);
    assert_int_equal(m->n_files, 2);
    assert_string_equal(m->files[0].name, A_NAME);
    assert_int_equal(m->files[1].first_tensor, 1);
    assert_int_equal(m->files[1].n_tensors, 1);
    assert_int_equal(m->n_tensors, 2);
    assert_true(m->has_index);
    assert_string_equal(m->config->model_type, "llama");
    assert_int_equal(m->n_side, 3);
    assert_string_equal(m->side[0].path, "README.md");
    assert_int_equal(m->side[0].size_bytes, 5);
    assert_string_equal(m->side[1].path, "config.json");
    assert_string_equal(m->side[2].path, INDEX_NAME);
    assert_int_equal(m->n_findings, 0);
    assert_int_equal(ww_model_find(m, "b"), 1);
    assert_int_equal(ww_model_find(m, "c"), WW_NONE);
    const struct ww_tensor *b = &m->tensors[1];
    assert_int_equal(b->file, 1);
    assert_int_equal(b->n_bytes, 8);
    assert_int_equal(b->n_elements, 2);
    assert_int_equal(b->offset, m->files[1].header_bytes);
    OK(ww_model_check_lockable(m, &err));
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void bytes_are_read_through_the_open_descriptor(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    uint8_t bytes[8];
    char path[1024];
    char *dir = make_sharded();
    OK(ww_model_open(dir, &m, &err));
    snprintf(path, sizeof(path), "%s/" B_NAME, dir);
    assert_int_equal(unlink(path), 0);
    put_text(dir, B_NAME, "another file under the same name");
    OK(ww_model_read(m, 1, bytes, &err));
    for (uint8_t i = 0; i < 8; i++) {
        assert_int_equal(bytes[i], i);
    }
    FAILS(ww_model_read(m, 2, bytes, &err), WW_E_USAGE);
    FAILS(ww_model_read(m, WW_NONE, bytes, &err), WW_E_USAGE);
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void a_change_after_opening_is_noticed(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char path[1024];
    char *dir = make_sharded();
    OK(ww_model_open(dir, &m, &err));
    OK(ww_model_unchanged(m, &err));
    snprintf(path, sizeof(path), "%s/" A_NAME, dir);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    FAILS(ww_model_unchanged(m, &err), WW_E_CHANGED);
    assert_non_null(strstr(err.text, m->path)); /* files of all models have one name */
    assert_non_null(strstr(err.text, A_NAME));
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void a_wrong_total_is_a_finding_only(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char *dir = make_sharded();
    put_text(dir, INDEX_NAME, INDEX("17"));
    OK(ww_model_open(dir, &m, &err));
    assert_int_equal(m->n_findings, 1);
    assert_int_equal(m->findings[0].code, WW_OK);
    assert_non_null(strstr(m->findings[0].text, "17"));
    OK(ww_model_check_lockable(m, &err));
    ww_model_close(m);
    ww_test_rmdir(dir);
}

/* A sharded model with one file replaced. */
struct lie {
    const char *file;
    const char *text; /* NULL: one F32[2] tensor of the name below */
    const char *tensor;
    enum ww_err code;
    const char *says;
};

static const struct lie lies[] = {
    {A_NAME, NULL, "b", WW_E_INDEX, "tensor 'b' is in '" A_NAME "' and in '" B_NAME "'"},
    {A_NAME, NULL, "c", WW_E_INDEX,
     "tensor 'a' is said to be in '" A_NAME "', found in none"},
    {INDEX_NAME, "{\"weight_map\":{\"a\":\"" A_NAME "\",\"b\":\"" A_NAME "\"}}", NULL,
     WW_E_INDEX, "tensor 'b' is said to be in '" A_NAME "', found in none"},
    {INDEX_NAME, "{\"weight_map\":{\"a\":\"../x\",\"b\":\"" B_NAME "\"}}", NULL,
     WW_E_INDEX, "expected a file name without folders"},
    {INDEX_NAME, "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", NULL, WW_E_INDEX,
     "/etc/passwd"},
    {INDEX_NAME, "{\"weight_map\":{\"a\":\"none\"}}", NULL, WW_E_INDEX, "'none'"},
    {INDEX_NAME, "{\"weight_map\":{\"a\":\"README.md\"}}", NULL, WW_E_SAFETENSORS,
     "README.md"},
    {INDEX_NAME, "{", NULL, WW_E_JSON, INDEX_NAME},
    {"config.json", "{\"a\":1,\"a\":2}", NULL, WW_E_JSON, "config.json"},
    {"config.json", "[]", NULL, WW_E_CONFIG, "config.json"},
    {B_NAME, "short", NULL, WW_E_SAFETENSORS, B_NAME},
};

static void folders_that_lie_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(lies); i++) {
        struct ww_error err = {0};
        struct ww_model *m;
        char *dir = make_sharded();
        if (lies[i].text) {
            put_text(dir, lies[i].file, lies[i].text);
        } else {
            put_one(dir, lies[i].file, lies[i].tensor);
        }
        FAILS(ww_model_open(dir, &m, &err), lies[i].code);
        assert_null(m);
        if (!strstr(err.text, lies[i].says)) {
            fail_msg("'%s' does not say '%s'", err.text, lies[i].says);
        }
        ww_test_rmdir(dir);
    }
}

static void an_unmapped_tensor_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char *dir = make_sharded();
    put_st(dir, A_NAME,
           "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
           "\"extra\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
           2);
    FAILS(ww_model_open(dir, &m, &err), WW_E_INDEX);
    assert_non_null(strstr(err.text, "tensor 'extra'"));
    ww_test_rmdir(dir);
}

static void what_is_no_file_under_the_name_of_weights_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char path[1024];
    char *dir = ww_test_mkdir();
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    FAILS(ww_model_open(dir, &m, &err), WW_E_PATH);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    FAILS(ww_model_open(dir, &m, &err), WW_E_PATH);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    FAILS(ww_model_open(dir, &m, &err), WW_E_PATH);
    ww_test_rmdir(dir);
}

static void a_hub_cache_snapshot_opens(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char path[1024];
    char *dir = ww_test_mkdir();
    put_folder(dir, "blobs");
    put_folder(dir, "snapshots");
    put_folder(dir, "snapshots/rev");
    put_one(dir, "blobs/11", "x");
    put_text(dir, "blobs/22", "{}");
    snprintf(path, sizeof(path), "%s/snapshots/rev/model.safetensors", dir);
    assert_int_equal(symlink("../../blobs/11", path), 0);
    snprintf(path, sizeof(path), "%s/snapshots/rev/config.json", dir);
    assert_int_equal(symlink("../../blobs/22", path), 0);
    snprintf(path, sizeof(path), "%s/snapshots/rev", dir);
    OK(ww_model_open(path, &m, &err));
    assert_string_equal(m->name, "rev");
    assert_int_equal(m->n_tensors, 1);
    assert_int_equal(m->n_side, 1);
    assert_non_null(m->config);
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void paths_lose_trailing_slashes_and_names_are_resolved(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char path[1024];
    char want[1024];
    char *dir = make_sharded();
    snprintf(path, sizeof(path), "%s///", dir);
    OK(ww_model_open(path, &m, &err));
    assert_string_equal(m->path, dir);
    ww_model_close(m);
    snprintf(path, sizeof(path), "%s/.", dir);
    OK(ww_model_open(path, &m, &err));
    snprintf(want, sizeof(want), "%s", strrchr(dir, '/') + 1);
    assert_string_equal(m->name, want);
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void quantiser_files_of_old_are_seen(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *method;
    } cases[] = {{"quantize_config.json", "gptq"},
                 {"quant_config.json", "awq"},
                 {"hf_quant_config.json", "modelopt"}};
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        struct ww_model *m;
        char *dir = make_sharded();
        put_text(dir, cases[i].file, "{}");
        OK(ww_model_open(dir, &m, &err));
        assert_string_equal(m->config->quant_method, cases[i].method);
        ww_model_close(m);
        ww_test_rmdir(dir);
    }
}

static void a_folder_without_config_has_none(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char *dir = ww_test_mkdir();
    put_one(dir, "model.safetensors", "x");
    OK(ww_model_open(dir, &m, &err));
    assert_null(m->config);
    assert_false(m->has_index);
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void a_header_in_another_order_still_finds_its_names(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char *dir = ww_test_mkdir();
    put_st(dir, "model.safetensors",
           "{\"late\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]},"
           "\"early\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
           2);
    OK(ww_model_open(dir, &m, &err));
    assert_int_equal(ww_model_find(m, "early"), 0);
    assert_int_equal(ww_model_find(m, "late"), 1);
    assert_string_equal(m->tensors[1].name, "late");
    ww_model_close(m);
    ww_test_rmdir(dir);
}

static void missing_folders_and_files_are_told_apart(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *m;
    char path[1024];
    char *dir = make_sharded();
    snprintf(path, sizeof(path), "%s/none", dir);
    FAILS(ww_model_open(path, &m, &err), WW_E_NOTFOUND);
    snprintf(path, sizeof(path), "%s/config.json", dir);
    FAILS(ww_model_open(path, &m, &err), WW_E_IO);
    FAILS(ww_model_open("", &m, &err), WW_E_NOTFOUND);
    ww_model_close(NULL);
    ww_test_rmdir(dir);
}

static void every_failing_call_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    char *dir = make_sharded();
    put_text(dir, INDEX_NAME, INDEX("17"));
    put_text(dir, "pytorch_model.bin", "x");
    for (int kind = WW_FAULT_ALLOC; kind <= WW_FAULT_READ; kind++) {
        enum ww_err rc = WW_E_IO;
        unsigned long nth = 0;
        while (rc != WW_OK) {
            struct ww_error err = {0};
            struct ww_model *m;
            ww_fault_arm((enum ww_fault)kind, ++nth);
            rc = ww_model_open(dir, &m, &err);
            ww_fault_arm((enum ww_fault)kind, 0);
            assert_true(rc == WW_OK || rc == WW_E_NOMEM || rc == WW_E_IO);
            assert_true((m == NULL) == (rc != WW_OK));
            ww_model_close(m);
            assert_true(nth < 2000);
        }
        assert_true(nth > (kind == WW_FAULT_ALLOC ? 50 : 4));
    }
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sharded_model_is_opened_whole),
        cmocka_unit_test(bytes_are_read_through_the_open_descriptor),
        cmocka_unit_test(a_change_after_opening_is_noticed),
        cmocka_unit_test(a_wrong_total_is_a_finding_only),
        cmocka_unit_test(folders_that_lie_are_refused),
        cmocka_unit_test(an_unmapped_tensor_is_refused),
        cmocka_unit_test(what_is_no_file_under_the_name_of_weights_is_refused),
        cmocka_unit_test(a_hub_cache_snapshot_opens),
        cmocka_unit_test(paths_lose_trailing_slashes_and_names_are_resolved),
        cmocka_unit_test(quantiser_files_of_old_are_seen),
        cmocka_unit_test(a_folder_without_config_has_none),
        cmocka_unit_test(a_header_in_another_order_still_finds_its_names),
        cmocka_unit_test(missing_folders_and_files_are_told_apart),
        cmocka_unit_test(every_failing_call_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
