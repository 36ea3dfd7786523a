/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include "crypto/recipient.h"

static const struct ww_argon2_cost cheap = {1, 8};

/* Secret and public key of Alice in RFC 7748 section 6.1. */
static const uint8_t alice_secret[32] = {0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d,
                                         0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
                                         0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a,
                                         0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a};
static const uint8_t alice_public[32] = {0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54,
                                         0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
                                         0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4,
                                         0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a};
/* hashlib.sha256(b"weightward/recipient-id/v1\0" + alice_public)[:16] */
#define ALICE_ID "4f60b476db4c8cde570f7aa99f2e8187"
#define ALICE_LINE                                                                       \
    "weightward-recipient 1 hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo= " ALICE_ID

static void public_half_and_line_match_rfc7748(void **state)
{
    struct ww_error err = {0};
    uint8_t key[32];
    (void)state;
    ww_recipient_public_of(alice_secret, key);
    assert_memory_equal(key, alice_public, 32);
    memset(key, 0, sizeof(key));
    OK(ww_recipient_parse((const uint8_t *)ALICE_LINE, strlen(ALICE_LINE), key, &err));
    assert_memory_equal(key, alice_public, 32);
    memset(key, 0, sizeof(key));
    OK(ww_recipient_parse((const uint8_t *)ALICE_LINE "\n", strlen(ALICE_LINE) + 1, key,
                          &err));
    assert_memory_equal(key, alice_public, 32);
}

static void other_lines_are_refused(void **state)
{
    static const struct {
        const char *text;
        enum ww_err want;
    } cases[] = {
        {"", WW_E_KEY},
        {"weightward-recipient", WW_E_KEY},
        {"age1qqq", WW_E_KEY},
        {"weightward-recipient 2 x", WW_E_VERSION},
        {"weightward-recipient 1", WW_E_VERSION},
        {"weightward-recipient 1 ", WW_E_KEYFILE},
        {ALICE_LINE "\n\n", WW_E_KEYFILE},
        {ALICE_LINE " ", WW_E_KEYFILE},
        {" " ALICE_LINE, WW_E_KEY},
        {"weightward-recipient 1 hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmp= " ALICE_ID,
         WW_E_KEYFILE},
        {"weightward-recipient 1 hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTm== " ALICE_ID,
         WW_E_KEYFILE},
    };
    struct ww_error err = {0};
    uint8_t key[32];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        FAILS(ww_recipient_parse((const uint8_t *)cases[i].text, strlen(cases[i].text),
                                 key, &err),
              cases[i].want);
    }
}

static void a_changed_letter_anywhere_is_refused(void **state)
{
    char line[] = ALICE_LINE;
    uint8_t key[32];
    (void)state;
    for (size_t i = 0; i < strlen(line); i++) {
        struct ww_error err = {0};
        line[i] ^= 1;
        assert_int_not_equal(
            ww_recipient_parse((const uint8_t *)line, strlen(line), key, &err), WW_OK);
        line[i] ^= 1;
    }
}

static void created_pair_loads_with_its_passphrase(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *passphrase = secret_text("pass");
    struct ww_secret *wrong = secret_text("past");
    struct ww_secret *secret = NULL;
    uint8_t public_key[32];
    uint8_t derived[32];
    (void)state;
    OK(ww_recipient_create_at(at(dir, "r"), passphrase, &cheap, &err));
    assert_int_equal(mode_of(at(dir, "r.key")), 0600);
    OK(ww_recipient_load_public(at(dir, "r.pub"), public_key, &err));
    OK(ww_recipient_load(at(dir, "r.key"), passphrase, &secret, &err));
    ww_recipient_public_of(ww_secret_open(secret), derived);
    assert_memory_equal(derived, public_key, 32);
    ww_secret_free(secret);
    FAILS(ww_recipient_load(at(dir, "r.key"), wrong, &secret, &err), WW_E_PASSPHRASE);
    FAILS(ww_recipient_load(at(dir, "r.key"), NULL, &secret, &err), WW_E_PASSPHRASE);
    FAILS(ww_recipient_create_at(at(dir, "r"), passphrase, &cheap, &err), WW_E_EXISTS);
    assert_int_equal(chmod(at(dir, "r.key"), 0604), 0);
    FAILS(ww_recipient_load(at(dir, "r.key"), passphrase, &secret, &err),
          WW_E_KEY_ACCESS);
    assert_null(secret);
    ww_secret_free(passphrase);
    ww_secret_free(wrong);
    ww_test_rmdir(dir);
}

static void key_that_does_not_fit_its_id_is_refused(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *alice = secret_of(alice_secret, 32);
    struct ww_secret *record = NULL;
    struct ww_secret *out = NULL;
    struct ww_record_plan plan = {.kind = WW_RECORD_RECIPIENT, .created_unix = 1};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        ww_recipient_id(alice_public, plan.id);
        plan.id[3] ^= (uint8_t)i;
        OK(ww_record_make(&plan, alice, &record, &err));
        write_file(at(dir, "r.key"), ww_secret_open(record), ww_secret_len(record), 0600);
        if (i == 0) {
            OK(ww_recipient_load(at(dir, "r.key"), NULL, &out, &err));
            assert_true(ww_secret_equal(out, alice));
            ww_secret_free(out);
        } else {
            FAILS(ww_recipient_load(at(dir, "r.key"), NULL, &out, &err), WW_E_KEYFILE);
            assert_null(out);
        }
        ww_secret_free(record);
    }
    plan.kind = WW_RECORD_LOCK;
    OK(ww_record_make(&plan, alice, &record, &err));
    write_file(at(dir, "r.key"), ww_secret_open(record), ww_secret_len(record), 0600);
    FAILS(ww_recipient_load(at(dir, "r.key"), NULL, &out, &err), WW_E_KEY);
    ww_secret_free(record);
    ww_secret_free(alice);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_half_and_line_match_rfc7748),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(a_changed_letter_anywhere_is_refused),
        cmocka_unit_test(created_pair_loads_with_its_passphrase),
        cmocka_unit_test(key_that_does_not_fit_its_id_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
