/* SPDX-License-Identifier: Apache-2.0 */
/* A clock that nobody sets: for limits, progress and how long something took. */
#ifndef WW_UTIL_CLOCK_H
#define WW_UTIL_CLOCK_H

#include <stdint.h>

int64_t ww_now_ns(void);
int64_t ww_now_ms(void);
/** Seconds. */
double ww_now(void);

#endif
