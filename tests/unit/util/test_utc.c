/* SPDX-License-Identifier: Apache-2.0 */
#include "util/utc.h"

#include "util/fail.h"
#include "ww_test.h"

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},          {"1969-12-31T23:59:59Z", -1},
        {"2000-02-29T12:00:00Z", 951825600},  {"2022-10-31T23:59:59.999Z", 1667260799},
        {"2021-01-12T11:53:27Z", 1610452407}, {"9999-12-31T23:59:59Z", 253402300799},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(good); i++) {
        int64_t got = 7;
        assert_true(ww_utc_parse(good[i].text, &got));
        assert_true(got == good[i].want);
    }
}

static void other_text_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2022",
        "2022-10-31",
        "2022-10-31T23:59:59",
        "2022-10-31T23:59:59+00:00",
        "2022-10-31T23:59:59Zx",
        "2022-10-31T23:59:59.Z",
        "2022-10-31 23:59:59Z",
        "2022-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2022-13-01T00:00:00Z",
        "2022-00-01T00:00:00Z",
        "2022-04-31T00:00:00Z",
        "2022-01-00T00:00:00Z",
        "2022-01-01T24:00:00Z",
        "2022-01-01T00:60:00Z",
        "2022-01-01T00:00:60Z",
        "0000-01-01T00:00:00Z",
        "-022-01-01T00:00:00Z",
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        int64_t got = 7;
        if (ww_utc_parse(bad[i], &got) || got != 7) {
            fail_msg("'%s' was read", bad[i]);
        }
    }
}

static void times_are_written_as_they_are_read(void **state)
{
    char text[WW_UTC_BYTES];
    (void)state;
    for (int64_t t = 0; t < INT64_C(253402300800); t += INT64_C(86399) * 37) {
        int64_t got = -1;
        ww_utc_text(t, text);
        assert_true(ww_utc_parse(text, &got) && got == t);
    }
    ww_utc_text(951782400, text);
    assert_string_equal(text, "2000-02-29T00:00:00Z");
    ww_utc_text(-5, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    ww_utc_text(INT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(other_text_is_refused),
        cmocka_unit_test(times_are_written_as_they_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
