/* SPDX-License-Identifier: Apache-2.0 */
#include "model/st_file.h"

#include "st_build.h"
#include "util/fault.h"

static const char good[] =
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";

static enum ww_err open_it(const char *folder, const char *name, struct ww_error *err)
{
    struct ww_st_file file;
    int dirfd = open_folder(folder);
    enum ww_err rc = ww_st_file_open(dirfd, name, &file, err);
    ww_st_file_close(&file);
    assert_int_equal(file.fd, -1);
    close(dirfd);
    return rc;
}

static void a_good_file_gives_its_header_verbatim(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_st_file file;
    char *folder = ww_test_mkdir();
    put_st(folder, "m.safetensors", good, 8);
    int dirfd = open_folder(folder);
    OK(ww_st_file_open(dirfd, "m.safetensors", &file, &err));
    assert_int_equal(file.header_bytes, 8 + strlen(good));
    assert_int_equal(ww_get_u64le(file.header), strlen(good));
    assert_memory_equal(file.header + 8, good, strlen(good));
    assert_int_equal(file.st.st_size, 16 + strlen(good));
    assert_int_equal(file.parsed.n_tensors, 1);
    ww_st_file_close(&file);
    close(dirfd);
    ww_test_rmdir(folder);
}

static void every_truncated_file_is_refused(void **state)
{
    (void)state;
    uint8_t all[8 + sizeof(good) + 8] = {0};
    size_t n = strlen(good);
    char *folder = ww_test_mkdir();
    ww_put_u64le(all, n);
    memcpy(all + 8, good, n);
    for (size_t len = 0; len <= 8 + n + 8; len++) {
        struct ww_error err = {0};
        put_bytes(folder, "m.safetensors", all, len);
        enum ww_err rc = open_it(folder, "m.safetensors", &err);
        assert_int_equal(rc, len == 8 + n + 8 ? WW_OK : WW_E_SAFETENSORS);
    }
    ww_test_rmdir(folder);
}

static void length_words_are_judged_before_memory_is_taken(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        enum ww_err code;
    } cases[] = {{0, WW_E_SAFETENSORS},          {9, WW_E_SAFETENSORS},
                 {UINT64_MAX, WW_E_SAFETENSORS}, {UINT64_MAX - 7, WW_E_SAFETENSORS},
                 {1ULL << 63, WW_E_SAFETENSORS}, {100000001, WW_E_SAFETENSORS}};
    char *folder = ww_test_mkdir();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        uint8_t bytes[16] = "--------{}      ";
        ww_put_u64le(bytes, cases[i].n);
        put_bytes(folder, "m.safetensors", bytes, sizeof(bytes));
        FAILS(open_it(folder, "m.safetensors", &err), cases[i].code);
    }
    ww_test_rmdir(folder);
}

static void a_header_over_the_limit_is_refused_by_its_length(void **state)
{
    (void)state;
    struct ww_error err = {0};
    uint8_t word[8];
    char path[1024];
    char *folder = ww_test_mkdir();
    ww_put_u64le(word, 100000001);
    put_bytes(folder, "m.safetensors", word, sizeof(word));
    snprintf(path, sizeof(path), "%s/m.safetensors", folder);
    assert_int_equal(truncate(path, 8 + 100000001), 0); /* sparse */
    FAILS(open_it(folder, "m.safetensors", &err), WW_E_LIMIT);
    ww_test_rmdir(folder);
}

static void a_lfs_pointer_is_named(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char *folder = ww_test_mkdir();
    put_text(folder, "m.safetensors",
             "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    FAILS(open_it(folder, "m.safetensors", &err), WW_E_SAFETENSORS);
    assert_non_null(strstr(err.text, "git lfs pull"));
    ww_test_rmdir(folder);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char path[1024];
    char *folder = ww_test_mkdir();
    put_folder(folder, "folder.safetensors");
    snprintf(path, sizeof(path), "%s/fifo.safetensors", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof(path), "%s/out.safetensors", folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    FAILS(open_it(folder, "folder.safetensors", &err), WW_E_PATH);
    FAILS(open_it(folder, "fifo.safetensors", &err), WW_E_PATH);
    FAILS(open_it(folder, "out.safetensors", &err), WW_E_PATH);
    FAILS(open_it(folder, "none.safetensors", &err), WW_E_NOTFOUND);
    ww_test_rmdir(folder);
}

static void failing_reads_and_allocations_are_reported(void **state)
{
    (void)state;
    char *folder = ww_test_mkdir();
    put_st(folder, "m.safetensors", good, 8);
    for (int kind = WW_FAULT_ALLOC; kind <= WW_FAULT_READ; kind++) {
        enum ww_err rc = WW_E_IO;
        unsigned long nth = 0;
        while (rc != WW_OK) {
            struct ww_error err = {0};
            ww_fault_arm((enum ww_fault)kind, ++nth);
            rc = open_it(folder, "m.safetensors", &err);
            ww_fault_arm((enum ww_fault)kind, 0);
            assert_true(rc == WW_OK || rc == WW_E_NOMEM || rc == WW_E_IO);
            assert_true(nth < 100);
        }
        assert_true(nth > 2);
    }
    ww_test_rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gives_its_header_verbatim),
        cmocka_unit_test(every_truncated_file_is_refused),
        cmocka_unit_test(length_words_are_judged_before_memory_is_taken),
        cmocka_unit_test(a_header_over_the_limit_is_refused_by_its_length),
        cmocka_unit_test(a_lfs_pointer_is_named),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(failing_reads_and_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
