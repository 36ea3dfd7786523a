/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a log entry names this signature, or it proves nothing about it: verifiers
 * that left this out accepted the log entry of another artifact (CVE-2022-36056). Three
 * kinds occur for an envelope; each gives the digest of the payload, one signature and
 * one certificate, in its own spelling. The digest of the whole envelope is not compared:
 * it depends on how some client once wrote the JSON.
 */
#include <string.h>

#include "crypto/base64.h"
#include "sign/pem.h"
#include "sign/tlog.h"
#include "util/fail.h"
#include "util/str.h"

#define TEXT_MAX_BYTES ((size_t)1 << 20)

/* What a body says, all as bytes. */
struct claim {
    struct ww_buf digest;
    struct ww_buf sig;
    struct ww_buf leaf;
};

static void claim_init(struct claim *claim)
{
    ww_buf_init(&claim->digest, WW_DIGEST_MAX_BYTES);
    ww_buf_init(&claim->sig, TEXT_MAX_BYTES);
    ww_buf_init(&claim->leaf, TEXT_MAX_BYTES);
}

static void claim_release(struct claim *claim)
{
    ww_buf_release(&claim->digest);
    ww_buf_release(&claim->sig);
    ww_buf_release(&claim->leaf);
}

static enum ww_err decode(const struct ww_jnode *node, const char *what,
                          struct ww_buf *out, struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(node, &text)) {
        return WW_FAIL(err, WW_E_BUNDLE, "body of the log entry has no '%s'", what);
    }
    rc = ww_base64_decode(out, text, strlen(text), err);
    if (rc) {
        ww_error_context(err, "'%s' in the body of the log entry", what);
    }
    return rc;
}

/* {"algorithm":"sha256","value":hex} */
static enum ww_err read_hex_digest(const struct ww_jnode *node, struct ww_buf *out,
                                   struct ww_error *err)
{
    const char *algorithm = NULL;
    uint8_t digest[WW_SHA256_BYTES];

    if (!ww_jstr(ww_jget(node, "algorithm"), &algorithm) ||
        !ww_str_eq(algorithm, "sha256") ||
        !ww_jhex(ww_jget(node, "value"), digest, sizeof(digest))) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "body of the log entry has no SHA-256 of the payload");
    }
    return ww_buf_add(out, digest, sizeof(digest), err);
}

/* base64 of PEM text with one certificate */
static enum ww_err read_pem(const struct ww_jnode *node, const char *what,
                            struct ww_buf *out, struct ww_error *err)
{
    struct ww_buf pem;
    const char *cursor = NULL;
    enum ww_err rc = WW_OK;

    ww_buf_init(&pem, TEXT_MAX_BYTES);
    rc = decode(node, what, &pem, err);
    if (rc) {
        goto out;
    }
    cursor = ww_buf_cstr(&pem);
    rc = ww_pem_next_certificate(&cursor, out, err);
    if (!rc && !cursor) {
        rc =
            WW_FAIL(err, WW_E_BUNDLE, "'%s' of the log entry holds no certificate", what);
    }
out:
    ww_buf_release(&pem);
    return rc;
}

/* The first of exactly one. */
static const struct ww_jnode *single(const struct ww_jnode *list)
{
    return list && ww_jtype(list) == WW_J_ARRAY && ww_jsize(list) == 1 ? ww_jfirst(list)
                                                                       : NULL;
}

static enum ww_err read_dsse_1(const struct ww_jnode *spec, struct claim *out,
                               struct ww_error *err)
{
    const struct ww_jnode *item = single(ww_jget(spec, "signatures"));
    enum ww_err rc = read_hex_digest(ww_jget(spec, "payloadHash"), &out->digest, err);

    if (rc) {
        return rc;
    }
    rc = decode(ww_jget(item, "signature"), "signature", &out->sig, err);
    return rc ? rc : read_pem(ww_jget(item, "verifier"), "verifier", &out->leaf, err);
}

/* Here the signature is base64 twice over. */
static enum ww_err read_intoto_2(const struct ww_jnode *spec, struct claim *out,
                                 struct ww_error *err)
{
    const struct ww_jnode *content = ww_jget(spec, "content");
    const struct ww_jnode *item =
        single(ww_jget(ww_jget(content, "envelope"), "signatures"));
    struct ww_buf inner;
    enum ww_err rc = read_hex_digest(ww_jget(content, "payloadHash"), &out->digest, err);

    ww_buf_init(&inner, TEXT_MAX_BYTES);
    if (rc) {
        goto out;
    }
    rc = decode(ww_jget(item, "sig"), "sig", &inner, err);
    if (rc) {
        goto out;
    }
    rc = ww_base64_decode(&out->sig, ww_buf_cstr(&inner), inner.len, err);
    if (rc) {
        goto out;
    }
    rc = read_pem(ww_jget(item, "publicKey"), "publicKey", &out->leaf, err);
out:
    ww_buf_release(&inner);
    return rc;
}

static enum ww_err read_dsse_2(const struct ww_jnode *spec, struct claim *out,
                               struct ww_error *err)
{
    const struct ww_jnode *v2 = ww_jget(spec, "dsseV002");
    const struct ww_jnode *hash = ww_jget(v2, "payloadHash");
    const struct ww_jnode *item = single(ww_jget(v2, "signatures"));
    const struct ww_jnode *cert = ww_jget(ww_jget(item, "verifier"), "x509Certificate");
    const char *algorithm = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(hash, "algorithm"), &algorithm) ||
        !ww_str_eq(algorithm, "SHA2_256")) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "body of the log entry has no SHA-256 of the payload");
    }
    rc = decode(ww_jget(hash, "digest"), "digest", &out->digest, err);
    if (rc) {
        return rc;
    }
    rc = decode(ww_jget(item, "content"), "content", &out->sig, err);
    return rc ? rc : decode(ww_jget(cert, "rawBytes"), "rawBytes", &out->leaf, err);
}

static const struct kind {
    const char *kind;
    const char *version;
    enum ww_err (*read)(const struct ww_jnode *spec, struct claim *out,
                        struct ww_error *err);
} kinds[] = {
    {"dsse", "0.0.1", read_dsse_1},
    {"intoto", "0.0.2", read_intoto_2},
    {"dsse", "0.0.2", read_dsse_2}, /* Rekor v2 */
};

static const struct kind *find_kind(const struct ww_tlog_entry *entry)
{
    for (size_t i = 0; i < WW_LEN(kinds); i++) {
        if (ww_str_eq(kinds[i].kind, entry->kind) &&
            ww_str_eq(kinds[i].version, entry->version)) {
            return &kinds[i];
        }
    }
    return NULL;
}

static enum ww_err read_body(const struct ww_jnode *root, const struct ww_tlog_entry *e,
                             struct claim *claim, struct ww_error *err)
{
    const struct kind *kind = find_kind(e);
    const char *name = NULL;
    const char *version = NULL;

    if (!kind) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "log entry is of kind '%s' version '%s', expected 'dsse' or "
                       "'intoto'",
                       e->kind, e->version);
    }
    if (!ww_jstr(ww_jget(root, "kind"), &name) || !ww_str_eq(name, e->kind) ||
        !ww_jstr(ww_jget(root, "apiVersion"), &version) ||
        !ww_str_eq(version, e->version)) {
        return WW_FAIL(err, WW_E_SIGNATURE,
                       "log entry says it is of kind '%s' version '%s', its body is not",
                       e->kind, e->version);
    }
    return kind->read(ww_jget(root, "spec"), claim, err);
}

static bool same(const struct ww_buf *a, const struct ww_buf *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static enum ww_err compare(const struct claim *claim,
                           const struct ww_tlog_subject *subject, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(subject->payload->data, subject->payload->len, digest);
    if (claim->digest.len != sizeof(digest) ||
        memcmp(claim->digest.data, digest, sizeof(digest)) != 0) {
        return WW_FAIL(err, WW_E_SIGNATURE, "log entry is about another statement");
    }
    if (!same(&claim->sig, subject->sig)) {
        return WW_FAIL(err, WW_E_SIGNATURE, "log entry is about another signature");
    }
    if (!same(&claim->leaf, subject->leaf)) {
        return WW_FAIL(err, WW_E_SIGNATURE, "log entry is about another certificate");
    }
    return WW_OK;
}

enum ww_err ww_tlog_bind(const struct ww_tlog_entry *entry,
                         const struct ww_tlog_subject *subject, struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct claim claim;
    enum ww_err rc = WW_OK;

    claim_init(&claim);
    rc = ww_json_parse(entry->body.data, entry->body.len, &ww_json_limits_small, &json,
                       err);
    if (rc) {
        ww_error_context(err, "body of the log entry");
        goto out;
    }
    rc = read_body(ww_json_root(json), entry, &claim, err);
    if (rc) {
        goto out;
    }
    rc = compare(&claim, subject, err);
out:
    claim_release(&claim);
    ww_json_free(json);
    return rc;
}
