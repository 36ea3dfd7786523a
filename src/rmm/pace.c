/* SPDX-License-Identifier: Apache-2.0 */
#include "rmm/pace.h"

#include "util/clock.h"
#include "util/fail.h"

#define STEP_NS INT64_C(100000000)

void ww_pace_begin(struct ww_pace *pace, const struct ww_run_options *run,
                   const char *phase, uint64_t total)
{
    *pace = (struct ww_pace){run, phase, 0, total, 0, ww_now_ns()};
}

enum ww_err ww_pace_step(struct ww_pace *pace, uint64_t bytes, struct ww_error *err)
{
    const struct ww_run_options *run = pace->run;

    pace->done += bytes;
    if (run->progress && ww_now_ns() - pace->told_ns >= STEP_NS) {
        pace->told_ns = ww_now_ns();
        if (run->progress(run->progress_payload, pace->phase, pace->done, pace->total)) {
            return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    return WW_OK;
}

double ww_pace_seconds(const struct ww_pace *pace)
{
    return (double)(ww_now_ns() - pace->began_ns) / 1e9;
}
