/* SPDX-License-Identifier: Apache-2.0 */
#include "util/clock.h"

#include <time.h>

int64_t ww_now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t ww_now_ms(void)
{
    return ww_now_ns() / 1000000;
}

double ww_now(void)
{
    return (double)ww_now_ns() * 1e-9;
}
