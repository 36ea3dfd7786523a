/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault injection by counting. Worker threads allocate and read at the same time, so the
 * counters are atomic; which thread draws the failing call does not matter to the tests.
 */
#include "util/fault.h"

#include <stdatomic.h>

static atomic_ulong target[WW_FAULT_KINDS];
static atomic_ulong seen[WW_FAULT_KINDS];

bool ww_fault_hit(enum ww_fault kind)
{
    unsigned long n = atomic_load_explicit(&target[kind], memory_order_relaxed);
    if (n == 0) {
        return false;
    }
    return atomic_fetch_add(&seen[kind], 1) + 1 == n;
}

void ww_fault_arm(enum ww_fault kind, unsigned long n)
{
    if (n != 0) {
        atomic_store(&seen[kind], 0);
    }
    atomic_store(&target[kind], n);
}

unsigned long ww_fault_seen(enum ww_fault kind)
{
    return atomic_load(&seen[kind]);
}
