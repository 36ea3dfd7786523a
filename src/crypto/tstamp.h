/* SPDX-License-Identifier: Apache-2.0 */
/* Signed timestamps (RFC 3161). */
#ifndef WW_CRYPTO_TSTAMP_H
#define WW_CRYPTO_TSTAMP_H

#include "crypto/verify.h"

#define WW_TSTAMP_MAX_BYTES ((size_t)64 << 10)

/**
 * A timestamp response over message, signed by an authority below one of the certificates
 * whose chain was valid at the stated time. Gives that time, seconds since 1970.
 * WW_E_BUNDLE when malformed, WW_E_SIGNATURE when it is for other bytes or does not
 * verify, WW_E_UNTRUSTED when its chain is not accepted.
 */
enum ww_err ww_tstamp_check(const uint8_t *der, size_t len, const void *message,
                            size_t message_len, const struct ww_certs *authority,
                            int64_t *at_unix, struct ww_error *err) WW_MUST_USE;

#endif
