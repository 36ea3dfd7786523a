/* SPDX-License-Identifier: Apache-2.0 */
/* Reading sealed.json: the MAC over its bytes first, then its members. */
#include <string.h>

#include "crypto/aead.h"
#include "seal/seal_keys.h"
#include "seal/seal_manifest.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MAC_LEAD ",\"mac\":\""
#define MAC_LEAD_BYTES (sizeof(MAC_LEAD) - 1)
#define MAC_HEX_BYTES (2 * (size_t)WW_SHA256_BYTES)
#define MAC_TAIL_BYTES (MAC_LEAD_BYTES + MAC_HEX_BYTES + 2)

static const char *const manifest_keys[] = {"schema",     "level", "tool",   "seal_id",
                                            "cipher",     "chunk", "source", "sealed",
                                            "recipients", "plain", "mac"};

static enum ww_err malformed(const char *member, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MANIFEST,
                   "'sealed.json': member '%s' is missing or malformed", member);
}

static enum ww_err check_mac(const struct ww_buf *text, struct ww_secret *prk,
                             struct ww_error *err)
{
    uint8_t stated[WW_SHA256_BYTES];
    uint8_t mac[WW_SHA256_BYTES];
    struct ww_buf body;
    const char *tail = NULL;
    enum ww_err rc = WW_OK;

    ww_buf_init(&body, text->len + 1);
    if (text->len <= MAC_TAIL_BYTES) {
        return malformed("mac", err);
    }
    tail = (const char *)text->data + text->len - MAC_TAIL_BYTES;
    if (memcmp(tail, MAC_LEAD, MAC_LEAD_BYTES) != 0 ||
        !ww_unhex(stated, sizeof(stated), tail + MAC_LEAD_BYTES, MAC_HEX_BYTES) ||
        memcmp(tail + MAC_LEAD_BYTES + MAC_HEX_BYTES, "\"}", 2) != 0) {
        return malformed("mac", err);
    }
    rc = ww_buf_add(&body, text->data, text->len - MAC_TAIL_BYTES, err);
    if (!rc) {
        rc = ww_buf_add(&body, "}", 1, err);
    }
    if (!rc) {
        rc = ww_seal_manifest_mac(prk, body.data, body.len, mac, err);
    }
    if (!rc && !ww_bytes_equal(mac, stated, sizeof(mac))) {
        rc = WW_FAIL(err, WW_E_SEALED,
                     "'sealed.json' was altered, or belongs to another sealed model");
    }
    ww_buf_release(&body);
    return rc;
}

static enum ww_err read_files(const struct ww_jnode *list, const char *member,
                              const char *digest, struct ww_seal_file **out, size_t *n,
                              struct ww_error *err)
{
    struct ww_seal_file *files = NULL;

    if (ww_jtype(list) != WW_J_ARRAY) {
        return malformed(member, err);
    }
    files = ww_calloc(ww_jsize(list), sizeof(*files));
    if (!files) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    *out = files;
    *n = 0;
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        struct ww_seal_file *file = &files[(*n)++];
        if (!ww_jstr(ww_jget(at, "path"), &file->path) ||
            !ww_path_is_relative(file->path) ||
            !ww_ju64(ww_jget(at, "size"), &file->size_bytes) ||
            !ww_jhex(ww_jget(at, digest), file->digest, sizeof(file->digest))) {
            return malformed(member, err);
        }
    }
    return WW_OK;
}

static enum ww_err check_schema(const struct ww_jnode *root, struct ww_error *err)
{
    const char *schema = NULL;

    if (!ww_jstr(ww_jget(root, "schema"), &schema)) {
        return malformed("schema", err);
    }
    if (strcmp(schema, WW_SEAL_SCHEMA) != 0) {
        return WW_FAIL(err, WW_E_VERSION, "'sealed.json' of schema '%s', expected '%s'",
                       schema, WW_SEAL_SCHEMA);
    }
    return ww_jonly(root, manifest_keys, WW_LEN(manifest_keys), WW_E_MANIFEST,
                    "'sealed.json'", err);
}

static enum ww_err read_members(const struct ww_jnode *root, struct ww_seal_manifest *m,
                                struct ww_error *err)
{
    const char *cipher = NULL;
    uint64_t chunk = 0;
    enum ww_err rc = check_schema(root, err);

    if (rc) {
        return rc;
    }
    if (!ww_jhex(ww_jget(root, "seal_id"), m->seal_id, sizeof(m->seal_id))) {
        return malformed("seal_id", err);
    }
    if (!ww_jstr(ww_jget(root, "cipher"), &cipher) || !ww_aead_find(cipher, &m->cipher)) {
        return malformed("cipher", err);
    }
    if (!ww_ju64(ww_jget(root, "chunk"), &chunk) || chunk > WW_SEAL_MAX_CHUNK) {
        return malformed("chunk", err);
    }
    m->chunk_bytes = (uint32_t)chunk;
    if (!ww_jstr(ww_jget(root, "source"), &m->source_name)) {
        return malformed("source", err);
    }
    rc = read_files(ww_jget(root, "sealed"), "sealed", "commitment", &m->sealed,
                    &m->n_sealed, err);
    if (!rc) {
        rc = read_files(ww_jget(root, "plain"), "plain", "sha256", &m->plain, &m->n_plain,
                        err);
    }
    return rc;
}

enum ww_err ww_seal_manifest_read(const struct ww_buf *text, struct ww_secret *prk,
                                  struct ww_seal_manifest *out, struct ww_error *err)
{
    enum ww_err rc = check_mac(text, prk, err);

    memset(out, 0, sizeof(*out));
    if (!rc) {
        rc =
            ww_json_parse(text->data, text->len, &ww_json_limits_bundle, &out->json, err);
    }
    if (!rc) {
        rc = read_members(ww_json_root(out->json), out, err);
    }
    if (rc) {
        ww_seal_manifest_release(out);
    }
    return rc;
}
