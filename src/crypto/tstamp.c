/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timestamps after RFC 3161, by OpenSSL's verifier. It checks the signature of the
 * authority, the identifier of its certificate (RFC 5035), the imprint of the message and
 * the purpose timeStamping. Of ours are: no hash weaker than SHA-256, the authority's
 * chain valid at the time it states (an expired authority still proves what it once saw),
 * and the anchors.
 */
#include "crypto/tstamp.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/ts.h>

#include "crypto/certs.h"
#include "crypto/ossl.h"
#include "util/fail.h"

static enum ww_err parse(const uint8_t *der, size_t len, TS_RESP **out,
                         struct ww_error *err)
{
    const uint8_t *cursor = der;

    *out = NULL;
    if (len == 0 || len > WW_TSTAMP_MAX_BYTES) {
        return WW_FAIL(err, WW_E_BUNDLE, "timestamp has %zu bytes, expected 1 to %zu",
                       len, WW_TSTAMP_MAX_BYTES);
    }
    *out = d2i_TS_RESP(NULL, &cursor, (long)len);
    if (!*out) {
        return ww_ossl_fail(err, WW_E_BUNDLE, "timestamp is malformed");
    }
    if (cursor != der + len) {
        return WW_FAIL(err, WW_E_BUNDLE, "timestamp ends %zu bytes before its data does",
                       (size_t)(der + len - cursor));
    }
    if (!TS_RESP_get_tst_info(*out)) {
        return WW_FAIL(err, WW_E_BUNDLE, "timestamp holds no token");
    }
    return WW_OK;
}

/* Seconds since 1970 of a generalised time, which OpenSSL has parsed. */
static enum ww_err stated_time(const TS_TST_INFO *info, int64_t *out,
                               struct ww_error *err)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0;
    int seconds = 0;
    int ok = epoch && ASN1_TIME_diff(&days, &seconds, epoch, TS_TST_INFO_get_time(info));

    ASN1_TIME_free(epoch);
    if (!ok) {
        return ww_ossl_fail(err, WW_E_BUNDLE, "timestamp states no time");
    }
    *out = (int64_t)days * 86400 + seconds;
    return WW_OK;
}

static enum ww_err check_hash(TS_TST_INFO *info, struct ww_error *err)
{
    const X509_ALGOR *algorithm =
        TS_MSG_IMPRINT_get_algo(TS_TST_INFO_get_msg_imprint(info));
    const ASN1_OBJECT *object = NULL;

    X509_ALGOR_get0(&object, NULL, NULL, algorithm);
    switch (OBJ_obj2nid(object)) {
    case NID_sha256:
    case NID_sha384:
    case NID_sha512:
        return WW_OK;
    default:
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "timestamp is over a hash '%s', expected SHA-256, -384 or -512",
                       OBJ_nid2sn(OBJ_obj2nid(object)));
    }
}

/* ctx takes what is handed to it, also when a later step fails. */
static enum ww_err prepare(TS_VERIFY_CTX *ctx, const void *message, size_t len,
                           const struct ww_certs *authority, int64_t at_unix,
                           struct ww_error *err)
{
    X509_STORE *store = NULL;
    BIO *data = BIO_new_mem_buf(message, (int)len);
    STACK_OF(X509) *certs = X509_chain_up_ref(authority->stack);
    enum ww_err rc = WW_OK;

    TS_VERIFY_CTX_set_flags(ctx, TS_VFY_VERSION | TS_VFY_SIGNATURE | TS_VFY_DATA);
    TS_VERIFY_CTX_set_data(ctx, data);
    TS_VERIFY_CTX_set_certs(ctx, certs);
    if (!data || !certs) {
        return WW_FAIL_MEMORY(err, "a timestamp");
    }
    rc = ww_certs_store(authority, &store, err);
    if (rc) {
        return rc;
    }
    ww_certs_set_rules(X509_STORE_get0_param(store), at_unix);
    TS_VERIFY_CTX_set_store(ctx, store);
    return WW_OK;
}

static enum ww_err refuse(struct ww_error *err)
{
    const unsigned long first = ERR_peek_error();
    const bool is_chain = ERR_GET_LIB(first) == ERR_LIB_TS &&
                          ERR_GET_REASON(first) == TS_R_CERTIFICATE_VERIFY_ERROR;

    return ww_ossl_fail(err, is_chain ? WW_E_UNTRUSTED : WW_E_SIGNATURE,
                        "timestamp does not verify");
}

static enum ww_err verify(TS_RESP *response, const void *message, size_t len,
                          const struct ww_certs *authority, int64_t at_unix,
                          struct ww_error *err)
{
    TS_VERIFY_CTX *ctx = TS_VERIFY_CTX_new();
    enum ww_err rc = WW_OK;

    if (!ctx) {
        return WW_FAIL_MEMORY(err, "a timestamp");
    }
    rc = prepare(ctx, message, len, authority, at_unix, err);
    if (!rc && TS_RESP_verify_response(ctx, response) != 1) {
        rc = refuse(err);
    }
    TS_VERIFY_CTX_free(ctx);
    return rc;
}

enum ww_err ww_tstamp_check(const uint8_t *der, size_t len, const void *message,
                            size_t message_len, const struct ww_certs *authority,
                            int64_t *at_unix, struct ww_error *err)
{
    TS_RESP *response = NULL;
    int64_t at = 0;
    enum ww_err rc = WW_OK;

    *at_unix = 0;
    ww_ossl_init();
    rc = parse(der, len, &response, err);
    if (rc) {
        goto out;
    }
    rc = check_hash(TS_RESP_get_tst_info(response), err);
    if (rc) {
        goto out;
    }
    rc = stated_time(TS_RESP_get_tst_info(response), &at, err);
    if (rc) {
        goto out;
    }
    rc = verify(response, message, message_len, authority, at, err);
    if (rc) {
        goto out;
    }
    *at_unix = at;
out:
    TS_RESP_free(response);
    return rc;
}
