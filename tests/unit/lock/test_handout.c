/* SPDX-License-Identifier: Apache-2.0 */
/* Copies for one recipient each: a derivation of their own, undone with the publisher's
 * key alone; without a recipient nothing changes. */
#include "folder_fixture.h"

#include "json/json.h"
#include "lock/gauge.h"
#include "lock/handout.h"

static struct ww_json *vectors(void)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    struct ww_buf text;
    ww_buf_init(&text, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/lock/derivation.json", &text, &err));
    OK(ww_json_parse(text.data, text.len, &ww_json_limits_small, &json, &err));
    ww_buf_release(&text);
    return json;
}

static void bytes_of(const struct ww_jnode *node, const char *key, uint8_t out[32])
{
    const char *hex = NULL;
    assert_true(ww_jstr(ww_jget(node, key), &hex));
    assert_true(ww_unhex(out, 32, hex, strlen(hex)));
}

static void derivation_is_the_frozen_one(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_json *json = vectors();
    const struct ww_jnode *row = ww_jget(ww_json_root(json), "handout");
    struct ww_handout handout = {0};
    struct ww_secret *secret = fx_secret(0);
    struct ww_secret *copy = NULL;
    uint8_t lock_id[32], want[32], element[32];
    assert_true(ww_jstr(ww_jget(row, "name"), &handout.name));
    bytes_of(row, "nonce", handout.nonce);
    bytes_of(row, "lock_id", lock_id);
    bytes_of(ww_json_root(json), "secret", ww_secret_open(secret));
    ww_secret_close(secret);
    OK(ww_handout_secret(secret, &handout, &copy, &err));
    bytes_of(row, "secret", want);
    assert_memory_equal(ww_secret_open(copy), want, 32);
    ww_secret_close(copy);
    OK(ww_handout_element(secret, &handout, lock_id, element, &err));
    bytes_of(row, "element", want);
    assert_memory_equal(element, want, 32);
    ww_secret_free(copy);
    OK(ww_handout_secret(secret, NULL, &copy, &err));
    assert_null(copy);
    ww_secret_free(secret);
    ww_json_free(json);
}

static void names_that_cannot_be_written_down_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char long_name[202];
    memset(long_name, 'a', 201);
    long_name[201] = '\0';
    FAILS(ww_handout_check_name("", &err), WW_E_USAGE);
    FAILS(ww_handout_check_name(long_name, &err), WW_E_USAGE);
    FAILS(ww_handout_check_name("a\nb", &err), WW_E_USAGE);
    FAILS(ww_handout_check_name("\xff", &err), WW_E_USAGE);
    long_name[200] = '\0';
    OK(ww_handout_check_name(long_name, &err));
}

/* Four copies: nobody's, two for one name, one for another name. */
static void every_copy_differs_and_comes_back(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, "ada", "ada", "bob"};
    uint8_t weights[4][32];
    char ids[4][65];
    for (size_t i = 0; i < 4; i++) {
        struct folders f;
        struct ww_handout handout = {.name = names[i]};
        folders_init(&f);
        memset(handout.nonce, i == 2 ? 2 : 1, sizeof(handout.nonce));
        f.options.handout = names[i] ? &handout : NULL;
        must(&f, do_lock(&f), WW_OK);
        assert_string_equal(f.report.recipient, names[i] ? names[i] : "");
        memcpy(ids[i], f.report.lock_id, 65);
        file_digest(f.locked, "model.safetensors", weights[i]);
        f.options.handout = NULL;
        must(&f, do_unlock(&f), WW_OK);
        assert_string_equal(f.report.recipient, names[i] ? names[i] : "");
        assert_string_equal(f.report.lock_id, ids[i]);
        same_folders(f.model, f.back);
        folders_free(&f);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(weights[i], weights[j], 32);
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
}

static void another_key_and_a_changed_recipient_are_told(void **state)
{
    (void)state;
    struct folders f;
    struct ww_handout handout = {.name = "ada"};
    folders_init(&f);
    f.options.handout = &handout;
    must(&f, do_lock(&f), WW_OK);
    struct ww_secret *other = fx_secret(8);
    f.options.secret = other;
    must(&f, do_unlock(&f), WW_E_WRONG_KEY);
    f.options.secret = f.secret;
    shell("sed -i 's/\"name\":\"ada\"/\"name\":\"adb\"/' '%s/attestations/'*.json",
          f.locked);
    must(&f, do_unlock(&f), WW_E_MANIFEST);
    says(&f, "changed after it was written");
    nothing_at(f.back);
    ww_secret_free(other);
    folders_free(&f);
}

struct told {
    unsigned n;
    enum ww_err answer;
    char lock_id[65];
    char root[65];
};

static enum ww_err listen(void *payload, const struct ww_lock_facts *facts,
                          struct ww_error *err)
{
    struct told *told = payload;
    told->n++;
    ww_hex(told->lock_id, facts->lock_id, 32);
    ww_hex(told->root, facts->tensor_root, 32);
    if (told->answer) {
        err->code = told->answer;
        snprintf(err->text, sizeof(err->text), "the record could not be written");
    }
    return told->answer;
}

static void a_record_that_fails_keeps_the_folder_from_appearing(void **state)
{
    (void)state;
    struct folders f;
    struct told told = {.answer = WW_E_IO};
    folders_init(&f);
    f.options.before_commit = listen;
    f.options.before_commit_payload = &told;
    must(&f, do_lock(&f), WW_E_IO);
    nothing_at(f.locked);
    told.answer = WW_OK;
    must(&f, do_lock(&f), WW_OK);
    assert_int_equal(told.n, 2);
    assert_string_equal(told.lock_id, f.report.lock_id);
    assert_string_equal(told.root, f.report.tensor_root);
    folders_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derivation_is_the_frozen_one),
        cmocka_unit_test(names_that_cannot_be_written_down_are_refused),
        cmocka_unit_test(every_copy_differs_and_comes_back),
        cmocka_unit_test(another_key_and_a_changed_recipient_are_told),
        cmocka_unit_test(a_record_that_fails_keeps_the_folder_from_appearing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
