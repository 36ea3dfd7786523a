/* SPDX-License-Identifier: Apache-2.0 */
/* How many workers a job gets, and who hears how far it is. */
#ifndef WW_STREAM_CPUS_H
#define WW_STREAM_CPUS_H

#include "weightward/error.h"
#include "weightward/run.h"

/** options->threads, or the processors this process may use; 1 to 16. */
unsigned ww_threads_wanted(const struct ww_run_options *options);

/** Who waits hears that so many of all parts of a phase are done; from one thread. run
 * NULL: nobody does. WW_E_CANCELLED when it is to end. */
enum ww_err ww_run_progress(const struct ww_run_options *run, const char *phase,
                            uint64_t done, uint64_t total,
                            struct ww_error *err) WW_MUST_USE;

#endif
