/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include <time.h>

#include "crypto/lockkey.h"
#include "crypto/recipient.h"
#include "crypto/verify.h"

static const struct ww_argon2_cost cheap = {1, 8};

static void signing_keys_are_described(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("pass");
    struct ww_pubkey *pub = NULL;
    struct ww_key_info info;
    char hint[65];
    (void)state;
    OK(ww_signkey_create(at(dir, "plain"), WW_CURVE_P384, NULL, &err));
    OK(ww_signkey_create(at(dir, "sealed"), WW_CURVE_P521, passphrase, &err));
    OK(ww_pubkey_load(at(dir, "plain.pub"), &pub, &err));
    OK(ww_pubkey_hint(pub, hint, &err));
    OK(ww_key_inspect(at(dir, "plain.pub"), &info, &err));
    assert_int_equal(info.kind, WW_KEY_SIGNING_PUBLIC);
    assert_string_equal(info.curve, "P-384");
    assert_string_equal(info.id, hint);
    OK(ww_key_inspect(at(dir, "plain.key"), &info, &err));
    assert_int_equal(info.kind, WW_KEY_SIGNING);
    assert_int_equal(info.sealing, WW_SEALED_NONE);
    assert_string_equal(info.curve, "P-384");
    assert_string_equal(info.id, hint);
    OK(ww_key_inspect(at(dir, "sealed.key"), &info, &err));
    assert_int_equal(info.kind, WW_KEY_SIGNING);
    assert_int_equal(info.sealing, WW_SEALED_PASSPHRASE);
    assert_string_equal(info.curve, "");
    assert_string_equal(info.id, "");
    ww_pubkey_free(pub);
    ww_secret_free(passphrase);
    ww_test_rmdir(dir);
}

static void sealed_records_are_described(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("pass");
    struct ww_key_info secret_info;
    struct ww_key_info info;
    const uint64_t before = (uint64_t)time(NULL);
    (void)state;
    OK(ww_recipient_create_at(at(dir, "r"), passphrase, &cheap, &err));
    OK(ww_key_inspect(at(dir, "r.key"), &secret_info, &err));
    assert_int_equal(secret_info.kind, WW_KEY_RECIPIENT);
    assert_int_equal(secret_info.sealing, WW_SEALED_PASSPHRASE);
    assert_int_equal(secret_info.n_stanzas, 1);
    assert_true(secret_info.created_unix >= before &&
                secret_info.created_unix <= (uint64_t)time(NULL));
    OK(ww_key_inspect(at(dir, "r.pub"), &info, &err));
    assert_int_equal(info.kind, WW_KEY_RECIPIENT_PUBLIC);
    assert_int_equal(strlen(info.id), 32);
    assert_string_equal(info.id, secret_info.id);
    OK(ww_recipient_create_at(at(dir, "q"), NULL, &cheap, &err));
    const char *const to[] = {at(dir, "r.pub"), at(dir, "q.pub")};
    OK(ww_lockkey_create(at(dir, "k"), NULL, to, 2, &err));
    OK(ww_key_inspect(at(dir, "k"), &info, &err));
    assert_int_equal(info.kind, WW_KEY_LOCK);
    assert_int_equal(info.sealing, WW_SEALED_RECIPIENTS);
    assert_int_equal(info.n_stanzas, 2);
    ww_secret_free(passphrase);
    ww_test_rmdir(dir);
}

static void what_is_no_key_is_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_key_info info;
    char *dir = ww_test_mkdir();
    (void)state;
    FAILS(ww_key_inspect(at(dir, "none"), &info, &err), WW_E_NOTFOUND);
    write_file(at(dir, "k"), "hello", 5, 0644);
    FAILS(ww_key_inspect(at(dir, "k"), &info, &err), WW_E_KEYFILE);
    write_file(at(dir, "k"), "", 0, 0644);
    FAILS(ww_key_inspect(at(dir, "k"), &info, &err), WW_E_KEYFILE);
    write_file(at(dir, "k"), "weightward-sealed\nxx", 20, 0644);
    FAILS(ww_key_inspect(at(dir, "k"), &info, &err), WW_E_KEYFILE);
    write_file(at(dir, "k"), "-----BEGIN X-----\nAAAA\n-----END X-----\n", 39, 0644);
    FAILS(ww_key_inspect(at(dir, "k"), &info, &err), WW_E_KEY);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signing_keys_are_described),
        cmocka_unit_test(sealed_records_are_described),
        cmocka_unit_test(what_is_no_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
