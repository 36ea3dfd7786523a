/* SPDX-License-Identifier: Apache-2.0 */
/* Policies, requests and tables; what is read is printed and evaluated. */
#include "fuzz.h"

#include <string.h>

#include "policy/table.h"

static void use_policy(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_policy policy;
    struct ww_buf text;
    if (ww_policy_read(data, size, &policy, &err)) {
        FUZZ_CHECK(strlen(err.text) > 0);
        return;
    }
    ww_buf_init(&text, (size_t)16 << 20);
    FUZZ_CHECK(ww_policy_print(&policy, &text, &err) == WW_OK);
    ww_buf_release(&text);
    ww_policy_release(&policy);
}

static void use_table(const uint8_t *data, size_t size)
{
    static const char open[] =
        "{\"type\":\"weightward.policy/1\",\"id\":\"p\",\"version\":\"1\",\"issued\":"
        "\"1970-01-01T00:00:00Z\",\"expires\":\"9999-01-01T00:00:00Z\",\"rules\":[{"
        "\"id\":"
        "\"r\",\"effect\":\"permit\",\"subjects\":[\"anyone\"],\"actions\":[\"merge\"],"
        "\"resources\":[\"tag:t\"]}]}";
    struct ww_error err = {0};
    struct ww_table *table = NULL;
    struct ww_policy policy;
    const struct ww_policy *list[] = {&policy};
    if (ww_table_read(data, size, &table, &err)) {
        return;
    }
    FUZZ_CHECK(ww_policy_read((const uint8_t *)open, sizeof(open) - 1, &policy, &err) ==
               WW_OK);
    for (size_t i = 0; i < ww_table_count(table); i++) {
        struct ww_table_result result;
        enum ww_err rc = ww_table_run(table, i, list, 1, &result, &err);
        FUZZ_CHECK(rc || !result.decision.permit || result.decision.n_rules > 0);
    }
    ww_policy_release(&policy);
    ww_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_request request;
    if (ww_request_read(data, size, &request, &err) == WW_OK) {
        FUZZ_CHECK(request.n_sources > 0);
        ww_request_release(&request);
    }
    use_policy(data, size);
    use_table(data, size);
    return 0;
}
