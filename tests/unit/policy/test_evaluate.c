/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/table.h"

#include <time.h>

#include "ww_test.h"

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/str.h"

#define K1 "0000000000000000000000000000000000000000000000000000000000000001"
#define K2 "0000000000000000000000000000000000000000000000000000000000000002"
#define K3 "0000000000000000000000000000000000000000000000000000000000000003"
#define BASE "00000000000000000000000000000000000000000000000000000000000000aa"
#define CHILD "00000000000000000000000000000000000000000000000000000000000000bb"
#define MODELS                                                                           \
    "\"models\":{\"base\":{\"root\":\"" BASE "\",\"signer\":\"" K1 "\"},"                \
    "\"child\":{\"root\":\"" CHILD "\",\"signer\":\"" K1 "\",\"ancestors\":[\"base\"]}}"
#define HEAD                                                                             \
    "{\"type\":\"weightward.policy/1\",\"id\":\"p\",\"version\":\"1\","                  \
    "\"issued\":\"2026-01-10T00:00:00Z\",\"expires\":\"2026-02-10T00:00:00Z\","          \
    "\"rules\":["
#define RULE(id, effect, resource, more)                                                 \
    "{\"id\":\"" id "\",\"effect\":\"" effect "\",\"subjects\":[\"anyone\"],"            \
    "\"actions\":[\"merge\"],\"resources\":[\"" resource "\"]" more "}"

/* "permit REASON" or "deny REASON" of one request for CHILD by K1. */
static const char *decide(const char *rules, const char *roles, const char *approvals,
                          const char *now)
{
    static char out[64];
    struct ww_error err = {0};
    struct ww_policy policy;
    struct ww_table_result result;
    struct ww_table *table = NULL;
    const struct ww_policy *list[] = {&policy};
    char *text = ww_asprintf(HEAD "%s]}", rules);
    char *cases = ww_asprintf(
        "{\"type\":\"weightward.policy-test/1\",\"roles\":{%s}," MODELS ",\"cases\":["
        "{\"name\":\"c\",\"now\":\"%s\",\"requester\":\"" K1 "\"%s,\"request\":"
        "\"{\\\"type\\\":\\\"weightward.request/1\\\",\\\"action\\\":\\\"merge\\\","
        "\\\"nonce\\\":\\\"1\\\",\\\"time\\\":\\\"2026-01-05T00:00:00Z\\\","
        "\\\"sources\\\":"
        "[{\\\"model\\\":\\\"sha256:" CHILD "\\\"}]}\"}]}",
        roles, now, approvals);

    OK(ww_policy_read((const uint8_t *)text, strlen(text), &policy, &err));
    OK(ww_table_read((const uint8_t *)cases, strlen(cases), &table, &err));
    OK(ww_table_run(table, 0, list, 1, &result, &err));
    snprintf(out, sizeof(out), "%s %s", result.decision.permit ? "permit" : "deny",
             ww_reason_name(result.decision.reason));
    ww_table_free(table);
    ww_policy_release(&policy);
    ww_free(text);
    ww_free(cases);
    return out;
}

#define NOW "2026-01-20T00:00:00Z"
#define LINEAGE RULE("all", "permit", "lineage:sha256:" BASE, "")

static void every_ancestor_must_be_permitted_too(void **state)
{
    (void)state;
    assert_string_equal(decide(LINEAGE, "", "", NOW), "permit permitted");
    assert_string_equal(
        decide(RULE("r", "permit", "model:sha256:" CHILD, ""), "", "", NOW),
        "deny no-permit");
    assert_string_equal(
        decide(RULE("r", "permit", "model:sha256:" BASE, ""), "", "", NOW),
        "deny no-permit");
}

static void a_forbid_on_an_ancestor_beats_every_permit(void **state)
{
    (void)state;
    assert_string_equal(
        decide(LINEAGE "," RULE("no", "forbid", "model:sha256:" BASE, ""), "", "", NOW),
        "deny forbidden");
    assert_string_equal(
        decide(RULE("no", "forbid", "model:sha256:" BASE, "") "," LINEAGE, "", "", NOW),
        "deny forbidden");
}

static void policies_hold_from_issue_to_expiry(void **state)
{
    (void)state;
    assert_string_equal(decide(LINEAGE, "", "", "2026-01-09T23:59:59Z"),
                        "deny clock-before-issue");
    assert_string_equal(decide(LINEAGE, "", "", "2026-01-10T00:00:00Z"),
                        "permit permitted");
    assert_string_equal(decide(LINEAGE, "", "", "2026-02-09T23:59:59Z"),
                        "permit permitted");
    assert_string_equal(decide(LINEAGE, "", "", "2026-02-10T00:00:00Z"),
                        "deny policy-expired");
    assert_string_equal(decide(LINEAGE, "", "", "2026-01-04T00:00:00Z"),
                        "deny request-does-not-fit");
}

#define TWO                                                                              \
    RULE("two", "permit", "lineage:sha256:" BASE,                                        \
         ",\"when\":{\"approvals\":{\"role\":\"a\",\"threshold\":\"2\","                 \
         "\"distinct_from\":\"requester\"}}")

static void approvals_count_distinct_keys_of_the_role_but_the_requester(void **state)
{
    static const char role[] = "\"a\":[\"" K1 "\",\"" K2 "\",\"" K3 "\"]";
    static const char small[] = "\"a\":[\"" K1 "\",\"" K2 "\"]";
    (void)state;

    assert_string_equal(decide(TWO, role, "", NOW), "deny no-permit");
    assert_string_equal(decide(TWO, role, ",\"approvals\":[\"" K2 "\"]", NOW),
                        "deny no-permit");
    assert_string_equal(decide(TWO, role, ",\"approvals\":[\"" K1 "\",\"" K2 "\"]", NOW),
                        "deny no-permit");
    assert_string_equal(decide(TWO, role, ",\"approvals\":[\"" K3 "\",\"" K2 "\"]", NOW),
                        "permit permitted");
    assert_string_equal(decide(TWO, small, ",\"approvals\":[\"" K3 "\",\"" K2 "\"]", NOW),
                        "deny no-permit");
}

/* The same key named twice is one approval: a bug that three implementations of TUF had.
 */
static void one_key_twice_is_one_approval(void **state)
{
    struct ww_error err = {0};
    static const char text[] = HEAD TWO "]}";
    const char *keys[] = {K2, K2};
    const char *members[] = {K2, K3};
    const struct ww_words approvals = {keys, 2};
    const struct ww_role role = {"a", {members, 2}, 1};
    const struct ww_trust_facts trust = {&role, 1, NULL, 0};
    struct ww_model_facts model = {.signer = K1, .lineage_known = true};
    struct ww_request_source source = {.weight = 1};
    struct ww_request request = {
        .action = WW_MAY_MERGE, .requester = K1, .sources = &source, .n_sources = 1};
    struct ww_policy policy;
    struct ww_decision decision;
    const struct ww_policy *list[] = {&policy};
    (void)state;

    assert_true(ww_unhex(model.root, 32, BASE, 64) &&
                ww_unhex(source.root, 32, BASE, 64));
    OK(ww_policy_read((const uint8_t *)text, sizeof(text) - 1, &policy, &err));
    const struct ww_evaluation e = {list,   1,          &trust,    &request,
                                    &model, &approvals, 1768900000};
    ww_policy_evaluate(&e, &decision);
    assert_false(decision.permit);
    assert_string_equal(decision.failed, "approvals");
    keys[1] = K3;
    ww_policy_evaluate(&e, &decision);
    assert_true(decision.permit);
    ww_policy_release(&policy);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* The full number of rules, of which the last permits: far below a millisecond, and no
 * memory taken. */
static void the_largest_policy_is_decided_fast_and_without_memory(void **state)
{
    struct ww_rule *rules = test_calloc(WW_POLICY_MAX_RULES, sizeof(*rules));
    const char *anyone = "anyone";
    struct ww_rule_resource resource = {.kind = WW_RES_TAG, .tag = "t"};
    const char *tag = "t";
    struct ww_model_facts model = {
        .signer = K1, .lineage_known = true, .tags = {&tag, 1}};
    struct ww_request_source source = {.weight = 1};
    struct ww_request request = {
        .action = WW_MAY_MERGE, .requester = K1, .sources = &source, .n_sources = 1};
    const struct ww_trust_facts trust = {0};
    const struct ww_words approvals = {0};
    struct ww_policy policy = {.expires = INT64_MAX, .rules = rules};
    const struct ww_policy *list[] = {&policy};
    struct ww_decision decision;
    double best = 1e9;
    (void)state;

    for (size_t i = 0; i < WW_POLICY_MAX_RULES; i++) {
        rules[i] =
            (struct ww_rule){.id = "r",
                             .subjects = {&anyone, 1},
                             .actions = ~0u,
                             .resources = &resource,
                             .n_resources = 1,
                             .when = {.max_weight = i + 1 < WW_POLICY_MAX_RULES ? 0 : -1,
                                      .not_before = INT64_MIN,
                                      .not_after = INT64_MAX}};
    }
    policy.n_rules = WW_POLICY_MAX_RULES;
    const struct ww_evaluation e = {list, 1, &trust, &request, &model, &approvals, 1};
    ww_fault_arm(WW_FAULT_ALLOC, 1000000);
    for (int i = 0; i < 5; i++) {
        const double begin = now_ms();
        ww_policy_evaluate(&e, &decision);
        const double took = now_ms() - begin;
        best = took < best ? took : best;
        assert_true(decision.permit);
        assert_int_equal(decision.n_rules, 1);
    }
    assert_int_equal(ww_fault_seen(WW_FAULT_ALLOC), 0);
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    print_message("%d rules: %.3f ms\n", WW_POLICY_MAX_RULES, best);
#if !defined(__SANITIZE_ADDRESS__) && defined(NDEBUG)
    assert_true(best < 1.0);
#endif
    test_free(rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ancestor_must_be_permitted_too),
        cmocka_unit_test(a_forbid_on_an_ancestor_beats_every_permit),
        cmocka_unit_test(policies_hold_from_issue_to_expiry),
        cmocka_unit_test(approvals_count_distinct_keys_of_the_role_but_the_requester),
        cmocka_unit_test(one_key_twice_is_one_approval),
        cmocka_unit_test(the_largest_policy_is_decided_fast_and_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
