/* SPDX-License-Identifier: Apache-2.0 */
#include "stream/arena.h"

#include "stream_fixture.h"
#include "util/fault.h"

static void arena_hands_out_pages(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_arena *arena = NULL;

    OK(ww_arena_new(10 * WW_IO_PAGE + 77, &arena, &err));
    uint8_t *a = ww_arena_take(arena, 1);
    uint8_t *b = ww_arena_take(arena, WW_IO_PAGE + 1);
    uint8_t *c = ww_arena_take(arena, 0);
    assert_non_null(a);
    assert_int_equal((uintptr_t)a % WW_IO_PAGE, 0);
    assert_ptr_equal(b, a + WW_IO_PAGE);
    assert_ptr_equal(c, b + 2 * WW_IO_PAGE);
    assert_int_equal(ww_arena_in_use(arena), 4 * WW_IO_PAGE);
    assert_null(ww_arena_take(arena, 6 * WW_IO_PAGE + 1));
    uint8_t *d = ww_arena_take(arena, 6 * WW_IO_PAGE);
    assert_non_null(d);
    assert_null(ww_arena_take(arena, 1));
    ww_arena_give(arena, b);
    assert_null(ww_arena_take(arena, 3 * WW_IO_PAGE));
    assert_ptr_equal(ww_arena_take(arena, 2 * WW_IO_PAGE), b); /* lowest first */
    ww_arena_give(arena, NULL);
    ww_arena_free(arena);
    ww_arena_free(NULL);
}

static void arena_refuses_more_than_it_has(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_arena *arena = NULL;

    OK(ww_arena_new(WW_IO_PAGE, &arena, &err));
    assert_null(ww_arena_take(arena, WW_IO_PAGE + 1));
    assert_null(ww_arena_take(arena, SIZE_MAX));
    assert_non_null(ww_arena_take(arena, WW_IO_PAGE));
    ww_arena_free(arena);
}

/* Random take and give: ranges never overlap, everything comes back. */
static void arena_ranges_never_overlap(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_arena *arena = NULL;
    uint64_t seed = 3;
    enum { LIVE = 40, PAGES = 64 };
    uint8_t *p[LIVE] = {NULL};
    size_t n[LIVE] = {0};

    OK(ww_arena_new(PAGES * WW_IO_PAGE, &arena, &err));
    for (int round = 0; round < 5000; round++) {
        size_t i = fx_random(&seed) % LIVE;
        if (p[i]) {
            for (size_t k = 0; k < n[i]; k++) {
                assert_int_equal(p[i][k], i);
            }
            ww_arena_give(arena, p[i]);
            p[i] = NULL;
        } else {
            n[i] = fx_random(&seed) % (5 * WW_IO_PAGE);
            p[i] = ww_arena_take(arena, n[i]);
            if (p[i]) {
                memset(p[i], (int)i, n[i]);
            }
        }
    }
    for (size_t i = 0; i < LIVE; i++) {
        ww_arena_give(arena, p[i]);
    }
    assert_int_equal(ww_arena_in_use(arena), 0);
    assert_non_null(ww_arena_take(arena, PAGES * WW_IO_PAGE));
    ww_arena_free(arena);
}

static void arena_survives_no_memory(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_arena *arena = NULL;

    for (unsigned long n = 1; n <= 2; n++) {
        ww_fault_arm(WW_FAULT_ALLOC, n);
        FAILS(ww_arena_new(WW_IO_PAGE, &arena, &err), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_null(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_hands_out_pages),
        cmocka_unit_test(arena_refuses_more_than_it_has),
        cmocka_unit_test(arena_ranges_never_overlap),
        cmocka_unit_test(arena_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
