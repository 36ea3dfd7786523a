/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include "ww_test.h"

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define KEY "0000000000000000000000000000000000000000000000000000000000000001"
#define HEAD                                                                             \
    "{\"type\":\"weightward.policy/1\",\"id\":\"p\",\"version\":\"1\","                  \
    "\"issued\":\"2026-01-01T00:00:00Z\",\"expires\":\"2027-01-01T00:00:00Z\","          \
    "\"rules\":["
#define RULE(effect, more)                                                               \
    "{\"id\":\"r\",\"effect\":\"" effect "\",\"subjects\":[\"anyone\"],"                 \
    "\"actions\":[\"merge\"],\"resources\":[\"tag:t\"]" more "}"

static enum ww_err read_text(const char *text, struct ww_error *err)
{
    struct ww_policy policy;
    enum ww_err rc = ww_policy_read((const uint8_t *)text, strlen(text), &policy, err);

    if (!rc) {
        ww_policy_release(&policy);
    }
    return rc;
}

static void one_wrong_member_rejects_the_whole_policy(void **state)
{
    static const struct {
        const char *text;
        enum ww_err code;
        const char *names; /* in the error */
    } cases[] = {
        {HEAD RULE("permit", "") "]}", WW_OK, ""},
        {HEAD RULE("permit", ",\"wen\":{}") "]}", WW_E_POLICY, "when"},
        {HEAD RULE("permit", ",\"when\":{\"max_wait\":\"1\"}") "]}", WW_E_POLICY,
         "max_weight"},
        {HEAD RULE("allow", "") "]}", WW_E_POLICY, "permit or forbid"},
        {HEAD "]}", WW_E_POLICY, "rules"},
        {HEAD RULE("permit", "") "," RULE("permit", "") "]}", WW_E_POLICY, "two rules"},
        {HEAD RULE("permit", ",\"when\":{\"max_weight\":0.5}") "]}", WW_E_POLICY,
         "decimal"},
        {HEAD RULE("permit", ",\"when\":{\"min_sources\":2}") "]}", WW_E_POLICY,
         "decimal text"},
        {HEAD RULE("permit", ",\"when\":{\"min_sources\":\"0\"}") "]}", WW_E_POLICY,
         "at least 1"},
        {HEAD RULE("permit", ",\"when\":{\"output_lock\":\"maybe\"}") "]}", WW_E_POLICY,
         "required"},
        {HEAD RULE("permit", ",\"when\":{\"approvals\":{\"role\":\"a\"}}") "]}",
         WW_E_POLICY, "threshold"},
        {HEAD RULE("forbid", ",\"when\":{\"methods\":[\"ties\"]}") "]}", WW_OK, ""},
        {HEAD RULE("forbid", ",\"when\":{\"min_sources\":\"2\"}") "]}", WW_E_POLICY,
         "cannot depend"},
        {HEAD RULE("forbid", ",\"when\":{\"output_lock\":\"required\"}") "]}",
         WW_E_POLICY, "cannot depend"},
        {"{\"type\":\"weightward.policy/2\"}", WW_E_VERSION, "weightward.policy/1"},
        {"{}", WW_E_POLICY, "type"},
        {"{\"type\":\"weightward.policy/1\",\"type\":\"weightward.policy/1\"}", WW_E_JSON,
         ""},
    };
    (void)state;

    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        assert_int_equal(read_text(cases[i].text, &err), cases[i].code);
        assert_non_null(strstr(err.text, cases[i].names));
    }
}

static void every_truncation_is_refused(void **state)
{
    static const char whole[] = HEAD RULE("permit", "") "]}";
    struct ww_error err = {0};
    struct ww_policy policy;
    (void)state;

    for (size_t n = 0; n + 1 < sizeof(whole); n++) {
        assert_true(ww_policy_read((const uint8_t *)whole, n, &policy, &err) != WW_OK);
    }
}

static void times_have_one_spelling(void **state)
{
    static const struct {
        const char *text;
        int64_t value; /* -1: refused */
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},          {"2000-02-29T23:59:59Z", 951868799},
        {"2026-11-25T12:00:00Z", 1795608000}, {"2100-03-01T00:00:00Z", 4107542400},
        {"2100-02-29T00:00:00Z", -1},         {"2026-13-01T00:00:00Z", -1},
        {"2026-00-01T00:00:00Z", -1},         {"2026-01-01T24:00:00Z", -1},
        {"2026-01-01T00:00:60Z", -1},         {"2026-01-01T00:00:00", -1},
        {"2026-01-01T00:00:00z", -1},         {"2026-01-01 00:00:00Z", -1},
        {"1969-12-31T23:59:59Z", -1},
    };
    (void)state;

    for (size_t i = 0; i < WW_LEN(cases); i++) {
        int64_t got = -1;
        assert_int_equal(ww_policy_time(cases[i].text, &got), cases[i].value >= 0);
        assert_int_equal(got, cases[i].value >= 0 ? cases[i].value : got);
    }
}

static void decimals_are_millionths(void **state)
{
    int64_t got = 0;
    (void)state;

    assert_true(ww_policy_decimal("0.25", &got) && got == 250000);
    assert_true(ww_policy_decimal("1", &got) && got == 1000000);
    assert_true(ww_policy_decimal("0.000001", &got) && got == 1);
    assert_false(ww_policy_decimal("0.0000001", &got));
    assert_false(ww_policy_decimal("-1", &got));
    assert_false(ww_policy_decimal("1.", &got));
    assert_false(ww_policy_decimal(".5", &got));
    assert_false(ww_policy_decimal("1e3", &got));
    assert_false(ww_policy_decimal("", &got));
}

static void a_request_names_each_source_once(void **state)
{
    static const char head[] =
        "{\"type\":\"weightward.request/1\",\"action\":\"merge\","
        "\"nonce\":\"1\",\"time\":\"2026-01-01T00:00:00Z\",\"sources\":[";
    static const char *const sources[] = {
        "{\"model\":\"sha256:" KEY "\"}",
        "{\"model\":\"sha256:" KEY "\"},{\"model\":\"sha256:" KEY "\"}",
        "{\"model\":\"" KEY "\"}", "{\"model\":\"sha256:" KEY "\",\"weight\":1}", ""};
    (void)state;

    for (size_t i = 0; i < WW_LEN(sources); i++) {
        struct ww_request request;
        struct ww_error err = {0};
        char *text = ww_asprintf("%s%s]}", head, sources[i]);
        enum ww_err rc =
            ww_request_read((const uint8_t *)text, strlen(text), &request, &err);
        assert_int_equal(rc, i == 0 ? WW_OK : WW_E_POLICY);
        if (!rc) {
            assert_int_equal(request.sources[0].weight, 1000000);
            ww_request_release(&request);
        }
        ww_free(text);
    }
}

static char *rules_of(const char *id)
{
    struct ww_error err = {0};
    struct ww_policy policy;
    struct ww_buf text;
    struct ww_buf out;
    char *path = ww_asprintf("%s/policies/%s.json", WW_SOURCE_DIR, id);

    ww_buf_init(&text, WW_POLICY_MAX_BYTES);
    ww_buf_init(&out, WW_POLICY_MAX_BYTES);
    OK(ww_file_read(path, &text, &err));
    OK(ww_policy_read(text.data, text.len, &policy, &err));
    assert_string_equal(policy.id, id);
    OK(ww_policy_print(&policy, &out, &err));
    char *rules = ww_strdup(ww_buf_cstr(&out));
    ww_policy_release(&policy);
    ww_buf_release(&text);
    ww_buf_release(&out);
    ww_free(path);
    return rules;
}

/* The rules of the policies that are shipped may change only together with their
 * snapshot, where a reviewer sees the line: weightward policy explain policies/ID.json.
 */
static void shipped_policies_mean_what_their_snapshots_say(void **state)
{
    static const char *const ids[] = {"internal-only", "no-merge-release", "open-release",
                                      "partners-only", "two-person-approval"};
    (void)state;

    for (size_t i = 0; i < WW_LEN(ids); i++) {
        struct ww_error err = {0};
        struct ww_buf want;
        char *rules = rules_of(ids[i]);
        char *path = ww_asprintf("%s/policies/snapshots/%s.txt", WW_SOURCE_DIR, ids[i]);
        ww_buf_init(&want, WW_POLICY_MAX_BYTES);
        OK(ww_file_read(path, &want, &err));
        assert_string_equal(rules, ww_buf_cstr(&want));
        ww_free(rules);
        ww_free(path);
        ww_buf_release(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_wrong_member_rejects_the_whole_policy),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(times_have_one_spelling),
        cmocka_unit_test(decimals_are_millionths),
        cmocka_unit_test(a_request_names_each_source_once),
        cmocka_unit_test(shipped_policies_mean_what_their_snapshots_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
