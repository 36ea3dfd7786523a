/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trusted_root.json of Sigstore's protobuf-specs (media type trustedroot+json, versions
 * 0.1 and 0.2). Unknown members are ignored, since the document is the user's own pin and
 * new members come with new services; what is used is read strictly. A log with a key of
 * an algorithm that is not known here is an error and not left out: the user trusts it,
 * and a silent loss would look like a bad signature.
 */
#include "sign/trusted_root.h"

#include <string.h>

#include "crypto/base64.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "util/utc.h"

#define MEDIA_TYPE_01 "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
#define MEDIA_TYPE_01_NEW "application/vnd.dev.sigstore.trustedroot.v0.1+json"
#define MEDIA_TYPE_02 "application/vnd.dev.sigstore.trustedroot.v0.2+json"
#define DER_MAX_BYTES ((size_t)64 << 10)

static enum ww_err decode(const struct ww_jnode *node, const char *what,
                          struct ww_buf *out, struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(node, &text) || *text == '\0') {
        return WW_FAIL(err, WW_E_MALFORMED, "no '%s'", what);
    }
    ww_buf_clear(out);
    rc = ww_base64_decode(out, text, strlen(text), err);
    if (rc) {
        ww_error_context(err, "'%s'", what);
    }
    return rc;
}

static enum ww_err read_time(const struct ww_jnode *node, const char *what, int64_t *out,
                             struct ww_error *err)
{
    const char *text = NULL;

    if (!ww_jstr(node, &text) || !ww_utc_parse(text, out)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'validFor.%s' is no time like '2022-10-31T23:59:59Z'", what);
    }
    return WW_OK;
}

/* Without an end it is trusted until the root is replaced. */
static enum ww_err read_period(const struct ww_jnode *node, int64_t *start, int64_t *end,
                               struct ww_error *err)
{
    const struct ww_jnode *last = ww_jget(node, "end");
    enum ww_err rc = WW_OK;

    *end = INT64_MAX;
    rc = read_time(ww_jget(node, "start"), "start", start, err);
    if (!rc && last) {
        rc = read_time(last, "end", end, err);
    }
    return rc;
}

static enum ww_err read_log(const struct ww_jnode *node, struct ww_log *out,
                            struct ww_error *err)
{
    const struct ww_jnode *key = ww_jget(node, "publicKey");
    const char *hash = NULL;
    struct ww_buf bytes;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bytes, DER_MAX_BYTES);
    if (!ww_jstr(ww_jget(node, "hashAlgorithm"), &hash) || !ww_str_eq(hash, "SHA2_256")) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "log hashes with '%s', expected 'SHA2_256'",
                     hash ? hash : "");
        goto out;
    }
    rc = decode(ww_jget(ww_jget(node, "logId"), "keyId"), "logId.keyId", &bytes, err);
    if (rc) {
        goto out;
    }
    if (bytes.len != sizeof(out->id)) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "'logId.keyId' has %zu bytes, expected %zu",
                     bytes.len, sizeof(out->id));
        goto out;
    }
    memcpy(out->id, bytes.data, sizeof(out->id));
    rc = read_period(ww_jget(key, "validFor"), &out->start, &out->end, err);
    if (rc) {
        goto out;
    }
    rc = decode(ww_jget(key, "rawBytes"), "publicKey.rawBytes", &bytes, err);
    if (rc) {
        goto out;
    }
    rc = ww_logkey_from_der(bytes.data, bytes.len, &out->key, err);
out:
    ww_buf_release(&bytes);
    return rc;
}

static enum ww_err read_authority(const struct ww_jnode *node, struct ww_authority *out,
                                  struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(ww_jget(node, "certChain"), "certificates");
    struct ww_buf der;
    enum ww_err rc = WW_OK;

    ww_buf_init(&der, DER_MAX_BYTES);
    rc = read_period(ww_jget(node, "validFor"), &out->start, &out->end, err);
    if (rc) {
        goto out;
    }
    rc = ww_certs_new(&out->certs, err);
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = decode(ww_jget(at, "rawBytes"), "certificates[].rawBytes", &der, err);
        if (!rc) {
            rc = ww_certs_add_der(out->certs, der.data, der.len, err);
        }
    }
    if (!rc && ww_certs_count(out->certs) == 0) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "'certChain' holds no certificate");
    }
out:
    ww_buf_release(&der);
    return rc;
}

/* One of the four lists, which may be absent. */
static enum ww_err open_list(const struct ww_jnode *root, const char *name,
                             const struct ww_jnode **out, struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(root, name);

    *out = NULL;
    if (!list) {
        return WW_OK;
    }
    if (ww_jtype(list) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_MALFORMED, "'%s' is no array", name);
    }
    if (ww_jsize(list) > WW_ROOT_MAX_ITEMS) {
        return WW_FAIL(err, WW_E_LIMIT, "'%s' has %zu entries, at most %d are read", name,
                       ww_jsize(list), WW_ROOT_MAX_ITEMS);
    }
    *out = ww_jfirst(list);
    return WW_OK;
}

static enum ww_err read_logs(const struct ww_jnode *root, const char *name,
                             struct ww_log *items, size_t *n, struct ww_error *err)
{
    const struct ww_jnode *at = NULL;
    enum ww_err rc = open_list(root, name, &at, err);

    for (; at && !rc; at = ww_jnext(at)) {
        rc = read_log(at, &items[(*n)++], err);
        if (rc) {
            ww_error_context(err, "entry %zu of '%s'", *n, name);
        }
    }
    return rc;
}

static enum ww_err read_authorities(const struct ww_jnode *root, const char *name,
                                    struct ww_authority *items, size_t *n,
                                    struct ww_error *err)
{
    const struct ww_jnode *at = NULL;
    enum ww_err rc = open_list(root, name, &at, err);

    for (; at && !rc; at = ww_jnext(at)) {
        rc = read_authority(at, &items[(*n)++], err);
        if (rc) {
            ww_error_context(err, "entry %zu of '%s'", *n, name);
        }
    }
    return rc;
}

static enum ww_err read_root(const struct ww_jnode *root, struct ww_trusted_root *out,
                             struct ww_error *err)
{
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "mediaType"), &type)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "no 'mediaType'; expected a trusted_root.json of Sigstore");
    }
    if (!ww_str_eq(type, MEDIA_TYPE_01) && !ww_str_eq(type, MEDIA_TYPE_01_NEW) &&
        !ww_str_eq(type, MEDIA_TYPE_02)) {
        return WW_FAIL(err, WW_E_VERSION, "of type '%s', expected '%s'", type,
                       MEDIA_TYPE_01);
    }
    rc = read_logs(root, "tlogs", out->tlogs, &out->n_tlogs, err);
    if (rc) {
        return rc;
    }
    rc = read_logs(root, "ctlogs", out->ctlogs, &out->n_ctlogs, err);
    if (rc) {
        return rc;
    }
    rc = read_authorities(root, "certificateAuthorities", out->issuers, &out->n_issuers,
                          err);
    if (rc) {
        return rc;
    }
    return read_authorities(root, "timestampAuthorities", out->stampers, &out->n_stampers,
                            err);
}

enum ww_err ww_trusted_root_parse(const uint8_t *text, size_t len,
                                  struct ww_trusted_root **out, struct ww_error *err)
{
    struct ww_trusted_root *root = ww_calloc(1, sizeof(*root));
    struct ww_json *json = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!root) {
        return WW_FAIL_MEMORY(err, "a trusted root");
    }
    rc = ww_json_parse(text, len, &ww_json_limits_small, &json, err);
    if (rc) {
        goto out;
    }
    rc = read_root(ww_json_root(json), root, err);
    if (rc) {
        goto out;
    }
    *out = root;
    root = NULL;
out:
    ww_json_free(json);
    ww_trusted_root_free(root);
    return rc;
}

enum ww_err ww_trusted_root_load(const char *path, struct ww_trusted_root **out,
                                 struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ww_buf_init(&text, WW_ROOT_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_trusted_root_parse(text.data, text.len, out, err);
    if (rc) {
        ww_error_context(err, "trusted root '%s'", path);
    }
out:
    ww_buf_release(&text);
    return rc;
}

void ww_trusted_root_free(struct ww_trusted_root *root)
{
    if (!root) {
        return;
    }
    for (size_t i = 0; i < WW_ROOT_MAX_ITEMS; i++) {
        ww_logkey_free(root->tlogs[i].key);
        ww_logkey_free(root->ctlogs[i].key);
        ww_certs_free(root->issuers[i].certs);
        ww_certs_free(root->stampers[i].certs);
    }
    ww_free(root);
}
