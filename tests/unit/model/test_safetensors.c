/* SPDX-License-Identifier: Apache-2.0 */
#include "model/safetensors.h"

#include "util/fail.h"
#include "util/fault.h"
#include "ww_test.h"

static enum ww_err parse(const char *json, uint64_t data_bytes, struct ww_st_header *out,
                         struct ww_error *err)
{
    return ww_st_parse((const uint8_t *)json, strlen(json), data_bytes, "f.safetensors",
                       out, err);
}

struct good_case {
    const char *json;
    uint64_t data_bytes;
    uint32_t n_tensors;
};

#define T(name, dtype, shape, begin, end)                                                \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin \
    "," end "]}"

static const struct good_case good_cases[] = {
    {"{}", 0, 0},
    {"{}   ", 0, 0},
    {" \t\r\n{ }\t\r\n ", 0, 0},
    {"{" T("a", "F32", "[2]", "0", "8") "}", 8, 1},
    {"{" T("", "F32", "[2]", "0", "8") "}", 8, 1},
    {"{" T("a", "F32", "[]", "0", "4") "}", 4, 1},
    {"{" T("a", "F64", "[1,1,1,1,1,1,1,1]", "0", "8") "}", 8, 1},
    {"{" T("a", "F32", "[0]", "0", "0") "}", 0, 1},
    {"{" T("a", "F32", "[0,18446744073709551615,2]", "0", "0") "}", 0, 1},
    {"{" T("a", "U8", "[3]", "0", "3") "," T("z", "U8", "[0]", "3", "3") "," T(
         "y", "U8", "[0]", "3", "3") "," T("b", "F32", "[1]", "3", "7") "}",
     7, 4},
    {"{" T("a", "F4", "[2]", "0", "1") "}", 1, 1},
    {"{" T("a", "F6_E2M3", "[4]", "0", "3") "}", 3, 1},
    {"{" T("a", "C64", "[1]", "0", "8") "}", 8, 1},
    {"{\"a\" : { \"dtype\" :\n\"F32\" , \"shape\" : [ 1 , 2 ] , \"data_offsets\" : [ 0 , "
     "8 "
     "] } }",
     8, 1},
    {"{\"a\":{\"data_offsets\":[0,8],\"shape\":[2],\"dtype\":\"F32\"}}", 8, 1},
    {"{\"a\":{\"\\u0064type\":\"F\\u00332\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     1},
    {"{\"__metadata__\":{}}", 0, 0},
    {"{\"__metadata__\":null}", 0, 0},
    {"{\"__metadata__\":{\"format\":\"pt\",\"\":\"\\n\\t\\\"\\\\\\/\\b\\f\\r\"}}", 0, 0},
    {"{" T("b", "U8", "[1]", "1", "2") "," T("a", "U8", "[1]", "0", "1") "}", 2, 2},
    {"{" T("h\xc3\xa9 \xf0\x9f\x98\x80", "U8", "[1]", "0", "1") "}", 1, 1},
    {"{" T("\\ud83d\\ude00", "U8", "[1]", "0", "1") "}", 1, 1},
};

static void good_headers_are_accepted(void **state)
{
    (void)state;
    struct ww_error err = {0};
    for (size_t i = 0; i < WW_LEN(good_cases); i++) {
        struct ww_st_header header;
        OK(parse(good_cases[i].json, good_cases[i].data_bytes, &header, &err));
        assert_int_equal(header.n_tensors, good_cases[i].n_tensors);
        assert_int_equal(header.data_bytes, good_cases[i].data_bytes);
        ww_st_release(&header);
    }
}

struct bad_case {
    const char *json;
    uint64_t data_bytes;
    enum ww_err code;
    const char *says; /* part of the error text */
};

#define BAD WW_E_SAFETENSORS
static const struct bad_case bad_cases[] = {
    {"", 0, BAD, "the end of the header"},
    {"   ", 0, BAD, "expected '{'"},
    {"[]", 0, BAD, "found '[', expected '{'"},
    {"\xef\xbb\xbf{}", 0, BAD, "0xef"},
    {"{", 0, BAD, "expected a string"},
    {"{} x", 0, BAD, "padding"},
    {"{}{}", 0, BAD, "padding"},
    {"{},", 0, BAD, "padding"},
    {"{} \v", 0, BAD, "padding"},
    {"{\xff}", 0, BAD, "not UTF-8"},
    {"{\"\xed\xa0\x80\":1}", 0, BAD, "not UTF-8"},
    {"{,}", 0, BAD, "a string"},
    {"{" T("a", "F32", "[2]", "0", "8") ",}", 8, BAD, "a string"},
    {"{" T("a", "F32", "[2]", "0", "8"), 8, BAD, "',' or '}'"},
    {"{a:1}", 0, BAD, "a string"},
    {"{\"a\" 1}", 0, BAD, "':'"},
    /* a tensor that is no object, or not a whole one */
    {"{\"a\":[\"F32\",[2],[0,8]]}", 8, BAD, "tensor 'a' of 'f.safetensors'"},
    {"{\"a\":null}", 0, BAD, "expected '{'"},
    {"{\"a\":{}}", 0, BAD, "'dtype' is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, BAD, "'shape' is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, BAD, "'data_offsets' is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     BAD, "'shape' is there twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"\\u0064type\":\"F32\",\"shape\":[2],\"data_offsets\":["
     "0,8]"
     "}}",
     8, BAD, "'dtype' is there twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, BAD,
     "unknown member 'x'"},
    /* dtypes */
    {"{" T("a", "F33", "[2]", "0", "8") "}", 8, BAD, "unknown dtype 'F33' in tensor 'a'"},
    {"{" T("a", "f32", "[2]", "0", "8") "}", 8, BAD, "unknown dtype 'f32'"},
    {"{\"a\":{\"dtype\":1,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, BAD, "a string"},
    /* numbers */
    {"{" T("a", "F32", "[-2]", "0", "8") "}", 8, BAD, "found '-'"},
    {"{" T("a", "F32", "[-0]", "0", "0") "}", 0, BAD, "found '-'"},
    {"{" T("a", "F32", "[2.5]", "0", "8") "}", 8, BAD, "fraction"},
    {"{" T("a", "F32", "[2.0]", "0", "8") "}", 8, BAD, "fraction"},
    {"{" T("a", "F32", "[2e0]", "0", "8") "}", 8, BAD, "fraction"},
    {"{" T("a", "F32", "[02]", "0", "8") "}", 8, BAD, "leading zeros"},
    {"{" T("a", "F32", "[+2]", "0", "8") "}", 8, BAD, "non-negative"},
    {"{" T("a", "F32", "[\"2\"]", "0", "8") "}", 8, BAD, "non-negative"},
    {"{" T("a", "F32", "[2,]", "0", "8") "}", 8, BAD, "non-negative"},
    {"{" T("a", "F32", "[2 2]", "0", "8") "}", 8, BAD, "',' or ']'"},
    {"{" T("a", "F32", "2", "0", "8") "}", 8, BAD, "'['"},
    {"{" T("a", "F32", "null", "0", "8") "}", 8, BAD, "'['"},
    {"{" T("a", "F32", "[18446744073709551616]", "0", "8") "}", 8, BAD, "below 2^64"},
    {"{" T("a", "F32", "[99999999999999999999999]", "0", "8") "}", 8, BAD, "below 2^64"},
    {"{" T("a", "U8", "[0]", "18446744073709551616", "0") "}", 0, BAD, "below 2^64"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, BAD, "','"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, BAD, "']'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[]}}", 8, BAD,
     "non-negative"},
    /* sizes */
    {"{" T("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, BAD, "2^64 bits"},
    {"{" T("a", "F32", "[4294967296,4294967296,0]", "0", "0") "}", 0, BAD, "2^64 bits"},
    {"{" T("a", "U8", "[2305843009213693952]", "0", "0") "}", 0, BAD, "2^64 bits"},
    {"{" T("a", "F4", "[3]", "0", "2") "}", 2, BAD, "no whole number of bytes"},
    {"{" T("a", "F6_E3M2", "[2]", "0", "2") "}", 2, BAD, "no whole number of bytes"},
    {"{" T("a", "F32", "[2]", "0", "7") "}", 7, BAD,
     "hold 7 bytes, shape and dtype F32 need 8"},
    {"{" T("a", "F32", "[]", "0", "0") "}", 0, BAD, "hold 0 bytes"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, WW_E_LIMIT,
     "more than 8 dimensions"},
    /* places */
    {"{" T("a", "F32", "[2]", "8", "0") "}", 8, BAD,
     "ends at byte 0 before it begins at 8"},
    {"{" T("a", "F32", "[2]", "1", "9") "}", 9, BAD, "begins at byte 1, expected 0"},
    {"{" T("a", "U8", "[1]", "0", "1") "," T("b", "U8", "[1]", "2", "3") "}", 3, BAD,
     "tensor 'b' of 'f.safetensors': begins at byte 2, expected 1: bytes before it"},
    {"{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "1", "3") "}", 3, BAD,
     "begins at byte 1, expected 2: tensors overlap"},
    {"{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "0", "2") "}", 2, BAD,
     "overlap"},
    {"{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[0]", "1", "1") "}", 2, BAD,
     "overlap"},
    {"{" T("a", "U8", "[2]", "0", "2") "}", 3, BAD,
     "bytes at the end belong to no tensor"},
    {"{" T("a", "U8", "[2]", "0", "2") "}", 1, BAD, "cut off"},
    {"{}", 1, BAD, "bytes at the end belong to no tensor"},
    /* names */
    {"{" T("a", "U8", "[1]", "0", "1") "," T("a", "U8", "[1]", "1", "2") "}", 2, BAD,
     "the name is there twice"},
    {"{" T("a", "U8", "[1]", "0", "1") "," T("\\u0061", "U8", "[1]", "1", "2") "}", 2,
     BAD, "the name is there twice"},
    {"{" T("a\\u0000b", "U8", "[1]", "0", "1") "}", 1, BAD, "escape"},
    {"{" T("a\\nb", "U8", "[1]", "0", "1") "}", 1, BAD, "control character"},
    {"{" T("a\x7f", "U8", "[1]", "0", "1") "}", 1, BAD, "control character"},
    {"{" T("a\xc2\x9b", "U8", "[1]", "0", "1") "}", 1, BAD, "control character"},
    {"{\"a\nb\":1}", 0, BAD, "rest of a string"},
    {"{\"abcdefgh", 0, BAD, "rest of a string"},
    {"{\"a\\", 0, BAD, "escape"},
    {"{\"a\\x\":1}", 0, BAD, "escape"},
    {"{\"a\\u12\":1}", 0, BAD, "escape"},
    {"{\"a\\u12g4\":1}", 0, BAD, "escape"},
    {"{\"\\ud800\":1}", 0, BAD, "escape"},
    {"{\"\\ud800\\u0041\":1}", 0, BAD, "escape"},
    {"{\"\\udc00\":1}", 0, BAD, "escape"},
    /* metadata */
    {"{\"__metadata__\":{\"a\":1}}", 0, BAD, "a string as value in __metadata__"},
    {"{\"__metadata__\":{\"a\":null}}", 0, BAD, "a string as value in __metadata__"},
    {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0, BAD, "has 'a' twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, BAD, "__metadata__ is there twice"},
    {"{\"__metadata__\":{},\"__met\\u0061data__\":null}", 0, BAD, "is there twice"},
    {"{\"__metadata__\":[]}", 0, BAD, "'{'"},
    {"{\"__metadata__\":nul}", 0, BAD, "'{'"},
    {"{\"__metadata__\":{\"a\":\"b\"", 0, BAD, "',' or '}'"},
};

static void bad_headers_are_refused_and_the_text_says_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(bad_cases); i++) {
        const struct bad_case *c = &bad_cases[i];
        struct ww_error err = {0};
        struct ww_st_header header;
        enum ww_err rc = parse(c->json, c->data_bytes, &header, &err);
        if (rc != c->code || !strstr(err.text, c->says)) {
            fail_msg("%s: got %s '%s', want %s with '%s'", c->json, ww_err_name(rc),
                     err.text, ww_err_name(c->code), c->says);
        }
        assert_non_null(strstr(err.text, "'f.safetensors'"));
        assert_null(header.tensors);
        assert_null(header.names);
    }
}

static void facts_of_a_header_are_right(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_st_header h;
    OK(parse("{\"__metadata__\":{\"format\":\"pt\"}," T("late", "BF16", "[2,3]", "4",
                                                        "16") "," T("early", "F16", "[2]",
                                                                    "0", "4") "}",
             16, &h, &err));
    assert_true(h.has_metadata);
    assert_string_equal(h.tensors[0].name, "early");
    assert_int_equal(h.tensors[0].header_position, 1);
    assert_int_equal(h.tensors[0].name_len, 5);
    assert_int_equal(h.tensors[0].dtype, WW_DTYPE_F16);
    assert_int_equal(h.tensors[0].rank, 1);
    assert_int_equal(h.tensors[0].n_elements, 2);
    assert_string_equal(h.tensors[1].name, "late");
    assert_int_equal(h.tensors[1].header_position, 0);
    assert_int_equal(h.tensors[1].shape[0], 2);
    assert_int_equal(h.tensors[1].shape[1], 3);
    assert_int_equal(h.tensors[1].begin, 4);
    assert_int_equal(h.tensors[1].end, 16);
    ww_st_release(&h);
}

static void escapes_are_decoded_to_utf8(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_st_header h;
    OK(parse("{" T("\\u00e9\\u20AC\\ud83d\\ude00\\/x", "U8", "[1]", "0", "1") "}", 1, &h,
             &err));
    assert_string_equal(h.tensors[0].name, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/x");
    ww_st_release(&h);
}

static void names_may_have_1024_bytes_and_no_more(void **state)
{
    (void)state;
    char json[1200];
    for (int len = 1023; len <= 1025; len++) {
        struct ww_error err = {0};
        struct ww_st_header h;
        char name[1100];
        memset(name, 'n', sizeof(name));
        name[len] = '\0';
        snprintf(json, sizeof(json),
                 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                 name);
        if (len <= 1024) {
            OK(parse(json, 1, &h, &err));
            assert_int_equal(h.tensors[0].name_len, len);
            ww_st_release(&h);
        } else {
            FAILS(parse(json, 1, &h, &err), WW_E_LIMIT);
        }
    }
}

/* Strings of every length and start, so that each path of the word-wise scan is taken. */
static void strings_of_every_length_are_read_whole(void **state)
{
    (void)state;
    for (int pad = 0; pad < 8; pad++) {
        for (int len = 0; len < 40; len++) {
            struct ww_error err = {0};
            struct ww_st_header h;
            char name[64] = "";
            char json[200];
            memset(name, 'q', (size_t)len);
            snprintf(
                json, sizeof(json),
                "%*s{\"%s\\\\\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                pad, "", name);
            name[len] = '\\';
            OK(parse(json, 1, &h, &err));
            assert_string_equal(h.tensors[0].name, name);
            ww_st_release(&h);
        }
    }
}

static void every_truncation_is_refused_without_reading_behind(void **state)
{
    (void)state;
    const char *json = "{\"__metadata__\":{\"format\":\"pt\"}," T("a\\u00e9", "F32",
                                                                  "[2]", "0", "8") "}";
    size_t n = strlen(json);
    for (size_t len = 0; len < n; len++) {
        struct ww_error err = {0};
        struct ww_st_header h;
        /* An allocation of exactly that size lets the sanitizer see any read behind it.
         */
        uint8_t *cut = test_malloc(len + (len == 0));
        memcpy(cut, json, len);
        enum ww_err rc = ww_st_parse(cut, len, 8, "f", &h, &err);
        assert_int_equal(rc, WW_E_SAFETENSORS);
        test_free(cut);
    }
}

static void three_million_brackets_are_refused_at_once(void **state)
{
    (void)state;
    size_t n = 3000000;
    static const char *const starts[] = {
        "", "{\"a\":", "{\"__metadata__\":", "{\"a\":{\"shape\":"};
    char *json = test_malloc(n + 1);
    for (size_t i = 0; i < WW_LEN(starts); i++) {
        struct ww_error err = {0};
        struct ww_st_header h;
        memset(json, '[', n);
        json[n] = '\0';
        memcpy(json, starts[i], strlen(starts[i]));
        FAILS(parse(json, 0, &h, &err), WW_E_SAFETENSORS);
        memset(json + strlen(starts[i]), '{', n - strlen(starts[i]));
        FAILS(parse(json, 0, &h, &err), WW_E_SAFETENSORS);
    }
    test_free(json);
}

static void a_million_tensors_are_read_and_one_more_is_not(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_st_header h;
    size_t room = (size_t)(WW_ST_MAX_TENSORS + 1) * 70;
    char *json = malloc(room);
    assert_non_null(json);
    size_t len = 0;
    json[len++] = '{';
    for (int i = 0; i <= WW_ST_MAX_TENSORS; i++) {
        if (i == WW_ST_MAX_TENSORS) {
            json[len] = '}';
            OK(ww_st_parse((uint8_t *)json, len + 1, 0, "f", &h, &err));
            assert_int_equal(h.n_tensors, WW_ST_MAX_TENSORS);
            ww_st_release(&h);
        }
        len +=
            (size_t)snprintf(json + len, room - len,
                             "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":"
                             "[0,0]}",
                             i ? "," : "", i);
    }
    json[len++] = '}';
    FAILS(ww_st_parse((uint8_t *)json, len, 0, "f", &h, &err), WW_E_LIMIT);
    free(json);
}

static void a_header_over_the_limit_is_not_looked_at(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_st_header h;
    FAILS(ww_st_parse(NULL, WW_ST_MAX_HEADER_BYTES + 1ULL, 0, "f", &h, &err), WW_E_LIMIT);
}

static void tensors_in_any_header_order_come_out_by_offset(void **state)
{
    (void)state;
    enum { N = 300 };
    struct ww_error err = {0};
    struct ww_st_header h;
    char json[N * 90];
    size_t len = 0;
    json[len++] = '{';
    for (unsigned i = 0; i < N; i++) {
        unsigned at = i * 7919 % N; /* a permutation: 7919 is prime */
        len += (size_t)snprintf(
            json + len, sizeof(json) - len,
            "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":["
            "%u,%u]}",
            i ? "," : "", at, 2 * at, 2 * at + 2);
    }
    snprintf(json + len, sizeof(json) - len, "}");
    OK(parse(json, 2 * N, &h, &err));
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t%u", i);
        assert_string_equal(h.tensors[i].name, name);
        assert_int_equal(h.tensors[i].begin, 2 * i);
    }
    ww_st_release(&h);
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    const char *json = "{\"__metadata__\":{\"a\":\"b\"}," T(
        "b", "U8", "[1]", "1", "2") "," T("a", "U8", "[1]", "0", "1") "}";
    unsigned long nth = 0;
    enum ww_err rc = WW_E_NOMEM;
    while (rc != WW_OK) {
        struct ww_error err = {0};
        struct ww_st_header h;
        ww_fault_arm(WW_FAULT_ALLOC, ++nth);
        rc = parse(json, 2, &h, &err);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_true(rc == WW_OK || rc == WW_E_NOMEM);
        ww_st_release(&h);
        assert_true(nth < 100);
    }
    assert_true(nth > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_headers_are_accepted),
        cmocka_unit_test(bad_headers_are_refused_and_the_text_says_why),
        cmocka_unit_test(facts_of_a_header_are_right),
        cmocka_unit_test(escapes_are_decoded_to_utf8),
        cmocka_unit_test(names_may_have_1024_bytes_and_no_more),
        cmocka_unit_test(strings_of_every_length_are_read_whole),
        cmocka_unit_test(every_truncation_is_refused_without_reading_behind),
        cmocka_unit_test(three_million_brackets_are_refused_at_once),
        cmocka_unit_test(a_million_tensors_are_read_and_one_more_is_not),
        cmocka_unit_test(a_header_over_the_limit_is_not_looked_at),
        cmocka_unit_test(tensors_in_any_header_order_come_out_by_offset),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
