/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "crypto/base64.h"

static const struct {
    const char *plain;
    const char *text;
} rfc4648[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void both_ways_match_rfc4648(void **state)
{
    struct ww_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(rfc4648) / sizeof(rfc4648[0]); i++) {
        struct ww_buf text;
        struct ww_buf plain;
        ww_buf_init(&text, 100);
        ww_buf_init(&plain, 100);
        OK(ww_base64_encode(&text, (const uint8_t *)rfc4648[i].plain,
                            strlen(rfc4648[i].plain), &err));
        assert_string_equal(ww_buf_cstr(&text), rfc4648[i].text);
        OK(ww_base64_decode(&plain, rfc4648[i].text, strlen(rfc4648[i].text), &err));
        assert_string_equal(ww_buf_cstr(&plain), rfc4648[i].plain);
        assert_int_equal(plain.len, strlen(rfc4648[i].plain));
        ww_buf_release(&text);
        ww_buf_release(&plain);
    }
}

static void every_length_comes_back(void **state)
{
    struct ww_error err = {0};
    uint8_t bytes[5000];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 167 + i / 256);
    }
    for (size_t len = 0; len <= sizeof(bytes); len += len < 20 ? 1 : 311) {
        struct ww_buf text;
        struct ww_buf back;
        ww_buf_init(&text, 10000);
        ww_buf_init(&back, 5000);
        OK(ww_base64_encode(&text, bytes, len, &err));
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        OK(ww_base64_decode(&back, ww_buf_cstr(&text), text.len, &err));
        assert_int_equal(back.len, len);
        assert_memory_equal(len ? back.data : bytes, bytes, len);
        ww_buf_release(&text);
        ww_buf_release(&back);
    }
}

static void decode_refuses_what_is_not_canonical(void **state)
{
    static const char *const bad[] = {
        "Z",     "Zg",       "Zg=",     "Zg===",  "====",         "=g==",
        "Z===",  "Zg==Zg==", "Zg= =",   "Zm9v\n", "Zm9\n",        " Zm9",
        "Zm9-",  "Zm9_",     "Zh==",    "Zm9=",   "Zg==\n\n\n\n", "Zm9v====",
        "Zm\t8", "Zm8=Zm8=", "Zm9\x80", "Z=9v",   "Zm=v",         "=m9v",
    };
    struct ww_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ww_buf out;
        ww_buf_init(&out, 100);
        FAILS(ww_base64_decode(&out, bad[i], strlen(bad[i]), &err), WW_E_BUNDLE);
        ww_buf_release(&out);
    }
}

static void decode_accepts_no_byte_outside_the_alphabet(void **state)
{
    struct ww_error err = {0};
    unsigned n_accepted = 0;
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        struct ww_buf out;
        char text[4] = {'A', 'A', (char)c, 'A'};
        ww_buf_init(&out, 100);
        n_accepted += ww_base64_decode(&out, text, 4, &err) == WW_OK;
        ww_error_clear(&err);
        ww_buf_release(&out);
    }
    assert_int_equal(n_accepted, 64);
}

static void the_buffer_limit_holds(void **state)
{
    struct ww_error err = {0};
    struct ww_buf out;
    (void)state;
    ww_buf_init(&out, 5);
    FAILS(ww_base64_decode(&out, "Zm9vYmFy", 8, &err), WW_E_LIMIT);
    FAILS(ww_base64_encode(&out, (const uint8_t *)"foob", 4, &err), WW_E_LIMIT);
    ww_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_match_rfc4648),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(decode_refuses_what_is_not_canonical),
        cmocka_unit_test(decode_accepts_no_byte_outside_the_alphabet),
        cmocka_unit_test(the_buffer_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
