/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One link of a chain: whose signature it bears, what it says, and whether that is about
 * the bytes that were used. The signature is checked before the statement is parsed.
 */
#include <stdlib.h>
#include <string.h>

#include "evidence/chain.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

static enum ww_err grow(struct ww_chain_keys *keys, struct ww_verifier **out,
                        struct ww_error *err)
{
    struct ww_verifier *grown =
        ww_realloc_array(keys->items, keys->n + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "the keys of a chain");
    }
    keys->items = grown;
    *out = &grown[keys->n];
    return WW_OK;
}

enum ww_err ww_chain_keys_add(struct ww_chain_keys *keys, const struct ww_pubkey *key,
                              struct ww_error *err)
{
    struct ww_verifier *item = NULL;
    enum ww_err rc = grow(keys, &item, err);

    if (!rc) {
        rc = ww_verifier_of_key(key, item, err);
    }
    keys->n += rc == WW_OK;
    return rc;
}

static enum ww_err open_one(struct ww_chain_keys *keys,
                            const struct ww_verify_options *options, struct ww_error *err)
{
    struct ww_verifier *item = NULL;
    enum ww_err rc = grow(keys, &item, err);

    if (!rc) {
        rc = ww_verifier_open(options, item, err);
    }
    keys->n += rc == WW_OK;
    return rc;
}

enum ww_err ww_chain_keys_more(const struct ww_chain_options *o,
                               struct ww_chain_keys *keys, struct ww_error *err)
{
    struct ww_verify_options one = {.chain = o->certificates,
                                    .n_chain = o->n_certificates,
                                    .at_unix = o->at_unix,
                                    .trusted_root = o->trusted_root,
                                    .identity = o->identity,
                                    .identity_provider = o->identity_provider};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < o->n_keys && !rc; i++) {
        one.public_key = o->keys[i];
        rc = open_one(keys, &one, err);
    }
    if (!rc && o->n_certificates > 0) {
        one.method = WW_VERIFY_CERTIFICATE;
        rc = open_one(keys, &one, err);
    }
    if (!rc && o->identity) {
        one.method = WW_VERIFY_KEYLESS;
        rc = open_one(keys, &one, err);
    }
    return rc;
}

enum ww_err ww_chain_keys_open(const struct ww_chain_options *options,
                               struct ww_chain_keys *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_chain_keys){.what = "is not given"};
    rc = ww_chain_keys_more(options, out, err);
    if (!rc && out->n == 0) {
        rc =
            WW_FAIL(err, WW_E_USAGE,
                    "a chain is verified with at least one key, certificate or identity");
    }
    if (rc) {
        ww_chain_keys_release(out);
    }
    return rc;
}

void ww_chain_keys_release(struct ww_chain_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        ww_verifier_release(&keys->items[i]);
    }
    ww_free(keys->items);
    memset(keys, 0, sizeof(*keys));
}

enum ww_err ww_chain_keys_find(const struct ww_chain_keys *keys,
                               const struct ww_bundle *bundle,
                               const struct ww_verifier **out, struct ww_error *err)
{
    const enum ww_verify_method method = bundle->is_keyless ? WW_VERIFY_KEYLESS
                                         : bundle->certs    ? WW_VERIFY_CERTIFICATE
                                                            : WW_VERIFY_KEY;

    for (size_t i = 0; i < keys->n; i++) {
        const struct ww_verifier *v = &keys->items[i];
        if (v->method == method &&
            (method != WW_VERIFY_KEY || ww_str_eq(bundle->hint, v->hint))) {
            *out = v;
            return WW_OK;
        }
    }
    if (method == WW_VERIFY_KEY) {
        return WW_FAIL(err, WW_E_UNTRUSTED, "it is signed by key %.64s, which %s",
                       bundle->hint, keys->what);
    }
    return WW_FAIL(err, WW_E_UNTRUSTED, "it is signed %s was given",
                   method == WW_VERIFY_KEYLESS
                       ? "without a key, under an identity, and no identity to trust"
                       : "by a certificate, and no certificate to trust");
}

enum ww_err ww_chain_open_signed(int dirfd, const char *path,
                                 const struct ww_chain_keys *keys,
                                 struct ww_bundle *bundle,
                                 const struct ww_verifier **verifier,
                                 struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read_at(dirfd, path, WW_LINKS_REFUSE, &text, err);
    if (!rc) {
        rc = ww_bundle_parse(text.data, text.len, bundle, err);
    }
    ww_buf_release(&text);
    return rc ? rc : ww_chain_keys_find(keys, bundle, verifier, err);
}

static enum ww_err check_signature(const struct ww_chain_keys *keys,
                                   struct ww_bundle *bundle,
                                   struct ww_chain_evidence *out, struct ww_error *err)
{
    const struct ww_verifier *verifier = NULL;
    enum ww_err rc = ww_chain_keys_find(keys, bundle, &verifier, err);

    if (!rc) {
        rc = ww_bundle_check(bundle, verifier, out->signer, err);
    }
    if (!rc && verifier->method == WW_VERIFY_KEY) {
        memcpy(out->hint, verifier->hint, sizeof(out->hint));
    }
    return rc;
}

enum ww_err ww_chain_evidence_parse(const struct ww_bundle *bundle,
                                    struct ww_chain_evidence *out, struct ww_error *err)
{
    return out->kind == WW_EVIDENCE_PROVENANCE
               ? ww_provenance_parse(bundle->payload.data, bundle->payload.len,
                                     &out->provenance, err)
               : ww_oms_parse(bundle->payload.data, bundle->payload.len, bundle->is_v02,
                              &out->signature, err);
}

enum ww_err ww_chain_evidence_open(const struct ww_chain_keys *keys,
                                   const struct ww_buf *text, enum ww_evidence_kind kind,
                                   struct ww_chain_evidence *out, struct ww_error *err)
{
    struct ww_bundle bundle = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->kind = kind;
    ww_sha256_of(text->data, text->len, out->sha256);
    rc = ww_bundle_parse(text->data, text->len, &bundle, err);
    if (!rc && keys) {
        rc = check_signature(keys, &bundle, out, err);
    }
    if (!rc) {
        rc = ww_chain_evidence_parse(&bundle, out, err);
    }
    ww_bundle_release(&bundle);
    if (rc) {
        ww_chain_evidence_release(out);
    }
    return rc;
}

void ww_chain_evidence_release(struct ww_chain_evidence *evidence)
{
    ww_provenance_release(&evidence->provenance);
    ww_oms_release(&evidence->signature);
    memset(evidence, 0, sizeof(*evidence));
}

static int compare_file(const void *key, const void *file)
{
    return strcmp(key, ((const struct ww_resource *)file)->name);
}

static int compare_resource(const void *key, const void *resource)
{
    return strcmp(key, ((const struct ww_oms_resource *)resource)->path);
}

const uint8_t *ww_chain_stated(const struct ww_chain_evidence *e, const char *name)
{
    const struct ww_provenance_view *p = &e->provenance;
    const struct ww_oms *s = &e->signature;
    const struct ww_resource *file = NULL;
    const struct ww_oms_resource *resource = NULL;

    if (e->kind == WW_EVIDENCE_PROVENANCE) {
        file = bsearch(name, p->files, p->n_files, sizeof(*p->files), compare_file);
        return file ? file->sha256 : NULL;
    }
    if (s->shard_size != 0 || !s->algorithm || strcmp(s->algorithm, "sha256") != 0) {
        return NULL;
    }
    resource = bsearch(name, s->resources, s->n_resources, sizeof(*s->resources),
                       compare_resource);
    return resource ? resource->digest : NULL;
}

/* What may not be left out: weights, and every section of a package, whose names are
 * those of its members. */
static bool must_be_stated(const struct ww_chain_evidence *e, const char *name)
{
    return ww_str_ends(name, ".safetensors") ||
           (e->kind == WW_EVIDENCE_PROVENANCE &&
            strcmp(e->provenance.action, "pack") == 0);
}

static enum ww_err match_file(const struct ww_provenance_link *used,
                              const struct ww_chain_evidence *e,
                              const struct ww_resource *file, struct ww_notes *notes,
                              struct ww_error *err)
{
    const uint8_t *digest = ww_chain_stated(e, file->name);

    if (digest && memcmp(digest, file->sha256, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "its evidence has another digest for file '%s' than was used",
                       file->name);
    }
    if (!digest && must_be_stated(e, file->name)) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "its evidence does not speak of file '%s', which was used",
                       file->name);
    }
    return digest ? WW_OK
                  : ww_notes_add(notes, err,
                                 "file '%s' of '%s', of which its evidence "
                                 "does not speak",
                                 file->name, used->name);
}

enum ww_err ww_chain_match(const struct ww_provenance_link *used,
                           const struct ww_chain_evidence *e, struct ww_notes *notes,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (const struct ww_jnode *f = ww_jfirst(used->files); f && !rc; f = ww_jnext(f)) {
        struct ww_resource file = {0};
        rc = ww_provenance_file(f, &file)
                 ? match_file(used, e, &file, notes, err)
                 : WW_FAIL(err, WW_E_BUNDLE, "a file of a source has no digest");
    }
    if (!rc && used->has_tree && e->provenance.has_tree &&
        memcmp(used->tree, e->provenance.tree, WW_SHA256_BYTES) != 0) {
        rc = WW_FAIL(err, WW_E_WRONG_MODEL,
                     "its evidence has another tensor root than was used");
    }
    return rc;
}
