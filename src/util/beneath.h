/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a path that must not leave a folder, whatever links it meets. */
#ifndef WW_UTIL_BENEATH_H
#define WW_UTIL_BENEATH_H

#include <stdbool.h>

/**
 * openat below dirfd; the descriptor, or -errno. follow: links are followed while they
 * stay below dirfd, else any link is ELOOP. Leaving dirfd is EXDEV. The flags must not
 * create a file.
 */
int ww_open_beneath(int dirfd, const char *path, int flags, bool follow);

/** The same in user space, for kernels and sandboxes without openat2. */
int ww_open_beneath_walk(int dirfd, const char *path, int flags, bool follow);

#endif
