/* SPDX-License-Identifier: Apache-2.0 */
/* Policies under a root, what was seen before, and files that somebody touched. */
#include "trust_fixture.h"

#include <sys/stat.h>

#define REQUEST                                                                          \
    "{\"type\":\"weightward.request/1\",\"action\":\"lock\",\"nonce\":\"1\",\"time\":"   \
    "\"" ISSUED "\",\"sources\":[{\"model\":\"sha256:"                                   \
    "00000000000000000000000000000000000000000000000000000000000000aa\"}]}"

struct opened {
    const struct house *h;
    const char *roots;    /* names, comma between */
    const char *policies; /* names, comma between; "" for none */
    const char *state;    /* name or NULL */
    int64_t at;
};

static enum ww_err open_trust(const struct opened *o, struct ww_error *err)
{
    char *paths[16] = {0};
    size_t n = 0;
    size_t n_roots = 0;
    struct ww_trust trust;
    char *list = ww_asprintf("%s,%s", o->roots, o->policies);
    char *rest = list;
    char *state = o->state ? in_house(o->h, o->state) : NULL;
    for (const char *c = o->roots; *c; c++) {
        n_roots += *c == ',';
    }
    n_roots++;
    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
        if (*name) {
            paths[n++] = ww_asprintf("%s/%s.signed.json", o->h->dir, name);
        }
    }
    const struct ww_trust_options options = {
        .roots = (const char *const *)paths,
        .n_roots = n_roots,
        .policies = (const char *const *)paths + n_roots,
        .n_policies = n - n_roots,
        .state = state,
        .at_unix = o->at ? o->at : NOW,
    };
    enum ww_err rc = ww_trust_open(&options, &trust, err);
    if (!rc) {
        rc = n > n_roots ? ww_trust_complete(&trust, err) : WW_OK;
        ww_trust_release(&trust);
    }
    for (size_t i = 0; i < n; i++) {
        ww_free(paths[i]);
    }
    ww_free(state);
    ww_free(list);
    return rc;
}

/* Root NAME of a version that lists the entries. */
static void root_with(const struct house *h, const char *name, int version,
                      const char *entries, const char *policy_keys)
{
    char *list = ww_asprintf("[%s]", entries);
    house_root(
        h, name,
        &(struct root_text){.version = version, .policies = list, .policy = policy_keys},
        "01");
    ww_free(list);
}

static void policy_is_the_one_that_the_root_names(void **state)
{
    struct house *h = *state;
    struct ww_error err = {0};
    char p1[400], p2[400], q[400];
    house_policy(h, "p", 2, PERMIT, "3", p2);
    house_policy(h, "q", 1, PERMIT, "3", q);
    char *both = ww_asprintf("%s,%s", p2, q);
    root_with(h, "a", 1, both, NULL);
    OK(open_trust(&(struct opened){h, "a", "p,q", NULL, 0}, &err));
    FAILS(open_trust(&(struct opened){h, "a", "p", NULL, 0}, &err), WW_E_NOTFOUND);
    FAILS(open_trust(&(struct opened){h, "a", "p,q,q", NULL, 0}, &err), WW_E_USAGE);
    /* Mix and match: an older policy, properly signed, under a newer root. */
    house_policy(h, "p", 1, PERMIT, "3", p1);
    FAILS(open_trust(&(struct opened){h, "a", "p,q", NULL, 0}, &err), WW_E_UNTRUSTED);
    assert_non_null(strstr(err.text, "names version 2"));
    /* The version that the root names, with other rules. */
    house_policy(h, "p", 2,
                 PERMIT
                 ",{\"id\":\"s\","
                 "\"effect\":\"permit\",\"subjects\":"
                 "[\"anyone\"],\"actions\":[\"unlock\"],\"resources\":[\"tag:t\"]}",
                 "3", p1);
    FAILS(open_trust(&(struct opened){h, "a", "p,q", NULL, 0}, &err), WW_E_UNTRUSTED);
    assert_non_null(strstr(err.text, "differs"));
    /* By a key that may not write policies. */
    house_policy(h, "p", 2, PERMIT, "4", p1);
    FAILS(open_trust(&(struct opened){h, "a", "p,q", NULL, 0}, &err), WW_E_UNTRUSTED);
    root_with(h, "a", 1, q, NULL);
    house_policy(h, "p", 2, PERMIT, "3", p1);
    FAILS(open_trust(&(struct opened){h, "a", "p,q", NULL, 0}, &err), WW_E_UNTRUSTED);
    assert_non_null(strstr(err.text, "not named"));
    ww_free(both);
}

static void older_than_seen_is_refused(void **state)
{
    struct house *h = *state;
    struct ww_error err = {0};
    struct stat st;
    char p1[400], p2[400];
    char *path = in_house(h, "seen");
    house_policy(h, "p", 1, PERMIT, "3", p1);
    root_with(h, "a", 1, p1, NULL);
    OK(open_trust(&(struct opened){h, "a", "p", "seen", 0}, &err));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    house_policy(h, "p", 5, PERMIT, "3", p2);
    root_with(h, "b", 2, p2, NULL);
    OK(open_trust(&(struct opened){h, "a,b", "p", "seen", 0}, &err));
    OK(open_trust(&(struct opened){h, "a,b", "p", "seen", 0}, &err));
    /* The old root, still valid on its own. */
    house_policy(h, "p", 1, PERMIT, "3", p1);
    OK(open_trust(&(struct opened){h, "a", "p", NULL, 0}, &err));
    FAILS(open_trust(&(struct opened){h, "a", "p", "seen", 0}, &err), WW_E_DENIED);
    assert_non_null(strstr(err.text, "seen before"));
    /* A newer root that takes the policy back, by the same policy keys. */
    root_with(h, "c", 3, p1, NULL);
    FAILS(open_trust(&(struct opened){h, "a,b,c", "p", "seen", 0}, &err), WW_E_DENIED);
    /* A policy that was not listed for a while is not forgotten. */
    root_with(h, "c", 3, "", NULL);
    OK(open_trust(&(struct opened){h, "a,b,c", "", "seen", 0}, &err));
    root_with(h, "d", 4, p1, NULL);
    FAILS(open_trust(&(struct opened){h, "a,b,c,d", "p", "seen", 0}, &err), WW_E_DENIED);
    /* Recovery from a policy key that raced ahead: the root exchanges the keys. */
    root_with(h, "d", 4, p1, "4");
    house_policy(h, "p", 1, PERMIT, "4", p1);
    OK(open_trust(&(struct opened){h, "a,b,c,d", "p", "seen", 0}, &err));
    /* Readable by others: somebody else might write it too. */
    assert_int_equal(chmod(path, 0644), 0);
    FAILS(open_trust(&(struct opened){h, "a,b,c,d", "p", "seen", 0}, &err),
          WW_E_KEY_ACCESS);
    assert_int_equal(chmod(path, 0600), 0);
    house_write(h, "seen", "{\"type\":\"weightward.policy-state/1\"}");
    FAILS(open_trust(&(struct opened){h, "a,b,c,d", "p", "seen", 0}, &err), WW_E_POLICY);
    ww_free(path);
}

static void check_says_who_signed(void **state)
{
    struct house *h = *state;
    struct ww_error err = {0};
    struct ww_policy_check_report report;
    char p[400];
    house_policy(h, "p", 7, PERMIT, "34", p);
    root_with(h, "a", 1, p, NULL);
    char *root = in_house(h, "a.signed.json");
    char *policy = in_house(h, "p.signed.json");
    char *plain = in_house(h, "p.json");
    const char *roots[] = {root};
    const char *files[] = {policy};
    const char *not_signed[] = {plain};
    struct ww_trust_options options = {.roots = roots, .n_roots = 1, .at_unix = NOW};
    OK(ww_policy_check(files, 1, &options, &report, &err));
    assert_int_equal(report.n_files, 1);
    assert_string_equal(report.root_version, "1");
    assert_string_equal(report.root_expires, EXPIRES);
    assert_string_equal(report.files[0].id, "p");
    assert_string_equal(report.files[0].version, "7");
    assert_int_equal(report.files[0].n_signers, 2);
    ww_policy_check_report_release(&report);
    assert_true(ww_policy_time(EXPIRES, &options.at_unix));
    FAILS(ww_policy_check(files, 1, &options, &report, &err), WW_E_EXPIRED);
    options.at_unix = NOW;
    FAILS(ww_policy_check(not_signed, 1, &options, &report, &err), WW_E_BUNDLE);
    FAILS(ww_policy_check(roots, 1, &options, &report, &err), WW_E_USAGE);
    ww_free(plain);
    ww_free(policy);
    ww_free(root);
}

/* Every bit of a signed file counts, and so does every byte at its end. */
static void every_change_of_a_signed_file_is_refused(void **state)
{
    struct house *h = *state;
    struct ww_error err = {0};
    char p[400];
    house_policy(h, "p", 1, PERMIT, "0", p);
    house_root(
        h, "a",
        &(struct root_text){
            .version = 1, .keys = "0", .root = "0", .root_threshold = 1, .policy = "0"},
        "0");
    char *root_path = in_house(h, "a.signed.json");
    char *policy_path = in_house(h, "p.signed.json");
    char *request_path = in_house(h, "q.signed.json");
    char *approval_path = in_house(h, "y.signed.json");
    const char *paths[] = {root_path, policy_path, request_path, approval_path};
    struct ww_root root;
    house_write(h, "q.json", REQUEST);
    house_sign(h, "q", "0");
    OK(ww_policy_approve(request_path, h->keys[0], approval_path, &err));
    OK(house_walk(h, "a", NOW, &root, &err));
    for (int f = 0; f < 4; f++) {
        struct ww_buf text;
        size_t accepted = 0;
        ww_buf_init(&text, 1 << 20);
        OK(ww_file_read(paths[f], &text, &err));
        for (size_t i = 0; i < 9 * text.len; i++) {
            struct ww_envelope envelope;
            struct ww_endorsement by;
            const bool cut = i >= 8 * text.len;
            const size_t len = cut ? i - 8 * text.len : text.len;
            text.data[cut ? 0 : i / 8] ^= (uint8_t)(cut ? 0 : 1u << i % 8);
            if (ww_envelope_parse(text.data, len, &envelope, &err) == WW_OK) {
                accepted +=
                    ww_root_endorse(&root, NULL, &envelope, NOW, 0, &by, &err) == WW_OK;
                ww_envelope_release(&envelope);
            }
            text.data[cut ? 0 : i / 8] ^= (uint8_t)(cut ? 0 : 1u << i % 8);
        }
        assert_int_equal(accepted, 0);
        ww_buf_release(&text);
    }
    ww_root_release(&root);
    ww_free(approval_path);
    ww_free(request_path);
    ww_free(policy_path);
    ww_free(root_path);
}

static void signature_of_one_kind_is_none_of_another(void **state)
{
    struct house *h = *state;
    struct ww_error err = {0};
    struct ww_envelope envelope;
    struct ww_endorsement by;
    struct ww_root root;
    char p[400];
    house_policy(h, "p", 1, PERMIT, "3", p);
    house_root(h, "a", &(struct root_text){.version = 1}, "01");
    OK(house_walk(h, "a", NOW, &root, &err));
    char *path = in_house(h, "p.signed.json");
    OK(ww_signed_read(path, WW_SIGNED_POLICY, &envelope, &err));
    OK(ww_root_endorse(&root, NULL, &envelope, NOW, 0, &by, &err));
    assert_int_equal(by.n, 1);
    envelope.kind = WW_SIGNED_REQUEST;
    FAILS(ww_root_endorse(&root, NULL, &envelope, NOW, 0, &by, &err), WW_E_SIGNATURE);
    ww_envelope_release(&envelope);
    struct ww_envelope wrong;
    FAILS(ww_signed_read(path, WW_SIGNED_ROOT, &wrong, &err), WW_E_BUNDLE);
    ww_root_release(&root);
    ww_free(path);
}

static void signing_refuses_what_readers_would(void **state)
{
    struct house *h = *state;
    struct ww_error err = {0};
    struct ww_policy_signed report;
    char *path = in_house(h, "x.json");
    static const struct {
        const char *text;
        enum ww_err code;
    } cases[] = {
        {"{\"type\":\"weightward.letter/1\"}", WW_E_POLICY},
        {"{\"id\":\"p\"}", WW_E_POLICY},
        {"{\"type\":\"weightward.policy/1\",\"id\":\"p\"}", WW_E_POLICY},
        {"{\"type\":\"weightward.approval/"
         "1\",\"request\":\"sha256:00\",\"time\":\"" ISSUED "\"}",
         WW_E_POLICY},
        {"{", WW_E_JSON},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        house_write(h, "x.json", cases[i].text);
        FAILS(ww_policy_sign(path, h->keys[0], NULL, &report, &err), cases[i].code);
    }
    ww_free(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, house_setup, house_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(policy_is_the_one_that_the_root_names),
        TEST(older_than_seen_is_refused),
        TEST(check_says_who_signed),
        TEST(every_change_of_a_signed_file_is_refused),
        TEST(signature_of_one_kind_is_none_of_another),
        TEST(signing_refuses_what_readers_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
