/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of logs as the openssl program makes them: which are taken, and what they verify.
 */
#include "crypto_test.h"

#include "crypto/logkey.h"

#define MESSAGE "what a log says"

/* Made with genpkey, the message signed as the logs of each kind do. */
static const struct kind {
    const char *genpkey;
    const char *sign;
    enum ww_err load;
    enum ww_err verify;
} kinds[] = {
    {"-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "dgst -sha256 -sign k.pem", WW_OK,
     WW_OK},
    {"-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "dgst -sha256 -sign k.pem", WW_OK,
     WW_OK},
    {"-algorithm ED25519", "pkeyutl -sign -rawin -inkey k.pem -in", WW_OK, WW_OK},
    {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha256 -sign k.pem", WW_OK,
     WW_OK},
    {"-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "dgst -sha256 -sign k.pem", WW_OK,
     WW_OK},
    /* Right key, another scheme or hash. */
    {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
     "dgst -sha256 -sigopt rsa_padding_mode:pss -sign k.pem", WW_OK, WW_E_SIGNATURE},
    {"-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha512 -sign k.pem", WW_OK,
     WW_E_SIGNATURE},
    /* No keys of logs. */
    {"-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "dgst -sha256 -sign k.pem", WW_E_KEY,
     WW_OK},
    {"-algorithm ED448", "pkeyutl -sign -rawin -inkey k.pem -in", WW_E_KEY, WW_OK},
};

/* Key and signature as files of dir. */
static void make(const char *dir, const struct kind *kind, struct ww_buf *der,
                 struct ww_buf *sig)
{
    char command[1000];
    snprintf(command, sizeof(command),
             "printf '%s' >m && (openssl genpkey %s -out k.pem && "
             "openssl pkey -in k.pem -pubout -outform DER -out k.der && "
             "openssl %s m >s) 2>/dev/null",
             MESSAGE, kind->genpkey, kind->sign);
    assert_int_equal(shell_in(dir, command), 0);
    read_file(at(dir, "k.der"), der);
    read_file(at(dir, "s"), sig);
}

static enum ww_err check(const struct ww_logkey *key, const struct ww_buf *sig,
                         const char *message)
{
    struct ww_error err = {0};
    return ww_logkey_verify(key, message, strlen(message), sig->data, sig->len, &err);
}

static void change_everything(const struct ww_logkey *key, struct ww_buf *sig)
{
    const size_t len = sig->len;
    assert_int_equal(check(key, sig, "what a log sayt"), WW_E_SIGNATURE);
    for (size_t bit = 0; bit < 8 * len; bit += 5) {
        sig->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(check(key, sig, MESSAGE), WW_OK);
        sig->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (sig->len = 0; sig->len < len; sig->len++) {
        assert_int_not_equal(check(key, sig, MESSAGE), WW_OK);
    }
    assert_int_equal(check(key, sig, MESSAGE), WW_OK);
}

static void logs_of_each_kind_are_verified(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct ww_error err = {0};
        struct ww_logkey *key = NULL;
        char *dir = ww_test_mkdir();
        struct ww_buf der;
        struct ww_buf sig;
        make(dir, &kinds[i], &der, &sig);
        const enum ww_err rc = ww_logkey_from_der(der.data, der.len, &key, &err);
        if (rc != kinds[i].load) {
            fail_msg("%s: got %s, want %s", kinds[i].genpkey, ww_err_name(rc),
                     ww_err_name(kinds[i].load));
        }
        assert_true((rc == WW_OK) == (key != NULL));
        if (!rc && check(key, &sig, MESSAGE) != kinds[i].verify) {
            fail_msg("%s, %s: want %s", kinds[i].genpkey, kinds[i].sign,
                     ww_err_name(kinds[i].verify));
        }
        if (!rc && !kinds[i].verify) {
            change_everything(key, &sig);
        }
        ww_logkey_free(key);
        ww_buf_release(&der);
        ww_buf_release(&sig);
        ww_test_rmdir(dir);
    }
}

static void keys_that_are_cut_or_go_on_are_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_logkey *key = NULL;
    char *dir = ww_test_mkdir();
    struct ww_buf der;
    struct ww_buf sig;
    (void)state;
    make(dir, &kinds[3], &der, &sig);
    for (size_t n = 0; n < der.len; n++) {
        ww_error_clear(&err);
        FAILS(ww_logkey_from_der(der.data, n, &key, &err), WW_E_KEYFILE);
    }
    OK(ww_buf_add(&der, "", 1, &err));
    FAILS(ww_logkey_from_der(der.data, der.len, &key, &err), WW_E_KEYFILE);
    assert_null(key);
    ww_buf_release(&der);
    ww_buf_release(&sig);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_of_each_kind_are_verified),
        cmocka_unit_test(keys_that_are_cut_or_go_on_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
