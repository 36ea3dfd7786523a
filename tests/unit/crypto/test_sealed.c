/* SPDX-License-Identifier: Apache-2.0 */
/* The record itself, at a cheap cost; files are tested with lock keys and recipients. */
#include "crypto_test.h"

#include "crypto/recipient.h"
#include "crypto/sealed_layout.h"
#include "util/fault.h"
#include "util/num.h"

static const struct ww_argon2_cost cheap = {1, 8};
static const char secret_bytes[] = "0123456789abcdefghijklmnopqrstuv";

struct fixture {
    struct ww_secret *secret;
    struct ww_secret *passphrase;
    struct ww_secret *recipients[2];
    uint8_t public_keys[2][32];
};

static int make_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->secret = secret_of(secret_bytes, 32);
    f->passphrase = secret_text("passphrase");
    for (unsigned i = 0; i < 2; i++) {
        uint8_t bytes[32];
        memset(bytes, (int)(i + 1), sizeof(bytes));
        f->recipients[i] = secret_of(bytes, 32);
        ww_recipient_public_of(bytes, f->public_keys[i]);
    }
    *state = f;
    return 0;
}

static int drop_fixture(void **state)
{
    struct fixture *f = *state;
    ww_secret_free(f->secret);
    ww_secret_free(f->passphrase);
    ww_secret_free(f->recipients[0]);
    ww_secret_free(f->recipients[1]);
    free(f);
    return 0;
}

static struct ww_record_plan plan_for(const struct fixture *f,
                                      enum ww_key_sealing sealing)
{
    struct ww_record_plan plan = {
        .kind = WW_RECORD_LOCK, .created_unix = 1700000000, .cost = cheap};
    memset(plan.id, 0x5a, sizeof(plan.id));
    plan.passphrase = sealing == WW_SEALED_PASSPHRASE ? f->passphrase : NULL;
    plan.recipients = (const uint8_t(*)[32])f->public_keys;
    plan.n_recipients = sealing == WW_SEALED_RECIPIENTS ? 2 : 0;
    return plan;
}

/* A record's bytes, to be freed. */
static uint8_t *made(const struct fixture *f, enum ww_key_sealing sealing, size_t *len)
{
    struct ww_error err = {0};
    struct ww_secret *record = NULL;
    const struct ww_record_plan plan = plan_for(f, sealing);
    OK(ww_record_make(&plan, f->secret, &record, &err));
    *len = ww_secret_len(record);
    uint8_t *bytes = malloc(*len);
    memcpy(bytes, ww_secret_open(record), *len);
    ww_secret_free(record);
    return bytes;
}

static struct ww_record_key key_for(const struct fixture *f, enum ww_key_sealing sealing,
                                    unsigned which)
{
    struct ww_record_key key = {NULL, NULL};
    key.passphrase = sealing == WW_SEALED_PASSPHRASE ? f->passphrase : NULL;
    key.recipient = sealing == WW_SEALED_RECIPIENTS ? f->recipients[which] : NULL;
    return key;
}

static enum ww_err parse_and_open(const uint8_t *bytes, size_t len,
                                  const struct ww_record_key *key, struct ww_secret **out,
                                  struct ww_error *err)
{
    struct ww_record record;
    *out = NULL;
    enum ww_err rc = ww_record_parse(bytes, len, &record, err);
    return rc ? rc : ww_record_open(&record, key, out, NULL, err);
}

static void fix_checksum(uint8_t *bytes, size_t len)
{
    ww_record_checksum(bytes, len - 32, bytes + len - 32);
}

static const enum ww_key_sealing sealings[] = {WW_SEALED_NONE, WW_SEALED_PASSPHRASE,
                                               WW_SEALED_RECIPIENTS};

static void every_sealing_makes_a_round_trip(void **state)
{
    const struct fixture *f = *state;
    static const size_t sizes[] = {54 + 8 + 32 + 140, 54 + 8 + 96 + 140,
                                   54 + 2 * 136 + 140};
    for (unsigned i = 0; i < 3; i++) {
        struct ww_error err = {0};
        struct ww_record record;
        size_t len = 0;
        uint8_t *bytes = made(f, sealings[i], &len);
        assert_int_equal(len, sizes[i]);
        OK(ww_record_parse(bytes, len, &record, &err));
        assert_int_equal(record.kind, WW_RECORD_LOCK);
        assert_int_equal(record.sealing, sealings[i]);
        assert_int_equal(record.created_unix, 1700000000);
        assert_int_equal(record.n_stanzas, i == 2 ? 2 : 1);
        assert_int_equal(record.id[15], 0x5a);
        for (unsigned which = 0; which < 2; which++) {
            struct ww_secret *out = NULL;
            const struct ww_record_key key = key_for(f, sealings[i], which);
            OK(ww_record_open(&record, &key, &out, NULL, &err));
            assert_true(ww_secret_equal(out, f->secret));
            ww_secret_free(out);
        }
        free(bytes);
    }
}

/* Records that an independent reader has opened (tests/vectors/crypto/read_sealed.py). */
static void frozen_records_open(void **state)
{
    static const char *const names[] = {"none", "passphrase", "recipients"};
    const struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        struct ww_error err = {0};
        struct ww_secret *out = NULL;
        struct ww_buf content;
        char path[512];
        const struct ww_record_key key = key_for(f, sealings[i], i % 2);
        snprintf(path, sizeof(path), "%s/crypto/sealed/%s.lock", WW_VECTORS, names[i]);
        read_file(path, &content);
        OK(parse_and_open(content.data, content.len, &key, &out, &err));
        const uint8_t *bytes = ww_secret_open(out);
        for (unsigned j = 0; j < 32; j++) {
            assert_int_equal(bytes[j], j);
        }
        ww_secret_free(out);
        ww_buf_release(&content);
    }
}

static void the_secret_is_not_in_the_record(void **state)
{
    const struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        size_t len = 0;
        uint8_t *bytes = made(f, sealings[i], &len);
        assert_null(memmem(bytes, len, secret_bytes, 8));
        assert_null(memmem(bytes, len, "passphrase", 10));
        free(bytes);
    }
}

static void a_flipped_bit_is_damage(void **state)
{
    const struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        size_t len = 0;
        uint8_t *bytes = made(f, sealings[i], &len);
        const struct ww_record_key key = key_for(f, sealings[i], 0);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            struct ww_error err = {0};
            struct ww_secret *out = NULL;
            const bool in_version = bit / 8 >= AT_VERSION && bit / 8 < AT_KIND;
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            FAILS(parse_and_open(bytes, len, &key, &out, &err),
                  in_version ? WW_E_VERSION : WW_E_KEYFILE);
            assert_null(out);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(bytes);
    }
}

/* The same with the check sum made right again: deliberate alteration. A changed
 * passphrase stanza cannot be told from a wrong passphrase, a changed recipient id is a
 * record for someone else. */
static enum ww_err altered_class(enum ww_key_sealing sealing, size_t byte)
{
    const size_t body = AT_STANZAS + STANZA_HEAD_BYTES;
    if (byte >= AT_VERSION && byte < AT_KIND) {
        return WW_E_VERSION;
    }
    if (sealing == WW_SEALED_PASSPHRASE) {
        const bool fixed = byte >= AT_CREATED && byte < AT_N_STANZAS;
        const bool in_body = byte >= body && byte < body + PASS_BYTES;
        /* One more pass is another key; 256 times the passes or 16 GiB are refused. */
        const bool too_much =
            (byte > body + PASS_AT_PASSES && byte < body + PASS_AT_MEMORY) ||
            byte == body + PASS_AT_MEMORY + 3;
        return (fixed || in_body) && !too_much ? WW_E_PASSPHRASE : WW_E_KEYFILE;
    }
    if (sealing == WW_SEALED_RECIPIENTS && byte >= body && byte < body + RCPT_AT_BOX) {
        return WW_E_NOT_FOR_YOU;
    }
    return WW_E_KEYFILE;
}

static void alteration_at_every_byte_is_caught(void **state)
{
    const struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        size_t len = 0;
        uint8_t *bytes = made(f, sealings[i], &len);
        const struct ww_record_key key = key_for(f, sealings[i], 0);
        for (size_t byte = 0; byte < len - 32; byte++) {
            struct ww_error err = {0};
            struct ww_secret *out = NULL;
            /* Two to three passes, 8 to 10 KiB: bit 1 keeps Argon2's bounds. */
            bytes[byte] ^= 2;
            fix_checksum(bytes, len);
            enum ww_err rc = parse_and_open(bytes, len, &key, &out, &err);
            if (rc != altered_class(sealings[i], byte)) {
                fail_msg("sealing %u byte %zu: %s %s", i, byte, ww_err_name(rc),
                         err.text);
            }
            assert_null(out);
            bytes[byte] ^= 2;
        }
        free(bytes);
    }
}

static void other_lengths_are_damage(void **state)
{
    const struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        struct ww_error err = {0};
        struct ww_record record;
        size_t full = 0;
        uint8_t *bytes = made(f, sealings[i], &full);
        uint8_t longer[700] = {0};
        for (size_t len = 0; len < full; len++) {
            uint8_t *cut = malloc(len ? len : 1); /* its own block, so that ASan sees */
            memcpy(cut, bytes, len);
            FAILS(ww_record_parse(cut, len, &record, &err), WW_E_KEYFILE);
            if (len >= 54 + 32) {
                fix_checksum(cut, len);
                FAILS(ww_record_parse(cut, len, &record, &err), WW_E_KEYFILE);
            }
            free(cut);
        }
        memcpy(longer, bytes, full);
        fix_checksum(longer, full + 32);
        FAILS(ww_record_parse(longer, full + 32, &record, &err), WW_E_KEYFILE);
        free(bytes);
    }
}

static void wrong_and_missing_keys_are_told(void **state)
{
    const struct fixture *f = *state;
    struct ww_error err = {0};
    struct ww_secret *wrong = secret_text("Passphrase");
    uint8_t other[32];
    memset(other, 9, sizeof(other));
    struct ww_secret *stranger = secret_of(other, 32);
    const struct ww_record_key nothing = {NULL, NULL};
    const struct ww_record_key wrong_key = {wrong, NULL};
    const struct ww_record_key strange_key = {f->passphrase, stranger};
    struct ww_secret *out = NULL;
    size_t len = 0;
    uint8_t *bytes = made(f, WW_SEALED_PASSPHRASE, &len);
    FAILS(parse_and_open(bytes, len, &nothing, &out, &err), WW_E_PASSPHRASE);
    FAILS(parse_and_open(bytes, len, &wrong_key, &out, &err), WW_E_PASSPHRASE);
    free(bytes);
    bytes = made(f, WW_SEALED_RECIPIENTS, &len);
    FAILS(parse_and_open(bytes, len, &nothing, &out, &err), WW_E_PASSPHRASE);
    FAILS(parse_and_open(bytes, len, &strange_key, &out, &err), WW_E_NOT_FOR_YOU);
    free(bytes);
    assert_null(out);
    ww_secret_free(wrong);
    ww_secret_free(stranger);
}

/* A box moved to another record opens, but is tied to the first one. */
static void a_stanza_does_not_fit_another_record(void **state)
{
    const struct fixture *f = *state;
    for (unsigned i = 1; i < 3; i++) {
        struct ww_error err = {0};
        struct ww_secret *out = NULL;
        struct ww_secret *record = NULL;
        struct ww_record_plan plan = plan_for(f, sealings[i]);
        const struct ww_record_key key = key_for(f, sealings[i], 0);
        size_t len = 0;
        uint8_t *bytes = made(f, sealings[i], &len);
        plan.id[0] ^= 1;
        OK(ww_record_make(&plan, f->secret, &record, &err));
        assert_int_equal(ww_secret_len(record), len);
        memcpy(bytes + AT_STANZAS, ww_secret_open(record) + AT_STANZAS,
               len - AT_STANZAS - TAIL_BYTES);
        fix_checksum(bytes, len);
        FAILS(parse_and_open(bytes, len, &key, &out, &err),
              i == 1 ? WW_E_PASSPHRASE : WW_E_KEYFILE);
        assert_null(out);
        ww_secret_free(record);
        free(bytes);
    }
}

static void cost_beyond_the_caps_is_refused_unread(void **state)
{
    static const uint32_t bad[][2] = {{0, 8}, {11, 8},      {1, 7},
                                      {1, 0}, {1, 1048577}, {UINT32_MAX, UINT32_MAX}};
    const struct fixture *f = *state;
    size_t len = 0;
    uint8_t *bytes = made(f, WW_SEALED_PASSPHRASE, &len);
    uint8_t *body = bytes + AT_STANZAS + STANZA_HEAD_BYTES;
    struct ww_record record;
    struct ww_error err = {0};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ww_put_u32le(body + PASS_AT_PASSES, bad[i][0]);
        ww_put_u32le(body + PASS_AT_MEMORY, bad[i][1]);
        fix_checksum(bytes, len);
        FAILS(ww_record_parse(bytes, len, &record, &err), WW_E_KEYFILE);
    }
    ww_put_u32le(body + PASS_AT_PASSES, 10);
    ww_put_u32le(body + PASS_AT_MEMORY, 1048576);
    fix_checksum(bytes, len);
    OK(ww_record_parse(bytes, len, &record, &err));
    free(bytes);
}

static void a_newer_version_is_refused_by_name(void **state)
{
    const struct fixture *f = *state;
    struct ww_error err = {0};
    struct ww_record record;
    size_t len = 0;
    uint8_t *bytes = made(f, WW_SEALED_NONE, &len);
    ww_put_u32le(bytes + AT_VERSION, 3);
    FAILS(ww_record_parse(bytes, len, &record, &err), WW_E_VERSION);
    assert_non_null(strstr(err.text, "version 3"));
    free(bytes);
}

static void impossible_plans_are_refused(void **state)
{
    const struct fixture *f = *state;
    struct ww_error err = {0};
    struct ww_secret *record = NULL;
    struct ww_record_plan plan = plan_for(f, WW_SEALED_RECIPIENTS);
    static const uint8_t low_order[1][32];
    plan.passphrase = f->passphrase;
    FAILS(ww_record_make(&plan, f->secret, &record, &err), WW_E_USAGE);
    plan.passphrase = NULL;
    plan.n_recipients = WW_RECORD_MAX_STANZAS + 1;
    FAILS(ww_record_make(&plan, f->secret, &record, &err), WW_E_USAGE);
    plan.n_recipients = 1;
    FAILS(ww_record_make(&plan, f->passphrase, &record, &err), WW_E_USAGE);
    plan.recipients = low_order;
    FAILS(ww_record_make(&plan, f->secret, &record, &err), WW_E_KEY);
    assert_null(record);
}

static void the_most_recipients_fit(void **state)
{
    const struct fixture *f = *state;
    static uint8_t keys[WW_RECORD_MAX_STANZAS][32];
    struct ww_error err = {0};
    struct ww_secret *record = NULL;
    struct ww_secret *out = NULL;
    struct ww_record_plan plan = plan_for(f, WW_SEALED_RECIPIENTS);
    for (unsigned i = 0; i < WW_RECORD_MAX_STANZAS; i++) {
        memcpy(keys[i], f->public_keys[i == WW_RECORD_MAX_STANZAS - 1], 32);
    }
    plan.recipients = (const uint8_t(*)[32])keys;
    plan.n_recipients = WW_RECORD_MAX_STANZAS;
    OK(ww_record_make(&plan, f->secret, &record, &err));
    const struct ww_record_key last = key_for(f, WW_SEALED_RECIPIENTS, 1);
    OK(parse_and_open(ww_secret_open(record), ww_secret_len(record), &last, &out, &err));
    assert_true(ww_secret_equal(out, f->secret));
    ww_secret_free(out);
    ww_secret_free(record);
}

static void lack_of_memory_is_reported(void **state)
{
    const struct fixture *f = *state;
    for (unsigned i = 0; i < 3; i++) {
        const struct ww_record_plan plan = plan_for(f, sealings[i]);
        const struct ww_record_key key = key_for(f, sealings[i], 0);
        size_t len = 0;
        uint8_t *bytes = made(f, sealings[i], &len);
        enum ww_err make_rc = WW_E_NOMEM;
        enum ww_err open_rc = WW_E_NOMEM;
        for (unsigned long n = 1; make_rc || open_rc; n++) {
            struct ww_error err = {0};
            struct ww_secret *out = NULL;
            assert_true(n < 30);
            ww_fault_arm(WW_FAULT_ALLOC, n);
            make_rc = ww_record_make(&plan, f->secret, &out, &err);
            ww_secret_free(out);
            assert_true(make_rc == WW_OK || make_rc == WW_E_NOMEM);
            ww_error_clear(&err);
            ww_fault_arm(WW_FAULT_ALLOC, n);
            open_rc = parse_and_open(bytes, len, &key, &out, &err);
            ww_secret_free(out);
            assert_true(open_rc == WW_OK || open_rc == WW_E_NOMEM);
            ww_fault_arm(WW_FAULT_ALLOC, 0);
        }
        free(bytes);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_fixture, drop_fixture)

static void more_recipients_than_a_reader_takes_are_refused(void **state)
{
    const struct fixture *f = *state;
    struct ww_error err = {0};
    struct ww_secret *record = NULL;
    struct ww_record parsed;
    struct ww_record_plan plan = plan_for(f, WW_SEALED_RECIPIENTS);
    plan.n_recipients = WW_RECORD_MAX_STANZAS + 1;
    FAILS(ww_record_make(&plan, f->secret, &record, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "65537 recipients given, at most 65536"));
    size_t len = 0;
    uint8_t *bytes = made(f, WW_SEALED_RECIPIENTS, &len);
    ww_put_u32le(bytes + AT_N_STANZAS, WW_RECORD_MAX_STANZAS + 1);
    fix_checksum(bytes, len);
    FAILS(ww_record_parse(bytes, len, &parsed, &err), WW_E_KEYFILE);
    assert_non_null(strstr(err.text, "65537 stanzas"));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_sealing_makes_a_round_trip),
        TEST(frozen_records_open),
        TEST(the_secret_is_not_in_the_record),
        TEST(a_flipped_bit_is_damage),
        TEST(alteration_at_every_byte_is_caught),
        TEST(other_lengths_are_damage),
        TEST(wrong_and_missing_keys_are_told),
        TEST(a_stanza_does_not_fit_another_record),
        TEST(cost_beyond_the_caps_is_refused_unread),
        TEST(a_newer_version_is_refused_by_name),
        TEST(impossible_plans_are_refused),
        TEST(the_most_recipients_fit),
        TEST(more_recipients_than_a_reader_takes_are_refused),
        TEST(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
