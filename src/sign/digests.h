/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of files below a folder, each opened once without following a link. */
#ifndef WW_SIGN_DIGESTS_H
#define WW_SIGN_DIGESTS_H

#include <sys/types.h>

#include "crypto/hash.h"
#include "weightward/run.h"

struct ww_file_digest {
    const char *path;    /* in: relative to the folder */
    uint64_t size_bytes; /* out, from the descriptor that was hashed */
    mode_t mode;         /* out: permission bits */
    uint8_t digest[WW_DIGEST_MAX_BYTES];
};

/** Hash all files whole. WW_E_NOTFOUND, WW_E_PATH for a link, WW_E_CHANGED. */
enum ww_err ww_digest_files(int dirfd, struct ww_file_digest *files, size_t n,
                            const char *algorithm, const char *phase,
                            const struct ww_run_options *run,
                            struct ww_error *err) WW_MUST_USE;

/** Hash the range [start, end) of an open file. */
enum ww_err ww_digest_range(int fd, const char *name, struct ww_digest *d, uint64_t start,
                            uint64_t end, uint8_t out[WW_DIGEST_MAX_BYTES],
                            struct ww_error *err) WW_MUST_USE;

#endif
