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
#include "util/str.h"

enum ww_err ww_chain_keys_open(const char *const *paths, size_t n,
                               struct ww_chain_keys *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_chain_keys){.paths = paths};
    if (n == 0) {
        return WW_FAIL(err, WW_E_USAGE, "a chain is verified with at least one key");
    }
    out->keys = ww_calloc(n, sizeof(struct ww_pubkey *));
    out->hints = ww_calloc(n, sizeof(*out->hints));
    if (!out->keys || !out->hints) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for %zu keys", n);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_pubkey_load(paths[i], &out->keys[i], err);
        if (!rc) {
            out->n = i + 1;
            rc = ww_pubkey_hint(out->keys[i], out->hints[i], err);
        }
    }
    if (rc) {
        ww_chain_keys_release(out);
    }
    return rc;
}

void ww_chain_keys_release(struct ww_chain_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        ww_pubkey_free(keys->keys[i]);
    }
    ww_free(keys->keys);
    ww_free(keys->hints);
    memset(keys, 0, sizeof(*keys));
}

enum ww_err ww_chain_keys_find(const struct ww_chain_keys *keys,
                               const struct ww_bundle *bundle, size_t *out,
                               struct ww_error *err)
{
    if (!bundle->hint) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "it is signed by a certificate; a chain is verified by keys");
    }
    for (size_t i = 0; i < keys->n; i++) {
        if (strcmp(keys->hints[i], bundle->hint) == 0) {
            *out = i;
            return WW_OK;
        }
    }
    return WW_FAIL(err, WW_E_UNTRUSTED, "it is signed by key %.64s, which is not given",
                   bundle->hint);
}

static enum ww_err check_signature(const struct ww_chain_keys *keys,
                                   struct ww_bundle *bundle,
                                   char signer[WW_SIGNER_BYTES], struct ww_error *err)
{
    struct ww_verifier verifier = {0};
    size_t k = 0;
    enum ww_err rc = ww_chain_keys_find(keys, bundle, &k, err);

    if (!rc) {
        rc = ww_verifier_of_key(keys->keys[k], &verifier, err);
    }
    if (!rc) {
        rc = ww_bundle_check(bundle, &verifier, signer, err);
    }
    ww_verifier_release(&verifier);
    return rc;
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
    if (!rc) {
        rc = check_signature(keys, &bundle, out->signer, err);
    }
    if (!rc && kind == WW_EVIDENCE_PROVENANCE) {
        rc = ww_provenance_parse(bundle.payload.data, bundle.payload.len,
                                 &out->provenance, err);
    } else if (!rc) {
        rc = ww_oms_parse(bundle.payload.data, bundle.payload.len, bundle.is_v02,
                          &out->signature, err);
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

/* What the evidence says of a file, or NULL. */
static const uint8_t *stated(const struct ww_chain_evidence *e, const char *name)
{
    const struct ww_provenance_view *p = &e->provenance;
    const struct ww_oms *s = &e->signature;
    const struct ww_resource *file = NULL;
    const struct ww_oms_resource *resource = NULL;

    if (e->kind == WW_EVIDENCE_PROVENANCE) {
        file = bsearch(name, p->files, p->n_files, sizeof(*p->files), compare_file);
        return file ? file->sha256 : NULL;
    }
    if (s->shard_size != 0 || strcmp(s->algorithm, "sha256") != 0) {
        return NULL;
    }
    resource = bsearch(name, s->resources, s->n_resources, sizeof(*s->resources),
                       compare_resource);
    return resource ? resource->digest : NULL;
}

static enum ww_err match_file(const struct ww_provenance_link *used,
                              const struct ww_chain_evidence *e,
                              const struct ww_resource *file, struct ww_notes *notes,
                              struct ww_error *err)
{
    const uint8_t *digest = stated(e, file->name);

    if (digest && memcmp(digest, file->sha256, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "its evidence has another digest for file '%s' than was used",
                       file->name);
    }
    if (!digest && ww_str_ends(file->name, ".safetensors")) {
        return WW_FAIL(err, WW_E_WRONG_MODEL,
                       "its evidence does not speak of file '%s', which was used",
                       file->name);
    }
    return digest ? WW_OK
                  : ww_notes_add(notes, err, "file '%s' of '%s', of which its evidence "
                                 "does not speak", file->name, used->name);
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
