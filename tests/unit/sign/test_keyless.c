/* SPDX-License-Identifier: Apache-2.0 */
/* Keyless signatures and signed timestamps: an instance of our own with every way to be
 * wrong (tests/vectors/keyless), and a bundle of the public one with every bit wrong. */
#include "sign/bundle.h"

#include "fixture.h"
#include "sign/keyless_bundle.h"
#include "util/fail.h"

#define DIR WW_VECTORS "/keyless"
#define OMS_DIR WW_VECTORS "/oms/cases-keyless"
#define HOLDER "signer@example.com"
#define PROVIDER "https://accounts.example.com"

/* Some 130,000 bits take minutes of a processor, and the sanitizers make it 20 times as
 * slow: a bit of every third byte, or of every eighth. For all of them: cc -DSTRIDE=1. */
#if defined(STRIDE)
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRIDE 61
#else
#define STRIDE 23
#endif

static const struct ww_verify_options ours = {
    .method = WW_VERIFY_KEYLESS,
    .trusted_root = DIR "/trusted_root.json",
    .identity = HOLDER,
    .identity_provider = PROVIDER,
};

static enum ww_err check_text(const uint8_t *text, size_t len,
                              const struct ww_verifier *verifier, struct ww_error *err)
{
    struct ww_bundle bundle;
    char signer[WW_SIGNER_BYTES];
    enum ww_err rc = ww_bundle_parse(text, len, &bundle, err);
    if (!rc) {
        rc = ww_bundle_check(&bundle, verifier, signer, err);
        ww_bundle_release(&bundle);
    }
    return rc;
}

static enum ww_err check_file(const char *name, const struct ww_verify_options *options,
                              struct ww_error *err)
{
    struct ww_verifier verifier;
    char *path = path_in(DIR, name);
    char *text = read_text(path);
    enum ww_err rc = WW_OK;

    ww_error_clear(err);
    rc = ww_verifier_open(options, &verifier, err);
    if (!rc) {
        rc = check_text((const uint8_t *)text, strlen(text), &verifier, err);
        ww_verifier_release(&verifier);
    }
    ww_free(text);
    ww_free(path);
    return rc;
}

struct expected {
    const char *file;
    enum ww_err code;
    const char *part; /* of the text */
};

static void check_all(const struct expected *list, size_t n,
                      const struct ww_verify_options *options)
{
    for (size_t i = 0; i < n; i++) {
        struct ww_error err = {0};
        enum ww_err rc = check_file(list[i].file, options, &err);
        if (rc != list[i].code || !strstr(err.text, list[i].part)) {
            fail_msg("%s: got %s (%s), want %s (%s)", list[i].file, ww_err_name(rc),
                     err.text, ww_err_name(list[i].code), list[i].part);
        }
    }
}

static void good_bundles_verify(void **state)
{
    static const struct expected list[] = {
        {"good-v1.json", WW_OK, ""},           {"good-intoto.json", WW_OK, ""},
        {"good-v2.json", WW_OK, ""},           {"good-witness.json", WW_OK, ""},
        {"good-stamped.json", WW_OK, ""},      {"good-user-name.json", WW_OK, ""},
        {"good-old-provider.json", WW_OK, ""}, {"good-new-provider.json", WW_OK, ""},
    };
    struct ww_verify_options uri = ours;
    struct ww_error err = {0};
    (void)state;
    check_all(list, WW_LEN(list), &ours);
    uri.identity = "https://github.com/example/model/.github/workflows/"
                   "sign.yml@refs/heads/main";
    OK(check_file("good-uri.json", &uri, &err));
}

static void bad_bundles_are_refused(void **state)
{
    static const struct expected list[] = {
        {"good-uri.json", WW_E_UNTRUSTED, "expected '" HOLDER "'"},
        {"bad-no-entry.json", WW_E_UNTRUSTED, "without an entry"},
        {"bad-33-entries.json", WW_E_LIMIT, "at most 32"},
        {"bad-kind.json", WW_E_UNSUPPORTED, "'hashedrekord'"},
        {"bad-v2-no-stamp.json", WW_E_UNTRUSTED, "says when"},
        {"bad-no-promise.json", WW_E_UNTRUSTED, "says when"},
        {"bad-late.json", WW_E_EXPIRED, "expired"},
        {"bad-early.json", WW_E_EXPIRED, "not yet valid"},
        {"bad-leaf-expired-when-stamped.json", WW_E_EXPIRED, "expired"},
        {"bad-no-sct.json", WW_E_UNTRUSTED, "no promise"},
        {"bad-sct.json", WW_E_SIGNATURE, "promise of the certificate log"},
        {"bad-two-holders.json", WW_E_BUNDLE, "exactly one holder"},
        {"bad-dns-holder.json", WW_E_BUNDLE, "exactly one holder"},
        {"bad-two-providers.json", WW_E_BUNDLE, "two identity providers"},
        {"bad-no-provider.json", WW_E_BUNDLE, "no identity provider"},
        {"bad-purpose.json", WW_E_UNTRUSTED, "codeSigning"},
        {"bad-stamp-other.json", WW_E_SIGNATURE, "imprint"},
        {"bad-stamp-sha1.json", WW_E_UNSUPPORTED, "SHA1"},
        {"bad-stamp-expired.json", WW_E_UNTRUSTED, "timestamp does not verify"},
        {"bad-stamp-junk.json", WW_E_BUNDLE, "timestamp"},
        {"chain-stamped.json", WW_E_UNTRUSTED, "with a certificate"},
    };
    (void)state;
    check_all(list, WW_LEN(list), &ours);
}

static void another_identity_is_refused(void **state)
{
    static const char *const other[][2] = {
        {"signer@example.co", PROVIDER},
        {"Signer@example.com", PROVIDER},
        {HOLDER, "https://accounts.example.com/"},
        {HOLDER, "https://accounts.example.org"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(other); i++) {
        struct ww_verify_options options = ours;
        struct ww_error err = {0};
        options.identity = other[i][0];
        options.identity_provider = other[i][1];
        FAILS(check_file("good-v1.json", &options, &err), WW_E_UNTRUSTED);
    }
}

static void another_root_is_refused(void **state)
{
    struct ww_verify_options options = ours;
    struct ww_error err = {0};
    (void)state;
    options.trusted_root = OMS_DIR "/trusted_root.json";
    FAILS(check_file("good-v1.json", &options, &err), WW_E_UNTRUSTED);
    options.trusted_root = DIR "/root.pem";
    FAILS(check_file("good-v1.json", &options, &err), WW_E_JSON);
    options.trusted_root = NULL;
    FAILS(check_file("good-v1.json", &options, &err), WW_E_USAGE);
}

/* The certificate expired long ago; the timestamp says that it had not when it signed. */
static void stamped_certificates_outlive_their_end(void **state)
{
    const struct expected with_root[] = {
        {"chain-stamped.json", WW_OK, ""},
        {"chain-unstamped.json", WW_E_EXPIRED, "expired"},
        {"chain-stamp-other.json", WW_E_SIGNATURE, "imprint"},
        {"good-v1.json", WW_E_UNTRUSTED, "under an identity"},
    };
    const struct expected alone[] = {
        {"chain-stamped.json", WW_E_EXPIRED, "expired"},
    };
    static const char *const root[] = {DIR "/root.pem"};
    struct ww_verify_options options = {
        .method = WW_VERIFY_CERTIFICATE,
        .chain = root,
        .n_chain = 1,
        .trusted_root = DIR "/trusted_root.json",
    };
    (void)state;
    check_all(with_root, WW_LEN(with_root), &options);
    options.at_unix = 4000000000; /* a stated time goes before a timestamp */
    check_all(alone, WW_LEN(alone), &options);
    options.trusted_root = NULL;
    check_all(alone, WW_LEN(alone), &options);
}

/* The time that the first timestamp states, once it verified; 0: there is none. */
static int64_t stamped_time(const char *text, size_t len,
                            const struct ww_verifier *verifier)
{
    struct ww_error err = {0};
    struct ww_bundle bundle;
    int64_t at = 0;
    OK(ww_bundle_parse((const uint8_t *)text, len, &bundle, &err));
    OK(ww_stamps_check(&bundle, verifier->root, &at, &err));
    ww_bundle_release(&bundle);
    return at;
}

/* Some bytes of a timestamp are covered by no signature: the authority's certificate that
 * it encloses (the pinned one is used in its place) and the name of the algorithm next to
 * the signature. There a change may pass, as long as the timestamp says the same. */
static void flip_all(const char *path, const struct ww_verify_options *options)
{
    struct ww_verifier verifier;
    struct ww_error err = {0};
    char *text = read_text(path);
    const size_t len = strlen(text);
    const char *stamp = strstr(text, "signedTimestamp");
    const char *stamp_end = stamp ? strchr(stamp, '}') : NULL;
    int64_t at = 0;

    OK(ww_verifier_open(options, &verifier, &err));
    OK(check_text((const uint8_t *)text, len, &verifier, &err));
    at = stamped_time(text, len, &verifier);
    assert_true(stamp && at > 0);
    for (size_t bit = 0; bit < 8 * len; bit += STRIDE) {
        struct ww_error local = {0};
        char *byte = text + bit / 8;
        *byte ^= (char)(1 << bit % 8);
        if (check_text((const uint8_t *)text, len, &verifier, &local) == WW_OK &&
            (byte < stamp || byte > stamp_end ||
             stamped_time(text, len, &verifier) != at)) {
            fail_msg("%s: accepted with bit %zu of byte %zu flipped: %.40s", path,
                     bit % 8, bit / 8, byte);
        }
        *byte ^= (char)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < len - 1; cut += STRIDE) {
        struct ww_error local = {0};
        assert_int_not_equal(check_text((const uint8_t *)text, cut, &verifier, &local),
                             WW_OK);
    }
    ww_verifier_release(&verifier);
    ww_free(text);
}

static void flipped_bits_and_cuts_are_refused(void **state)
{
    const struct ww_verify_options public_instance = {
        .method = WW_VERIFY_KEYLESS,
        .trusted_root = OMS_DIR "/trusted_root.json",
        .identity = "stefanb@us.ibm.com",
        .identity_provider = "https://sigstore.verify.ibm.com/oauth2",
    };
    (void)state;
    flip_all(OMS_DIR "/historical-v1.1.0-sigstore/bundle.sig", &public_instance);
    flip_all(DIR "/good-v2.json", &ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bundles_verify),
        cmocka_unit_test(bad_bundles_are_refused),
        cmocka_unit_test(another_identity_is_refused),
        cmocka_unit_test(another_root_is_refused),
        cmocka_unit_test(stamped_certificates_outlive_their_end),
        cmocka_unit_test(flipped_bits_and_cuts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
