/* SPDX-License-Identifier: Apache-2.0 */
/* Records that are bound, and records whose recipients change. */
#include "crypto_test.h"

#include "crypto/lockkey.h"
#include "crypto/recipient.h"
#include "crypto/sealed_layout.h"

static const struct ww_argon2_cost cheap = {1, 8};

static struct ww_key_binding amber(void)
{
    struct ww_key_binding b = {.purpose = WW_PURPOSE_UNLOCK, .model_name = "amber"};
    memset(b.model_id, 7, sizeof(b.model_id));
    memset(b.lock_id, 8, sizeof(b.lock_id));
    return b;
}

static void a_binding_survives_its_bytes(void **state)
{
    const struct ww_key_binding b = amber();
    struct ww_key_binding back;
    uint8_t bytes[WW_BINDING_BYTES];
    struct ww_error err = {0};
    (void)state;
    ww_binding_write(&b, bytes);
    OK(ww_binding_read(bytes, &back, &err));
    assert_true(ww_binding_equal(&b, &back));
    assert_string_equal(back.model_name, "amber");
    assert_false(ww_binding_is_empty(&back));
    bytes[0] = 3;
    FAILS(ww_binding_read(bytes, &back, &err), WW_E_KEYFILE);
    ww_binding_write(&b, bytes);
    bytes[68 + 3] = '\n';
    FAILS(ww_binding_read(bytes, &back, &err), WW_E_KEYFILE);
    ww_binding_write(&b, bytes);
    bytes[131] = 'x'; /* something behind the name's end */
    FAILS(ww_binding_read(bytes, &back, &err), WW_E_KEYFILE);
    memset(bytes + 68, 'x', 64);
    FAILS(ww_binding_read(bytes, &back, &err), WW_E_KEYFILE);
}

static void a_bound_key_tells_what_it_is_for(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    struct ww_secret *key = secret_of("0123456789abcdefghijklmnopqrstuv", 32);
    const struct ww_key_binding b = amber();
    struct ww_key_binding found;
    struct ww_secret *back = NULL;
    struct ww_key_info info;
    struct ww_sealer sealer = {secret_text("pass"), NULL, 0};
    struct ww_unsealer unsealer = {sealer.passphrase, NULL, NULL};
    (void)state;
    OK(ww_lockkey_save_at(at(dir, "k"), key, &b, &sealer, &cheap, &err));
    OK(ww_lockkey_load_bound(at(dir, "k"), &unsealer, &back, &found, &err));
    assert_true(ww_secret_equal(back, key));
    assert_true(ww_binding_equal(&b, &found));
    ww_secret_free(back);
    OK(ww_key_inspect(at(dir, "k"), &info, &err));
    assert_int_equal(info.kind, WW_KEY_LOCK);

    /* The file holds neither name nor ids in clear. */
    struct ww_buf content;
    read_file(at(dir, "k"), &content);
    assert_null(memmem(content.data, content.len, "amber", 5));
    assert_null(memmem(content.data, content.len, b.model_id, 8));
    assert_int_equal(content.data[AT_VERSION], 2);
    ww_buf_release(&content);

    /* Without a binding the file is of version 1, as ever. */
    OK(ww_lockkey_save_at(at(dir, "l"), key, NULL, &sealer, &cheap, &err));
    OK(ww_lockkey_load_bound(at(dir, "l"), &unsealer, &back, &found, &err));
    assert_true(ww_binding_is_empty(&found));
    ww_secret_free(back);
    read_file(at(dir, "l"), &content);
    assert_int_equal(content.data[AT_VERSION], 1);
    ww_buf_release(&content);
    ww_secret_free(sealer.passphrase);
    ww_secret_free(key);
    ww_test_rmdir(dir);
}

/* Version 2 made into version 1, or the reverse: the payload's own version tells. */
static void a_binding_cannot_be_cut_off(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *key = secret_of("0123456789abcdefghijklmnopqrstuv", 32);
    const struct ww_key_binding b = amber();
    const struct ww_record_plan plan = {.kind = WW_RECORD_LOCK, .binding = &b};
    struct ww_secret *made = NULL;
    struct ww_secret *out = NULL;
    struct ww_record record;
    const struct ww_record_key nothing = {NULL, NULL};
    (void)state;
    OK(ww_record_make(&plan, key, &made, &err));
    uint8_t *bytes = ww_secret_open(made);
    const size_t len = ww_secret_len(made);
    for (size_t i = AT_STANZAS; i < len - 32; i++) {
        bytes[i] ^= 1;
        ww_record_checksum(bytes, len - 32, bytes + len - 32);
        ww_error_clear(&err);
        enum ww_err rc = ww_record_parse(bytes, len, &record, &err);
        if (!rc) {
            rc = ww_record_open(&record, &nothing, &out, NULL, &err);
        }
        assert_int_equal(rc, WW_E_KEYFILE);
        assert_null(out);
        bytes[i] ^= 1;
    }
    bytes[AT_VERSION] = 1;
    ww_record_checksum(bytes, len - 32, bytes + len - 32);
    ww_error_clear(&err);
    FAILS(ww_record_parse(bytes, len, &record, &err), WW_E_KEYFILE);
    ww_secret_free(made);
    ww_secret_free(key);
}

struct people {
    uint8_t public_keys[4][32];
    uint8_t ids[4][16];
    struct ww_secret *keys[4];
};

static void make_people(struct people *p)
{
    for (unsigned i = 0; i < 4; i++) {
        uint8_t bytes[32];
        memset(bytes, (int)(i + 1), sizeof(bytes));
        p->keys[i] = secret_of(bytes, 32);
        ww_recipient_public_of(bytes, p->public_keys[i]);
        ww_recipient_id(p->public_keys[i], p->ids[i]);
    }
}

/* Who of the four opens it: a bit for each. */
static unsigned who_opens(struct ww_secret *made, const struct people *p,
                          struct ww_secret *want)
{
    unsigned who = 0;
    for (unsigned i = 0; i < 4; i++) {
        struct ww_error err = {0};
        struct ww_secret *out = NULL;
        struct ww_record record;
        const struct ww_record_key key = {NULL, p->keys[i]};
        OK(ww_record_parse(ww_secret_open(made), ww_secret_len(made), &record, &err));
        enum ww_err rc = ww_record_open(&record, &key, &out, NULL, &err);
        assert_true(rc == WW_OK || rc == WW_E_NOT_FOR_YOU);
        if (!rc) {
            assert_true(ww_secret_equal(out, want));
            who |= 1u << i;
        }
        ww_secret_free(out);
    }
    return who;
}

static void recipients_come_and_go(void **state)
{
    struct ww_error err = {0};
    struct people p;
    struct ww_secret *key = secret_of("0123456789abcdefghijklmnopqrstuv", 32);
    struct ww_record_plan plan = {.kind = WW_RECORD_CONTENT, .n_recipients = 2};
    struct ww_secret *made = NULL;
    struct ww_secret *next = NULL;
    struct ww_record record;
    (void)state;
    make_people(&p);
    plan.recipients = (const uint8_t(*)[32])p.public_keys;
    OK(ww_record_make(&plan, key, &made, &err));
    assert_int_equal(who_opens(made, &p, key), 3);
    OK(ww_record_parse(ww_secret_open(made), ww_secret_len(made), &record, &err));
    const struct ww_record_key second = {NULL, p.keys[1]};
    const struct ww_record_key stranger = {NULL, p.keys[3]};

    struct ww_record_change change = {.add = (const uint8_t(*)[32]) & p.public_keys[2],
                                      .n_add = 2,
                                      .remove = (const uint8_t(*)[16])p.ids,
                                      .n_remove = 1};
    FAILS(ww_record_change_recipients(&record, &stranger, &change, &next, &err),
          WW_E_NOT_FOR_YOU);
    OK(ww_record_change_recipients(&record, &second, &change, &next, &err));
    assert_int_equal(who_opens(next, &p, key), 2 + 4 + 8);
    ww_secret_free(next);

    change =
        (struct ww_record_change){.add = (const uint8_t(*)[32])p.public_keys, .n_add = 1};
    FAILS(ww_record_change_recipients(&record, &second, &change, &next, &err),
          WW_E_USAGE);
    change = (struct ww_record_change){.remove = (const uint8_t(*)[16]) & p.ids[2],
                                       .n_remove = 1};
    FAILS(ww_record_change_recipients(&record, &second, &change, &next, &err),
          WW_E_USAGE);
    change =
        (struct ww_record_change){.remove = (const uint8_t(*)[16])p.ids, .n_remove = 2};
    FAILS(ww_record_change_recipients(&record, &second, &change, &next, &err),
          WW_E_USAGE);
    assert_null(next);
    for (unsigned i = 0; i < 4; i++) {
        ww_secret_free(p.keys[i]);
    }
    ww_secret_free(made);
    ww_secret_free(key);
}

/* Every stanza and the header are under the payload's tag. */
static void a_stanza_added_by_hand_is_refused(void **state)
{
    struct ww_error err = {0};
    struct people p;
    struct ww_secret *key = secret_of("0123456789abcdefghijklmnopqrstuv", 32);
    struct ww_record_plan plan = {.kind = WW_RECORD_CONTENT, .n_recipients = 2};
    struct ww_secret *made = NULL;
    struct ww_secret *out = NULL;
    struct ww_record record;
    uint8_t bytes[1024];
    (void)state;
    make_people(&p);
    plan.recipients = (const uint8_t(*)[32])p.public_keys;
    OK(ww_record_make(&plan, key, &made, &err));
    const size_t len = ww_secret_len(made);
    /* The second stanza doubled in place of the first: both open, the record does not. */
    memcpy(bytes, ww_secret_open(made), len);
    memcpy(bytes + AT_STANZAS, bytes + AT_STANZAS + 136, 136);
    ww_record_checksum(bytes, len - 32, bytes + len - 32);
    OK(ww_record_parse(bytes, len, &record, &err));
    const struct ww_record_key second = {NULL, p.keys[1]};
    FAILS(ww_record_open(&record, &second, &out, NULL, &err), WW_E_KEYFILE);
    for (unsigned i = 0; i < 4; i++) {
        ww_secret_free(p.keys[i]);
    }
    ww_secret_free(made);
    ww_secret_free(key);
}

static void nothing_is_sealed_for_a_signing_key(void **state)
{
    struct ww_error err = {0};
    char *dir = ww_test_mkdir();
    uint8_t(*keys)[32] = NULL;
    (void)state;
    OK(ww_signkey_create(at(dir, "s"), WW_CURVE_P256, NULL, &err));
    OK(ww_recipient_create_at(at(dir, "r"), NULL, &cheap, &err));
    const char *const signing[] = {at(dir, "r.pub"), at(dir, "s.pub")};
    const char *const secret_half[] = {at(dir, "r.key")};
    FAILS(ww_recipients_load(signing, 2, &keys, &err), WW_E_KEY);
    assert_non_null(strstr(err.text, "signing key"));
    assert_non_null(strstr(err.text, "s.pub"));
    ww_error_clear(&err);
    FAILS(ww_recipients_load(secret_half, 1, &keys, &err), WW_E_KEY);
    assert_non_null(strstr(err.text, ".pub"));
    assert_null(keys);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_binding_survives_its_bytes),
        cmocka_unit_test(a_bound_key_tells_what_it_is_for),
        cmocka_unit_test(a_binding_cannot_be_cut_off),
        cmocka_unit_test(recipients_come_and_go),
        cmocka_unit_test(a_stanza_added_by_hand_is_refused),
        cmocka_unit_test(nothing_is_sealed_for_a_signing_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
