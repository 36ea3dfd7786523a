/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the tensor statement. Names must be strictly ascending, because a tensor's rank
 * in that order is hashed into its leaves, and the roots must fold to the stated model
 * root, so that an item cannot be exchanged without changing the model's name.
 */
#include <inttypes.h>
#include <string.h>

#include "sign/oms.h"
#include "sign/tensors.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

static const char *const predicate_keys[] = {"tensors", "lock"};
static const char *const tensors_keys[] = {"algorithm", "chunk", "count", "root",
                                           "items"};
static const char *const item_keys[] = {"name", "dtype", "shape", "bytes", "root"};

static enum ww_err read_root(const struct ww_jnode *node, const char *what,
                             uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    if (!ww_jhex(node, root, WW_SHA256_BYTES)) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "root of '%s' is not 64 lower-case hexadecimal digits", what);
    }
    return WW_OK;
}

static enum ww_err read_shape(const struct ww_jnode *shape, struct ww_tensor_item *out,
                              struct ww_error *err)
{
    if (!shape || ww_jtype(shape) != WW_J_ARRAY || ww_jsize(shape) > WW_MAX_RANK) {
        return WW_FAIL(err, WW_E_BUNDLE, "tensor '%s' has no shape of at most %d numbers",
                       out->name, WW_MAX_RANK);
    }
    for (const struct ww_jnode *at = ww_jfirst(shape); at; at = ww_jnext(at)) {
        if (!ww_ju64(at, &out->shape[out->rank])) {
            return WW_FAIL(err, WW_E_BUNDLE, "shape of tensor '%s' holds no number",
                           out->name);
        }
        out->rank++;
    }
    return WW_OK;
}

static enum ww_err read_item(const struct ww_jnode *node, struct ww_tensor_item *out,
                             struct ww_error *err)
{
    enum ww_err rc =
        ww_jonly(node, item_keys, WW_LEN(item_keys), WW_E_BUNDLE, "stated tensor", err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "name"), &out->name) ||
        !ww_text_ok((const uint8_t *)out->name, strlen(out->name))) {
        return WW_FAIL(err, WW_E_BUNDLE, "stated tensor has no printable name");
    }
    if (!ww_jstr(ww_jget(node, "dtype"), &out->dtype)) {
        return WW_FAIL(err, WW_E_BUNDLE, "tensor '%s' has no dtype", out->name);
    }
    if (!ww_ju64(ww_jget(node, "bytes"), &out->n_bytes)) {
        return WW_FAIL(err, WW_E_BUNDLE, "tensor '%s' has no length in bytes", out->name);
    }
    rc = read_shape(ww_jget(node, "shape"), out, err);
    if (rc) {
        return rc;
    }
    return read_root(ww_jget(node, "root"), out->name, out->root, err);
}

static enum ww_err read_items(const struct ww_jnode *list,
                              struct ww_tensor_statement *out, struct ww_error *err)
{
    size_t n = ww_jsize(list);
    size_t i = 0;

    out->items = ww_calloc(n, sizeof(*out->items));
    if (!out->items) {
        return WW_FAIL_MEMORY(err, "%zu tensors", n);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at), i++) {
        enum ww_err rc = read_item(at, &out->items[i], err);
        if (rc) {
            return rc;
        }
        if (i > 0 && strcmp(out->items[i - 1].name, out->items[i].name) >= 0) {
            return WW_FAIL(err, WW_E_BUNDLE,
                           "tensor '%s' is stated out of order or twice",
                           out->items[i].name);
        }
    }
    out->n_items = n;
    return WW_OK;
}

static enum ww_err check_root(const struct ww_tensor_statement *statement,
                              struct ww_error *err)
{
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(statement->n_items, sizeof(*roots));
    uint8_t root[WW_SHA256_BYTES];
    struct ww_sha256 *h = NULL;
    enum ww_err rc = WW_OK;

    if (!roots) {
        rc = WW_FAIL_MEMORY(err, "%zu digests", statement->n_items);
        goto out;
    }
    rc = ww_sha256_new(&h, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < statement->n_items; i++) {
        memcpy(roots[i], statement->items[i].root, sizeof(roots[i]));
    }
    ww_tree_fold(h, roots, statement->n_items, root);
    if (memcmp(root, statement->model_root, sizeof(root)) != 0) {
        rc = WW_FAIL(err, WW_E_BUNDLE,
                     "model root of the tensor statement is not that of its tensors");
    }
out:
    ww_sha256_free(h);
    ww_free(roots);
    return rc;
}

static enum ww_err read_tensors(const struct ww_jnode *node,
                                struct ww_tensor_statement *out, struct ww_error *err)
{
    const struct ww_jnode *items = ww_jget(node, "items");
    const char *algorithm = NULL;
    uint64_t chunk = 0;
    uint64_t count = 0;
    enum ww_err rc = ww_jonly(node, tensors_keys, WW_LEN(tensors_keys), WW_E_BUNDLE,
                              "'tensors' of the statement", err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "algorithm"), &algorithm) ||
        !ww_str_eq(algorithm, WW_TENSORS_ALGORITHM)) {
        return WW_FAIL(err, WW_E_VERSION,
                       "tensors were hashed by '%s', only '%s' is known",
                       algorithm ? algorithm : "", WW_TENSORS_ALGORITHM);
    }
    if (!ww_ju64(ww_jget(node, "chunk"), &chunk) || chunk != WW_TREE_CHUNK) {
        return WW_FAIL(err, WW_E_VERSION,
                       "tensors were hashed in chunks of %" PRIu64
                       " bytes, expected %" PRIu64,
                       chunk, (uint64_t)WW_TREE_CHUNK);
    }
    if (!items || ww_jtype(items) != WW_J_ARRAY || ww_jsize(items) == 0 ||
        !ww_ju64(ww_jget(node, "count"), &count) || count != ww_jsize(items)) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "tensor statement lists %zu tensors and counts %" PRIu64,
                       ww_jsize(items), count);
    }
    rc = read_root(ww_jget(node, "root"), "the model", out->model_root, err);
    if (rc) {
        return rc;
    }
    rc = read_items(items, out, err);
    if (rc) {
        return rc;
    }
    return check_root(out, err);
}

static enum ww_err read_statement(const struct ww_jnode *root,
                                  struct ww_tensor_statement *out, struct ww_error *err)
{
    struct ww_statement_view view;
    enum ww_err rc = ww_statement_read(root, WW_TENSORS_PREDICATE, &view, err);
    if (rc) {
        return rc;
    }
    rc = ww_jonly(view.predicate, predicate_keys, WW_LEN(predicate_keys), WW_E_BUNDLE,
                  "predicate of the tensor statement", err);
    if (rc) {
        return rc;
    }
    rc = read_tensors(ww_jget(view.predicate, "tensors"), out, err);
    if (rc) {
        return rc;
    }
    if (memcmp(view.subject_sha256, out->model_root, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "subject and model root of the tensor statement differ");
    }
    out->lock = ww_jget(view.predicate, "lock");
    if (out->lock && ww_jtype(out->lock) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "'lock' of the tensor statement is no object");
    }
    return WW_OK;
}

enum ww_err ww_tensors_parse(const uint8_t *payload, size_t len,
                             struct ww_tensor_statement *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(payload, len, &ww_json_limits_bundle, &out->json, err);
    if (rc) {
        goto out;
    }
    rc = read_statement(ww_json_root(out->json), out, err);
out:
    if (rc) {
        ww_tensors_release(out);
    }
    return rc;
}

static enum ww_err open_envelope(const struct ww_buf *text,
                                 const struct ww_verifier *verifier,
                                 char signer[WW_SIGNER_BYTES],
                                 struct ww_tensor_statement *out, struct ww_error *err)
{
    struct ww_bundle bundle;
    enum ww_err rc = ww_bundle_parse(text->data, text->len, &bundle, err);
    if (rc) {
        return rc;
    }
    if (verifier) {
        rc = ww_bundle_check(&bundle, verifier, signer, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_tensors_parse(bundle.payload.data, bundle.payload.len, out, err);
    if (rc) {
        goto out;
    }
    out->was_signed = true;
out:
    ww_bundle_release(&bundle);
    return rc;
}

static enum ww_err read_plain(int dirfd, bool want_signature, struct ww_buf *text,
                              struct ww_tensor_statement *out, struct ww_error *err)
{
    enum ww_err rc =
        ww_file_read_at(dirfd, WW_TENSORS_PLAIN_FILE, WW_LINKS_REFUSE, text, err);
    if (rc) {
        return rc;
    }
    if (want_signature) {
        return WW_FAIL(err, WW_E_NOT_SIGNED,
                       "tensor statement '%s' carries no signature; sign with --tensors",
                       WW_TENSORS_PLAIN_FILE);
    }
    rc = ww_tensors_parse(text->data, text->len, out, err);
    if (rc) {
        ww_error_context(err, "'%s'", WW_TENSORS_PLAIN_FILE);
    }
    return rc;
}

enum ww_err ww_tensors_read_by(int dirfd, const struct ww_verifier *verifier,
                               char signer[WW_SIGNER_BYTES],
                               struct ww_tensor_statement *out, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read_at(dirfd, WW_TENSORS_FILE, WW_LINKS_REFUSE, &text, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = read_plain(dirfd, verifier != NULL, &text, out, err);
        goto out;
    }
    if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
        goto out;
    }
    rc = open_envelope(&text, verifier, signer, out, err);
    if (rc) {
        ww_error_context(err, "'%s'", WW_TENSORS_FILE);
    }
out:
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_tensors_read(int dirfd, const struct ww_pubkey *key,
                            struct ww_tensor_statement *out, struct ww_error *err)
{
    struct ww_verifier verifier;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!key) {
        return ww_tensors_read_by(dirfd, NULL, NULL, out, err);
    }
    rc = ww_verifier_of_key(key, &verifier, err);
    if (rc) {
        return rc;
    }
    return ww_tensors_read_by(dirfd, &verifier, NULL, out, err);
}

void ww_tensors_release(struct ww_tensor_statement *statement)
{
    if (!statement) {
        return;
    }
    ww_free(statement->items);
    ww_json_free(statement->json);
    memset(statement, 0, sizeof(*statement));
}
