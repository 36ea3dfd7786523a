/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "util/alloc.h"
#include "util/buf.h"
#include "util/fault.h"

static void empty_buffer_is_an_empty_string(void **state)
{
    (void)state;
    struct ww_buf buf;
    ww_buf_init(&buf, 10);
    assert_string_equal(ww_buf_cstr(&buf), "");
    ww_buf_clear(&buf);
    ww_buf_release(&buf);
    ww_buf_release(&buf);
    ww_buf_release(NULL);
}

static void adding_appends_and_terminates(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 100);
    OK(ww_buf_add(&buf, "ab", 2, &err));
    OK(ww_buf_add_str(&buf, "cd", &err));
    OK(ww_buf_addf(&buf, &err, "-%d-%s", 42, "x"));
    OK(ww_buf_add(&buf, NULL, 0, &err));
    assert_string_equal(ww_buf_cstr(&buf), "abcd-42-x");
    assert_int_equal(buf.len, 9);
    ww_buf_clear(&buf);
    assert_string_equal(ww_buf_cstr(&buf), "");
    ww_buf_release(&buf);
}

static void integers_are_little_endian(void **state)
{
    (void)state;
    static const uint8_t want[] = {4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1};
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 12);
    OK(ww_buf_add_u32le(&buf, 0x01020304, &err));
    OK(ww_buf_add_u64le(&buf, UINT64_C(0x0102030405060708), &err));
    assert_memory_equal(buf.data, want, 12);
    ww_buf_release(&buf);
}

static void growth_keeps_the_bytes(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        OK(ww_buf_add(&buf, &byte, 1, &err));
        assert_int_equal(buf.data[buf.len], 0);
        assert_true(buf.capacity <= 5001);
    }
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(buf.data[i], (uint8_t)(i * 7));
    }
    ww_buf_release(&buf);
}

static void the_limit_holds_to_the_byte(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 4);
    OK(ww_buf_add(&buf, "abcd", 4, &err));
    FAILS(ww_buf_add(&buf, "e", 1, &err), WW_E_LIMIT);
    FAILS(ww_buf_addf(&buf, &err, "e"), WW_E_LIMIT);
    FAILS(ww_buf_reserve(&buf, SIZE_MAX, &err), WW_E_LIMIT);
    assert_string_equal(ww_buf_cstr(&buf), "abcd");
    ww_buf_release(&buf);
    ww_buf_init(&buf, 0);
    OK(ww_buf_add(&buf, "", 0, &err));
    FAILS(ww_buf_add(&buf, "e", 1, &err), WW_E_LIMIT);
    ww_buf_release(&buf);
}

static void a_buffer_without_limit_is_refused(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, SIZE_MAX);
    FAILS(ww_buf_add(&buf, "e", 1, &err), WW_E_LIMIT);
}

static void out_of_memory_keeps_the_contents(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 1000);
    OK(ww_buf_add_str(&buf, "abc", &err));
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    FAILS(ww_buf_reserve(&buf, 900, &err), WW_E_NOMEM);
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    assert_string_equal(ww_buf_cstr(&buf), "abc");
    ww_buf_release(&buf);
}

static void taken_bytes_belong_to_the_taker(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    size_t len = 0;
    ww_buf_init(&buf, 1000);
    OK(ww_buf_add_str(&buf, "abc", &err));
    uint8_t *bytes = ww_buf_take(&buf, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes, "abc", 4);
    assert_int_equal(buf.len, 0);
    OK(ww_buf_add_str(&buf, "new", &err));
    assert_memory_equal(bytes, "abc", 4);
    ww_buf_release(&buf);
    ww_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffer_is_an_empty_string),
        cmocka_unit_test(adding_appends_and_terminates),
        cmocka_unit_test(integers_are_little_endian),
        cmocka_unit_test(growth_keeps_the_bytes),
        cmocka_unit_test(the_limit_holds_to_the_byte),
        cmocka_unit_test(a_buffer_without_limit_is_refused),
        cmocka_unit_test(out_of_memory_keeps_the_contents),
        cmocka_unit_test(taken_bytes_belong_to_the_taker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
