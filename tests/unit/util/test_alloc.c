/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include "util/alloc.h"
#include "util/fault.h"

/* Through a volatile, so that the compiler does not judge the sizes itself. */
static volatile size_t huge = SIZE_MAX / 2;

static void calloc_zeroes_and_checks_the_product(void **state)
{
    (void)state;
    unsigned char *p = ww_calloc(100, 3);
    assert_non_null(p);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(p[i], 0);
    }
    ww_free(p);
    assert_null(ww_calloc(huge, 4));
    p = ww_calloc(0, 8);
    assert_non_null(p);
    ww_free(p);
    ww_free(NULL);
}

static void realloc_keeps_the_old_block_on_failure(void **state)
{
    (void)state;
    char *p = ww_realloc_array(NULL, 4, 1);
    assert_non_null(p);
    memcpy(p, "abc", 4);
    assert_null(ww_realloc_array(p, huge, 4));
    assert_string_equal(p, "abc");
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_realloc_array(p, 8, 1));
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    assert_string_equal(p, "abc");
    p = ww_realloc_array(p, 400, 10);
    assert_string_equal(p, "abc");
    p = ww_realloc_array(p, 0, 10);
    assert_non_null(p);
    ww_free(p);
}

static void aligned_block_is_aligned(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        void *p = ww_alloc_aligned(align, align + 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        ww_free(p);
    }
    void *p = ww_alloc_aligned(64, 0);
    assert_non_null(p);
    ww_free(p);
}

static void strings_are_copied(void **state)
{
    (void)state;
    char *a = ww_strdup("text");
    char *b = ww_strndup("text", 2);
    char *c = ww_strndup("text", 100);
    char *d = ww_asprintf("%s-%03d", "n", 7);
    assert_string_equal(a, "text");
    assert_string_equal(b, "te");
    assert_string_equal(c, "text");
    assert_string_equal(d, "n-007");
    ww_free(a);
    ww_free(b);
    ww_free(c);
    ww_free(d);
}

static void every_door_can_fail(void **state)
{
    (void)state;
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_calloc(1, 1));
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_alloc_aligned(16, 1));
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_strdup("x"));
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_strndup("x", 1));
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_null(ww_asprintf("x"));
    ww_fault_arm(WW_FAULT_ALLOC, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calloc_zeroes_and_checks_the_product),
        cmocka_unit_test(realloc_keeps_the_old_block_on_failure),
        cmocka_unit_test(aligned_block_is_aligned),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(every_door_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
