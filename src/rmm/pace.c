/* SPDX-License-Identifier: Apache-2.0 */
#include "rmm/pace.h"

#include <time.h>

#include "util/fail.h"

#define STEP_NS INT64_C(100000000)

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void ww_pace_begin(struct ww_pace *pace, const struct ww_run_options *run,
                   const char *phase, uint64_t total)
{
    *pace = (struct ww_pace){run, phase, 0, total, 0, now_ns()};
}

enum ww_err ww_pace_step(struct ww_pace *pace, uint64_t bytes, struct ww_error *err)
{
    const struct ww_run_options *run = pace->run;

    pace->done += bytes;
    if (run->progress && now_ns() - pace->told_ns >= STEP_NS) {
        pace->told_ns = now_ns();
        if (run->progress(run->progress_payload, pace->phase, pace->done, pace->total)) {
            return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    return WW_OK;
}

double ww_pace_seconds(const struct ww_pace *pace)
{
    return (double)(now_ns() - pace->began_ns) / 1e9;
}
