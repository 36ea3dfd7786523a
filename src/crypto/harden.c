/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that holds keys leaves no core file, cannot be traced by its user's other
 * programs, and keeps OpenSSL's private numbers in locked memory of their own. The secure
 * heap has to exist before the first key, since OpenSSL decides at each allocation.
 */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <openssl/crypto.h>

#include "crypto/ossl.h"
#include "util/fail.h"
#include "weightward/key.h"

#define SECURE_HEAP_BYTES (256 * 1024)
#define SECURE_HEAP_SMALLEST 16

enum ww_err ww_process_harden(struct ww_error *err)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_CRYPTO, e, "core dumps cannot be turned off");
    }
    ww_ossl_init();
    if (!CRYPTO_secure_malloc_initialized() &&
        CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_SMALLEST) == 0) {
        return ww_ossl_fail(err, WW_E_CRYPTO, "locked memory for keys cannot be set up");
    }
    return WW_OK;
}
