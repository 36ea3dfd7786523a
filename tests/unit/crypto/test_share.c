/* SPDX-License-Identifier: Apache-2.0 */
/* Shares in files: what fits together gives the key, everything else is refused. */
#include "crypto_test.h"

#include "crypto/recipient.h"
#include "crypto/share.h"
#include "util/num.h"

static const struct ww_argon2_cost cheap = {1, 8};

struct fx {
    char *dir;
    struct ww_secret *key;
    struct ww_key_binding binding;
    char shares[5][300];
};

static struct fx *fx_new(void)
{
    struct fx *f = calloc(1, sizeof(*f));
    f->dir = ww_test_mkdir();
    f->key = secret_of("0123456789abcdefghijklmnopqrstuv", 32);
    f->binding = (struct ww_key_binding){.purpose = WW_PURPOSE_UNLOCK, .model_name = "m"};
    for (unsigned i = 0; i < 5; i++) {
        snprintf(f->shares[i], sizeof(f->shares[i]), "%s/s-%u.share", f->dir, i + 1);
    }
    return f;
}

static void fx_free(struct fx *f)
{
    ww_secret_free(f->key);
    ww_test_rmdir(f->dir);
    free(f);
}

static void fx_split(struct fx *f, const struct ww_split *split)
{
    struct ww_error err = {0};
    OK(ww_lockkey_split_at(at(f->dir, "s"), f->key, &f->binding, split, &cheap, &err));
}

static enum ww_err combine(const char *const *paths, size_t n, struct fx *f,
                           struct ww_error *err)
{
    const struct ww_combine how = {.paths = paths, .n_paths = n};
    struct ww_secret *key = NULL;
    struct ww_key_binding binding;
    enum ww_err rc = ww_lockkey_combine(&how, &key, &binding, err);
    if (!rc) {
        assert_true(ww_secret_equal(key, f->key));
        assert_true(ww_binding_equal(&binding, &f->binding));
    } else {
        assert_null(key);
    }
    ww_secret_free(key);
    return rc;
}

static void three_of_five_give_the_key_back(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_key_info info;
    (void)state;
    fx_split(f, &(struct ww_split){.threshold = 3, .n_shares = 5});
    const char *const some[] = {f->shares[4], f->shares[0], f->shares[2], f->shares[1],
                                f->shares[3]};
    for (size_t n = 3; n <= 5; n++) {
        OK(combine(some, n, f, &err));
    }
    OK(ww_key_inspect(f->shares[1], &info, &err));
    assert_int_equal(info.kind, WW_KEY_SHARE);
    assert_int_equal(info.share, 2);
    assert_int_equal(info.threshold, 3);
    assert_int_equal(info.n_shares, 5);
    assert_int_equal(mode_of(f->shares[1]), 0600);
    fx_free(f);
}

static void too_few_and_the_same_are_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    (void)state;
    fx_split(f, &(struct ww_split){.threshold = 3, .n_shares = 5});
    const char *const some[] = {f->shares[0], f->shares[1], f->shares[0]};
    FAILS(combine(some, 1, f, &err), WW_E_SHARES);
    FAILS(combine(some, 2, f, &err), WW_E_SHARES);
    assert_non_null(strstr(err.text, "2 of 5 shares given, 3 are needed"));
    FAILS(combine(some, 3, f, &err), WW_E_SHARES);
    assert_non_null(strstr(err.text, "same share"));
    FAILS(combine(some, 0, f, &err), WW_E_SHARES);
    fx_free(f);
}

static void shares_of_two_keys_do_not_mix(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_secret *other = secret_of("another key of 32 bytes, as needed", 32);
    const struct ww_split split = {.threshold = 2, .n_shares = 2};
    char theirs[300];
    (void)state;
    fx_split(f, &split);
    OK(ww_lockkey_split_at(at(f->dir, "t"), other, NULL, &split, &cheap, &err));
    snprintf(theirs, sizeof(theirs), "%s/t-2.share", f->dir);
    const char *const mixed[] = {f->shares[0], theirs};
    FAILS(combine(mixed, 2, f, &err), WW_E_SHARES);
    assert_non_null(strstr(err.text, "two keys"));
    ww_secret_free(other);
    fx_free(f);
}

/* Every byte of a share, one bit each, in the clear and signed: never a key. */
static void every_changed_byte_is_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_signkey *signer = NULL;
    struct ww_buf share;
    (void)state;
    OK(ww_signkey_create(at(f->dir, "me"), WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(at(f->dir, "me.key"), NULL, &signer, &err));
    fx_split(f, &(struct ww_split){.threshold = 2, .n_shares = 2, .signer = signer});
    read_file(f->shares[1], &share);
    const char *const both[] = {f->shares[0], f->shares[1]};
    const char *const public_key = at(f->dir, "me.pub");
    char signed_by[300];
    snprintf(signed_by, sizeof(signed_by), "%s", public_key);
    const struct ww_combine how = {.paths = both, .n_paths = 2, .signed_by = signed_by};
    const size_t record_end = 220 + ww_get_u32le(share.data + 216);
    for (size_t byte = 0; byte < share.len; byte++) {
        struct ww_secret *key = NULL;
        share.data[byte] ^= (uint8_t)(1 << byte % 8);
        write_file(f->shares[1], share.data, share.len, 0600);
        ww_error_clear(&err);
        enum ww_err rc = combine(both, 2, f, &err);
        const bool in_version = byte >= 20 && byte < 24;
        if (byte < record_end + 4) {
            /* In the record's own version too. */
            assert_true(rc == WW_E_SHARES || rc == WW_E_VERSION);
            assert_true(!in_version || rc == WW_E_VERSION);
        } else {
            assert_int_equal(rc, WW_OK); /* the signature was not asked for */
        }
        ww_error_clear(&err);
        rc = ww_lockkey_combine(&how, &key, NULL, &err);
        assert_true(rc == WW_E_SHARES || rc == WW_E_VERSION || rc == WW_E_SIGNATURE);
        assert_null(key);
        share.data[byte] ^= (uint8_t)(1 << byte % 8);
    }
    for (size_t len = 0; len < share.len; len++) {
        write_file(f->shares[1], share.data, len, 0600);
        FAILS(combine(both, 2, f, &err), WW_E_SHARES);
    }
    ww_buf_release(&share);
    ww_signkey_free(signer);
    fx_free(f);
}

/* A dealer's mistake or lie: heads that agree, points that do not. */
static void a_wrong_point_gives_no_wrong_key(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_buf bytes;
    struct ww_share share;
    struct ww_secret *point = secret_of("this is not the point at two....", 32);
    struct ww_secret *record = NULL;
    struct ww_buf forged;
    (void)state;
    fx_split(f, &(struct ww_split){.threshold = 2, .n_shares = 2});
    read_file(f->shares[1], &bytes);
    OK(ww_share_parse(bytes.data, bytes.len, &share, &err));
    struct ww_record_plan plan = {.kind = WW_RECORD_SHARE,
                                  .created_unix = share.created_unix};
    memcpy(plan.id, share.record.id, sizeof(plan.id));
    OK(ww_record_make(&plan, point, &record, &err));
    ww_buf_init(&forged, 4096);
    OK(ww_buf_add(&forged, bytes.data, WW_SHARE_HEAD_BYTES, &err));
    OK(ww_buf_add_u32le(&forged, (uint32_t)ww_secret_len(record), &err));
    OK(ww_buf_add(&forged, ww_secret_open(record), ww_secret_len(record), &err));
    OK(ww_buf_add_u32le(&forged, 0, &err));
    write_file(f->shares[1], forged.data, forged.len, 0600);
    const char *const both[] = {f->shares[0], f->shares[1]};
    FAILS(combine(both, 2, f, &err), WW_E_SHARES);
    assert_non_null(strstr(err.text, "another key"));
    ww_buf_release(&forged);
    ww_buf_release(&bytes);
    ww_secret_free(record);
    ww_secret_free(point);
    fx_free(f);
}

static void holders_and_passphrases_open_their_own(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    char keys[3][300];
    char pubs[3][300];
    struct ww_secret *key = NULL;
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char base[300];
        snprintf(base, sizeof(base), "%s/h%u", f->dir, i);
        OK(ww_recipient_create_at(base, NULL, &cheap, &err));
        snprintf(keys[i], sizeof(keys[i]), "%s/h%u.key", f->dir, i);
        snprintf(pubs[i], sizeof(pubs[i]), "%s/h%u.pub", f->dir, i);
    }
    const char *const to[] = {pubs[0], pubs[1], pubs[2]};
    fx_split(f, &(struct ww_split){
                    .threshold = 2, .n_shares = 3, .recipients = to, .n_recipients = 3});
    const struct ww_unsealer holders[] = {{NULL, keys[0], NULL}, {NULL, keys[2], NULL}};
    const char *const first_and_last[] = {f->shares[2], f->shares[0]};
    const char *const first_two[] = {f->shares[0], f->shares[1]};
    struct ww_combine how = {
        .paths = first_and_last, .n_paths = 2, .unsealers = holders, .n_unsealers = 2};
    OK(ww_lockkey_combine(&how, &key, NULL, &err));
    assert_true(ww_secret_equal(key, f->key));
    ww_secret_free(key);
    how.paths = first_two;
    FAILS(ww_lockkey_combine(&how, &key, NULL, &err), WW_E_NOT_FOR_YOU);
    how.n_unsealers = 0;
    FAILS(ww_lockkey_combine(&how, &key, NULL, &err), WW_E_PASSPHRASE);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(unlink(f->shares[i]), 0);
    }

    struct ww_secret *words[] = {secret_text("one"), secret_text("two"),
                                 secret_text("three")};
    fx_split(
        f, &(struct ww_split){
               .threshold = 2, .n_shares = 3, .passphrases = words, .n_passphrases = 3});
    const struct ww_unsealer by_word[] = {{words[1], NULL, NULL}, {words[0], NULL, NULL}};
    how = (struct ww_combine){
        .paths = first_two, .n_paths = 2, .unsealers = by_word, .n_unsealers = 2};
    OK(ww_lockkey_combine(&how, &key, NULL, &err));
    ww_secret_free(key);
    how.n_unsealers = 1;
    FAILS(ww_lockkey_combine(&how, &key, NULL, &err), WW_E_PASSPHRASE);
    for (unsigned i = 0; i < 3; i++) {
        ww_secret_free(words[i]);
    }
    fx_free(f);
}

static void signatures_are_checked_when_asked_for(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_secret *key = NULL;
    char pub[300];
    (void)state;
    OK(ww_signkey_create(at(f->dir, "me"), WW_CURVE_P256, NULL, &err));
    fx_split(f, &(struct ww_split){.threshold = 2, .n_shares = 2});
    snprintf(pub, sizeof(pub), "%s/me.pub", f->dir);
    const char *const both[] = {f->shares[0], f->shares[1]};
    const struct ww_combine how = {.paths = both, .n_paths = 2, .signed_by = pub};
    FAILS(ww_lockkey_combine(&how, &key, NULL, &err), WW_E_NOT_SIGNED);
    fx_free(f);
}

static void impossible_splits_write_nothing(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_secret *word = secret_text("one");
    const char *const to[] = {"nobody.pub"};
    const struct ww_split bad[] = {
        {.threshold = 1, .n_shares = 3},
        {.threshold = 4, .n_shares = 3},
        {.threshold = 2, .n_shares = 256},
        {.threshold = 2, .n_shares = 3, .recipients = to, .n_recipients = 1},
        {.threshold = 2, .n_shares = 3, .passphrases = &word, .n_passphrases = 2},
        {.threshold = 2,
         .n_shares = 1,
         .recipients = to,
         .n_recipients = 1,
         .passphrases = &word,
         .n_passphrases = 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        FAILS(ww_lockkey_split(at(f->dir, "s"), f->key, NULL, &bad[i], &err), WW_E_USAGE);
    }
    assert_false(exists(f->shares[0]));
    /* The third is in the way: the first two go again. */
    write_file(f->shares[2], "mine", 4, 0600);
    const struct ww_split good = {.threshold = 2, .n_shares = 3};
    FAILS(ww_lockkey_split_at(at(f->dir, "s"), f->key, NULL, &good, &cheap, &err),
          WW_E_EXISTS);
    assert_false(exists(f->shares[0]));
    assert_false(exists(f->shares[1]));
    ww_secret_free(word);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_of_five_give_the_key_back),
        cmocka_unit_test(too_few_and_the_same_are_refused),
        cmocka_unit_test(shares_of_two_keys_do_not_mix),
        cmocka_unit_test(every_changed_byte_is_refused),
        cmocka_unit_test(a_wrong_point_gives_no_wrong_key),
        cmocka_unit_test(holders_and_passphrases_open_their_own),
        cmocka_unit_test(signatures_are_checked_when_asked_for),
        cmocka_unit_test(impossible_splits_write_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
