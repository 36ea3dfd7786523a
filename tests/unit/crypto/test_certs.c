/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include "crypto/base64.h"
#include "crypto/verify.h"

#define CERTS WW_VECTORS "/crypto/certs/"
#define YEAR_2026 1767225600
#define YEAR_2100 4102444800

static struct ww_certs *load_pem(const char *name, const char *ending,
                                 struct ww_certs *into)
{
    struct ww_error err = {0};
    char path[512];
    struct ww_buf text;
    if (!into) {
        OK(ww_certs_new(&into, &err));
    }
    snprintf(path, sizeof(path), "%s%s%s", CERTS, name, ending);
    read_file(path, &text);
    OK(ww_certs_add_pem(into, text.data, text.len, &err));
    ww_buf_release(&text);
    return into;
}

/* DER of the n-th certificate of a PEM file, by our own base64. */
static void der_of(const char *name, unsigned n, struct ww_buf *der)
{
    struct ww_error err = {0};
    char path[512];
    char packed[8192];
    size_t len = 0;
    struct ww_buf text;
    snprintf(path, sizeof(path), "%s%s", CERTS, name);
    read_file(path, &text);
    const char *at_line = ww_buf_cstr(&text);
    for (unsigned i = 0; i <= n; i++) {
        at_line = strstr(at_line, "-----BEGIN CERTIFICATE-----\n");
        assert_non_null(at_line);
        at_line += 28;
    }
    for (; *at_line != '-'; at_line++) {
        if (*at_line != '\n') {
            packed[len++] = *at_line;
        }
    }
    ww_buf_init(der, 8192);
    OK(ww_base64_decode(der, packed, len, &err));
    ww_buf_release(&text);
}

static const struct {
    const char *name;
    int64_t at_unix;
    enum ww_err want;
    const char *subject;
} cases[] = {
    {"suite-simple", YEAR_2026, WW_OK, "CN=suite leaf"},
    {"suite-all-expired", YEAR_2026, WW_E_EXPIRED, NULL},
    /* The whole chain was valid then: the time is the caller's, not the clock's. */
    {"suite-all-expired", 1581465600, WW_OK, "CN=certificate-all-expired leaf"},
    {"suite-all-expired", 1588291200, WW_E_EXPIRED, NULL},
    {"suite-expired-root", YEAR_2026, WW_E_EXPIRED, NULL},
    {"suite-expired", YEAR_2026, WW_E_EXPIRED, NULL},
    {"suite-not-yet-valid", YEAR_2026, WW_E_EXPIRED, NULL},
    {"suite-not-yet-valid", 3800000000, WW_OK, "CN=certificate-not-yet-valid leaf"},
    {"suite-no-code-signing-eku", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"suite-wrong-ca", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"historical", YEAR_2026, WW_OK, "CN=intermediate-ca"},
    {"historical", YEAR_2100, WW_E_EXPIRED, NULL},
    {"own-control", YEAR_2026, WW_OK, "CN=own leaf"},
    {"own-control", 1704067200, WW_OK, "CN=own leaf"},
    {"own-control", 1704067199, WW_E_EXPIRED, NULL},
    {"own-control", YEAR_2100, WW_E_EXPIRED, NULL},
    {"own-control", -1, WW_E_EXPIRED, NULL},
    {"own-eku-server-auth", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-issuer-server-auth", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-expired-leaf-old-ca", YEAR_2026, WW_E_EXPIRED, NULL},
    {"own-intermediate-from-verifier", YEAR_2026, WW_OK, "CN=own leaf"},
    {"own-intermediate-not-ca", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-leaf-bit-flip", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-missing-intermediate", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-order-swapped", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-renewed-intermediate", YEAR_2026, WW_OK, "CN=own leaf"},
    /* The leaf was valid in 2024, its renewed intermediate was not yet. */
    {"own-renewed-intermediate", 1710000000, WW_E_EXPIRED, NULL},
    {"own-same-name-root", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-two-anchors", YEAR_2026, WW_E_UNTRUSTED, NULL},
    {"own-usage-key-agreement", YEAR_2026, WW_E_UNTRUSTED, NULL},
};

static void chains_give_the_expected_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        struct ww_certs *chain = load_pem(cases[i].name, ".chain.pem", NULL);
        struct ww_certs *anchors = load_pem(cases[i].name, ".ca.pem", NULL);
        struct ww_pubkey *key = NULL;
        struct ww_buf subject;
        ww_buf_init(&subject, 1000);
        enum ww_err rc =
            ww_certs_verify(chain, anchors, cases[i].at_unix, &key, &subject, &err);
        if (rc != cases[i].want) {
            fail_msg("%s (case %zu): %s %s", cases[i].name, i, ww_err_name(rc), err.text);
        }
        if (cases[i].subject) {
            assert_non_null(key);
            assert_string_equal(ww_buf_cstr(&subject), cases[i].subject);
        } else {
            assert_null(key);
            assert_int_equal(subject.len, 0);
        }
        ww_buf_release(&subject);
        ww_pubkey_free(key);
        ww_certs_free(chain);
        ww_certs_free(anchors);
    }
}

static void second_anchor_is_tried(void **state)
{
    struct ww_error err = {0};
    struct ww_certs *chain = load_pem("own-two-anchors", ".chain.pem", NULL);
    struct ww_certs *anchors = load_pem("own-two-anchors", ".ca.pem", NULL);
    struct ww_pubkey *key = NULL;
    struct ww_buf subject;
    (void)state;
    ww_buf_init(&subject, 1000);
    load_pem("own-two-anchors", ".ca2.pem", anchors);
    assert_int_equal(ww_certs_count(anchors), 2);
    OK(ww_certs_verify(chain, anchors, YEAR_2026, &key, &subject, &err));
    assert_string_equal(ww_pubkey_curve(key), "P-256");
    ww_pubkey_free(key);
    ww_buf_release(&subject);
    ww_certs_free(chain);
    ww_certs_free(anchors);
}

static void leaf_key_of_the_historical_chain_is_p384(void **state)
{
    struct ww_error err = {0};
    struct ww_certs *chain = load_pem("historical", ".chain.pem", NULL);
    struct ww_certs *anchors = load_pem("historical", ".ca.pem", NULL);
    struct ww_pubkey *key = NULL;
    struct ww_buf subject;
    (void)state;
    ww_buf_init(&subject, 1000);
    OK(ww_certs_verify(chain, anchors, YEAR_2026, &key, &subject, &err));
    assert_string_equal(ww_pubkey_curve(key), "P-384");
    ww_pubkey_free(key);
    ww_buf_release(&subject);
    ww_certs_free(chain);
    ww_certs_free(anchors);
}

static void empty_chain_or_anchors_trust_nothing(void **state)
{
    struct ww_error err = {0};
    struct ww_certs *none = NULL;
    struct ww_certs *chain = load_pem("own-control", ".chain.pem", NULL);
    struct ww_pubkey *key = NULL;
    struct ww_buf subject;
    (void)state;
    ww_buf_init(&subject, 1000);
    OK(ww_certs_new(&none, &err));
    assert_int_equal(ww_certs_count(none), 0);
    FAILS(ww_certs_verify(none, chain, YEAR_2026, &key, &subject, &err), WW_E_UNTRUSTED);
    FAILS(ww_certs_verify(chain, none, YEAR_2026, &key, &subject, &err), WW_E_UNTRUSTED);
    /* An intermediate alone is no anchor. */
    struct ww_certs *middle = NULL;
    struct ww_buf der;
    OK(ww_certs_new(&middle, &err));
    der_of("own-control.chain.pem", 1, &der);
    OK(ww_certs_add_der(middle, der.data, der.len, &err));
    FAILS(ww_certs_verify(chain, middle, YEAR_2026, &key, &subject, &err),
          WW_E_UNTRUSTED);
    assert_null(key);
    ww_buf_release(&der);
    ww_buf_release(&subject);
    ww_certs_free(middle);
    ww_certs_free(chain);
    ww_certs_free(none);
    ww_certs_free(NULL);
}

static void der_chain_is_read_strictly(void **state)
{
    struct ww_error err = {0};
    struct ww_certs *chain = NULL;
    struct ww_certs *anchors = load_pem("own-control", ".ca.pem", NULL);
    struct ww_pubkey *key = NULL;
    struct ww_buf subject;
    struct ww_buf der;
    (void)state;
    ww_buf_init(&subject, 1000);
    OK(ww_certs_new(&chain, &err));
    der_of("own-control.chain.pem", 0, &der);
    for (size_t len = 0; len < der.len; len += len < 8 ? 1 : 37) {
        FAILS(ww_certs_add_der(chain, der.data, len, &err), WW_E_BUNDLE);
    }
    OK(ww_buf_add(&der, "\0", 1, &err));
    FAILS(ww_certs_add_der(chain, der.data, der.len, &err), WW_E_BUNDLE);
    OK(ww_certs_add_der(chain, der.data, der.len - 1, &err));
    ww_buf_release(&der);
    der_of("own-control.chain.pem", 1, &der);
    OK(ww_certs_add_der(chain, der.data, der.len, &err));
    assert_int_equal(ww_certs_count(chain), 2);
    OK(ww_certs_verify(chain, anchors, YEAR_2026, &key, &subject, &err));
    while (ww_certs_count(chain) < 32) {
        OK(ww_certs_add_der(chain, der.data, der.len, &err));
    }
    FAILS(ww_certs_add_der(chain, der.data, der.len, &err), WW_E_LIMIT);
    ww_buf_release(&der);
    ww_buf_release(&subject);
    ww_pubkey_free(key);
    ww_certs_free(chain);
    ww_certs_free(anchors);
}

static void pem_files_without_certificates_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "hello\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    };
    struct ww_error err = {0};
    struct ww_certs *certs = NULL;
    (void)state;
    OK(ww_certs_new(&certs, &err));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        FAILS(ww_certs_add_pem(certs, (const uint8_t *)bad[i], strlen(bad[i]), &err),
              WW_E_KEYFILE);
    }
    assert_int_equal(ww_certs_count(certs), 0);
    ww_certs_free(certs);
}

/* A signer gives its chain without the root, as servers do; a gap in it is refused. */
static void a_signers_chain_may_stop_below_the_root(void **state)
{
    (void)state;
    const struct {
        const char *name;
        enum ww_err want;
    } own[] = {
        {"own-control", WW_OK},
        {"suite-simple", WW_OK},
        {"own-missing-intermediate", WW_E_UNTRUSTED},
        {"own-leaf-bit-flip", WW_E_UNTRUSTED},
        {"own-order-swapped", WW_E_UNTRUSTED},
        {"own-intermediate-not-ca", WW_E_UNTRUSTED},
        {"own-usage-key-agreement", WW_E_UNTRUSTED},
        {"suite-no-code-signing-eku", WW_E_UNTRUSTED},
        {"suite-expired", WW_E_EXPIRED},
        {"suite-all-expired", WW_E_EXPIRED},
    };
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        struct ww_error err = {0};
        struct ww_certs *chain = load_pem(own[i].name, ".chain.pem", NULL);
        struct ww_pubkey *key = NULL;
        struct ww_buf subject;
        ww_buf_init(&subject, 1000);
        const enum ww_err rc =
            ww_certs_verify_own(chain, YEAR_2026, &key, &subject, &err);
        if (rc != own[i].want) {
            fail_msg("%s: %s %s", own[i].name, ww_err_name(rc), err.text);
        }
        assert_int_equal(rc == WW_OK, key != NULL);
        ww_buf_release(&subject);
        ww_pubkey_free(key);
        ww_certs_free(chain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_give_the_expected_answer),
        cmocka_unit_test(a_signers_chain_may_stop_below_the_root),
        cmocka_unit_test(second_anchor_is_tried),
        cmocka_unit_test(leaf_key_of_the_historical_chain_is_p384),
        cmocka_unit_test(empty_chain_or_anchors_trust_nothing),
        cmocka_unit_test(der_chain_is_read_strictly),
        cmocka_unit_test(pem_files_without_certificates_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
