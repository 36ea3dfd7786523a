/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of roots: thresholds, rotation, expiry, and what must not be believed. */
#include "trust_fixture.h"

static void walk_fails(const struct house *h, const char *names, int64_t at,
                       enum ww_err want, const char *says)
{
    struct ww_root root = {0};
    struct ww_error err = {0};
    FAILS(house_walk(h, names, at, &root, &err), want);
    if (!strstr(err.text, says)) {
        fail_msg("'%s' does not say '%s'", err.text, says);
    }
    assert_int_equal(root.n_keys, 0);
}

static void walk_works(const struct house *h, const char *names, int64_t at,
                       uint64_t version)
{
    struct ww_root root = {0};
    struct ww_error err = {0};
    OK(house_walk(h, names, at, &root, &err));
    assert_int_equal(root.version, version);
    ww_root_release(&root);
}

static void root_needs_its_threshold_of_different_keys(void **state)
{
    struct house *h = *state;
    const struct root_text one = {.version = 1};
    house_root(h, "a", &one, "01");
    walk_works(h, "a", NOW, 1);
    house_root(h, "a", &one, "012");
    walk_works(h, "a", NOW, 1);
    house_root(h, "a", &one, "0");
    walk_fails(h, "a", NOW, WW_E_UNTRUSTED, "by 1 keys of role 'root'");
    /* A key of the root that is not in the role does not count. */
    house_root(h, "a", &one, "04");
    walk_fails(h, "a", NOW, WW_E_UNTRUSTED, "by 1 keys of role 'root'");
}

/* The three bugs of others: a signature repeated, a key under two ids, a key id twice in
 * a role. */
static void one_key_never_counts_twice(void **state)
{
    struct house *h = *state;
    const struct root_text one = {.version = 1};
    struct ww_policy_signed report;
    struct ww_error err = {0};
    char *path = in_house(h, "a.signed.json");
    struct ww_buf text;
    ww_buf_init(&text, 1 << 20);

    house_root(h, "a", &one, "0");
    FAILS(ww_policy_sign(path, h->keys[0], NULL, &report, &err), WW_E_EXISTS);
    /* The same signature once more, by hand. */
    OK(ww_file_read(path, &text, &err));
    char *list =
        strstr((char *)text.data, "\"signatures\":[") + strlen("\"signatures\":[");
    char *entry = ww_strndup(list, strlen(list) - 2);
    char *twice = ww_asprintf("%.*s,%s]}", (int)(text.len - 2), (char *)text.data, entry);
    house_write(h, "a.signed.json", twice);
    walk_fails(h, "a", NOW, WW_E_BUNDLE, "twice");

    /* The key of one id under another. */
    char *json = root_json(h, &one);
    memcpy(strstr(json, h->ids[1]), h->ids[2], WW_HINT_CHARS);
    char *second = strstr(strstr(json, h->ids[2]) + 1, h->ids[2]);
    memcpy(second, h->ids[1], WW_HINT_CHARS);
    struct ww_root root;
    FAILS(ww_root_read((uint8_t *)json, strlen(json), &root, &err), WW_E_POLICY);
    assert_non_null(strstr(err.text, "own id"));

    /* One id twice in a role. */
    const struct root_text doubled = {.version = 1, .root = "00"};
    ww_free(json);
    json = root_json(h, &doubled);
    FAILS(ww_root_read((uint8_t *)json, strlen(json), &root, &err), WW_E_POLICY);
    assert_non_null(strstr(err.text, "each once"));

    ww_free(json);
    ww_free(twice);
    ww_free(entry);
    ww_free(path);
    ww_buf_release(&text);
}

static void next_root_is_signed_by_old_and_new_keys(void **state)
{
    struct house *h = *state;
    const struct root_text one = {.version = 1};
    const struct root_text two = {.version = 2, .root = "45", .keys = "345"};
    house_root(h, "a", &one, "01");
    house_root(h, "b", &two, "0145");
    walk_works(h, "a,b", NOW, 2);
    house_root(h, "b", &two, "45");
    walk_fails(h, "a,b", NOW, WW_E_UNTRUSTED,
               "by 0 keys of role 'root' of root version 1");
    house_root(h, "b", &two, "015");
    walk_fails(h, "a,b", NOW, WW_E_UNTRUSTED,
               "by 1 keys of role 'root' of root version 2");
    house_root(h, "b", &two, "0145");
    const struct root_text three = {.version = 3, .root = "45", .keys = "345"};
    house_root(h, "c", &three, "45");
    walk_works(h, "a,b,c", NOW, 3);
    /* Who starts later need not know the keys of before. */
    walk_works(h, "b,c", NOW, 3);
    /* Neither backwards nor over a version. */
    walk_fails(h, "a,c", NOW, WW_E_UNTRUSTED, "version 3, expected 2");
    walk_fails(h, "b,a", NOW, WW_E_UNTRUSTED, "version 1, expected 3");
    /* Keys that were exchanged cannot make the next one. */
    house_root(h, "c", &(struct root_text){.version = 3}, "01");
    walk_fails(h, "a,b,c", NOW, WW_E_UNTRUSTED, "by 0 keys");
}

static void only_the_last_root_must_be_in_time(void **state)
{
    struct house *h = *state;
    const struct root_text old = {.version = 1, .expires = "2026-02-01T00:00:00Z"};
    const struct root_text new = {.version = 2};
    int64_t t = 0;
    house_root(h, "a", &old, "01");
    house_root(h, "b", &new, "01");
    walk_fails(h, "a", NOW, WW_E_EXPIRED, "expired");
    walk_works(h, "a,b", NOW, 2);
    assert_true(ww_policy_time(EXPIRES, &t));
    walk_works(h, "a,b", t - 1, 2);
    walk_fails(h, "a,b", t, WW_E_EXPIRED, "expired");
    assert_true(ww_policy_time(ISSUED, &t));
    walk_works(h, "a,b", t, 2);
    walk_fails(h, "a,b", t - 1, WW_E_EXPIRED, "clock");
}

static void folder_of_roots_is_walked_in_order_of_numbers(void **state)
{
    struct house *h = *state;
    struct ww_root root = {0};
    struct ww_error err = {0};
    char *folder = in_house(h, "roots");
    const char *paths[] = {folder};
    char *command = ww_asprintf("mkdir '%s'", folder);
    assert_int_equal(system(command), 0);
    FAILS(ww_root_walk(paths, 1, NOW, &root, &err), WW_E_NOTFOUND);
    for (int i = 1; i <= 11; i++) {
        ww_free(command);
        house_root(h, "a", &(struct root_text){.version = i}, "01");
        command =
            ww_asprintf("cp '%s/a.signed.json' '%s/%d.root.json'", h->dir, folder, i);
        assert_int_equal(system(command), 0);
    }
    OK(ww_root_walk(paths, 1, NOW, &root, &err));
    assert_int_equal(root.version, 11);
    ww_root_release(&root);
    ww_free(command);
    ww_free(folder);
}

static void malformed_roots_are_refused(void **state)
{
    struct house *h = *state;
    static const struct {
        const char *find, *put;
        enum ww_err code;
    } cases[] = {
        {"\"version\":\"1\"", "\"version\":1", WW_E_POLICY},
        {"\"version\":\"1\"", "\"version\":\"0\"", WW_E_POLICY},
        {"\"version\":\"1\"", "\"version\":\"99999999999999999999\"", WW_E_POLICY},
        {"\"version\":\"1\"", "\"version\":9007199254740993", WW_E_JSON},
        {"\"version\":\"1\"", "\"version\":\"1\",\"version\":\"1\"", WW_E_JSON},
        {"\"threshold\":\"2\"", "\"threshold\":\"4\"", WW_E_POLICY},
        {"\"threshold\":\"2\"", "\"threshold\":\"0\"", WW_E_POLICY},
        {"\"policy\":{\"keyids\"", "\"polici\":{\"keyids\"", WW_E_POLICY},
        {"\"revoked\":[]", "\"revokes\":[]", WW_E_POLICY},
        {"\"revoked\":[]", "\"revoked\":{}", WW_E_POLICY},
        {"weightward.policy+json", "weightward.policies+json", WW_E_POLICY},
        {"weightward.root/1", "weightward.root/2", WW_E_VERSION},
        {"\"expires\"", "\"expired\"", WW_E_POLICY},
        {"BEGIN PUBLIC", "BEGIN PUBLIK", WW_E_KEYFILE},
    };
    char *good = root_json(h, &(struct root_text){.version = 1});
    struct ww_error err = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_root root;
        char *at = strstr(good, cases[i].find);
        assert_non_null(at);
        char *bad = ww_asprintf("%.*s%s%s", (int)(at - good), good, cases[i].put,
                                at + strlen(cases[i].find));
        FAILS(ww_root_read((uint8_t *)bad, strlen(bad), &root, &err), cases[i].code);
        ww_free(bad);
    }
    ww_free(good);
}

static void revoked_and_mistimed_keys_do_not_count(void **state)
{
    struct house *h = *state;
    char *revoked = ww_asprintf(
        "[{\"kind\":\"key\",\"id\":\"%s\",\"at\":\"" ISSUED "\"}]", h->ids[0]);
    house_root(h, "a", &(struct root_text){.version = 1}, "01");
    house_root(h, "b", &(struct root_text){.version = 2, .revoked = revoked}, "01");
    walk_fails(h, "a,b", NOW, WW_E_UNTRUSTED, "by 1 keys");
    /* The old threshold may still be met with it: so it can be revoked at all. */
    house_root(h, "b", &(struct root_text){.version = 2, .revoked = revoked}, "012");
    walk_works(h, "a,b", NOW, 2);
    house_root(h, "a",
               &(struct root_text){.version = 1,
                                   .root = "13",
                                   .window = ",\"not_after\":\"2026-02-01T00:00:00Z\""},
               "13");
    walk_fails(h, "a", NOW, WW_E_UNTRUSTED, "by 1 keys");
    ww_free(revoked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(root_needs_its_threshold_of_different_keys,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(one_key_never_counts_twice, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(next_root_is_signed_by_old_and_new_keys,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(only_the_last_root_must_be_in_time, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(folder_of_roots_is_walked_in_order_of_numbers,
                                        house_setup, house_teardown),
        cmocka_unit_test_setup_teardown(malformed_roots_are_refused, house_setup,
                                        house_teardown),
        cmocka_unit_test_setup_teardown(revoked_and_mistimed_keys_do_not_count,
                                        house_setup, house_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
