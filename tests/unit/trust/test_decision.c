/* SPDX-License-Identifier: Apache-2.0 */
/* What a carried record of a decision says, and that nobody can make it say less. */
#include <string.h>

#include "crypto/signkey.h"
#include "sign/bundle.h"
#include "trust/lineage.h"
#include "util/alloc.h"
#include "ww_changes.h"
#include "ww_test.h"

#define RECORD(type, policies)                                                           \
    "{\"_type\":\"https://in-toto.io/Statement/"                                         \
    "v1\",\"subject\":[],\"predicateType\":\"" type                                      \
    "\",\"predicate\":{\"weightward_decision\":{\"action\":\"merge\"" policies "}}}"
#define VSA "https://slsa.dev/verification_summary/v1"
#define TWO                                                                              \
    ",\"policies\":[{\"id\":\"a\",\"version\":\"7\"},{\"id\":\"b\",\"version\":\"1\"}]"

struct desk {
    char *dir;
    struct ww_signkey *key;
    struct ww_pubkey *pub;
    struct ww_chain_keys keys;
    struct ww_trust trust;
    struct ww_source_facts facts;
};

static struct ww_signkey *new_key(struct desk *d, const char *name)
{
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    char base[400];
    char path[410];
    snprintf(base, sizeof(base), "%s/%s", d->dir, name);
    snprintf(path, sizeof(path), "%s.key", base);
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(path, NULL, &key, &err));
    return key;
}

static int set_up(void **state)
{
    struct desk *d = ww_calloc(1, sizeof(*d));
    struct ww_error err = {0};
    d->dir = ww_test_mkdir();
    d->key = new_key(d, "me");
    OK(ww_signkey_public(d->key, &d->pub, &err));
    OK(ww_chain_keys_add(&d->keys, d->pub, &err));
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *d = *state;
    ww_facts_release(&d->facts);
    ww_chain_keys_release(&d->keys);
    ww_pubkey_free(d->pub);
    ww_signkey_free(d->key);
    ww_test_rmdir(d->dir);
    ww_free(d);
    return 0;
}

static void sign(struct ww_signkey *key, const char *payload, struct ww_buf *out)
{
    const struct ww_signer signer = {.key = key};
    struct ww_error err = {0};
    ww_buf_init(out, 1 << 20);
    OK(ww_bundle_sign(&signer, (const uint8_t *)payload, strlen(payload), out, &err));
}

static enum ww_err read_record(struct desk *d, const struct ww_buf *text)
{
    struct ww_error err = {0};
    ww_facts_release(&d->facts);
    return ww_decision_read(&d->trust, &d->keys, text, &d->facts, &err);
}

static void versions_become_needs(void **state)
{
    struct desk *d = *state;
    struct ww_buf text;
    sign(d->key, RECORD(VSA, TWO), &text);
    assert_int_equal(read_record(d, &text), WW_OK);
    assert_int_equal(d->facts.n_needs, 2);
    assert_string_equal(d->facts.needs[0].id, "a");
    assert_int_equal(d->facts.needs[0].version, 7);
    assert_true(d->facts.needs[0].was_used && d->facts.needs[1].was_used);
    ww_buf_release(&text);
    /* Records of before had no versions. */
    sign(d->key, RECORD(VSA, ""), &text);
    assert_int_equal(read_record(d, &text), WW_OK);
    assert_int_equal(d->facts.n_needs, 0);
    ww_buf_release(&text);
}

static void what_is_no_record_is_refused(void **state)
{
    static const struct {
        const char *payload;
        enum ww_err code;
    } list[] = {
        {RECORD("https://slsa.dev/provenance/v1", TWO), WW_E_BUNDLE},
        {"{\"predicateType\":\"" VSA "\",\"predicate\":{}}", WW_E_BUNDLE},
        {RECORD(VSA, ",\"policies\":{\"id\":\"a\"}"), WW_E_BUNDLE},
        {RECORD(VSA, ",\"policies\":[{\"id\":\"a\"}]"), WW_E_POLICY},
        /* 64 bits are a string: a JSON number is another one to other readers. */
        {RECORD(VSA, ",\"policies\":[{\"id\":\"a\",\"version\":7}]"), WW_E_POLICY},
        {RECORD(VSA, ",\"policies\":[{\"id\":\"a\",\"version\":\"-1\"}]"), WW_E_POLICY},
        {RECORD(VSA, TWO TWO), WW_E_JSON},
        {"{", WW_E_JSON},
    };
    struct desk *d = *state;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        struct ww_buf text;
        sign(d->key, list[i].payload, &text);
        const enum ww_err rc = read_record(d, &text);
        if (rc != list[i].code) {
            fail_msg("%zu: got %s, want %s", i, ww_err_name(rc),
                     ww_err_name(list[i].code));
        }
        ww_buf_release(&text);
    }
}

static void a_stranger_and_a_revoked_record_say_nothing(void **state)
{
    struct desk *d = *state;
    struct ww_signkey *stranger = new_key(d, "stranger");
    uint8_t digest[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_buf text;
    sign(stranger, RECORD(VSA, TWO), &text);
    assert_int_equal(read_record(d, &text), WW_OK);
    assert_int_equal(d->facts.n_needs, 0);
    ww_buf_release(&text);
    sign(d->key, RECORD(VSA, TWO), &text);
    ww_sha256_of(text.data, text.len, digest);
    ww_hex(hex, digest, sizeof(digest));
    struct ww_revoked revoked = {.kind = WW_REVOKED_ATTESTATION, .id = hex};
    d->trust.root.revoked = &revoked;
    d->trust.root.n_revoked = 1;
    assert_int_equal(read_record(d, &text), WW_OK);
    assert_int_equal(d->facts.n_needs, 0);
    d->trust.root.n_revoked = 0;
    ww_buf_release(&text);
    ww_signkey_free(stranger);
}

static bool accepts(void *payload, const uint8_t *bytes, size_t len)
{
    struct desk *d = payload;
    const struct ww_buf text = {.data = (uint8_t *)(uintptr_t)bytes, .len = len};
    return read_record(d, &text) == WW_OK && d->facts.n_needs > 0;
}

static void every_change_of_a_record_is_refused(void **state)
{
    struct desk *d = *state;
    struct ww_buf text;
    sign(d->key, RECORD(VSA, TWO), &text);
    refuses_every_change(accepts, d, text.data, text.len);
    ww_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(versions_become_needs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_record_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stranger_and_a_revoked_record_say_nothing,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_change_of_a_record_is_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
