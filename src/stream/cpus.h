/* SPDX-License-Identifier: Apache-2.0 */
/* How many workers a job gets. */
#ifndef WW_STREAM_CPUS_H
#define WW_STREAM_CPUS_H

#include "weightward/run.h"

/** options->threads, or the processors this process may use; 1 to 16. */
unsigned ww_threads_wanted(const struct ww_run_options *options);

#endif
