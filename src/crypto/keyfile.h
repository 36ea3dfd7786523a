/* SPDX-License-Identifier: Apache-2.0 */
/* Key files on disk: read into guarded memory, written as a pair or not at all. */
#ifndef WW_CRYPTO_KEYFILE_H
#define WW_CRYPTO_KEYFILE_H

#include "crypto/secret.h"

#define WW_KEYFILE_MAX_BYTES (16 << 20) /* 65,536 recipients take 8.9 million */

/** WW_E_KEY_ACCESS when group or others have any right to the open file. */
enum ww_err ww_keyfile_check_private(int fd, const char *path,
                                     struct ww_error *err) WW_MUST_USE;
/** Read a whole key file; must_be_private asks for the check above. */
enum ww_err ww_keyfile_read(const char *path, bool must_be_private,
                            struct ww_secret **out, struct ww_error *err) WW_MUST_USE;
/** Write BASE.key (0600) and BASE.pub (0644), neither over an existing file; when one
 *  cannot be written the other is removed. */
enum ww_err ww_keyfile_write_pair(const char *base, struct ww_secret *key,
                                  const void *pub, size_t pub_len,
                                  struct ww_error *err) WW_MUST_USE;

#endif
