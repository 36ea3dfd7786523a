/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/dsse.h"

#include "crypto/hash.h"
#include "fixture.h"
#include "util/str.h"

static void pae_matches_the_worked_vector(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf pae;
    uint8_t digest[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    ww_buf_init(&pae, 4096);
    assert_int_equal(strlen(DEMO_STATEMENT), 657);
    OK(ww_dsse_pae((const uint8_t *)DEMO_STATEMENT, 657, &pae, &err));
    assert_int_equal(pae.len, 700);
    assert_memory_equal(pae.data, "DSSEv1 28 application/vnd.in-toto+json 657 {\"sub",
                        47);
    ww_sha256_of(pae.data, pae.len, digest);
    ww_hex(hex, digest, sizeof(digest));
    assert_string_equal(
        hex, "dce10b6a1f184809bffbf56b6f1e2d22bc960609c96630b954a82aa5cab9aef2");
    ww_buf_release(&pae);
}

static void pae_of_nothing_still_has_its_frame(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf pae;

    ww_buf_init(&pae, 4096);
    OK(ww_dsse_pae((const uint8_t *)"", 0, &pae, &err));
    assert_string_equal(ww_buf_cstr(&pae), "DSSEv1 28 application/vnd.in-toto+json 0 ");
    OK(ww_dsse_pae_v02((const uint8_t *)"", 0, &pae, &err));
    assert_string_equal(ww_buf_cstr(&pae),
                        "DSSEV1 28 application/vnd.in-toto+json 0 b''");
    ww_buf_release(&pae);
}

static void pae_beyond_the_buffer_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf pae;

    ww_buf_init(&pae, 50);
    FAILS(ww_dsse_pae((const uint8_t *)DEMO_STATEMENT, 657, &pae, &err), WW_E_LIMIT);
    FAILS(ww_dsse_pae_v02((const uint8_t *)DEMO_STATEMENT, 657, &pae, &err), WW_E_LIMIT);
    ww_buf_release(&pae);
}

struct python_row {
    const char *bytes;
    size_t len;
    const char *text; /* repr(bytes) in Python 3 */
};

static void pae_v02_prints_bytes_like_python(void **state)
{
    (void)state;
    static const struct python_row rows[] = {
        {"{\"a\": 1}\n", 9, "b'{\"a\": 1}\\n'"},
        {"it's", 4, "b\"it's\""},
        {"it's \"x\"", 8, "b'it\\'s \"x\"'"},
        {"\t\r\\~", 4, "b'\\t\\r\\\\~'"},
        {"\x00\x1f\x7f\xc3\xa9", 5, "b'\\x00\\x1f\\x7f\\xc3\\xa9'"},
    };
    struct ww_error err = {0};
    struct ww_buf pae;

    ww_buf_init(&pae, 4096);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        OK(ww_dsse_pae_v02((const uint8_t *)rows[i].bytes, rows[i].len, &pae, &err));
        const char *text = strstr(ww_buf_cstr(&pae), " b");
        assert_non_null(text);
        assert_string_equal(text + 1, rows[i].text);
    }
    ww_buf_release(&pae);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pae_matches_the_worked_vector),
        cmocka_unit_test(pae_of_nothing_still_has_its_frame),
        cmocka_unit_test(pae_beyond_the_buffer_is_refused),
        cmocka_unit_test(pae_v02_prints_bytes_like_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
