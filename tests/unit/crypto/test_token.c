/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens that fail, by a library made for it; what works is in tests/cli/token.bats. */
#include <stdio.h>
#include <sys/stat.h>

#include "crypto/p11_uri.h"
#include "crypto/signkey.h"
#include "util/buf.h"
#include "util/fail.h"
#include "ww_test.h"

#define MODULE "?module-path=" WW_FAKE_TOKEN

static struct ww_secret *pin_of(const char *text)
{
    struct ww_error err = {0};
    struct ww_secret *pin = NULL;
    char path[] = "/tmp/ww-test-pin-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    OK(ww_passphrase_from_file(path, &pin, &err));
    unlink(path);
    return pin;
}

/* Open the key that is called this, and sign with it. */
static enum ww_err sign_with(const char *label, const char *pin_text,
                             struct ww_error *err)
{
    char uri[600];
    struct ww_secret *pin = pin_of(pin_text);
    struct ww_signkey *key = NULL;
    struct ww_buf sig;
    enum ww_err rc = WW_OK;

    ww_error_clear(err);
    ww_buf_init(&sig, 4096);
    snprintf(uri, sizeof(uri), "pkcs11:token=fake;object=%s" MODULE, label);
    rc = ww_signkey_open_token(uri, pin, &key, err);
    assert_true((rc == WW_OK) == (key != NULL));
    if (!rc) {
        rc = ww_signkey_sign(key, "message", 7, &sig, err);
    }
    ww_signkey_free(key);
    ww_buf_release(&sig);
    ww_secret_free(pin);
    return rc;
}

static void failures_of_tokens_are_named(void **state)
{
    static const struct {
        const char *label;
        const char *pin;
        enum ww_err code;
        const char *part;
    } list[] = {
        {"lies", "1234", WW_E_KEY, "what the token gave does not verify"},
        {"removed", "1234", WW_E_KEY, "the token was removed"},
        {"strange", "1234", WW_E_KEY, "says 0x80000005"},
        {"odd", "1234", WW_E_KEY, "63 bytes"},
        {"empty", "1234", WW_E_KEY, "0 bytes"},
        {"huge", "1234", WW_E_KEY, "5000 bytes"},
        {"no-ecdsa", "1234", WW_E_KEY, "knows no ECDSA"},
        {"may-not-sign", "1234", WW_E_KEY, "may not sign"},
        {"list-fails", "1234", WW_E_KEY, "cannot be listed"},
        {"none", "1234", WW_E_KEY, "no EC private key"},
        {"two", "1234", WW_E_KEY, "more than one"},
        {"no-public", "1234", WW_E_KEY, "neither the public key nor a certificate"},
        {"other-curve", "1234", WW_E_KEY, "public half"},
        {"bad-point", "1234", WW_E_KEY, "malformed"},
        {"lies", "9999", WW_E_PASSPHRASE, "PIN is wrong"},
        {"lies", "locked", WW_E_KEY, "locked"},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(list); i++) {
        struct ww_error err = {0};
        enum ww_err rc = sign_with(list[i].label, list[i].pin, &err);
        if (rc != list[i].code || !strstr(err.text, list[i].part)) {
            fail_msg("%s: got %s (%s), want %s (%s)", list[i].label, ww_err_name(rc),
                     err.text, ww_err_name(list[i].code), list[i].part);
        }
    }
}

/* The label of the token is "fake", filled up with blanks. */
static void tokens_of_other_labels_do_not_fit(void **state)
{
    static const char *const labels[] = {"fakf", "fak", "fakes", "%20fake"};
    (void)state;
    for (size_t i = 0; i < WW_LEN(labels); i++) {
        char uri[600];
        struct ww_error err = {0};
        struct ww_secret *pin = pin_of("1234");
        struct ww_signkey *key = NULL;
        snprintf(uri, sizeof(uri), "pkcs11:token=%s;object=lies" MODULE, labels[i]);
        FAILS(ww_signkey_open_token(uri, pin, &key, &err), WW_E_KEY);
        assert_non_null(strstr(err.text, "0 of the "));
        assert_null(key);
        ww_secret_free(pin);
    }
}

static void uris_are_taken_apart(void **state)
{
    struct ww_error err = {0};
    struct ww_p11_uri uri;
    (void)state;
    OK(ww_p11_uri_parse("pkcs11:token=my%20token;serial=1;id=%00%ff;object=a%3Bb;"
                        "type=private?module-path=/lib/x.so&pin-source=file:/run/pin",
                        &uri, &err));
    assert_string_equal(uri.token.text, "my token");
    assert_string_equal(uri.object.text, "a;b");
    assert_string_equal(uri.module_path.text, "/lib/x.so");
    assert_string_equal(uri.pin_source.text, "/run/pin");
    assert_int_equal(uri.id.len, 2);
    assert_memory_equal(uri.id.text, "\0\xff", 2);
    assert_false(uri.model.given || uri.slot_id.given);
    assert_true(ww_token_uri_has_pin("pkcs11:object=a?module-path=/x&pin-source=/p"));
    assert_false(ww_token_uri_has_pin("pkcs11:object=a?module-path=/x"));
    assert_false(ww_token_uri_is("PKCS11:object=a"));
    assert_false(ww_token_uri_is("key.pem"));
}

/* No cut of a URI, and no byte more than a value may have, is read beyond its end. */
static void broken_uris_are_refused(void **state)
{
    static const char whole[] = "pkcs11:object=%41?module-path=/x";
    char text[400];
    struct ww_p11_uri uri;
    (void)state;
    for (size_t cut = 0; cut < sizeof(whole) - 2; cut++) {
        memcpy(text, whole, cut);
        text[cut] = '\0';
        assert_int_equal(ww_p11_uri_parse(text, &uri, NULL), WW_E_USAGE);
    }
    for (size_t len = 250; len < 260; len++) {
        struct ww_error err = {0};
        snprintf(text, sizeof(text), "pkcs11:object=%0*d?module-path=/x", (int)len, 0);
        assert_int_equal(ww_p11_uri_parse(text, &uri, &err),
                         len < WW_P11_TEXT_BYTES ? WW_OK : WW_E_USAGE);
    }
    assert_int_equal(ww_p11_uri_parse("pkcs11:object=%0a?module-path=/x", &uri, NULL),
                     WW_E_USAGE);
    assert_int_equal(ww_p11_uri_parse("pkcs11:object=%zz?module-path=/x", &uri, NULL),
                     WW_E_USAGE);
    assert_int_equal(ww_p11_uri_parse("pkcs11:object?module-path=/x", &uri, NULL),
                     WW_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_of_tokens_are_named),
        cmocka_unit_test(tokens_of_other_labels_do_not_fit),
        cmocka_unit_test(uris_are_taken_apart),
        cmocka_unit_test(broken_uris_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
