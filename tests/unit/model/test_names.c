/* SPDX-License-Identifier: Apache-2.0 */
#include "model/names.h"
#include "util/fault.h"
#include "weightward/model.h"
#include "ww_test.h"

#define MANY 5000

struct record {
    const char *name;
    int other;
};

static char texts[MANY][24];
static struct record records[MANY];

static void fill(void)
{
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof(texts[i]), "layers.%d.weight", i);
        records[i] = (struct record){texts[i], -i};
    }
}

static void an_all_zero_table_is_empty(void **state)
{
    (void)state;
    struct ww_names names = {0};
    assert_int_equal(ww_names_find(&names, "a"), WW_NONE);
    ww_names_release(&names);
}

static void add_gives_indices_in_order_and_tells_duplicates(void **state)
{
    (void)state;
    struct ww_names names = {0};
    struct ww_error err = {0};
    uint32_t existing;
    fill();
    for (int i = 0; i < MANY; i++) {
        OK(ww_names_add(&names, texts[i], &existing, &err));
        assert_int_equal(existing, WW_NONE);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        char copy[24];
        snprintf(copy, sizeof(copy), "layers.%u.weight", i);
        assert_int_equal(ww_names_find(&names, copy), i);
        OK(ww_names_add(&names, copy, &existing, &err));
        assert_int_equal(existing, i);
    }
    assert_int_equal(names.n, MANY);
    assert_int_equal(ww_names_find(&names, "layers.5000.weight"), WW_NONE);
    assert_int_equal(ww_names_find(&names, ""), WW_NONE);
    ww_names_release(&names);
}

static void build_equals_adding_for_every_small_count(void **state)
{
    (void)state;
    struct ww_error err = {0};
    fill();
    for (size_t n = 0; n < 40; n++) {
        struct ww_names names;
        uint32_t twice;
        OK(ww_names_build(&names, records, sizeof(records[0]), n, &twice, &err));
        assert_int_equal(twice, WW_NONE);
        assert_int_equal(names.n, n);
        for (uint32_t i = 0; i < MANY; i += 7) {
            assert_int_equal(ww_names_find(&names, texts[i]), i < n ? i : WW_NONE);
        }
        ww_names_release(&names);
    }
}

static void build_finds_the_first_duplicate_wherever_it_is(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static const size_t places[] = {1, 2, 15, 16, 17, 100, MANY - 1};
    for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
        struct ww_names names;
        uint32_t twice;
        fill();
        records[places[k]].name = "layers.0.weight";
        OK(ww_names_build(&names, records, sizeof(records[0]), MANY, &twice, &err));
        assert_int_equal(twice, places[k]);
        assert_int_equal(ww_names_find(&names, "layers.0.weight"), 0);
        ww_names_release(&names);
    }
}

static void names_of_every_length_differ_by_their_last_byte(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_names names = {0};
    static char a[33][34];
    static char b[33][34];
    uint32_t existing;
    for (size_t len = 1; len <= 32; len++) {
        memset(a[len], 'x', len);
        memset(b[len], 'x', len);
        b[len][len - 1] = 'y';
        OK(ww_names_add(&names, a[len], &existing, &err));
        assert_int_equal(existing, WW_NONE);
        OK(ww_names_add(&names, b[len], &existing, &err));
        assert_int_equal(existing, WW_NONE);
    }
    ww_names_release(&names);
}

static void memory_out_is_an_error_and_keeps_the_table(void **state)
{
    (void)state;
    struct ww_error err = {0};
    uint32_t existing;
    fill();
    for (unsigned long nth = 1; nth <= 2; nth++) {
        struct ww_names names = {0};
        ww_fault_arm(WW_FAULT_ALLOC, nth);
        FAILS(ww_names_add(&names, texts[0], &existing, &err), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        OK(ww_names_add(&names, texts[0], &existing, &err));
        for (int i = 1; i < 8; i++) {
            OK(ww_names_add(&names, texts[i], &existing, &err));
        }
        ww_fault_arm(WW_FAULT_ALLOC, nth); /* the ninth name needs a larger table */
        FAILS(ww_names_add(&names, texts[8], &existing, &err), WW_E_NOMEM);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_int_equal(ww_names_find(&names, texts[7]), 7);
        assert_int_equal(ww_names_find(&names, texts[8]), WW_NONE);
        ww_names_release(&names);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_all_zero_table_is_empty),
        cmocka_unit_test(add_gives_indices_in_order_and_tells_duplicates),
        cmocka_unit_test(build_equals_adding_for_every_small_count),
        cmocka_unit_test(build_finds_the_first_duplicate_wherever_it_is),
        cmocka_unit_test(names_of_every_length_differ_by_their_last_byte),
        cmocka_unit_test(memory_out_is_an_error_and_keeps_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
