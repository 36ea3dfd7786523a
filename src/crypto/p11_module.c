/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a PKCS #11 library (OASIS PKCS #11 2.40). Directly, and not by way of an
 * OpenSSL engine or provider: engines are gone in OpenSSL 4, and six calls are all that
 * signing needs. What the library does in this process cannot be fenced in; whoever names
 * it trusts it.
 */
#include "crypto/p11_module.h"

#include <dlfcn.h>
#include <string.h>

#include "util/fail.h"

static const struct {
    CK_RV rv;
    const char *text;
    enum ww_err code;
} reasons[] = {
    {CKR_PIN_INCORRECT, "the PIN is wrong; tokens lock after a few wrong ones",
     WW_E_PASSPHRASE},
    {CKR_PIN_LEN_RANGE, "the PIN has a wrong length", WW_E_PASSPHRASE},
    {CKR_PIN_INVALID, "the PIN holds characters that the token does not take",
     WW_E_PASSPHRASE},
    {CKR_PIN_EXPIRED, "the PIN has expired", WW_E_PASSPHRASE},
    {CKR_PIN_LOCKED, "the PIN is locked after too many wrong ones", WW_E_KEY},
    {CKR_USER_PIN_NOT_INITIALIZED, "no PIN was ever set", WW_E_KEY},
    {CKR_USER_NOT_LOGGED_IN, "the token wants a PIN first", WW_E_PASSPHRASE},
    {CKR_DEVICE_REMOVED, "the token was removed", WW_E_KEY},
    {CKR_TOKEN_NOT_PRESENT, "the token was removed", WW_E_KEY},
    {CKR_SESSION_HANDLE_INVALID, "the token was removed or reset", WW_E_KEY},
    {CKR_SESSION_CLOSED, "the token was removed or reset", WW_E_KEY},
    {CKR_OBJECT_HANDLE_INVALID, "the key is gone from the token", WW_E_KEY},
    {CKR_KEY_HANDLE_INVALID, "the key is gone from the token", WW_E_KEY},
    {CKR_DEVICE_ERROR, "the token failed", WW_E_KEY},
    {CKR_GENERAL_ERROR, "the library of the token failed", WW_E_KEY},
    {CKR_FUNCTION_FAILED, "the library of the token failed", WW_E_KEY},
    {CKR_KEY_FUNCTION_NOT_PERMITTED, "the key may not sign", WW_E_KEY},
    {CKR_KEY_TYPE_INCONSISTENT, "the key is of another type", WW_E_KEY},
    {CKR_MECHANISM_INVALID, "the token knows no ECDSA", WW_E_KEY},
    {CKR_TOKEN_NOT_RECOGNIZED, "the token is not known to its library", WW_E_KEY},
    {CKR_HOST_MEMORY, "out of memory", WW_E_NOMEM},
};

enum ww_err ww_p11_fail(struct ww_error *err, CK_RV rv, const char *what)
{
    for (size_t i = 0; i < WW_LEN(reasons); i++) {
        if (reasons[i].rv == rv) {
            return WW_FAIL(err, reasons[i].code, "%s: %s", what, reasons[i].text);
        }
    }
    return WW_FAIL(err, WW_E_KEY, "%s: the library of the token says 0x%lx", what, rv);
}

static enum ww_err find_list(struct ww_p11_module *module, const char *path,
                             struct ww_error *err)
{
    CK_C_GetFunctionList get = NULL;
    void *symbol = dlsym(module->library, "C_GetFunctionList");

    if (!symbol) {
        return WW_FAIL(err, WW_E_KEY,
                       "'%s' is no PKCS #11 library: it has no C_GetFunctionList; "
                       "module-path names the library of the token's vendor",
                       path);
    }
    memcpy(&get, &symbol, sizeof(get)); /* C has no cast between the two */
    if (get(&module->f) != CKR_OK || !module->f) {
        return WW_FAIL(err, WW_E_KEY, "'%s' gives no list of functions", path);
    }
    return WW_OK;
}

enum ww_err ww_p11_module_open(const char *path, struct ww_p11_module *out,
                               struct ww_error *err)
{
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    CK_RV rv = CKR_OK;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!out->library) {
        const char *reason = dlerror();
        return WW_FAIL(err, WW_E_NOTFOUND, "library of the token cannot be loaded: %s",
                       reason ? reason : path);
    }
    rc = find_list(out, path, err);
    if (rc) {
        goto out;
    }
    rv = out->f->C_Initialize(&args);
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED) {
        rc = ww_p11_fail(err, rv, "library of the token cannot be started");
        goto out;
    }
    out->is_started = rv == CKR_OK;
out:
    if (rc) {
        ww_p11_module_close(out);
    }
    return rc;
}

/* The library stays loaded: some leave threads behind, and code must not vanish under
 * them. */
void ww_p11_module_close(struct ww_p11_module *module)
{
    if (module->is_started) {
        (void)module->f->C_Finalize(NULL);
    }
    memset(module, 0, sizeof(*module));
}
