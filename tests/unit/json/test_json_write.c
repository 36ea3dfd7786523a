/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>

#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "ww_random.h"

static void write_sample(struct ww_jw *w)
{
    static const uint8_t digest[40] = {0xab, 0x01};
    ww_jw_object(w);
    ww_jw_kstr(w, "name", "a\"b\\c\n\x01/\xc3\xa9\x7f");
    ww_jw_kstr(w, "none", NULL);
    ww_jw_ku64(w, "n", UINT64_C(9007199254740991));
    ww_jw_kbool(w, "yes", true);
    ww_jw_kdouble(w, "half", 0.5);
    ww_jw_khex(w, "hex", digest, 3);
    ww_jw_khex(w, "empty", digest, 0);
    ww_jw_kmaybe(w, "known", true, 0.25);
    ww_jw_kmaybe(w, "unknown", false, 0.25);
    ww_jw_kinterval(w, "interval", true, -1, 0.5);
    ww_jw_kinterval(w, "nowhere", false, -1, 0.5);
    ww_jw_key(w, "list");
    ww_jw_array(w);
    ww_jw_i64(w, -5);
    ww_jw_bool(w, false);
    ww_jw_null(w);
    ww_jw_strn(w, "cut here", 3);
    ww_jw_array(w);
    ww_jw_close(w);
    ww_jw_object(w);
    ww_jw_close(w);
    ww_jw_raw(w, "{\"raw\":1}");
    ww_jw_close(w);
    ww_jw_close(w);
}

static void compact_form_is_exact(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    ww_buf_init(&buf, 1000);
    ww_jw_init(&w, &buf, 0);
    write_sample(&w);
    OK(ww_jw_end(&w, &err));
    assert_string_equal(
        ww_buf_cstr(&buf),
        "{\"name\":\"a\\\"b\\\\c\\n\\u0001/\xc3\xa9\x7f\",\"none\":null,"
        "\"n\":9007199254740991,\"yes\":true,\"half\":0.5,"
        "\"hex\":\"ab0100\",\"empty\":\"\",\"known\":0.25,\"unknown\":null,"
        "\"interval\":[-1,0.5],\"nowhere\":null,"
        "\"list\":[-5,false,null,\"cut\",[],{},{\"raw\":1}]}");
    OK(ww_json_check(buf.data, buf.len, &ww_json_limits_small, &err));
    ww_buf_release(&buf);
}

static void indented_form_is_exact(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    ww_buf_init(&buf, 1000);
    ww_jw_init(&w, &buf, 2);
    ww_jw_object(&w);
    ww_jw_ku64(&w, "a", 1);
    ww_jw_key(&w, "b");
    ww_jw_array(&w);
    ww_jw_u64(&w, 2);
    ww_jw_object(&w);
    ww_jw_close(&w);
    ww_jw_close(&w);
    ww_jw_close(&w);
    OK(ww_jw_end(&w, &err));
    assert_string_equal(ww_buf_cstr(&buf),
                        "{\n  \"a\": 1,\n  \"b\": [\n    2,\n    {}\n  ]\n}");
    ww_buf_release(&buf);
}

static void doubles_are_shortest_and_exact(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } rows[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {1.0, "1"},
        {0.1, "0.1"},
        {1e-06, "1e-06"},
        {0.30000000000000004, "0.30000000000000004"},
        {1e300, "1e+300"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {9007199254740991.0, "9007199254740991"},
        {12345678901234568.0, "12345678901234568.0"},
        {(double)NAN, "null"},
        {(double)INFINITY, "null"},
    };
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        struct ww_error err;
        struct ww_buf buf;
        struct ww_jw w;
        ww_buf_init(&buf, 100);
        ww_jw_init(&w, &buf, 0);
        ww_jw_double(&w, rows[i].v);
        OK(ww_jw_end(&w, &err));
        assert_string_equal(ww_buf_cstr(&buf), rows[i].text);
        OK(ww_json_check(buf.data, buf.len, &ww_json_limits_small, &err));
        ww_buf_release(&buf);
    }
}

static void assert_shortest(double v)
{
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    char want[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(want, sizeof(want), "%.*g", digits, v);
        if (strtod(want, NULL) == v) {
            break;
        }
    }
    ww_buf_init(&buf, 100);
    ww_jw_init(&w, &buf, 0);
    ww_jw_double(&w, v);
    OK(ww_jw_end(&w, &err));
    assert_memory_equal(ww_buf_cstr(&buf), want, strlen(want));
    ww_buf_release(&buf);
}

/* Powers of two have a nearer neighbour below than above. */
static void no_shorter_number_reads_back(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int e = -1074; e <= 1023; e += 3) {
        assert_shortest(ldexp(1, e));
        assert_shortest(nextafter(ldexp(1, e), 0));
    }
    for (int i = 0; i < 2000; i++) {
        const uint64_t bits = fx_random(&seed);
        double v = 0;
        memcpy(&v, &bits, sizeof(v));
        if (isfinite(v)) {
            assert_shortest(v);
            assert_shortest((double)(bits % 1000000) / 1000);
            assert_shortest(-(double)(bits >> 11) * 0x1p-50);
        }
    }
}

static void locale_does_not_matter(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    if (!setlocale(LC_ALL, "de_DE.UTF-8")) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    ww_buf_init(&buf, 100);
    ww_jw_init(&w, &buf, 0);
    ww_jw_double(&w, 1234.5);
    OK(ww_jw_end(&w, &err));
    assert_string_equal(ww_buf_cstr(&buf), "1234.5");
    setlocale(LC_ALL, "C");
    ww_buf_release(&buf);
}

/* What is written reads back bit for bit, over many bit patterns. */
static void doubles_read_back(void **state)
{
    (void)state;
    uint64_t bits = 1;
    for (int i = 0; i < 2000; i++) {
        struct ww_error err;
        struct ww_buf buf;
        struct ww_jw w;
        struct ww_json *json = NULL;
        double v = 0;
        double back = 0;
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v)) {
            continue;
        }
        ww_buf_init(&buf, 100);
        ww_jw_init(&w, &buf, 0);
        ww_jw_double(&w, v);
        OK(ww_jw_end(&w, &err));
        OK(ww_json_parse(buf.data, buf.len, &ww_json_limits_small, &json, &err));
        assert_true(ww_jdouble(ww_json_root(json), &back));
        assert_memory_equal(&back, &v, sizeof(v));
        ww_json_free(json);
        ww_buf_release(&buf);
    }
}

static void errors_stick_to_the_end(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    ww_buf_init(&buf, 20);
    ww_jw_init(&w, &buf, 0);
    write_sample(&w);
    FAILS(ww_jw_end(&w, &err), WW_E_LIMIT);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(ww_jw_end(&w, NULL), WW_E_LIMIT);
    ww_buf_release(&buf);
}

static void what_no_reader_takes_is_not_written(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    ww_buf_init(&buf, 100);
    ww_jw_init(&w, &buf, 0);
    ww_jw_str(&w, "\xff");
    FAILS(ww_jw_end(&w, &err), WW_E_MALFORMED);
    ww_jw_init(&w, &buf, 0);
    ww_jw_strn(&w, "a\0b", 3);
    FAILS(ww_jw_end(&w, &err), WW_E_MALFORMED);
    ww_jw_init(&w, &buf, 0);
    ww_jw_u64(&w, UINT64_C(9007199254740992));
    FAILS(ww_jw_end(&w, &err), WW_E_LIMIT);
    ww_jw_init(&w, &buf, 0);
    ww_jw_i64(&w, INT64_MIN);
    FAILS(ww_jw_end(&w, &err), WW_E_LIMIT);
    assert_int_equal(buf.len, 0);
    ww_buf_release(&buf);
}

static void value_without_key(struct ww_jw *w)
{
    ww_jw_object(w);
    ww_jw_null(w);
}

static void key_in_array(struct ww_jw *w)
{
    ww_jw_array(w);
    ww_jw_key(w, "a");
}

static void key_twice(struct ww_jw *w)
{
    ww_jw_object(w);
    ww_jw_key(w, "a");
    ww_jw_key(w, "b");
}

static void key_without_value(struct ww_jw *w)
{
    ww_jw_object(w);
    ww_jw_key(w, "a");
    ww_jw_close(w);
}

static void close_too_often(struct ww_jw *w)
{
    ww_jw_array(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

static void second_document(struct ww_jw *w)
{
    ww_jw_null(w);
    ww_jw_null(w);
}

static void too_deep(struct ww_jw *w)
{
    for (int i = 0; i < 65; i++) {
        ww_jw_array(w);
    }
}

static void end_while_open(struct ww_jw *w)
{
    ww_jw_array(w);
    enum ww_err rc = ww_jw_end(w, NULL);
    (void)rc;
}

static void end_of_nothing(struct ww_jw *w)
{
    enum ww_err rc = ww_jw_end(w, NULL);
    (void)rc;
}

static void each_misuse_aborts(void **state)
{
    (void)state;
    static void (*const misuses[])(struct ww_jw *) = {
        value_without_key, key_in_array,    key_twice,
        key_without_value, close_too_often, second_document,
        too_deep,          end_while_open,  end_of_nothing,
    };
    for (size_t i = 0; i < WW_LEN(misuses); i++) {
        pid_t child = fork();
        if (child == 0) {
            struct ww_buf buf;
            struct ww_jw w;
            signal(SIGABRT, SIG_DFL);
            fclose(stderr);
            ww_buf_init(&buf, 1000);
            ww_jw_init(&w, &buf, 0);
            misuses[i](&w);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
            fail_msg("misuse %zu went through", i);
        }
    }
}

static void deepest_nesting_works(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    struct ww_jw w;
    const struct ww_json_limits limits = {10000, 64, 100, false};
    ww_buf_init(&buf, 10000);
    ww_jw_init(&w, &buf, 0);
    for (int i = 0; i < 64; i++) {
        if (i) {
            ww_jw_key(&w, "k");
        }
        ww_jw_object(&w);
    }
    for (int i = 0; i < 64; i++) {
        ww_jw_close(&w);
    }
    OK(ww_jw_end(&w, &err));
    OK(ww_json_check(buf.data, buf.len, &limits, &err));
    ww_buf_release(&buf);
}

static void a_quoted_text_is_one_value(void **state)
{
    (void)state;
    struct ww_error err = {0};
    char *text = NULL;
    OK(ww_json_quote("a: \"b\"\nlicense: mit", &text, &err));
    assert_string_equal(text, "\"a: \\\"b\\\"\\nlicense: mit\"");
    ww_free(text);
    FAILS(ww_json_quote("\xff", &text, &err), WW_E_MALFORMED);
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compact_form_is_exact),
        cmocka_unit_test(indented_form_is_exact),
        cmocka_unit_test(doubles_are_shortest_and_exact),
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(no_shorter_number_reads_back),
        cmocka_unit_test(locale_does_not_matter),
        cmocka_unit_test(errors_stick_to_the_end),
        cmocka_unit_test(what_no_reader_takes_is_not_written),
        cmocka_unit_test(each_misuse_aborts),
        cmocka_unit_test(deepest_nesting_works),
        cmocka_unit_test(a_quoted_text_is_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
