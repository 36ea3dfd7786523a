/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processors by affinity, not by what the machine has: containers and batch systems hand
 * out fewer. Beyond 16 the disk is the limit on every machine we know.
 */
#include "stream/cpus.h"

#include <sched.h>
#include <unistd.h>

#include "util/fail.h"

#define MAX_THREADS 16u

unsigned ww_threads_wanted(const struct ww_run_options *options)
{
    unsigned n = options->threads;
    cpu_set_t set;

    if (n == 0) {
        /* More processors than the set holds: the count of all is the best answer. */
        bool known = sched_getaffinity(0, sizeof(set), &set) == 0;
        long all = known ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
        n = all > 0 ? (unsigned)all : 1;
    }
    return n < MAX_THREADS ? n : MAX_THREADS;
}

enum ww_err ww_run_progress(const struct ww_run_options *run, const char *phase,
                            uint64_t done, uint64_t total, struct ww_error *err)
{
    if (run && run->progress &&
        run->progress(run->progress_payload, phase, done, total)) {
        return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
    }
    return WW_OK;
}
