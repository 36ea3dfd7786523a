/* SPDX-License-Identifier: Apache-2.0 */
/* Exact sums against whole numbers, masks in blocks of any size. */
#include "ww_test.h"

#include "merge/mask.h"
#include "merge/tilesum.h"
#include "ww_random.h"

static void magnitudes_are_summed_exactly(void **state)
{
    (void)state;
    static struct ww_magsum a, b;
    double x[1000];
    uint64_t sum = 0, seed = 9;
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    for (int i = 0; i < 1000; i++) {
        uint32_t v = (uint32_t)(fx_random(&seed) >> 40);
        sum += v;
        x[i] = (i % 2 ? -1 : 1) * (double)v;
    }
    ww_magsum_add(&a, x, 501);
    ww_magsum_add(&b, x + 501, 499);
    ww_magsum_merge(&a, &b);
    assert_true(ww_magsum_value(&a) == (double)sum);
    memset(&b, 0, sizeof(b));
    x[0] = 0x1p-149; /* the smallest float */
    x[1] = -0x1p-126;
    ww_magsum_add(&b, x, 2);
    assert_true(ww_magsum_value(&b) == 0x1p-149 + 0x1p-126);
}

static void draws_do_not_depend_on_blocks(void **state)
{
    (void)state;
    uint32_t all[100], some[100];
    ww_mask_draw(77, 2, 1000, 100, NULL, all);
    for (size_t at = 0; at < 100;) {
        size_t n = at % 7 + 1;
        n = n > 100 - at ? 100 - at : n;
        ww_mask_draw(77, 2, 1000 + at, n, NULL, some + at);
        at += n;
    }
    assert_memory_equal(all, some, sizeof(all));
}

static void magsum_split_is_two_sums(void **state)
{
    (void)state;
    static struct ww_magsum both[2], all, kept;
    double x[1001];
    double chosen[1001];
    uint8_t which[1001];

    for (size_t i = 0; i < 1001; i++) {
        x[i] = ((double)(i * 7919 % 1000) - 500) * 0x1p-30;
        which[i] = i % 3 == 0;
        chosen[i] = which[i] ? x[i] : 0;
    }
    ww_magsum_add_split(both, x, which, 1001);
    ww_magsum_add(&all, x, 1001);
    ww_magsum_add(&kept, chosen, 1001);
    assert_true(ww_magsum_value(&both[1]) == ww_magsum_value(&kept));
    ww_magsum_merge(&both[0], &both[1]);
    assert_true(ww_magsum_value(&both[0]) == ww_magsum_value(&all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(magnitudes_are_summed_exactly),
        cmocka_unit_test(draws_do_not_depend_on_blocks),
        cmocka_unit_test(magsum_split_is_two_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
