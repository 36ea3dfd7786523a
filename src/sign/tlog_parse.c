/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of a log entry (protobuf-specs, TransparencyLogEntry). 64-bit numbers stand
 * there as strings of digits; proto writers leave out what is zero. Member lists are
 * closed, as those of the bundle are.
 */
#include "sign/tlog.h"

#include <string.h>

#include "crypto/base64.h"
#include "util/fail.h"
#include "util/str.h"

#define BODY_MAX_BYTES ((size_t)1 << 20)
#define PROMISE_MAX_BYTES 1024
#define TIME_MAX ((uint64_t)1 << 40)

static const char *const entry_keys[] = {
    "logIndex",         "logId",          "kindVersion",      "integratedTime",
    "inclusionPromise", "inclusionProof", "canonicalizedBody"};
static const char *const proof_keys[] = {"logIndex", "rootHash", "treeSize", "hashes",
                                         "checkpoint"};

static enum ww_err read_number(const struct ww_jnode *node, const char *what,
                               uint64_t *out, struct ww_error *err)
{
    const char *text = NULL;

    *out = 0;
    if (!node || ww_ju64(node, out) ||
        (ww_jstr(node, &text) && ww_parse_u64(text, strlen(text), out))) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_BUNDLE, "'%s' of the log entry is no number", what);
}

static enum ww_err read_text(const struct ww_jnode *node, const char *what,
                             const char **out, struct ww_error *err)
{
    if (!ww_jstr(node, out) || **out == '\0') {
        return WW_FAIL(err, WW_E_BUNDLE, "log entry has no '%s'", what);
    }
    return WW_OK;
}

static enum ww_err read_bytes(const struct ww_jnode *node, const char *what,
                              struct ww_buf *out, struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = read_text(node, what, &text, err);

    if (rc) {
        return rc;
    }
    rc = ww_base64_decode(out, text, strlen(text), err);
    if (rc) {
        ww_error_context(err, "'%s' of the log entry", what);
    }
    return rc;
}

static enum ww_err read_hash(const struct ww_jnode *node, const char *what,
                             uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_buf bytes;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bytes, PROMISE_MAX_BYTES);
    rc = read_bytes(node, what, &bytes, err);
    if (!rc && bytes.len != WW_SHA256_BYTES) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "'%s' of the log entry has %zu bytes, expected %d",
                     what, bytes.len, WW_SHA256_BYTES);
    }
    if (!rc) {
        memcpy(out, bytes.data, WW_SHA256_BYTES);
    }
    ww_buf_release(&bytes);
    return rc;
}

static enum ww_err read_hashes(const struct ww_jnode *list, struct ww_tlog_entry *out,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (list && ww_jtype(list) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_BUNDLE, "'hashes' of the log entry is no array");
    }
    if (list && ww_jsize(list) > WW_TLOG_MAX_HASHES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "proof of the log entry has %zu hashes, at most %d are read",
                       ww_jsize(list), WW_TLOG_MAX_HASHES);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = read_hash(at, "hashes[]", out->hashes[out->n_hashes++], err);
    }
    return rc;
}

/* An object with one member of a known name. */
static const struct ww_jnode *only(const struct ww_jnode *object, const char *key)
{
    return object && ww_jsize(object) == 1 ? ww_jget(object, key) : NULL;
}

static enum ww_err read_proof(const struct ww_jnode *node, struct ww_tlog_entry *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!node || ww_jtype(node) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "log entry has no 'inclusionProof'");
    }
    rc = ww_jonly(node, proof_keys, WW_LEN(proof_keys), WW_E_BUNDLE, "inclusionProof",
                  err);
    if (rc) {
        return rc;
    }
    rc = read_number(ww_jget(node, "logIndex"), "inclusionProof.logIndex",
                     &out->leaf_index, err);
    if (rc) {
        return rc;
    }
    rc = read_number(ww_jget(node, "treeSize"), "treeSize", &out->tree_size, err);
    if (rc) {
        return rc;
    }
    rc = read_hash(ww_jget(node, "rootHash"), "rootHash", out->root, err);
    if (rc) {
        return rc;
    }
    rc = read_text(only(ww_jget(node, "checkpoint"), "envelope"), "checkpoint.envelope",
                   &out->checkpoint, err);
    if (rc) {
        return rc;
    }
    return read_hashes(ww_jget(node, "hashes"), out, err);
}

static enum ww_err read_kind(const struct ww_jnode *node, struct ww_tlog_entry *out,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_jsize(node) != 2) {
        return WW_FAIL(err, WW_E_BUNDLE, "log entry has no 'kindVersion'");
    }
    rc = read_text(ww_jget(node, "kind"), "kind", &out->kind, err);
    return rc ? rc : read_text(ww_jget(node, "version"), "version", &out->version, err);
}

static enum ww_err read_time(const struct ww_jnode *node, struct ww_tlog_entry *out,
                             struct ww_error *err)
{
    uint64_t seconds = 0;
    enum ww_err rc = read_number(node, "integratedTime", &seconds, err);

    if (!rc && seconds > TIME_MAX) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "'integratedTime' of the log entry is no time");
    }
    out->integrated_time = (int64_t)seconds;
    return rc;
}

static enum ww_err read_promise(const struct ww_jnode *node, struct ww_tlog_entry *out,
                                struct ww_error *err)
{
    if (!node || ww_jtype(node) == WW_J_NULL) {
        return WW_OK;
    }
    return read_bytes(only(node, "signedEntryTimestamp"), "signedEntryTimestamp",
                      &out->promise, err);
}

enum ww_err ww_tlog_parse(const struct ww_jnode *node, struct ww_tlog_entry *out,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&out->promise, PROMISE_MAX_BYTES);
    ww_buf_init(&out->body, BODY_MAX_BYTES);
    if (ww_jtype(node) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "log entry is no object");
    }
    rc = ww_jonly(node, entry_keys, WW_LEN(entry_keys), WW_E_BUNDLE, "log entry", err);
    if (rc) {
        return rc;
    }
    rc = read_number(ww_jget(node, "logIndex"), "logIndex", &out->log_index, err);
    if (rc) {
        return rc;
    }
    rc =
        read_hash(only(ww_jget(node, "logId"), "keyId"), "logId.keyId", out->log_id, err);
    if (rc) {
        return rc;
    }
    rc = read_kind(ww_jget(node, "kindVersion"), out, err);
    if (rc) {
        return rc;
    }
    rc = read_time(ww_jget(node, "integratedTime"), out, err);
    if (rc) {
        return rc;
    }
    rc = read_promise(ww_jget(node, "inclusionPromise"), out, err);
    if (rc) {
        return rc;
    }
    rc = read_proof(ww_jget(node, "inclusionProof"), out, err);
    if (rc) {
        return rc;
    }
    rc = read_text(ww_jget(node, "canonicalizedBody"), "canonicalizedBody",
                   &out->body_text, err);
    if (rc) {
        return rc;
    }
    return read_bytes(ww_jget(node, "canonicalizedBody"), "canonicalizedBody", &out->body,
                      err);
}

void ww_tlog_release(struct ww_tlog_entry *entry)
{
    if (entry) {
        ww_buf_release(&entry->promise);
        ww_buf_release(&entry->body);
    }
}
