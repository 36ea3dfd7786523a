/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection: the torture tests make the n-th call of a kind fail. */
#ifndef WW_UTIL_FAULT_H
#define WW_UTIL_FAULT_H

#include <stdbool.h>

enum ww_fault {
    WW_FAULT_ALLOC,
    WW_FAULT_READ,
    WW_FAULT_WRITE,
    WW_FAULT_FSYNC,
    WW_FAULT_RENAME,
    WW_FAULT_KINDS
};

/** True when this call must pretend to fail. Costs one relaxed load when unarmed. */
bool ww_fault_hit(enum ww_fault kind);

/** Arm: the n-th call (from 1) of the kind from now on fails, once. 0 disarms.
 *  Arming sets the count of calls to 0, disarming leaves it to be read. */
void ww_fault_arm(enum ww_fault kind, unsigned long n);

/** How many calls of the kind were seen since arming. */
unsigned long ww_fault_seen(enum ww_fault kind);

#endif
