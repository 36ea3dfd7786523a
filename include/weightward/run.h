/* SPDX-License-Identifier: Apache-2.0 */
/** How long jobs are run: threads, memory, progress, cancelling, resuming. */
#ifndef WEIGHTWARD_RUN_H
#define WEIGHTWARD_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Called from one thread at a time, every 100 ms while files go through, else once for
 *  each thing that is counted. The phase is a word; behind a comma stands what else is
 *  known ("collecting, 12 calls"). The unit is bytes, but items
 *  in "collecting", trials in "evaluating", copies in "trace", tensors in "adapters" and
 *  "extract", answers in "comparing", blocks in "check", parts of a model in "heads",
 *  "attention", "neurons" and "rotation"; a total of 0 is none. Non-zero cancels the job,
 *  which then returns WW_E_CANCELLED. */
typedef int (*ww_progress_fn)(void *payload, const char *phase, uint64_t done,
                              uint64_t total);

enum ww_direct_io { WW_DIRECT_AUTO, WW_DIRECT_NEVER };

/** All-zero is the default. No field changes a byte of the output, but for threads of
 *  ww_extract_adapter, and maybe ww_attack_folder: their products round by the number. */
struct ww_run_options {
    unsigned threads; /* 0: one per CPU available to the process; 16 are used at most */
    uint64_t memory_bytes; /* 0: 256 MiB of buffers in all; at least 16 MiB */
    enum ww_direct_io direct;
    bool resume;             /* continue in OUT.partial that an interrupted run left */
    ww_progress_fn progress; /* may be NULL */
    void *progress_payload;
};

/** What a job did. */
struct ww_run_report {
    uint64_t bytes_read;
    uint64_t bytes_written;
    uint64_t bytes_kept; /* found already written when resuming */
    double seconds;
};

/** For main of a program of its own, before anything else: threads that the linear
 * algebra library starts when it is loaded, and that spin before they sleep, are ended
 * then; they come back when they are wanted. Not for a process in which anybody else may
 * be multiplying. */
WW_API void ww_run_alone(void);

#ifdef __cplusplus
}
#endif
#endif
