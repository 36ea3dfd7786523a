/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of a token (PKCS #11 2.40, section 10). A private key and its public half are
 * two objects that share CKA_ID; tokens for smart cards often hold a certificate in place
 * of the latter. The public point comes as an OCTET STRING in DER, the curve as its
 * object identifier.
 */
#include "crypto/p11_object.h"

#include <string.h>

#include <openssl/asn1.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "crypto/ossl.h"
#include "util/fail.h"

#define VALUE_MAX_BYTES 8192

static enum ww_err find_one(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                            CK_ATTRIBUTE *wanted, size_t n, CK_OBJECT_HANDLE *out,
                            unsigned long *found, struct ww_error *err)
{
    CK_OBJECT_HANDLE hits[2] = {0, 0};
    CK_RV rv = f->C_FindObjectsInit(session, wanted, n);

    *found = 0;
    if (rv == CKR_OK) {
        rv = f->C_FindObjects(session, hits, 2, found);
        (void)f->C_FindObjectsFinal(session);
    }
    if (rv != CKR_OK) {
        return ww_p11_fail(err, rv, "objects of the token cannot be listed");
    }
    *out = hits[0];
    return WW_OK;
}

/* False when the object has no such attribute, or an empty one. */
static bool attribute(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                      CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, uint8_t *room,
                      size_t *len)
{
    CK_ATTRIBUTE at = {type, room, VALUE_MAX_BYTES};

    if (f->C_GetAttributeValue(session, object, &at, 1) != CKR_OK || at.ulValueLen == 0 ||
        at.ulValueLen > VALUE_MAX_BYTES) {
        return false;
    }
    *len = at.ulValueLen;
    return true;
}

static enum ww_err find_private(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                                const struct ww_p11_uri *uri, CK_OBJECT_HANDLE *out,
                                struct ww_error *err)
{
    CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    struct ww_p11_text id = uri->id;
    struct ww_p11_text label = uri->object;
    CK_ATTRIBUTE wanted[4] = {{CKA_CLASS, &class, sizeof(class)},
                              {CKA_KEY_TYPE, &type, sizeof(type)}};
    size_t n = 2;
    unsigned long found = 0;
    enum ww_err rc = WW_OK;

    if (id.given) {
        wanted[n++] = (CK_ATTRIBUTE){CKA_ID, id.text, id.len};
    }
    if (label.given) {
        wanted[n++] = (CK_ATTRIBUTE){CKA_LABEL, label.text, label.len};
    }
    rc = find_one(f, session, wanted, n, out, &found, err);
    if (rc || found == 1) {
        return rc;
    }
    return WW_FAIL(err, WW_E_KEY,
                   "%s EC private key of the token fits 'object=%s' of the URI, expected "
                   "exactly one",
                   found ? "more than one" : "no", label.text);
}

/* DER of SEQUENCE {SEQUENCE {ecPublicKey, curve}, BIT STRING point}, by OpenSSL. */
static enum ww_err make_spki(const uint8_t *curve, size_t curve_len, const uint8_t *point,
                             size_t point_len, struct ww_buf *spki, struct ww_error *err)
{
    const uint8_t *cursor = curve;
    ASN1_OBJECT *oid = d2i_ASN1_OBJECT(NULL, &cursor, (long)curve_len);
    const uint8_t *at = point;
    ASN1_OCTET_STRING *octets = d2i_ASN1_OCTET_STRING(NULL, &at, (long)point_len);
    X509_PUBKEY *key = X509_PUBKEY_new();
    uint8_t *bytes = NULL;
    uint8_t *der = NULL;
    int len = octets ? ASN1_STRING_length(octets) : 0;
    enum ww_err rc = WW_OK;

    if (!oid || cursor != curve + curve_len || len <= 0 || !key) {
        rc = ww_ossl_fail(err, WW_E_KEY, "public key in the token is malformed");
        goto out;
    }
    bytes = OPENSSL_memdup(ASN1_STRING_get0_data(octets), (size_t)len);
    if (!bytes || X509_PUBKEY_set0_param(key, OBJ_nid2obj(NID_X9_62_id_ecPublicKey),
                                         V_ASN1_OBJECT, oid, bytes, len) != 1) {
        rc = ww_ossl_fail(err, WW_E_KEY, "public key in the token cannot be encoded");
        goto out;
    }
    oid = NULL; /* the key's now, as are the bytes */
    bytes = NULL;
    len = i2d_X509_PUBKEY(key, &der);
    rc = len > 0 ? ww_buf_add(spki, der, (size_t)len, err)
                 : ww_ossl_fail(err, WW_E_KEY, "public key in the token is malformed");
out:
    OPENSSL_free(der);
    OPENSSL_free(bytes);
    ASN1_OBJECT_free(oid);
    ASN1_OCTET_STRING_free(octets);
    X509_PUBKEY_free(key);
    return rc;
}

static enum ww_err spki_of_certificate(const uint8_t *der, size_t len,
                                       struct ww_buf *spki, struct ww_error *err)
{
    const uint8_t *cursor = der;
    X509 *cert = d2i_X509(NULL, &cursor, (long)len);
    uint8_t *out = NULL;
    int out_len = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &out) : 0;
    enum ww_err rc = out_len > 0 ? ww_buf_add(spki, out, (size_t)out_len, err)
                                 : ww_ossl_fail(err, WW_E_KEY,
                                                "certificate in the token is malformed");

    OPENSSL_free(out);
    X509_free(cert);
    return rc;
}

static enum ww_err read_public(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                               CK_OBJECT_CLASS class, const CK_ATTRIBUTE *id, bool *found,
                               struct ww_buf *spki, struct ww_error *err)
{
    CK_ATTRIBUTE wanted[] = {{CKA_CLASS, &class, sizeof(class)}, *id};
    CK_OBJECT_HANDLE object = 0;
    uint8_t value[VALUE_MAX_BYTES];
    uint8_t curve[VALUE_MAX_BYTES];
    size_t len = 0;
    size_t curve_len = 0;
    unsigned long n = 0;
    enum ww_err rc = find_one(f, session, wanted, 2, &object, &n, err);

    *found = false;
    if (rc || n == 0) {
        return rc;
    }
    if (class == CKO_CERTIFICATE) {
        *found = attribute(f, session, object, CKA_VALUE, value, &len);
        return *found ? spki_of_certificate(value, len, spki, err) : WW_OK;
    }
    *found = attribute(f, session, object, CKA_EC_PARAMS, curve, &curve_len) &&
             attribute(f, session, object, CKA_EC_POINT, value, &len);
    return *found ? make_spki(curve, curve_len, value, len, spki, err) : WW_OK;
}

enum ww_err ww_p11_find_key(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session,
                            const struct ww_p11_uri *uri, CK_OBJECT_HANDLE *key,
                            struct ww_buf *spki, struct ww_error *err)
{
    uint8_t id[VALUE_MAX_BYTES];
    size_t id_len = 0;
    bool found = false;
    enum ww_err rc = find_private(f, session, uri, key, err);

    ww_ossl_init();
    if (rc) {
        return rc;
    }
    if (attribute(f, session, *key, CKA_ID, id, &id_len)) {
        const CK_ATTRIBUTE same = {CKA_ID, id, id_len};
        rc = read_public(f, session, CKO_PUBLIC_KEY, &same, &found, spki, err);
        if (!rc && !found) {
            rc = read_public(f, session, CKO_CERTIFICATE, &same, &found, spki, err);
        }
    }
    if (rc || found) {
        return rc;
    }
    return WW_FAIL(err, WW_E_KEY,
                   "token holds neither the public key nor a certificate with the "
                   "identifier of the private key");
}
