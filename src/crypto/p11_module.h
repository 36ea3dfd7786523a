/* SPDX-License-Identifier: Apache-2.0 */
/* A PKCS #11 library, loaded while it is needed; its failures as ours. */
#ifndef WW_CRYPTO_P11_MODULE_H
#define WW_CRYPTO_P11_MODULE_H

#include <p11-kit/pkcs11.h>

#include <stdbool.h>

#include "weightward/error.h"

struct ww_p11_module {
    void *library;
    CK_FUNCTION_LIST *f;
    bool is_started; /* by us, and so ours to end */
};

/** WW_E_NOTFOUND, WW_E_KEY. */
enum ww_err ww_p11_module_open(const char *path, struct ww_p11_module *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_p11_module_close(struct ww_p11_module *module);

/** WW_E_PASSPHRASE for a refused PIN, else WW_E_KEY; what: "token 'x' cannot sign". */
enum ww_err ww_p11_fail(struct ww_error *err, CK_RV rv, const char *what);

#endif
