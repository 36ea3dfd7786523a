/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include "weightward/key.h"

static void is_text(struct ww_secret *secret, const char *want)
{
    assert_int_equal(ww_secret_len(secret), strlen(want));
    assert_memory_equal(ww_secret_open(secret), want, strlen(want));
    ww_secret_close(secret);
    ww_secret_free(secret);
}

static void file_gives_its_first_line(void **state)
{
    static const struct {
        const char *content;
        const char *want;
    } cases[] = {
        {"hunter2", "hunter2"},
        {"hunter2\n", "hunter2"},
        {"two\nlines\n", "two"},
        {" blanks stay \n", " blanks stay "},
        {"p\xc3\xa4ss\r\n", "p\xc3\xa4ss\r"},
    };
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_secret *secret = NULL;
        write_file(at(dir, "p"), cases[i].content, strlen(cases[i].content), 0600);
        OK(ww_passphrase_from_file(at(dir, "p"), &secret, &err));
        is_text(secret, cases[i].want);
    }
    ww_test_rmdir(dir);
}

static void length_limit_is_1024(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    char *dir = ww_test_mkdir();
    char text[1026];
    (void)state;
    memset(text, 'x', sizeof(text));
    write_file(at(dir, "p"), text, 1024, 0600);
    OK(ww_passphrase_from_file(at(dir, "p"), &secret, &err));
    assert_int_equal(ww_secret_len(secret), 1024);
    ww_secret_free(secret);
    text[1024] = '\n';
    write_file(at(dir, "p"), text, 1025, 0600);
    OK(ww_passphrase_from_file(at(dir, "p"), &secret, &err));
    ww_secret_free(secret);
    text[1024] = 'x';
    write_file(at(dir, "p"), text, 1025, 0600);
    FAILS(ww_passphrase_from_file(at(dir, "p"), &secret, &err), WW_E_LIMIT);
    assert_null(secret);
    ww_test_rmdir(dir);
}

static void empty_lines_are_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    char *dir = ww_test_mkdir();
    (void)state;
    write_file(at(dir, "p"), "", 0, 0600);
    FAILS(ww_passphrase_from_file(at(dir, "p"), &secret, &err), WW_E_PASSPHRASE);
    write_file(at(dir, "p"), "\nsecond\n", 8, 0600);
    FAILS(ww_passphrase_from_file(at(dir, "p"), &secret, &err), WW_E_PASSPHRASE);
    assert_null(secret);
    ww_test_rmdir(dir);
}

static void files_open_to_others_are_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0644, 0660, 0620, 0602, 0610, 0601};
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    char *dir = ww_test_mkdir();
    (void)state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        write_file(at(dir, "p"), "pass", 4, modes[i]);
        FAILS(ww_passphrase_from_file(at(dir, "p"), &secret, &err), WW_E_KEY_ACCESS);
        assert_non_null(strstr(err.text, "chmod 600 "));
        assert_null(strstr(err.text, "pass'"));
    }
    write_file(at(dir, "p"), "pass", 4, 0400);
    OK(ww_passphrase_from_file(at(dir, "p"), &secret, &err));
    ww_secret_free(secret);
    FAILS(ww_passphrase_from_file(dir, &secret, &err), WW_E_KEYFILE);
    FAILS(ww_passphrase_from_file(at(dir, "none"), &secret, &err), WW_E_NOTFOUND);
    ww_test_rmdir(dir);
}

static void descriptor_keeps_the_following_lines(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    int ends[2];
    char path[40];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "one\ntwo\nthree\n", 14), 14);
    close(ends[1]);
    OK(ww_passphrase_from_fd(ends[0], &secret, &err));
    is_text(secret, "one");
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
    OK(ww_passphrase_from_file(path, &secret, &err));
    is_text(secret, "two");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    OK(ww_passphrase_from_file(path, &secret, &err));
    is_text(secret, "three");
    FAILS(ww_passphrase_from_fd(ends[0], &secret, &err), WW_E_PASSPHRASE);
    close(ends[0]);
    FAILS(ww_passphrase_from_fd(ends[0], &secret, &err), WW_E_IO);
}

static void a_new_key_takes_no_carriage_return(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    char *dir = ww_test_mkdir();
    (void)state;
    write_file(at(dir, "p"), "typed on Windows\r\n", 18, 0600);
    OK(ww_passphrase_from_file(at(dir, "p"), &secret, &err));
    FAILS(ww_signkey_create(at(dir, "me"), WW_CURVE_P256, secret, &err), WW_E_PASSPHRASE);
    assert_non_null(strstr(err.text, "carriage return"));
    ww_secret_free(secret);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_gives_its_first_line),
        cmocka_unit_test(length_limit_is_1024),
        cmocka_unit_test(empty_lines_are_refused),
        cmocka_unit_test(files_open_to_others_are_refused),
        cmocka_unit_test(descriptor_keeps_the_following_lines),
        cmocka_unit_test(a_new_key_takes_no_carriage_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
