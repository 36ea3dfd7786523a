/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include "crypto/lockkey.h"
#include "crypto/recipient.h"
#include "util/fault.h"

static const struct ww_argon2_cost cheap = {1, 8};

static void unsealed_key_loads_and_says_so(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *a = NULL;
    struct ww_secret *b = NULL;
    struct ww_key_info info;
    (void)state;
    OK(ww_lockkey_create(at(dir, "a.lock"), NULL, NULL, 0, &err));
    OK(ww_lockkey_create(at(dir, "b.lock"), NULL, NULL, 0, &err));
    assert_int_equal(mode_of(at(dir, "a.lock")), 0600);
    OK(ww_lockkey_load(at(dir, "a.lock"), NULL, &a, &err));
    OK(ww_lockkey_load(at(dir, "b.lock"), NULL, &b, &err));
    assert_int_equal(ww_secret_len(a), 32);
    assert_false(ww_secret_equal(a, b));
    OK(ww_key_inspect(at(dir, "a.lock"), &info, &err));
    assert_int_equal(info.sealing, WW_SEALED_NONE);
    ww_secret_free(a);
    ww_secret_free(b);
    ww_test_rmdir(dir);
}

static void strong_passphrase_key_makes_a_round_trip(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("pass");
    struct ww_secret *wrong = secret_text("word");
    const struct ww_unsealer right_one = {.passphrase = passphrase};
    const struct ww_unsealer wrong_one = {.passphrase = wrong};
    struct ww_secret *key = NULL;
    struct ww_buf content;
    (void)state;
    OK(ww_lockkey_create(at(dir, "k"), passphrase, NULL, 0, &err));
    read_file(at(dir, "k"), &content);
    /* Passes and memory stand behind the salt: 3 over 256 MiB. */
    assert_memory_equal(content.data + 54 + 8 + 16, "\3\0\0\0\0\0\4\0", 8);
    ww_buf_release(&content);
    OK(ww_lockkey_load(at(dir, "k"), &right_one, &key, &err));
    assert_int_equal(ww_secret_len(key), 32);
    ww_secret_free(key);
    FAILS(ww_lockkey_load(at(dir, "k"), &wrong_one, &key, &err), WW_E_PASSPHRASE);
    FAILS(ww_lockkey_load(at(dir, "k"), NULL, &key, &err), WW_E_PASSPHRASE);
    assert_null(key);
    ww_secret_free(passphrase);
    ww_secret_free(wrong);
    ww_test_rmdir(dir);
}

static void each_recipient_opens_and_others_do_not(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("pass");
    struct ww_secret *first = NULL;
    struct ww_secret *second = NULL;
    (void)state;
    OK(ww_recipient_create_at(at(dir, "a"), NULL, &cheap, &err));
    OK(ww_recipient_create_at(at(dir, "b"), passphrase, &cheap, &err));
    OK(ww_recipient_create_at(at(dir, "c"), NULL, &cheap, &err));
    const char *const to[] = {at(dir, "a.pub"), at(dir, "b.pub")};
    OK(ww_lockkey_create(at(dir, "k"), NULL, to, 2, &err));
    struct ww_unsealer by = {.recipient_key = at(dir, "a.key")};
    OK(ww_lockkey_load(at(dir, "k"), &by, &first, &err));
    by.recipient_key = at(dir, "b.key");
    FAILS(ww_lockkey_load(at(dir, "k"), &by, &second, &err), WW_E_PASSPHRASE);
    by.recipient_passphrase = passphrase;
    OK(ww_lockkey_load(at(dir, "k"), &by, &second, &err));
    assert_true(ww_secret_equal(first, second));
    ww_secret_free(first);
    ww_secret_free(second);
    by.recipient_key = at(dir, "c.key");
    FAILS(ww_lockkey_load(at(dir, "k"), &by, &second, &err), WW_E_NOT_FOR_YOU);
    by.recipient_key = at(dir, "none.key");
    FAILS(ww_lockkey_load(at(dir, "k"), &by, &second, &err), WW_E_NOTFOUND);
    by.recipient_key = NULL;
    FAILS(ww_lockkey_load(at(dir, "k"), &by, &second, &err), WW_E_PASSPHRASE);
    assert_null(second);
    ww_secret_free(passphrase);
    ww_test_rmdir(dir);
}

static void bad_requests_write_nothing(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("pass");
    (void)state;
    OK(ww_recipient_create_at(at(dir, "a"), NULL, &cheap, &err));
    const char *const twice[] = {at(dir, "a.pub"), at(dir, "a.pub")};
    const char *const secret_half[] = {at(dir, "a.key")};
    const char *const missing[] = {at(dir, "none.pub")};
    FAILS(ww_lockkey_create(at(dir, "k"), NULL, twice, 2, &err), WW_E_USAGE);
    FAILS(ww_lockkey_create(at(dir, "k"), passphrase, twice, 1, &err), WW_E_USAGE);
    FAILS(ww_lockkey_create(at(dir, "k"), NULL, secret_half, 1, &err), WW_E_KEY);
    FAILS(ww_lockkey_create(at(dir, "k"), NULL, missing, 1, &err), WW_E_NOTFOUND);
    assert_false(exists(at(dir, "k")));
    write_file(at(dir, "k"), "precious", 8, 0600);
    FAILS(ww_lockkey_create(at(dir, "k"), NULL, NULL, 0, &err), WW_E_EXISTS);
    assert_int_equal(shell_in(dir, "test \"$(cat k)\" = precious"), 0);
    ww_secret_free(passphrase);
    ww_test_rmdir(dir);
}

static void other_files_are_told_apart(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *key = NULL;
    (void)state;
    OK(ww_recipient_create_at(at(dir, "r"), NULL, &cheap, &err));
    OK(ww_signkey_create(at(dir, "s"), WW_CURVE_P256, NULL, &err));
    assert_int_equal(chmod(at(dir, "r.pub"), 0600), 0);
    FAILS(ww_lockkey_load(at(dir, "r.key"), NULL, &key, &err), WW_E_KEY);
    FAILS(ww_lockkey_load(at(dir, "r.pub"), NULL, &key, &err), WW_E_KEY);
    FAILS(ww_lockkey_load(at(dir, "s.key"), NULL, &key, &err), WW_E_KEY);
    write_file(at(dir, "k"), "hello", 5, 0600);
    FAILS(ww_lockkey_load(at(dir, "k"), NULL, &key, &err), WW_E_KEYFILE);
    write_file(at(dir, "k"), "", 0, 0600);
    FAILS(ww_lockkey_load(at(dir, "k"), NULL, &key, &err), WW_E_KEYFILE);
    FAILS(ww_lockkey_load(at(dir, "none"), NULL, &key, &err), WW_E_NOTFOUND);
    OK(ww_lockkey_create(at(dir, "l"), NULL, NULL, 0, &err));
    assert_int_equal(chmod(at(dir, "l"), 0640), 0);
    FAILS(ww_lockkey_load(at(dir, "l"), NULL, &key, &err), WW_E_KEY_ACCESS);
    assert_non_null(strstr(err.text, "chmod 600"));
    assert_null(key);
    ww_test_rmdir(dir);
}

static void a_failed_write_leaves_no_file(void **state)
{
    static const enum ww_fault kinds[] = {WW_FAULT_ALLOC, WW_FAULT_WRITE, WW_FAULT_FSYNC,
                                          WW_FAULT_RENAME};
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char *dir = ww_test_mkdir();
        enum ww_err rc = WW_E_IO;
        for (unsigned long n = 1; rc; n++) {
            struct ww_error err = {0};
            assert_true(n < 50);
            ww_fault_arm(kinds[i], n);
            rc = ww_recipient_create_at(at(dir, "r"), NULL, &cheap, &err);
            ww_fault_arm(kinds[i], 0);
            if (rc && kinds[i] != WW_FAULT_FSYNC) {
                assert_false(exists(at(dir, "r.key")));
                assert_false(exists(at(dir, "r.pub")));
            }
            assert_false(exists(at(dir, "r.key.partial")));
            assert_int_equal(shell_in(dir, "rm -f r.key r.pub"), 0);
        }
        ww_test_rmdir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsealed_key_loads_and_says_so),
        cmocka_unit_test(strong_passphrase_key_makes_a_round_trip),
        cmocka_unit_test(each_recipient_opens_and_others_do_not),
        cmocka_unit_test(bad_requests_write_nothing),
        cmocka_unit_test(other_files_are_told_apart),
        cmocka_unit_test(a_failed_write_leaves_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
