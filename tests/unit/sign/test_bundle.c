/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/bundle.h"

#include "crypto/base64.h"
#include "crypto/signkey.h"
#include "fixture.h"
#include "sign/statement.h"
#include "util/str.h"

#define DEMO_KEY                                                                         \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzm67R5em1/59wUT3gVbQ/85u9ZNtwD28JczgnjPo"       \
    "MUI/UDhn03WWwKMUJRySUwxiClPnjijpRalLQSfP1aB9fg=="
#define DEMO_SIG                                                                         \
    "MEQCIBwB52BXWH7ObEFwl3BfoPtwgU4foY0JXMGa5zwcrupYAiBq2UDNAOs+rznI57UgefoJC/QP"       \
    "RhGiFTKL1lIIoSG9BQ=="
#define BUNDLE(media, material, envelope)                                                \
    "{\"mediaType\":\"" media "\",\"verificationMaterial\":" material                    \
    ",\"dsseEnvelope\":" envelope "}"
#define KEY_MATERIAL "{\"publicKey\":{\"hint\":\"" DEMO_HINT "\"},\"tlogEntries\":[]}"
#define SIGNATURES "[{\"sig\":\"" DEMO_SIG "\",\"keyid\":\"\"}]"
#define ENVELOPE(signatures)                                                             \
    "{\"payload\":\"@\",\"payloadType\":\"application/"                                  \
    "vnd.in-toto+json\",\"signatures\":" signatures "}"

/* '@' in the text becomes the worked payload in base64. */
static char *with_payload(const char *text)
{
    struct ww_error err = {0};
    struct ww_buf base64;
    const char *at = strchr(text, '@');
    char *out = NULL;

    ww_buf_init(&base64, 4096);
    OK(ww_base64_encode(&base64, (const uint8_t *)DEMO_STATEMENT, 657, &err));
    out =
        at ? ww_asprintf("%.*s%s%s", (int)(at - text), text, ww_buf_cstr(&base64), at + 1)
           : ww_strdup(text);
    ww_buf_release(&base64);
    return out;
}

static enum ww_err parse(const char *text, struct ww_bundle *bundle, struct ww_error *err)
{
    char *full = with_payload(text);
    enum ww_err rc = ww_bundle_parse((const uint8_t *)full, strlen(full), bundle, err);
    ww_free(full);
    return rc;
}

static struct ww_pubkey *demo_key(void)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = NULL;
    struct ww_buf der;

    ww_buf_init(&der, 1024);
    OK(ww_base64_decode(&der, DEMO_KEY, strlen(DEMO_KEY), &err));
    OK(ww_pubkey_from_der(der.data, der.len, &key, &err));
    ww_buf_release(&der);
    return key;
}

static void worked_bundle_verifies(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_bundle bundle;
    struct ww_verifier verifier;
    struct ww_pubkey *key = demo_key();
    char signer[WW_SIGNER_BYTES];

    OK(ww_verifier_of_key(key, &verifier, &err));
    assert_string_equal(verifier.hint, DEMO_HINT);
    OK(parse(BUNDLE(WW_BUNDLE_MEDIA_TYPE, KEY_MATERIAL, ENVELOPE(SIGNATURES)), &bundle,
             &err));
    OK(ww_bundle_check(&bundle, &verifier, signer, &err));
    assert_string_equal(signer, "key " DEMO_HINT " (P-256)");
    assert_false(bundle.is_v02);

    bundle.payload.data[0] ^= 1;
    FAILS(ww_bundle_check(&bundle, &verifier, signer, &err), WW_E_SIGNATURE);
    bundle.payload.data[0] ^= 1;
    bundle.sig.data[bundle.sig.len - 1] ^= 1;
    FAILS(ww_bundle_check(&bundle, &verifier, signer, &err), WW_E_SIGNATURE);
    ww_bundle_release(&bundle);
    ww_verifier_release(&verifier);
    ww_pubkey_free(key);
}

static void another_key_is_named_with_both_hints(void **state)
{
    (void)state;
    static const char other[] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    struct ww_error err = {0};
    struct ww_bundle bundle;
    struct ww_verifier verifier;
    struct ww_pubkey *key = demo_key();

    OK(ww_verifier_of_key(key, &verifier, &err));
    OK(parse(BUNDLE(WW_BUNDLE_MEDIA_TYPE,
                    "{\"publicKey\":{\"hint\":\"00000000000000000000000000000000"
                    "00000000000000000000000000000000\"}}",
                    ENVELOPE(SIGNATURES)),
             &bundle, &err));
    FAILS(ww_bundle_check(&bundle, &verifier, NULL, &err), WW_E_UNTRUSTED);
    assert_non_null(strstr(err.text, other));
    assert_non_null(strstr(err.text, DEMO_HINT));
    ww_bundle_release(&bundle);
    ww_verifier_release(&verifier);
    ww_pubkey_free(key);
}

#define GOOD_TYPE WW_BUNDLE_MEDIA_TYPE

static const char *const good_rows[] = {
    BUNDLE(GOOD_TYPE, "{\"publicKey\":{\"hint\":\"" DEMO_HINT "\"}}",
           ENVELOPE(SIGNATURES)),
    BUNDLE(GOOD_TYPE,
           "{\"publicKey\":{\"hint\":\"" DEMO_HINT "\",\"keyDetails\":\"x\"},"
           "\"timestampVerificationData\":{}}",
           ENVELOPE(SIGNATURES)),
    BUNDLE(GOOD_TYPE, "{\"publicKey\":{\"rawBytes\":\"" DEMO_KEY "\"}}",
           ENVELOPE(SIGNATURES)),
    BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[{\"sig\":\"" DEMO_SIG "\"}]")),
    BUNDLE(GOOD_TYPE, KEY_MATERIAL,
           ENVELOPE("[{\"sig\":\"" DEMO_SIG "\",\"keyid\":null}]")),
    BUNDLE(GOOD_TYPE, KEY_MATERIAL,
           ENVELOPE("[{\"sig\":\"" DEMO_SIG "\",\"keyid\":\"" DEMO_HINT "\"}]")),
    BUNDLE(GOOD_TYPE, KEY_MATERIAL,
           ENVELOPE("[{\"sig\":\"" DEMO_SIG "\"},{\"sig\":\"AA==\"}]")),
    " {\n"
    "\"dsseEnvelope\" : " ENVELOPE(
        SIGNATURES) ", \"mediaType\" : \"" GOOD_TYPE
                    "\", \"verificationMaterial\":" KEY_MATERIAL " }\n",
};

static void spellings_that_other_clients_write_verify(void **state)
{
    (void)state;
    struct ww_verifier verifier;
    struct ww_error err = {0};
    struct ww_pubkey *key = demo_key();

    OK(ww_verifier_of_key(key, &verifier, &err));
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        struct ww_bundle bundle;
        OK(parse(good_rows[i], &bundle, &err));
        OK(ww_bundle_check(&bundle, &verifier, NULL, &err));
        ww_bundle_release(&bundle);
    }
    ww_verifier_release(&verifier);
    ww_pubkey_free(key);
}

struct bad_row {
    const char *text;
    enum ww_err code;
};

static const struct bad_row bad_rows[] = {
    {"", WW_E_JSON},
    {"[]", WW_E_BUNDLE},
    {"{}", WW_E_BUNDLE},
    {BUNDLE("application/json", KEY_MATERIAL, ENVELOPE(SIGNATURES)), WW_E_BUNDLE},
    {BUNDLE("application/vnd.dev.sigstore.bundle+json;version=0.3", KEY_MATERIAL,
            ENVELOPE(SIGNATURES)),
     WW_E_VERSION},
    {BUNDLE("application/vnd.dev.sigstore.bundle.v0.4+json", KEY_MATERIAL,
            ENVELOPE(SIGNATURES)),
     WW_E_VERSION},
    {BUNDLE(GOOD_TYPE, "[]", ENVELOPE(SIGNATURES)), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{}", ENVELOPE(SIGNATURES)), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"publicKey\":{}}", ENVELOPE(SIGNATURES)), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"publicKey\":{\"hint\":1}}", ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"publicKey\":\"x\"}", ENVELOPE(SIGNATURES)), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"publicKey\":{\"rawBytes\":\"AAAA\"}}", ENVELOPE(SIGNATURES)),
     WW_E_KEYFILE},
    {BUNDLE(GOOD_TYPE, "{\"publicKey\":{\"hint\":\"x\"},\"more\":1}",
            ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE,
            "{\"publicKey\":{\"hint\":\"x\"},\"certificate\":{\"rawBytes\":\"AA==\"}}",
            ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"publicKey\":{\"hint\":\"x\"},\"tlogEntries\":{}}",
            ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"certificate\":{\"rawBytes\":\"AA==\"}}", ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, "{\"x509CertificateChain\":{\"certificates\":[]}}",
            ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE,
            "{\"x509CertificateChain\":{\"certificates\":[{\"rawBytes\":\"AA==\"}]}}",
            ENVELOPE(SIGNATURES)),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, "{}"), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, "[]"), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[]")), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[1]")), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[{}]")), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[{\"sig\":\"\"}]")), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[{\"sig\":\"****\"}]")), WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[{\"sig\":\"AA==\",\"keyid\":1}]")),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE("[{\"sig\":\"AA==\",\"cert\":\"\"}]")),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL,
            "{\"payload\":\"\",\"payloadType\":\"application/"
            "vnd.in-toto+json\",\"signatures\":" SIGNATURES "}"),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL,
            "{\"payload\":\"A-_A\",\"payloadType\":\"application/"
            "vnd.in-toto+json\",\"signatures\":" SIGNATURES "}"),
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL,
            "{\"payload\":\"AA==\",\"payloadType\":\"application/"
            "octet-stream\",\"signatures\":" SIGNATURES "}"),
     WW_E_BUNDLE},
    {"{\"mediaType\":\"" GOOD_TYPE "\",\"verificationMaterial\":" KEY_MATERIAL
     ",\"dsseEnvelope\":" ENVELOPE(SIGNATURES) ",\"messageSignature\":{}}",
     WW_E_BUNDLE},
    {BUNDLE(GOOD_TYPE, KEY_MATERIAL, ENVELOPE(SIGNATURES)) "x", WW_E_JSON},
};

static void bundles_that_break_a_rule_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        struct ww_error err = {0};
        struct ww_bundle bundle;
        enum ww_err rc = parse(bad_rows[i].text, &bundle, &err);
        if (rc != bad_rows[i].code) {
            fail_msg("row %zu: %s (%s)", i, ww_err_name(rc), err.text);
        }
        assert_null(bundle.json);
    }
}

static void more_than_32_certificates_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_bundle bundle;
    struct ww_buf text;

    ww_buf_init(&text, 65536);
    OK(ww_buf_add_str(&text,
                      "{\"mediaType\":\"" GOOD_TYPE "\",\"verificationMaterial\":"
                      "{\"x509CertificateChain\":{\"certificates\":[",
                      &err));
    for (unsigned i = 0; i < 33; i++) {
        OK(ww_buf_addf(&text, &err, "%s{\"rawBytes\":\"AA==\"}", i ? "," : ""));
    }
    OK(ww_buf_add_str(&text, "]}},\"dsseEnvelope\":{}}", &err));
    FAILS(ww_bundle_parse(text.data, text.len, &bundle, &err), WW_E_LIMIT);
    ww_buf_release(&text);
}

static void every_curve_signs_what_it_verifies(void **state)
{
    (void)state;
    static const char *const names[] = {"P-256", "P-384", "P-521"};
    char *folder = ww_test_mkdir();

    for (int curve = 0; curve < 3; curve++) {
        struct ww_error err = {0};
        char *base = path_in(folder, names[curve]);
        char *private_path = ww_asprintf("%s.key", base);
        char *public_path = ww_asprintf("%s.pub", base);
        struct ww_signer signer = {0};
        struct ww_verifier verifier;
        struct ww_bundle bundle;
        struct ww_buf text;
        char who[WW_SIGNER_BYTES];

        ww_buf_init(&text, 65536);
        OK(ww_signkey_create(base, (enum ww_curve)curve, NULL, &err));
        OK(ww_signkey_load(private_path, NULL, &signer.key, &err));
        OK(ww_bundle_sign(&signer, (const uint8_t *)DEMO_STATEMENT, 657, &text, &err));
        OK(ww_bundle_parse(text.data, text.len, &bundle, &err));
        OK(ww_verifier_open(&(struct ww_verify_options){.public_key = public_path},
                            &verifier, &err));
        OK(ww_bundle_check(&bundle, &verifier, who, &err));
        assert_non_null(strstr(who, names[curve]));
        assert_int_equal(bundle.payload.len, 657);
        ww_bundle_release(&bundle);
        ww_verifier_release(&verifier);
        ww_signkey_free(signer.key);
        ww_buf_release(&text);
        ww_free(base);
        ww_free(private_path);
        ww_free(public_path);
    }
    ww_test_rmdir(folder);
}

static void signing_nothing_or_without_a_key_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_signer signer = {0};
    struct ww_buf text;

    ww_buf_init(&text, 65536);
    FAILS(ww_bundle_sign(&signer, (const uint8_t *)"{}", 2, &text, &err), WW_E_USAGE);
    FAILS(ww_bundle_sign(NULL, (const uint8_t *)"{}", 2, &text, &err), WW_E_USAGE);
    ww_buf_release(&text);
}

static void verifier_needs_something_to_trust(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_verifier verifier;
    struct ww_verify_options options = {0};

    FAILS(ww_verifier_open(&options, &verifier, &err), WW_E_USAGE);
    options.method = WW_VERIFY_CERTIFICATE;
    FAILS(ww_verifier_open(&options, &verifier, &err), WW_E_USAGE);
    options.chain = (const char *const[]){"/nonexistent/ca.pem"};
    options.n_chain = 1;
    FAILS(ww_verifier_open(&options, &verifier, &err), WW_E_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(worked_bundle_verifies),
        cmocka_unit_test(another_key_is_named_with_both_hints),
        cmocka_unit_test(spellings_that_other_clients_write_verify),
        cmocka_unit_test(bundles_that_break_a_rule_are_refused),
        cmocka_unit_test(more_than_32_certificates_are_refused),
        cmocka_unit_test(every_curve_signs_what_it_verifies),
        cmocka_unit_test(signing_nothing_or_without_a_key_is_refused),
        cmocka_unit_test(verifier_needs_something_to_trust),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
