/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ties key, manifest and weights together. The lock's identity hashes the source's
 * digests and an identity of the key. The commitment opens to the key and to nothing
 * else; the key check is eight bytes, enough to tell a wrong key before the weights are
 * read and too few to be of use elsewhere. The MAC lets a key holder trust the digests
 * in an unsigned manifest; it is HKDF-Expand over the text's hash, which is HMAC.
 */
#include "lock/group.h"
#include "lock/manifest.h"

#include <string.h>

#include "crypto/base64.h"
#include "lock/draw.h"
#include "lock/residual_file.h"
#include "util/fail.h"
#include "util/str.h"

#define ID_LABEL "weightward/lock/id/v1"
#define COMMITMENT_LABEL "weightward/lock/commitment/v1"
#define KEY_ID_LABEL "weightward/lock/key-id/v1"
#define KEY_CHECK_LABEL "weightward/lock/key-check/v1"
#define MAC_LABEL "weightward/lock/mac/v1"

static void hash_str(struct ww_sha256 *sha, const char *s)
{
    ww_sha256_u32le(sha, (uint32_t)strlen(s));
    ww_sha256_update(sha, s, strlen(s));
}

enum ww_err ww_manifest_id(struct ww_manifest *manifest, struct ww_secret *prk,
                           struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    uint8_t key_id[WW_SHA256_BYTES];
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (!rc) {
        rc = ww_draw_key(prk, KEY_ID_LABEL, NULL, 0, key_id, sizeof(key_id), err);
    }
    if (rc) {
        goto out;
    }
    hash_str(sha, ID_LABEL);
    ww_sha256_update(sha, key_id, sizeof(key_id));
    ww_sha256_u64le(sha, manifest->n_source);
    for (size_t i = 0; i < manifest->n_source; i++) {
        hash_str(sha, manifest->source[i].path);
        ww_sha256_update(sha, manifest->source[i].sha256, WW_SHA256_BYTES);
    }
    ww_sha256_final(sha, manifest->lock_id);
out:
    ww_sha256_free(sha);
    return rc;
}

enum ww_err ww_manifest_key_check(const uint8_t lock_id[WW_SHA256_BYTES],
                                  struct ww_secret *prk, uint8_t out[WW_KEY_CHECK_BYTES],
                                  struct ww_error *err)
{
    return ww_draw_key(prk, KEY_CHECK_LABEL, lock_id, WW_SHA256_BYTES, out,
                       WW_KEY_CHECK_BYTES, err);
}

enum ww_err ww_manifest_commitment(const uint8_t lock_id[WW_SHA256_BYTES],
                                   struct ww_secret *secret, uint8_t out[WW_SHA256_BYTES],
                                   struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (!rc) {
        hash_str(sha, COMMITMENT_LABEL);
        ww_sha256_update(sha, ww_secret_open(secret), ww_secret_len(secret));
        ww_secret_close(secret);
        ww_sha256_update(sha, lock_id, WW_SHA256_BYTES);
        ww_sha256_final(sha, out);
    }
    ww_sha256_free(sha);
    return rc;
}

enum ww_err ww_manifest_mac(const void *text, size_t len, struct ww_secret *prk,
                            uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(text, len, digest);
    return ww_draw_key(prk, MAC_LABEL, digest, sizeof(digest), out, WW_SHA256_BYTES, err);
}

static void write_files(struct ww_jw *w, const char *key,
                        const struct ww_lock_file *files, size_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "path", files[i].path);
        ww_jw_ku64(w, "size", files[i].size_bytes);
        ww_jw_khex(w, "sha256", files[i].sha256, WW_SHA256_BYTES);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_blocks(struct ww_jw *w, const struct ww_manifest *m)
{
    ww_jw_key(w, "blocks");
    ww_jw_array(w);
    for (size_t b = 0; b < m->n_blocks; b++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", m->blocks[b].name);
        ww_jw_key(w, "moved");
        ww_jw_array(w);
        for (size_t i = 0; i < m->blocks[b].n_moved; i++) {
            ww_jw_str(w, m->blocks[b].moved[i]);
        }
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_source(struct ww_jw *w, const struct ww_manifest *m)
{
    ww_jw_key(w, "source");
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->source_name);
    write_files(w, "files", m->source, m->n_source);
    if (m->oms_root) {
        ww_jw_kstr(w, "oms_root", m->oms_root);
    }
    ww_jw_close(w);
}

static void write_check(struct ww_jw *w, const struct ww_check_report *check)
{
    ww_jw_key(w, "check");
    ww_jw_object(w);
    ww_jw_kdouble(w, "max_relative_error", check->max_relative_error);
    ww_jw_ku64(w, "blocks", check->blocks);
    ww_jw_ku64(w, "linears", check->linears);
    ww_jw_close(w);
}

/* What the lock is worth against somebody who has a related model, or that nobody
 * looked. */
static void write_attack(struct ww_jw *w, const struct ww_lock_attack *attack)
{
    if (!attack->measured) {
        ww_jw_kstr(w, "attack", "not measured");
        return;
    }
    ww_jw_key(w, "attack");
    ww_jw_object(w);
    ww_jw_kstr(w, "mode", attack->mode);
    if (attack->has_task) {
        ww_jw_kdouble(w, "recovered", attack->recovered);
    }
    ww_jw_kdouble(w, "identical_bytes", attack->identical);
    ww_jw_kdouble(w, "distance_before", attack->distance_before);
    ww_jw_kdouble(w, "distance_after", attack->distance_after);
    ww_jw_kdouble(w, "seconds", attack->seconds);
    ww_jw_close(w);
}

static void write_dense(struct ww_jw *w, const struct ww_manifest *m)
{
    const struct ww_dense_report *dense = &m->dense;

    ww_jw_key(w, "dense");
    ww_jw_object(w);
    ww_jw_kstr(w, "law", dense->condition > 0 ? "conditioned" : "haar");
    if (dense->condition > 0) {
        ww_jw_kdouble(w, "condition", dense->condition);
    }
    ww_jw_ku64(w, "weights", dense->weights);
    ww_jw_kdouble(w, "bits_per_weight", dense->bits_per_weight);
    ww_jw_kdouble(w, "projection_error", dense->projection_error);
    if (dense->blocks_run > 0) {
        ww_jw_kdouble(w, "output_change", dense->output_change);
        ww_jw_ku64(w, "blocks_run", dense->blocks_run);
    }
    ww_jw_key(w, "residual");
    ww_jw_object(w);
    ww_jw_kstr(w, "path", WW_RESIDUAL_FILE);
    ww_jw_ku64(w, "size", dense->residual_bytes);
    ww_jw_khex(w, "sha256", m->residual_sha256, WW_SHA256_BYTES);
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_body(struct ww_jw *w, const struct ww_manifest *m,
                       const uint8_t group[WW_LOCK_GROUP_BYTES],
                       const uint8_t key_check[WW_KEY_CHECK_BYTES],
                       const uint8_t commitment[WW_SHA256_BYTES])
{
    ww_jw_kstr(w, "schema", WW_LOCK_SCHEMA);
    ww_jw_khex(w, "lock_id", m->lock_id, WW_SHA256_BYTES);
    ww_jw_kstr(w, "level", m->dense.used ? "dense" : "exact");
    ww_jw_kbool(w, "scale", m->scale);
    if (m->recipient) {
        ww_jw_key(w, "recipient");
        ww_jw_object(w);
        ww_jw_kstr(w, "name", m->recipient);
        ww_jw_khex(w, "nonce", m->nonce, sizeof(m->nonce));
        ww_jw_close(w);
    }
    ww_jw_key(w, "descriptor");
    ww_jw_object(w);
    ww_jw_kstr(w, "id", m->descriptor);
    ww_jw_khex(w, "sha256", m->descriptor_sha256, WW_SHA256_BYTES);
    ww_jw_close(w);
    ww_jw_kstr(w, "tool", "weightward " WW_VERSION);
    if (!m->recipient) { /* a recipient's copy shares its transform with no other */
        ww_jw_khex(w, "group", group, WW_LOCK_GROUP_BYTES);
    }
    ww_jw_khex(w, "key_check", key_check, WW_KEY_CHECK_BYTES);
    ww_jw_khex(w, "commitment", commitment, WW_SHA256_BYTES);
    write_attack(w, &m->attack);
    write_blocks(w, m);
    write_source(w, m);
    write_files(w, "locked", m->locked, m->n_locked);
    write_check(w, &m->check);
    if (m->dense.used) {
        write_dense(w, m);
    }
}

enum ww_err ww_manifest_write(const struct ww_manifest *manifest,
                              struct ww_secret *secret, struct ww_secret *prk,
                              struct ww_buf *out, struct ww_error *err)
{
    uint8_t group[WW_LOCK_GROUP_BYTES];
    uint8_t key_check[WW_KEY_CHECK_BYTES];
    uint8_t commitment[WW_SHA256_BYTES];
    uint8_t mac[WW_SHA256_BYTES];
    struct ww_jw w;
    enum ww_err rc = ww_manifest_key_check(manifest->lock_id, prk, key_check, err);

    if (!rc) {
        rc = ww_manifest_commitment(manifest->lock_id, secret, commitment, err);
    }
    if (!rc) {
        rc = ww_lock_group(prk, group, err);
    }
    if (rc) {
        return rc;
    }
    for (int pass = 0; pass < 2 && !rc; pass++) {
        ww_buf_clear(out);
        ww_jw_init(&w, out, 0);
        ww_jw_object(&w);
        write_body(&w, manifest, group, key_check, commitment);
        if (pass == 1) {
            ww_jw_khex(&w, "mac", mac, sizeof(mac));
        }
        ww_jw_close(&w);
        rc = ww_jw_end(&w, err);
        if (!rc && pass == 0) {
            rc = ww_manifest_mac(out->data, out->len, prk, mac, err);
        }
    }
    return rc;
}

static const char *statement_payload(const struct ww_json *json)
{
    const char *payload = NULL;
    const struct ww_jnode *envelope = ww_jget(ww_json_root(json), "dsseEnvelope");

    return ww_jstr(ww_jget(envelope, "payload"), &payload) ? payload : NULL;
}

static void root_of_statement(const struct ww_json *statement, char out[65])
{
    const struct ww_jnode *subject =
        ww_jfirst(ww_jget(ww_json_root(statement), "subject"));
    const char *hex = NULL;
    uint8_t root[WW_SHA256_BYTES];

    if (ww_jstr(ww_jget(ww_jget(subject, "digest"), "sha256"), &hex) &&
        ww_unhex(root, sizeof(root), hex, strlen(hex))) {
        memcpy(out, hex, 65);
    }
}

void ww_manifest_oms_root(const struct ww_buf *bundle, char out[65])
{
    struct ww_json *json = NULL;
    struct ww_json *statement = NULL;
    struct ww_buf payload;
    const char *text = NULL;

    out[0] = '\0';
    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    if (ww_json_parse(bundle->data, bundle->len, &ww_json_limits_bundle, &json, NULL) ||
        !(text = statement_payload(json)) ||
        ww_base64_decode(&payload, text, strlen(text), NULL) ||
        ww_json_parse(payload.data, payload.len, &ww_json_limits_bundle, &statement,
                      NULL)) {
        goto out;
    }
    root_of_statement(statement, out);
out:
    ww_json_free(statement);
    ww_json_free(json);
    ww_buf_release(&payload);
}
