/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who signed: the one question that is answered before a payload is parsed. The hint of
 * the bundle is compared first, since "another key" and "a broken signature" call for
 * different actions; it decides nothing on its own, the signature does.
 */
#include "sign/bundle.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sign/dsse.h"
#include "sign/keyless_bundle.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define PEM_MAX_BYTES ((size_t)1 << 20)
#define SUBJECT_MAX_BYTES 4096
#define PAE_MAX_BYTES (WW_PAYLOAD_MAX_BYTES + 256)
#define V02_PAYLOAD_MAX_BYTES ((size_t)16 << 20)
#define V02_PREDICATE "https://model_signing/Digests/v0.1"

static enum ww_err load_anchors(const struct ww_verify_options *options,
                                struct ww_verifier *out, struct ww_error *err)
{
    struct ww_buf pem;
    enum ww_err rc = WW_OK;

    ww_buf_init(&pem, PEM_MAX_BYTES);
    rc = ww_certs_new(&out->anchors, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < options->n_chain; i++) {
        rc = ww_file_read(options->chain[i], &pem, err);
        if (rc) {
            goto out;
        }
        rc = ww_certs_add_pem(out->anchors, pem.data, pem.len, err);
        if (rc) {
            ww_error_context(err, "trust anchors '%s'", options->chain[i]);
            goto out;
        }
    }
    if (ww_certs_count(out->anchors) == 0) {
        rc = WW_FAIL(err, WW_E_USAGE, "no certificate to trust was given");
    }
out:
    ww_buf_release(&pem);
    return rc;
}

enum ww_err ww_verifier_of_key(const struct ww_pubkey *key, struct ww_verifier *out,
                               struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    out->key = key;
    return ww_pubkey_hint(key, out->hint, err);
}

static enum ww_err open_keyless(const struct ww_verify_options *options,
                                struct ww_verifier *out, struct ww_error *err)
{
    if (!options->trusted_root || !options->identity || !options->identity_provider) {
        return WW_FAIL(err, WW_E_USAGE,
                       "keyless verification needs a trusted root, an identity and an "
                       "identity provider");
    }
    out->identity = options->identity;
    out->provider = options->identity_provider;
    return ww_trusted_root_load(options->trusted_root, &out->root, err);
}

enum ww_err ww_verifier_open(const struct ww_verify_options *options,
                             struct ww_verifier *out, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->method = options->method;
    out->at_unix = options->at_unix;
    if (options->method == WW_VERIFY_KEYLESS) {
        rc = open_keyless(options, out, err);
        goto out;
    }
    if (options->method == WW_VERIFY_CERTIFICATE) {
        rc = load_anchors(options, out, err);
        if (!rc && options->trusted_root) {
            rc = ww_trusted_root_load(options->trusted_root, &out->root, err);
        }
        goto out;
    }
    if (!options->public_key) {
        rc = WW_FAIL(err, WW_E_USAGE, "no public key to trust was given");
        goto out;
    }
    rc = ww_pubkey_load(options->public_key, &key, err);
    if (rc) {
        goto out;
    }
    rc = ww_verifier_of_key(key, out, err);
    if (rc) {
        goto out;
    }
    out->own_key = key;
    key = NULL;
out:
    ww_pubkey_free(key);
    if (rc) {
        ww_verifier_release(out);
    }
    return rc;
}

void ww_verifier_release(struct ww_verifier *verifier)
{
    if (!verifier) {
        return;
    }
    ww_pubkey_free(verifier->own_key);
    ww_certs_free(verifier->anchors);
    ww_trusted_root_free(verifier->root);
    memset(verifier, 0, sizeof(*verifier));
}

static enum ww_verify_method method_of(const struct ww_bundle *bundle)
{
    if (bundle->is_keyless) {
        return WW_VERIFY_KEYLESS;
    }
    return bundle->certs ? WW_VERIFY_CERTIFICATE : WW_VERIFY_KEY;
}

static enum ww_err check_method(const struct ww_bundle *bundle,
                                const struct ww_verifier *verifier, struct ww_error *err)
{
    static const char *const how[] = {
        [WW_VERIFY_KEY] = "by a key; verify with that key",
        [WW_VERIFY_CERTIFICATE] = "with a certificate; verify with the certificate chain",
        [WW_VERIFY_KEYLESS] =
            "without a key, under an identity; verify with the trusted root and the "
            "identity",
    };
    enum ww_verify_method method = method_of(bundle);

    if (method != verifier->method) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "signed %s%s%s", how[method],
                       bundle->hint ? " " : "", bundle->hint ? bundle->hint : "");
    }
    if (method == WW_VERIFY_KEY && !ww_str_eq(bundle->hint, verifier->hint)) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "signed by key %s, not by %s", bundle->hint,
                       verifier->hint);
    }
    return WW_OK;
}

/* A plain search, so that not every broken signature costs a second encoding. */
static bool may_be_v02(const struct ww_bundle *bundle)
{
    return bundle->payload.len <= V02_PAYLOAD_MAX_BYTES &&
           memmem(bundle->payload.data, bundle->payload.len, V02_PREDICATE,
                  strlen(V02_PREDICATE));
}

static enum ww_err check_v02(struct ww_bundle *bundle, const struct ww_pubkey *key,
                             struct ww_error *err)
{
    struct ww_buf pae;
    enum ww_err rc = WW_OK;

    ww_buf_init(&pae, 4 * V02_PAYLOAD_MAX_BYTES + 256);
    rc = ww_dsse_pae_v02(bundle->payload.data, bundle->payload.len, &pae, err);
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_verify_sha256(key, pae.data, pae.len, bundle->sig.data,
                                 bundle->sig.len, err);
    if (rc) {
        goto out;
    }
    bundle->is_v02 = true;
out:
    ww_buf_release(&pae);
    return rc;
}

static enum ww_err check_signature(struct ww_bundle *bundle, const struct ww_pubkey *key,
                                   struct ww_error *err)
{
    struct ww_buf pae;
    struct ww_error first = {0};
    enum ww_err rc = WW_OK;

    ww_buf_init(&pae, PAE_MAX_BYTES);
    rc = ww_dsse_pae(bundle->payload.data, bundle->payload.len, &pae, err);
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_verify(key, pae.data, pae.len, bundle->sig.data, bundle->sig.len,
                          &first);
    if (rc == WW_E_SIGNATURE && may_be_v02(bundle)) {
        rc = check_v02(bundle, key, err);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", first.text);
    }
out:
    ww_buf_release(&pae);
    return rc;
}

/* A cut inside a character would make the text no UTF-8. */
static void copy_cut(char out[WW_SIGNER_BYTES], const char *text)
{
    size_t len = strlen(text);
    size_t used = 0;

    while (used < len) {
        size_t step = ww_utf8_next((const uint8_t *)text + used, len - used, NULL);
        if (step == 0 || used + step >= WW_SIGNER_BYTES) {
            break;
        }
        used += step;
    }
    memcpy(out, text, used);
    out[used] = '\0';
}

static enum ww_err check_by_certificate(struct ww_bundle *bundle,
                                        const struct ww_verifier *verifier,
                                        char signer[WW_SIGNER_BYTES],
                                        struct ww_error *err)
{
    struct ww_pubkey *leaf = NULL;
    struct ww_buf subject;
    int64_t at = verifier->at_unix;
    enum ww_err rc = WW_OK;

    ww_buf_init(&subject, SUBJECT_MAX_BYTES);
    if (verifier->root && at == 0) {
        rc = ww_stamps_check(bundle, verifier->root, &at, err);
        if (rc) {
            goto out;
        }
    }
    at = at ? at : (int64_t)time(NULL);
    rc = ww_certs_verify(bundle->certs, verifier->anchors, at, &leaf, &subject, err);
    if (rc) {
        goto out;
    }
    rc = check_signature(bundle, leaf, err);
    if (rc) {
        goto out;
    }
    if (signer) {
        copy_cut(signer, ww_buf_cstr(&subject));
    }
out:
    ww_buf_release(&subject);
    ww_pubkey_free(leaf);
    return rc;
}

static enum ww_err check_keyless(struct ww_bundle *bundle,
                                 const struct ww_verifier *verifier,
                                 char signer[WW_SIGNER_BYTES], struct ww_error *err)
{
    struct ww_pubkey *leaf = NULL;
    struct ww_buf text;
    enum ww_err rc = ww_keyless_bundle_check(bundle, verifier, &leaf, err);

    ww_buf_init(&text, SUBJECT_MAX_BYTES);
    if (rc) {
        goto out;
    }
    rc = check_signature(bundle, leaf, err);
    if (rc) {
        goto out;
    }
    rc = ww_buf_addf(&text, err, "%s, says %s", verifier->identity, verifier->provider);
    if (!rc && signer) {
        copy_cut(signer, ww_buf_cstr(&text));
    }
out:
    ww_buf_release(&text);
    ww_pubkey_free(leaf);
    return rc;
}

enum ww_err ww_bundle_check(struct ww_bundle *bundle, const struct ww_verifier *verifier,
                            char signer[WW_SIGNER_BYTES], struct ww_error *err)
{
    enum ww_err rc = check_method(bundle, verifier, err);
    if (rc) {
        return rc;
    }
    if (verifier->method == WW_VERIFY_KEYLESS) {
        return check_keyless(bundle, verifier, signer, err);
    }
    if (verifier->method == WW_VERIFY_CERTIFICATE) {
        return check_by_certificate(bundle, verifier, signer, err);
    }
    rc = check_signature(bundle, verifier->key, err);
    if (rc) {
        return rc;
    }
    if (signer) {
        snprintf(signer, WW_SIGNER_BYTES, "key %s (%s)", verifier->hint,
                 ww_pubkey_curve(verifier->key));
    }
    return WW_OK;
}

enum ww_err ww_bundle_check_key(struct ww_bundle *bundle, const struct ww_pubkey *key,
                                struct ww_error *err)
{
    struct ww_verifier verifier;
    enum ww_err rc = ww_verifier_of_key(key, &verifier, err);

    if (!rc && !bundle->certs) {
        rc = check_method(bundle, &verifier, err);
    }
    return rc ? rc : check_signature(bundle, key, err);
}
