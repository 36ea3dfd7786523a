/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL 3 reads openssl.cnf on first use unless told not to. That file can load
 * engines and providers, so an answer could depend on the machine, and it costs start-up
 * time. Only the built-in default provider is used.
 */
#include "crypto/ossl.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "util/fail.h"

void ww_ossl_init(void)
{
    WW_INVARIANT(OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) == 1);
}

enum ww_err ww_ossl_fail(struct ww_error *err, enum ww_err code, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    if (!reason) {
        return WW_FAIL(err, code, "%s", what);
    }
    return WW_FAIL(err, code, "%s: %s", what, reason);
}
