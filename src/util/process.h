/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the user that are started beside us. */
#ifndef WW_UTIL_PROCESS_H
#define WW_UTIL_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/** Start argv[0] by its path, without a shell and with the user's environment. It gets in
 *  (below 0: an empty input), out and our error stream, and no other descriptor; signals
 *  are as if it had been started by hand. apart: it leads a process group, so that what
 * it starts can be ended with it. 0, or an errno value. */
int ww_process_start(char *const *argv, int in, int out, bool apart, pid_t *pid);

#endif
