/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processors by affinity, not by what the machine has: containers and batch systems hand
 * out fewer. Beyond 16 the disk is the limit on every machine we know.
 */
#include "stream/cpus.h"

#include <sched.h>

#define MAX_THREADS 16u

unsigned ww_threads_wanted(const struct ww_run_options *options)
{
    unsigned n = options->threads;
    cpu_set_t set;

    if (n == 0) {
        n = 1;
        if (sched_getaffinity(0, sizeof(set), &set) == 0) {
            n = (unsigned)CPU_COUNT(&set);
        }
    }
    if (n < 1) {
        return 1;
    }
    return n < MAX_THREADS ? n : MAX_THREADS;
}
