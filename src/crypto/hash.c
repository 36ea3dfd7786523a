/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) and BLAKE2b-512 (RFC 7693) through OpenSSL, which uses the
 * processor's SHA instructions; libsodium's SHA-256 is about four times slower. The
 * algorithm is looked up once per context, since a look-up takes longer than hashing a
 * short message. Updates on a ready context do not fail, so they return nothing.
 */
#include "crypto/hash.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "crypto/ossl.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

struct ww_digest {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
    size_t n_bytes;
};

struct ww_sha256 {
    struct ww_digest digest;
};

struct algorithm {
    const char *name; /* as OMS writes it */
    const char *ossl_name;
    size_t n_bytes;
};

static const struct algorithm algorithms[] = {
    {"sha256", "SHA2-256", WW_SHA256_BYTES},
    {"blake2b", "BLAKE2B-512", 64},
};

static void digest_release(struct ww_digest *d)
{
    EVP_MD_CTX_free(d->ctx);
    EVP_MD_free(d->md);
}

static enum ww_err digest_init(struct ww_digest *d, const struct algorithm *algorithm,
                               struct ww_error *err)
{
    ww_ossl_init();
    d->n_bytes = algorithm->n_bytes;
    d->md = EVP_MD_fetch(NULL, algorithm->ossl_name, NULL);
    d->ctx = EVP_MD_CTX_new();
    if (!d->md || !d->ctx || EVP_DigestInit_ex2(d->ctx, d->md, NULL) != 1) {
        digest_release(d);
        return ww_ossl_fail(err, WW_E_CRYPTO, "hash could not be started");
    }
    return WW_OK;
}

enum ww_err ww_digest_new(const char *algorithm, struct ww_digest **out,
                          struct ww_error *err)
{
    const struct algorithm *found = NULL;
    struct ww_digest *d = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    for (size_t i = 0; i < WW_LEN(algorithms); i++) {
        if (ww_str_eq(algorithms[i].name, algorithm)) {
            found = &algorithms[i];
        }
    }
    if (!found) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "hash algorithm '%s' is not supported, known are sha256 and blake2b",
            algorithm);
    }
    d = ww_calloc(1, sizeof(*d));
    if (!d) {
        return WW_FAIL_MEMORY(err, "a hash");
    }
    rc = digest_init(d, found, err);
    if (rc) {
        ww_free(d);
        return rc;
    }
    *out = d;
    return WW_OK;
}

void ww_digest_free(struct ww_digest *d)
{
    if (d) {
        digest_release(d);
        ww_free(d);
    }
}

void ww_digest_reset(struct ww_digest *d)
{
    WW_INVARIANT(EVP_DigestInit_ex2(d->ctx, d->md, NULL) == 1);
}

void ww_digest_update(struct ww_digest *d, const void *bytes, size_t len)
{
    WW_INVARIANT(len == 0 || EVP_DigestUpdate(d->ctx, bytes, len) == 1);
}

size_t ww_digest_final(struct ww_digest *d, uint8_t out[WW_DIGEST_MAX_BYTES])
{
    unsigned written = 0;
    WW_INVARIANT(EVP_DigestFinal_ex(d->ctx, out, &written) == 1);
    WW_INVARIANT(written == d->n_bytes);
    return written;
}

enum ww_err ww_sha256_new(struct ww_sha256 **out, struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    h = ww_calloc(1, sizeof(*h));
    if (!h) {
        return WW_FAIL_MEMORY(err, "a hash");
    }
    rc = digest_init(&h->digest, &algorithms[0], err);
    if (rc) {
        ww_free(h);
        return rc;
    }
    *out = h;
    return WW_OK;
}

void ww_sha256_free(struct ww_sha256 *h)
{
    if (h) {
        digest_release(&h->digest);
        ww_free(h);
    }
}

void ww_sha256_reset(struct ww_sha256 *h)
{
    ww_digest_reset(&h->digest);
}

void ww_sha256_update(struct ww_sha256 *h, const void *bytes, size_t len)
{
    ww_digest_update(&h->digest, bytes, len);
}

void ww_sha256_u32le(struct ww_sha256 *h, uint32_t v)
{
    uint8_t bytes[4];

    ww_put_u32le(bytes, v);
    ww_sha256_update(h, bytes, sizeof(bytes));
}

void ww_sha256_u64le(struct ww_sha256 *h, uint64_t v)
{
    uint8_t bytes[8];

    ww_put_u64le(bytes, v);
    ww_sha256_update(h, bytes, sizeof(bytes));
}

void ww_sha256_final(struct ww_sha256 *h, uint8_t out[WW_SHA256_BYTES])
{
    uint8_t full[WW_DIGEST_MAX_BYTES];
    size_t len = ww_digest_final(&h->digest, full);
    for (size_t i = 0; i < len; i++) {
        out[i] = full[i];
    }
}

void ww_sha256_of(const void *bytes, size_t len, uint8_t out[WW_SHA256_BYTES])
{
    ww_ossl_init();
    WW_INVARIANT(SHA256(len == 0 ? (const void *)"" : bytes, len, out) != NULL);
}
