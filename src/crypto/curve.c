/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Curves are accepted by name only (SEC 1 and RFC 5480 named curves). A key that spells
 * its curve out as parameters is refused even when they are those of P-256: a verifier
 * that takes parameters from the key was the flaw of CVE-2020-0601.
 */
#include "crypto/curve.h"

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "util/fail.h"
#include "util/str.h"

static const struct ww_curve_spec curves[] = {
    {"P-256", "prime256v1", "SHA2-256", 91},
    {"P-384", "secp384r1", "SHA2-384", 120},
    {"P-521", "secp521r1", "SHA2-512", WW_SPKI_MAX_BYTES},
};

const struct ww_curve_spec *ww_curve_at(size_t index)
{
    return index < WW_LEN(curves) ? &curves[index] : NULL;
}

enum ww_err ww_curve_of(const EVP_PKEY *pkey, const char *subject,
                        const struct ww_curve_spec **out, struct ww_error *err)
{
    const char *type = EVP_PKEY_get0_type_name(pkey);
    char group[80] = "";
    size_t group_len = 0;
    int is_explicit = 0;

    *out = NULL;
    if (!EVP_PKEY_is_a(pkey, "EC")) {
        return WW_FAIL(err, WW_E_KEY,
                       "%s is of type %s, expected ECDSA on P-256, P-384 or P-521",
                       subject, type ? type : "unknown");
    }
    if (EVP_PKEY_get_int_param(pkey, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
                               &is_explicit) != 1 ||
        is_explicit ||
        EVP_PKEY_get_group_name(pkey, group, sizeof(group), &group_len) != 1) {
        ERR_clear_error();
        return WW_FAIL(err, WW_E_KEY,
                       "%s spells out its curve parameters, expected the name of P-256, "
                       "P-384 or P-521",
                       subject);
    }
    for (size_t i = 0; i < WW_LEN(curves); i++) {
        if (ww_str_eq(group, curves[i].group)) {
            *out = &curves[i];
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_KEY, "%s is on the curve %s, expected P-256, P-384 or P-521",
                   subject, group);
}
