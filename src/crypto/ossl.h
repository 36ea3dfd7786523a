/* SPDX-License-Identifier: Apache-2.0 */
/* Start of OpenSSL without its configuration file, and its failures as ours. */
#ifndef WW_CRYPTO_OSSL_H
#define WW_CRYPTO_OSSL_H

#include "weightward/error.h"

/** Call before any other OpenSSL function; cheap, from any thread, as often as wanted. */
void ww_ossl_init(void);

/** WW_FAIL with "what: reason", the reason being OpenSSL's; empties its error queue. */
enum ww_err ww_ossl_fail(struct ww_error *err, enum ww_err code, const char *what);

#endif
