/* SPDX-License-Identifier: Apache-2.0 */
/* Progress of a job that one thread drives. */
#ifndef WW_RMM_PACE_H
#define WW_RMM_PACE_H

#include "weightward/run.h"

struct ww_pace {
    const struct ww_run_options *run; /* borrowed */
    const char *phase;
    uint64_t done;
    uint64_t total;
    int64_t told_ns;
    int64_t began_ns;
};

void ww_pace_begin(struct ww_pace *pace, const struct ww_run_options *run,
                   const char *phase, uint64_t total);
/** So many bytes more. WW_E_CANCELLED. */
enum ww_err ww_pace_step(struct ww_pace *pace, uint64_t bytes,
                         struct ww_error *err) WW_MUST_USE;
double ww_pace_seconds(const struct ww_pace *pace);

#endif
