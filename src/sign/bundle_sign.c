/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a Sigstore bundle v0.3 with the key or the certificate method of OMS. A chain
 * is checked as a verifier will check it, at the present time, before anything is signed:
 * a signature that nobody accepts is worth less than an error.
 *
 * This file and those that call it hold the secret key; verification lives elsewhere.
 */
#include <string.h>
#include <time.h>

#include "crypto/base64.h"
#include "crypto/signkey.h"
#include "sign/bundle.h"
#include "sign/dsse.h"
#include "sign/pem.h"
#include "sign/statement.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define PEM_MAX_BYTES ((size_t)1 << 20)
#define TEXT_MAX_BYTES ((size_t)2 << 20)

static void write_raw_bytes(struct ww_jw *w, const struct ww_buf *der)
{
    struct ww_buf text;

    ww_buf_init(&text, TEXT_MAX_BYTES);
    if (ww_base64_encode(&text, der->data, der->len, &w->err) == WW_OK) {
        ww_jw_object(w);
        ww_jw_kstr(w, "rawBytes", ww_buf_cstr(&text));
        ww_jw_close(w);
    }
    ww_buf_release(&text);
}

/* Every certificate of one PEM file, into the document and into the chain to check. */
static enum ww_err add_pem_file(const char *path, size_t max, struct ww_jw *w,
                                struct ww_certs *chain, struct ww_error *err)
{
    struct ww_buf pem;
    struct ww_buf der;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    ww_buf_init(&pem, PEM_MAX_BYTES);
    ww_buf_init(&der, PEM_MAX_BYTES);
    rc = ww_file_read(path, &pem, err);
    if (rc) {
        goto out;
    }
    for (const char *at = ww_buf_cstr(&pem); at;) {
        rc = ww_pem_next_certificate(&at, &der, err);
        if (rc || !at) {
            break;
        }
        rc = ww_certs_add_der(chain, der.data, der.len, err);
        if (rc) {
            break;
        }
        write_raw_bytes(w, &der);
        n++;
    }
    if (!rc && (n == 0 || n > max)) {
        rc = WW_FAIL(err, WW_E_KEYFILE, "found %zu certificates, expected %s", n,
                     max == 1 ? "exactly one" : "at least one and no more than 32");
    }
    if (rc) {
        ww_error_context(err, "certificate file '%s'", path);
    }
out:
    ww_buf_release(&der);
    ww_buf_release(&pem);
    return rc;
}

/* Valid now as far as it goes, and made for this very key. */
static enum ww_err check_chain(const struct ww_signer *signer,
                               const struct ww_certs *chain, const char *hint,
                               struct ww_error *err)
{
    struct ww_pubkey *leaf = NULL;
    struct ww_buf subject;
    char leaf_hint[WW_HINT_BYTES];
    enum ww_err rc = WW_OK;

    ww_buf_init(&subject, PEM_MAX_BYTES);
    rc = ww_certs_verify_own(chain, (int64_t)time(NULL), &leaf, &subject, err);
    if (rc) {
        ww_error_context(
            err,
            "not signing with '%s' (its issuers must be given, up to the root "
            "or to what the root signed)",
            signer->certificate);
        goto out;
    }
    rc = ww_pubkey_hint(leaf, leaf_hint, err);
    if (rc) {
        goto out;
    }
    if (!ww_str_eq(leaf_hint, hint)) {
        rc = WW_FAIL(err, WW_E_KEY,
                     "certificate '%s' is for key %s, the signing key is %s",
                     signer->certificate, leaf_hint, hint);
    }
out:
    ww_buf_release(&subject);
    ww_pubkey_free(leaf);
    return rc;
}

static enum ww_err write_chain(const struct ww_signer *signer, const char *hint,
                               struct ww_jw *w, struct ww_error *err)
{
    struct ww_certs *chain = NULL;
    enum ww_err rc = ww_certs_new(&chain, err);
    if (rc) {
        goto out;
    }
    ww_jw_key(w, "x509CertificateChain");
    ww_jw_object(w);
    ww_jw_key(w, "certificates");
    ww_jw_array(w);
    rc = add_pem_file(signer->certificate, 1, w, chain, err);
    for (size_t i = 0; i < signer->n_chain && !rc; i++) {
        rc = add_pem_file(signer->chain[i], WW_BUNDLE_MAX_CERTS, w, chain, err);
    }
    if (rc) {
        goto out;
    }
    ww_jw_close(w);
    ww_jw_close(w);
    rc = check_chain(signer, chain, hint, err);
out:
    ww_certs_free(chain);
    return rc;
}

static enum ww_err write_material(const struct ww_signer *signer, struct ww_jw *w,
                                  struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    char hint[WW_HINT_BYTES];
    enum ww_err rc = ww_signkey_public(signer->key, &key, err);
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_hint(key, hint, err);
    if (rc) {
        goto out;
    }
    ww_jw_key(w, "verificationMaterial");
    ww_jw_object(w);
    if (signer->certificate) {
        rc = write_chain(signer, hint, w, err);
        if (rc) {
            goto out;
        }
    } else {
        ww_jw_key(w, "publicKey");
        ww_jw_object(w);
        ww_jw_kstr(w, "hint", hint);
        ww_jw_close(w);
    }
    ww_jw_key(w, "tlogEntries");
    ww_jw_array(w);
    ww_jw_close(w);
    ww_jw_close(w);
out:
    ww_pubkey_free(key);
    return rc;
}

static enum ww_err write_envelope(const struct ww_signer *signer, const uint8_t *payload,
                                  size_t len, struct ww_jw *w, struct ww_error *err)
{
    struct ww_buf bytes; /* the encoding that is signed, then the payload as text */
    struct ww_buf sig;
    struct ww_buf sig_text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bytes, WW_BUNDLE_MAX_BYTES);
    ww_buf_init(&sig, PEM_MAX_BYTES);
    ww_buf_init(&sig_text, PEM_MAX_BYTES);
    rc = ww_dsse_pae(payload, len, &bytes, err);
    if (rc) {
        goto out;
    }
    rc = ww_signkey_sign(signer->key, bytes.data, bytes.len, &sig, err);
    if (rc) {
        goto out;
    }
    rc = ww_base64_encode(&sig_text, sig.data, sig.len, err);
    if (rc) {
        goto out;
    }
    ww_buf_clear(&bytes);
    rc = ww_base64_encode(&bytes, payload, len, err);
    if (rc) {
        goto out;
    }
    ww_jw_key(w, "dsseEnvelope");
    ww_jw_object(w);
    ww_jw_kstr(w, "payload", ww_buf_cstr(&bytes));
    ww_jw_kstr(w, "payloadType", WW_PAYLOAD_TYPE);
    ww_jw_key(w, "signatures");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "sig", ww_buf_cstr(&sig_text));
    ww_jw_kstr(w, "keyid", "");
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
out:
    ww_buf_release(&sig_text);
    ww_buf_release(&sig);
    ww_buf_release(&bytes);
    return rc;
}

enum ww_err ww_bundle_sign(const struct ww_signer *signer, const uint8_t *payload,
                           size_t len, struct ww_buf *bundle, struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    if (!signer || !signer->key || len == 0) {
        return WW_FAIL(err, WW_E_USAGE, "signing needs a key and something to sign");
    }
    if (len > WW_PAYLOAD_MAX_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "statement has %zu bytes, at most %zu can be signed", len,
                       WW_PAYLOAD_MAX_BYTES);
    }
    ww_buf_clear(bundle);
    ww_jw_init(&w, bundle, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "mediaType", WW_BUNDLE_MEDIA_TYPE);
    rc = write_material(signer, &w, err);
    if (rc) {
        return rc;
    }
    rc = write_envelope(signer, payload, len, &w, err);
    if (rc) {
        return rc;
    }
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}
