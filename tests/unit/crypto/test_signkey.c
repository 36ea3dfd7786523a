/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include "crypto/signkey.h"

static const char *const curve_names[] = {"P-256", "P-384", "P-521"};

static void sign_and_verify(struct ww_signkey *key, const char *curve)
{
    struct ww_error err = {0};
    struct ww_pubkey *pub = NULL;
    struct ww_buf sig;
    ww_buf_init(&sig, 200);
    OK(ww_signkey_sign(key, "message", 7, &sig, &err));
    OK(ww_signkey_public(key, &pub, &err));
    assert_string_equal(ww_pubkey_curve(pub), curve);
    OK(ww_pubkey_verify(pub, "message", 7, sig.data, sig.len, &err));
    FAILS(ww_pubkey_verify(pub, "messagf", 7, sig.data, sig.len, &err), WW_E_SIGNATURE);
    if (strcmp(curve, "P-256") != 0) {
        FAILS(ww_pubkey_verify_sha256(pub, "message", 7, sig.data, sig.len, &err),
              WW_E_SIGNATURE);
    }
    ww_buf_release(&sig);
    ww_pubkey_free(pub);
}

static void every_curve_makes_a_round_trip(void **state)
{
    struct ww_secret *passphrase = secret_text("correct horse");
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct ww_error err = {0};
        char *dir = ww_test_mkdir();
        struct ww_signkey *key = NULL;
        struct ww_pubkey *pub = NULL;
        struct ww_secret *given = i % 2 ? passphrase : NULL;
        bool encrypted = i % 2 == 0;
        OK(ww_signkey_create(at(dir, "k"), (enum ww_curve)(i / 2), given, &err));
        assert_int_equal(mode_of(at(dir, "k.key")), 0600);
        assert_int_equal(mode_of(at(dir, "k.pub")) & 0600, 0600);
        OK(ww_signkey_is_encrypted(at(dir, "k.key"), &encrypted, &err));
        assert_int_equal(encrypted, i % 2);
        OK(ww_signkey_load(at(dir, "k.key"), given, &key, &err));
        sign_and_verify(key, curve_names[i / 2]);
        OK(ww_pubkey_load(at(dir, "k.pub"), &pub, &err));
        assert_string_equal(ww_pubkey_curve(pub), curve_names[i / 2]);
        ww_pubkey_free(pub);
        ww_signkey_free(key);
        ww_test_rmdir(dir);
    }
    ww_secret_free(passphrase);
    ww_signkey_free(NULL);
}

static void wrong_and_missing_passphrases_are_told(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *right = secret_text("right");
    struct ww_secret *wrong = secret_text("wrong");
    struct ww_signkey *key = NULL;
    (void)state;
    OK(ww_signkey_create(at(dir, "k"), WW_CURVE_P256, right, &err));
    FAILS(ww_signkey_load(at(dir, "k.key"), wrong, &key, &err), WW_E_PASSPHRASE);
    FAILS(ww_signkey_load(at(dir, "k.key"), NULL, &key, &err), WW_E_PASSPHRASE);
    assert_null(key);
    assert_null(strstr(err.text, "right"));
    ww_secret_free(right);
    ww_secret_free(wrong);
    ww_test_rmdir(dir);
}

static void existing_files_are_never_overwritten(void **state)
{
    static const char *const names[] = {"k.key", "k.pub"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct ww_error err = {0};
        struct ww_buf content;
        char *dir = ww_test_mkdir();
        write_file(at(dir, names[i]), "precious", 8, 0600);
        FAILS(ww_signkey_create(at(dir, "k"), WW_CURVE_P256, NULL, &err), WW_E_EXISTS);
        read_file(at(dir, names[i]), &content);
        assert_string_equal(ww_buf_cstr(&content), "precious");
        assert_false(exists(at(dir, names[1 - i])));
        ww_buf_release(&content);
        ww_test_rmdir(dir);
    }
}

static void links_in_the_way_are_not_followed(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    (void)state;
    assert_int_equal(symlink("target", at(dir, "k.key")), 0);
    FAILS(ww_signkey_create(at(dir, "k"), WW_CURVE_P256, NULL, &err), WW_E_EXISTS);
    assert_false(exists(at(dir, "target")));
    assert_int_equal(symlink("target", at(dir, "l.key.partial")), 0);
    OK(ww_signkey_create(at(dir, "l"), WW_CURVE_P256, NULL, &err));
    assert_false(exists(at(dir, "target")));
    ww_test_rmdir(dir);
}

static void keys_open_to_others_are_refused(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_signkey *key = NULL;
    (void)state;
    OK(ww_signkey_create(at(dir, "k"), WW_CURVE_P256, NULL, &err));
    assert_int_equal(chmod(at(dir, "k.key"), 0640), 0);
    FAILS(ww_signkey_load(at(dir, "k.key"), NULL, &key, &err), WW_E_KEY_ACCESS);
    assert_non_null(strstr(err.text, "chmod 600 "));
    assert_null(key);
    FAILS(ww_signkey_load(at(dir, "none.key"), NULL, &key, &err), WW_E_NOTFOUND);
    ww_test_rmdir(dir);
}

/* Keys made by the openssl program. */
static const struct {
    const char *command;
    const char *passphrase;
    enum ww_err want;
    const char *word; /* curve, or in the error text */
} foreign[] = {
    {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out k.key", NULL,
     WW_OK, "P-256"},
    {"openssl ecparam -genkey -name secp384r1 -out k.key", NULL, WW_OK, "P-384"},
    {"openssl ecparam -genkey -noout -name secp521r1 -out k.key", NULL, WW_OK, "P-521"},
    {"openssl ecparam -genkey -name prime256v1 | openssl pkcs8 -topk8 -scrypt "
     "-passout pass:abc -out k.key",
     "abc", WW_OK, "P-256"},
    {"openssl ecparam -genkey -name prime256v1 | openssl pkcs8 -topk8 -v2 aes-128-cbc "
     "-passout pass:abc -out k.key",
     "abc", WW_OK, "P-256"},
    {"openssl ecparam -genkey -name prime256v1 | openssl ec -aes128 -passout pass:abc "
     "-out k.key",
     "abc", WW_E_KEY, "topk8"},
    {"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out k.key",
     NULL, WW_E_KEY, "secp256k1"},
    {"openssl genpkey -algorithm ED25519 -out k.key", NULL, WW_E_KEY, "ED25519"},
    {"openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out k.key", NULL,
     WW_E_KEY, "RSA"},
    {"openssl genrsa -traditional -out k.key 2048", NULL, WW_E_KEY, "RSA"},
    {"openssl ecparam -genkey -name prime256v1 -param_enc explicit -out k.key", NULL,
     WW_E_KEY, "parameters"},
    {"openssl ecparam -genkey -name prime256v1 | openssl ec -pubout -out k.key", NULL,
     WW_E_KEY, "PUBLIC KEY"},
    {"printf 'nothing' > k.key", NULL, WW_E_KEYFILE, "no private key"},
    {": > k.key", NULL, WW_E_KEYFILE, "no private key"},
    {"head -c 17000000 /dev/zero > k.key", NULL, WW_E_KEYFILE, "17000000"},
};

static void keys_of_the_openssl_program_load_or_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
        struct ww_error err = {0};
        char *dir = ww_test_mkdir();
        struct ww_secret *passphrase =
            foreign[i].passphrase ? secret_text(foreign[i].passphrase) : NULL;
        struct ww_signkey *key = NULL;
        assert_int_equal(shell_in(dir, foreign[i].command), 0);
        assert_int_equal(chmod(at(dir, "k.key"), 0600), 0);
        enum ww_err rc = ww_signkey_load(at(dir, "k.key"), passphrase, &key, &err);
        if (rc != foreign[i].want || (rc && !strstr(err.text, foreign[i].word))) {
            fail_msg("case %zu: %s %s", i, ww_err_name(rc), err.text);
        }
        if (!rc) {
            sign_and_verify(key, foreign[i].word);
        }
        ww_signkey_free(key);
        ww_secret_free(passphrase);
        ww_test_rmdir(dir);
    }
}

static void the_openssl_program_reads_our_keys(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("abc");
    struct ww_signkey *key = NULL;
    struct ww_buf sig;
    (void)state;
    ww_buf_init(&sig, 200);
    OK(ww_signkey_create(at(dir, "k"), WW_CURVE_P384, passphrase, &err));
    OK(ww_signkey_create(at(dir, "plain"), WW_CURVE_P521, NULL, &err));
    assert_int_equal(
        shell_in(dir, "openssl pkey -in k.key -passin pass:abc -pubout -out o.pub "
                      "&& cmp o.pub k.pub"),
        0);
    assert_int_not_equal(shell_in(dir, "openssl pkey -in k.key -passin pass:abd -noout"),
                         0);
    assert_int_equal(shell_in(dir, "openssl pkey -in plain.key -pubout -out o.pub && "
                                   "cmp o.pub plain.pub"),
                     0);
    assert_int_equal(shell_in(dir, "openssl asn1parse -in k.key | grep -q scrypt && "
                                   "openssl asn1parse -in k.key | grep -q aes-256-cbc"),
                     0);
    OK(ww_signkey_load(at(dir, "k.key"), passphrase, &key, &err));
    OK(ww_signkey_sign(key, "message", 7, &sig, &err));
    write_file(at(dir, "sig"), sig.data, sig.len, 0600);
    assert_int_equal(shell_in(dir,
                              "printf message > m && openssl dgst -sha384 -verify k.pub "
                              "-signature sig m"),
                     0);
    ww_buf_release(&sig);
    ww_signkey_free(key);
    ww_secret_free(passphrase);
    ww_test_rmdir(dir);
}

static void two_signatures_differ_and_both_verify(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_signkey *key = NULL;
    struct ww_buf a;
    struct ww_buf b;
    (void)state;
    ww_buf_init(&a, 200);
    ww_buf_init(&b, 200);
    OK(ww_signkey_create(at(dir, "k"), WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(at(dir, "k.key"), NULL, &key, &err));
    OK(ww_signkey_sign(key, "m", 1, &a, &err));
    OK(ww_signkey_sign(key, "m", 1, &b, &err));
    assert_true(a.len != b.len || memcmp(a.data, b.data, a.len) != 0);
    ww_buf_release(&a);
    ww_buf_release(&b);
    ww_signkey_free(key);
    ww_test_rmdir(dir);
}

static void bad_arguments_are_refused(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    (void)state;
    FAILS(ww_signkey_create(at(dir, "k"), (enum ww_curve)3, NULL, &err), WW_E_USAGE);
    FAILS(ww_signkey_create(at(dir, "no/k"), WW_CURVE_P256, NULL, &err), WW_E_NOTFOUND);
    assert_false(exists(at(dir, "k.key")));
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_curve_makes_a_round_trip),
        cmocka_unit_test(wrong_and_missing_passphrases_are_told),
        cmocka_unit_test(existing_files_are_never_overwritten),
        cmocka_unit_test(links_in_the_way_are_not_followed),
        cmocka_unit_test(keys_open_to_others_are_refused),
        cmocka_unit_test(keys_of_the_openssl_program_load_or_are_named),
        cmocka_unit_test(the_openssl_program_reads_our_keys),
        cmocka_unit_test(two_signatures_differ_and_both_verify),
        cmocka_unit_test(bad_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
