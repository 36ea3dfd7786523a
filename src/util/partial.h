/* SPDX-License-Identifier: Apache-2.0 */
/** A file in the making beside its name, which one writer at a time has. */
#ifndef WW_UTIL_PARTIAL_H
#define WW_UTIL_PARTIAL_H

#include <sys/types.h>

#include "weightward/error.h"

/** A new file of this name for reading and writing, which no other writer has until fd is
 *  closed; one that a killed run left goes. text: its path, for errors. wait_ms: how long
 *  another writer is waited for, 0 for files that take long. WW_E_EXISTS while another
 *  run writes it. */
enum ww_err ww_partial_open(int dirfd, const char *name, const char *text, mode_t mode,
                            unsigned wait_ms, int *fd, struct ww_error *err) WW_MUST_USE;

/** Remove it after a failure; nothing when the name is another file's by now. */
void ww_partial_remove(int dirfd, const char *name, int fd);

#endif
