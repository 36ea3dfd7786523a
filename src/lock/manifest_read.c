/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a lock manifest. Nothing in it is trusted before the MAC under the lock key has
 * been checked, and the key is checked first, so that a wrong key is called just that.
 * The MAC covers the compact text of the object, which is made again from the parsed
 * tree: what is checked is what is used.
 */
#include "lock/manifest.h"

#include <string.h>

#include "lock/draw.h"
#include "lock/handout.h"
#include "lock/residual_file.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static const char *const manifest_keys[] = {
    "attack",     "schema", "lock_id", "level",     "scale",      "recipient",
    "descriptor", "tool",   "group",   "key_check", "commitment", "blocks",
    "source",     "locked", "check",   "dense",     "mac"};
static const char *const dense_keys[] = {
    "law",           "condition",  "weights", "bits_per_weight", "projection_error",
    "output_change", "blocks_run", "residual"};
static const char *const recipient_keys[] = {"name", "nonce"};
static const char *const source_keys[] = {"name", "files", "oms_root"};
static const char *const file_keys[] = {"path", "size", "sha256"};
static const char *const descriptor_keys[] = {"id", "sha256"};

static void write_node(struct ww_jw *w, const struct ww_jnode *node, const char *skip)
{
    const char *text = NULL;
    uint64_t whole = 0;
    double real = 0;
    bool flag = false;

    switch (ww_jtype(node)) {
    case WW_J_NULL:
        ww_jw_null(w);
        break;
    case WW_J_BOOL:
        ww_jw_bool(w, ww_jbool(node, &flag) && flag);
        break;
    case WW_J_NUMBER:
        if (ww_ju64(node, &whole)) {
            ww_jw_u64(w, whole);
        } else {
            ww_jw_double(w, ww_jdouble(node, &real) ? real : 0);
        }
        break;
    case WW_J_STRING:
        ww_jw_str(w, ww_jstr(node, &text) ? text : "");
        break;
    case WW_J_ARRAY:
        ww_jw_array(w);
        for (const struct ww_jnode *at = ww_jfirst(node); at; at = ww_jnext(at)) {
            write_node(w, at, NULL);
        }
        ww_jw_close(w);
        break;
    case WW_J_OBJECT:
        ww_jw_object(w);
        for (const struct ww_jnode *at = ww_jfirst(node); at; at = ww_jnext(at)) {
            if (!skip || strcmp(ww_jkey(at), skip) != 0) {
                ww_jw_key(w, ww_jkey(at));
                write_node(w, at, NULL);
            }
        }
        ww_jw_close(w);
        break;
    }
}

static enum ww_err malformed(const char *member, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MANIFEST,
                   "lock manifest: member '%s' is missing or malformed", member);
}

static enum ww_err read_hex(const struct ww_jnode *object, const char *key, uint8_t *out,
                            size_t len, struct ww_error *err)
{
    if (!ww_jhex(ww_jget(object, key), out, len)) {
        return malformed(key, err);
    }
    return WW_OK;
}

static enum ww_err check_schema(const struct ww_jnode *node, struct ww_error *err)
{
    const char *schema = NULL;
    const char *level = NULL;

    if (!ww_jstr(ww_jget(node, "schema"), &schema)) {
        return malformed("schema", err);
    }
    if (strcmp(schema, WW_LOCK_SCHEMA) != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "lock manifest of schema '%s', expected '%s'; use "
                       "the version of weightward that wrote it",
                       schema, WW_LOCK_SCHEMA);
    }
    if (!ww_jstr(ww_jget(node, "level"), &level)) {
        return malformed("level", err);
    }
    if (strcmp(level, "exact") != 0 && strcmp(level, "dense") != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "lock of level '%s', only 'exact' and 'dense' are known", level);
    }
    return WW_OK;
}

/* The key first: without it nothing else in the manifest can be judged. */
static enum ww_err check_key(const struct ww_jnode *node, const uint8_t *lock_id,
                             struct ww_secret *secret, struct ww_secret *prk,
                             struct ww_error *err)
{
    uint8_t stated[WW_KEY_CHECK_BYTES];
    uint8_t found[WW_KEY_CHECK_BYTES];
    uint8_t commitment[WW_SHA256_BYTES];
    uint8_t opened[WW_SHA256_BYTES];
    enum ww_err rc = read_hex(node, "key_check", stated, sizeof(stated), err);

    if (!rc) {
        rc = read_hex(node, "commitment", commitment, sizeof(commitment), err);
    }
    if (!rc) {
        rc = ww_manifest_key_check(lock_id, prk, found, err);
    }
    if (!rc) {
        rc = ww_manifest_commitment(lock_id, secret, opened, err);
    }
    if (rc) {
        return rc;
    }
    if (memcmp(stated, found, sizeof(found)) != 0) {
        return WW_FAIL(err, WW_E_WRONG_KEY,
                       "the lock key is not the one this model was "
                       "locked with");
    }
    if (memcmp(commitment, opened, sizeof(opened)) != 0) {
        return WW_FAIL(err, WW_E_MANIFEST,
                       "lock manifest: its commitment does not open to the "
                       "lock key, so it was changed after it was written");
    }
    return WW_OK;
}

static enum ww_err check_mac(const struct ww_jnode *node, struct ww_secret *prk,
                             struct ww_error *err)
{
    uint8_t stated[WW_SHA256_BYTES];
    uint8_t found[WW_SHA256_BYTES];
    struct ww_buf text;
    struct ww_jw w;
    enum ww_err rc = read_hex(node, "mac", stated, sizeof(stated), err);

    ww_buf_init(&text, ww_json_limits_bundle.max_bytes);
    if (rc) {
        goto out;
    }
    ww_jw_init(&w, &text, 0);
    write_node(&w, node, "mac");
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_manifest_mac(text.data, text.len, prk, found, err);
    }
    if (!rc && memcmp(stated, found, sizeof(found)) != 0) {
        rc = WW_FAIL(
            err, WW_E_MANIFEST,
            "lock manifest: it was changed after it was written (its MAC under the "
            "lock key does not match)");
    }
out:
    ww_buf_release(&text);
    return rc;
}

static enum ww_err read_file(const struct ww_jnode *node, struct ww_lock_file *out,
                             struct ww_error *err)
{
    enum ww_err rc = ww_jonly(node, file_keys, WW_LEN(file_keys), WW_E_MANIFEST,
                              "file of the lock manifest", err);

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "path"), &out->path) || !ww_path_is_relative(out->path)) {
        return malformed("path", err);
    }
    if (!ww_ju64(ww_jget(node, "size"), &out->size_bytes)) {
        return malformed("size", err);
    }
    return read_hex(node, "sha256", out->sha256, sizeof(out->sha256), err);
}

/* Sorted by path, each once. */
static enum ww_err read_files(const struct ww_jnode *list, const char *what,
                              struct ww_lock_file **out, size_t *n, struct ww_error *err)
{
    size_t i = 0;

    if (ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) == 0) {
        return malformed(what, err);
    }
    *n = ww_jsize(list);
    *out = ww_calloc(*n, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "%zu files", *n);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at), i++) {
        enum ww_err rc = read_file(at, &(*out)[i], err);
        if (rc) {
            return rc;
        }
        if (i > 0 && strcmp((*out)[i - 1].path, (*out)[i].path) >= 0) {
            return malformed(what, err);
        }
    }
    return WW_OK;
}

static enum ww_err read_recipient(const struct ww_jnode *node, struct ww_manifest *out,
                                  struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!node) {
        return WW_OK;
    }
    rc = ww_jonly(node, recipient_keys, WW_LEN(recipient_keys), WW_E_MANIFEST,
                  "recipient of the lock manifest", err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "name"), &out->recipient) ||
        ww_handout_check_name(out->recipient, NULL)) {
        return malformed("recipient", err);
    }
    return read_hex(node, "nonce", out->nonce, sizeof(out->nonce), err);
}

/* Not used when a lock is undone; locks made before this member lack it. */
static bool attack_ok(const struct ww_jnode *node)
{
    const char *text = NULL;
    return !node || ww_jtype(node) == WW_J_OBJECT ||
           (ww_jstr(node, &text) && strcmp(text, "not measured") == 0);
}

/* A dense lock says so twice, by its level and by this member. */
static enum ww_err read_dense(const struct ww_jnode *root, struct ww_manifest *out,
                              struct ww_error *err)
{
    const struct ww_jnode *node = ww_jget(root, "dense");
    const char *level = NULL;
    const char *law = NULL;
    struct ww_lock_file file = {0};
    enum ww_err rc = WW_OK;

    out->dense.used =
        ww_jstr(ww_jget(root, "level"), &level) && strcmp(level, "dense") == 0;
    if (!out->dense.used) {
        return node ? malformed("dense", err) : WW_OK;
    }
    rc = ww_jonly(node, dense_keys, WW_LEN(dense_keys), WW_E_MANIFEST,
                  "member 'dense' of the lock manifest", err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "law"), &law)) {
        return malformed("law", err);
    }
    if (strcmp(law, "conditioned") == 0
            ? !ww_jdouble(ww_jget(node, "condition"), &out->dense.condition)
            : strcmp(law, "haar") != 0) {
        return malformed("law", err);
    }
    rc = read_file(ww_jget(node, "residual"), &file, err);
    if (!rc && strcmp(file.path, WW_RESIDUAL_FILE) != 0) {
        return malformed("residual", err);
    }
    out->dense.residual_bytes = file.size_bytes;
    memcpy(out->residual_sha256, file.sha256, WW_SHA256_BYTES);
    return rc;
}

static enum ww_err read_body(const struct ww_jnode *node, struct ww_manifest *out,
                             struct ww_error *err)
{
    const struct ww_jnode *descriptor = ww_jget(node, "descriptor");
    const struct ww_jnode *source = ww_jget(node, "source");
    enum ww_err rc = ww_jonly(node, manifest_keys, WW_LEN(manifest_keys), WW_E_MANIFEST,
                              "lock manifest", err);

    if (!rc) {
        rc = ww_jonly(descriptor, descriptor_keys, WW_LEN(descriptor_keys), WW_E_MANIFEST,
                      "descriptor of the lock manifest", err);
    }
    if (!rc) {
        rc = ww_jonly(source, source_keys, WW_LEN(source_keys), WW_E_MANIFEST,
                      "source of the lock manifest", err);
    }
    if (rc) {
        return rc;
    }
    if (!ww_jbool(ww_jget(node, "scale"), &out->scale)) {
        return malformed("scale", err);
    }
    rc = read_recipient(ww_jget(node, "recipient"), out, err);
    if (!rc) {
        rc = read_dense(node, out, err);
    }
    if (rc) {
        return rc;
    }
    if (!attack_ok(ww_jget(node, "attack"))) {
        return malformed("attack", err);
    }
    if (!ww_jstr(ww_jget(descriptor, "id"), &out->descriptor)) {
        return malformed("descriptor", err);
    }
    if (!ww_jstr(ww_jget(source, "name"), &out->source_name)) {
        return malformed("name", err);
    }
    rc = read_hex(descriptor, "sha256", out->descriptor_sha256, WW_SHA256_BYTES, err);
    if (!rc) {
        rc = read_files(ww_jget(source, "files"), "source", &out->source, &out->n_source,
                        err);
    }
    if (!rc) {
        rc = read_files(ww_jget(node, "locked"), "locked", &out->locked, &out->n_locked,
                        err);
    }
    return rc;
}

enum ww_err ww_manifest_read(const struct ww_jnode *node, struct ww_secret *secret,
                             struct ww_secret *prk, struct ww_manifest *out,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = check_schema(node, err);
    if (!rc) {
        rc = read_hex(node, "lock_id", out->lock_id, WW_SHA256_BYTES, err);
    }
    if (!rc) {
        rc = check_key(node, out->lock_id, secret, prk, err);
    }
    if (!rc) {
        rc = check_mac(node, prk, err);
    }
    if (!rc) {
        rc = read_body(node, out, err);
    }
    if (rc) {
        ww_manifest_release(out);
    }
    return rc;
}

void ww_manifest_release(struct ww_manifest *manifest)
{
    ww_free(manifest->source);
    ww_free(manifest->locked);
    memset(manifest, 0, sizeof(*manifest));
}

enum ww_err ww_manifest_gauge(const struct ww_manifest *manifest,
                              const struct ww_layout *layout, struct ww_secret *secret,
                              struct ww_secret **copy, struct ww_gauge *gauge,
                              struct ww_error *err)
{
    struct ww_handout handout = {.name = manifest->recipient};
    enum ww_err rc = WW_OK;

    memcpy(handout.nonce, manifest->nonce, sizeof(handout.nonce));
    rc = ww_handout_secret(secret, manifest->recipient ? &handout : NULL, copy, err);
    if (!rc) {
        rc = ww_gauge_init(gauge, layout, *copy ? *copy : secret, manifest->scale,
                           WW_WRONG_NONE, err);
    }
    if (!rc) {
        gauge->even_heads = manifest->dense.used;
    }
    return rc;
}
