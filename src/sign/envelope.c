/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DSSE envelopes (protocol v1) with any number of signatures, read strictly: one spelling
 * of base64, lower-case key ids, no key twice. Every bit of such a file is either under a
 * signature, or part of one, or of a member name that has no other spelling.
 */
#include "sign/envelope.h"

#include <string.h>

#include "crypto/base64.h"
#include "sign/dsse.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define SIG_MAX_BYTES 4096

static const struct ww_json_limits limits = {WW_ENVELOPE_MAX_BYTES, 16, 262144, false};

static const struct {
    const char *type;
    const char *word;
} kinds[] = {
#define ROW(name, type, what) {type, what},
    WW_SIGNED_LIST(ROW)
#undef ROW
};

static const char *type_of(enum ww_signed_kind kind)
{
    return (unsigned)kind < WW_SIGNED_COUNT ? kinds[kind].type : "?";
}

const char *ww_signed_word(enum ww_signed_kind kind)
{
    return (unsigned)kind < WW_SIGNED_COUNT ? kinds[kind].word : "?";
}

bool ww_signed_parse(const char *type, enum ww_signed_kind *out)
{
    for (int i = 0; i < WW_SIGNED_COUNT; i++) {
        if (strcmp(type, kinds[i].type) == 0) {
            *out = (enum ww_signed_kind)i;
            return true;
        }
    }
    return false;
}

bool ww_envelope_is(const uint8_t *text, size_t len)
{
    struct ww_json *json = NULL;
    bool is = false;

    if (ww_json_parse(text, len, &limits, &json, NULL) == WW_OK) {
        is = ww_jget(ww_json_root(json), "payloadType") != NULL;
    }
    ww_json_free(json);
    return is;
}

static enum ww_err decode(const struct ww_jnode *node, const char *what, size_t max,
                          struct ww_buf *out, struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    ww_buf_init(out, max);
    if (!ww_jstr(node, &text) || *text == '\0') {
        return WW_FAIL(err, WW_E_BUNDLE, "envelope has no '%s'", what);
    }
    rc = ww_base64_decode(out, text, strlen(text), err);
    if (rc) {
        ww_error_context(err, "'%s' of the envelope", what);
    }
    return rc;
}

static enum ww_err read_signature(struct ww_envelope *out, const struct ww_jnode *node,
                                  struct ww_error *err)
{
    static const char *const members[] = {"keyid", "sig"};
    struct ww_envelope_signature *to = &out->signatures[out->n_signatures];
    uint8_t id[WW_SHA256_BYTES];
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_BUNDLE,
                              "signature of the envelope", err);

    if (rc) {
        return rc;
    }
    if (!ww_jhex(ww_jget(node, "keyid"), id, sizeof(id))) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "'keyid' of a signature must be the 64 hex digits of a key id");
    }
    ww_hex(to->keyid, id, sizeof(id));
    for (size_t i = 0; i < out->n_signatures; i++) {
        if (strcmp(out->signatures[i].keyid, to->keyid) == 0) {
            return WW_FAIL(err, WW_E_BUNDLE, "key %s signed the envelope twice",
                           to->keyid);
        }
    }
    out->n_signatures++;
    return decode(ww_jget(node, "sig"), "sig", SIG_MAX_BYTES, &to->sig, err);
}

static enum ww_err read_signatures(struct ww_envelope *out, const struct ww_jnode *list,
                                   struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY || n == 0 ||
        n > WW_ENVELOPE_MAX_SIGNATURES) {
        return WW_FAIL(err, WW_E_BUNDLE, "envelope must hold 1 to %d signatures",
                       WW_ENVELOPE_MAX_SIGNATURES);
    }
    out->signatures = ww_calloc(n, sizeof(*out->signatures));
    if (!out->signatures) {
        return WW_FAIL_MEMORY(err, "an envelope");
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = read_signature(out, at, err);
    }
    return rc;
}

static enum ww_err read_envelope(struct ww_envelope *out, const struct ww_jnode *root,
                                 struct ww_error *err)
{
    static const char *const members[] = {"payload", "payloadType", "signatures"};
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jget(root, "payloadType")) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "not signed: no 'payloadType'; 'weightward policy sign' signs it");
    }
    rc = ww_jonly(root, members, WW_LEN(members), WW_E_BUNDLE, "envelope", err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(root, "payloadType"), &type) ||
        !ww_signed_parse(type, &out->kind) || out->kind == WW_SIGNED_STATEMENT) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "payload is of type '%.80s', expected a root, policy, request or "
                       "approval (application/vnd.weightward....+json)",
                       type ? type : "");
    }
    rc = decode(ww_jget(root, "payload"), "payload", WW_ENVELOPE_MAX_PAYLOAD,
                &out->payload, err);
    if (rc) {
        return rc;
    }
    return read_signatures(out, ww_jget(root, "signatures"), err);
}

enum ww_err ww_envelope_parse(const uint8_t *text, size_t len, struct ww_envelope *out,
                              struct ww_error *err)
{
    struct ww_json *json = NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_envelope){0};
    rc = ww_json_parse(text, len, &limits, &json, err);
    if (!rc) {
        rc = read_envelope(out, ww_json_root(json), err);
    }
    ww_json_free(json);
    if (rc) {
        ww_envelope_release(out);
    }
    return rc;
}

void ww_envelope_release(struct ww_envelope *envelope)
{
    for (size_t i = 0; i < envelope->n_signatures; i++) {
        ww_buf_release(&envelope->signatures[i].sig);
    }
    ww_free(envelope->signatures);
    ww_buf_release(&envelope->payload);
    *envelope = (struct ww_envelope){0};
}

enum ww_err ww_envelope_make(enum ww_signed_kind kind, const uint8_t *payload, size_t len,
                             struct ww_envelope *out, struct ww_error *err)
{
    *out = (struct ww_envelope){.kind = kind};
    ww_buf_init(&out->payload, WW_ENVELOPE_MAX_PAYLOAD);
    if (len == 0) {
        return WW_FAIL(err, WW_E_USAGE, "an envelope needs something to sign");
    }
    return ww_buf_add(&out->payload, payload, len, err);
}

enum ww_err ww_envelope_signed_bytes(const struct ww_envelope *envelope,
                                     struct ww_buf *out, struct ww_error *err)
{
    return ww_dsse_pae_of(type_of(envelope->kind), envelope->payload.data,
                          envelope->payload.len, out, err);
}

enum ww_err ww_envelope_check(const struct ww_envelope *envelope, size_t i,
                              const struct ww_pubkey *key, struct ww_error *err)
{
    const struct ww_envelope_signature *s = &envelope->signatures[i];
    char hint[2 * WW_SHA256_BYTES + 1];
    struct ww_buf bytes;
    enum ww_err rc = ww_pubkey_hint(key, hint, err);

    ww_buf_init(&bytes, WW_ENVELOPE_MAX_BYTES);
    if (!rc && strcmp(hint, s->keyid) != 0) {
        rc =
            WW_FAIL(err, WW_E_UNTRUSTED, "signed by key %s, expected %s", s->keyid, hint);
    }
    if (!rc) {
        rc = ww_envelope_signed_bytes(envelope, &bytes, err);
    }
    if (!rc) {
        rc = ww_pubkey_verify(key, bytes.data, bytes.len, s->sig.data, s->sig.len, err);
    }
    ww_buf_release(&bytes);
    return rc;
}

enum ww_err ww_envelope_write(const struct ww_envelope *envelope, struct ww_buf *out,
                              struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    ww_buf_clear(out);
    rc = ww_base64_encode(&text, envelope->payload.data, envelope->payload.len, err);
    if (rc) {
        goto out;
    }
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "payload", ww_buf_cstr(&text));
    ww_jw_kstr(&w, "payloadType", type_of(envelope->kind));
    ww_jw_key(&w, "signatures");
    ww_jw_array(&w);
    for (size_t i = 0; i < envelope->n_signatures; i++) {
        const struct ww_envelope_signature *s = &envelope->signatures[i];
        ww_buf_clear(&text);
        rc = ww_base64_encode(&text, s->sig.data, s->sig.len, err);
        if (rc) {
            goto out;
        }
        ww_jw_object(&w);
        ww_jw_kstr(&w, "keyid", s->keyid);
        ww_jw_kstr(&w, "sig", ww_buf_cstr(&text));
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
out:
    ww_buf_release(&text);
    return rc;
}
