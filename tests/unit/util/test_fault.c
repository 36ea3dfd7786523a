/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "util/fault.h"

static void unarmed_fault_never_hits(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_false(ww_fault_hit(WW_FAULT_READ));
    }
}

static void armed_fault_hits_the_nth_call_once(void **state)
{
    (void)state;
    ww_fault_arm(WW_FAULT_WRITE, 3);
    assert_false(ww_fault_hit(WW_FAULT_WRITE));
    assert_false(ww_fault_hit(WW_FAULT_READ));
    assert_false(ww_fault_hit(WW_FAULT_WRITE));
    assert_true(ww_fault_hit(WW_FAULT_WRITE));
    assert_false(ww_fault_hit(WW_FAULT_WRITE));
    assert_int_equal(ww_fault_seen(WW_FAULT_WRITE), 4);
    ww_fault_arm(WW_FAULT_WRITE, 0);
    assert_false(ww_fault_hit(WW_FAULT_WRITE));
    assert_int_equal(ww_fault_seen(WW_FAULT_WRITE), 4);
    ww_fault_arm(WW_FAULT_WRITE, 1);
    assert_int_equal(ww_fault_seen(WW_FAULT_WRITE), 0);
    assert_true(ww_fault_hit(WW_FAULT_WRITE));
    ww_fault_arm(WW_FAULT_WRITE, 0);
}

#define CALLS 10000
static atomic_int hits;

static void *call_often(void *unused)
{
    for (int i = 0; i < CALLS; i++) {
        if (ww_fault_hit(WW_FAULT_FSYNC)) {
            atomic_fetch_add(&hits, 1);
        }
    }
    return unused;
}

static void threads_share_one_hit(void **state)
{
    (void)state;
    pthread_t threads[4];
    ww_fault_arm(WW_FAULT_FSYNC, 2 * CALLS);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&hits), 1);
    assert_int_equal(ww_fault_seen(WW_FAULT_FSYNC), 4 * CALLS);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unarmed_fault_never_hits),
        cmocka_unit_test(armed_fault_hits_the_nth_call_once),
        cmocka_unit_test(threads_share_one_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
