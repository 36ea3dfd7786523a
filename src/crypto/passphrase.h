/* SPDX-License-Identifier: Apache-2.0 */
/* One line from a descriptor into guarded memory: files, pipes and the terminal. */
#ifndef WW_CRYPTO_PASSPHRASE_H
#define WW_CRYPTO_PASSPHRASE_H

#include "weightward/key.h"

#define WW_PASSPHRASE_MAX_BYTES 1024
#define WW_NO_CANCEL_BYTE (-1)

/** Up to the first newline or the end. cancel_byte is the byte that means "never mind"
 *  (WW_E_CANCELLED), or WW_NO_CANCEL_BYTE. */
enum ww_err ww_passphrase_read_line(int fd, int cancel_byte, struct ww_secret **out,
                                    struct ww_error *err) WW_MUST_USE;

/** Of a new key's passphrase (may be NULL): WW_E_PASSPHRASE when it ends in a carriage
 *  return. A file with CR LF ends gives one, and no terminal and few other programs would
 *  give it again. Passphrases that open keys are taken as they are. */
enum ww_err ww_passphrase_check_new(struct ww_secret *passphrase,
                                    struct ww_error *err) WW_MUST_USE;

#endif
