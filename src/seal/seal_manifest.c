/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MAC is the last member and is taken over the text before it, closed by a brace: the
 * bytes that were written are the bytes that are checked, and nothing of the document is
 * parsed before.
 */
#include "seal/seal_manifest.h"

#include <string.h>

#include "crypto/aead.h"
#include "seal/seal_keys.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/seal.h"

#define SOURCE_DIR WW_ATTESTATIONS_DIR "/source/"

bool ww_seal_is_evidence(const char *path)
{
    return strcmp(path, WW_SIGNATURE_FILE) == 0 ||
           ww_str_starts(path, WW_ATTESTATIONS_DIR "/");
}

enum ww_err ww_seal_stored_path(const char *path, char **out, struct ww_error *err)
{
    *out = ww_asprintf("%s%s%s", ww_seal_is_evidence(path) ? SOURCE_DIR : "", path,
                       WW_SEAL_SUFFIX);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a path");
}

static void write_files(struct ww_jw *w, const char *key, const char *digest,
                        const struct ww_seal_file *files, size_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "path", files[i].path);
        ww_jw_ku64(w, "size", files[i].size_bytes);
        ww_jw_khex(w, digest, files[i].digest, WW_SHA256_BYTES);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_recipients(struct ww_jw *w, const struct ww_seal_manifest *m)
{
    ww_jw_key(w, "recipients");
    ww_jw_array(w);
    for (size_t i = 0; i < m->n_recipients; i++) {
        char hex[WW_HEX_BYTES(WW_RECORD_ID_BYTES)];
        ww_hex(hex, m->recipients[i], WW_RECORD_ID_BYTES);
        ww_jw_str(w, hex);
    }
    ww_jw_close(w);
}

enum ww_err ww_seal_manifest_write(const struct ww_seal_manifest *m,
                                   struct ww_secret *prk, struct ww_buf *out,
                                   struct ww_error *err)
{
    uint8_t mac[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", WW_SEAL_SCHEMA);
    ww_jw_kstr(&w, "level", "sealed");
    ww_jw_kstr(&w, "tool", "weightward " WW_VERSION);
    ww_jw_khex(&w, "seal_id", m->seal_id, WW_SEAL_ID_BYTES);
    ww_jw_kstr(&w, "cipher", ww_aead_name(m->cipher));
    ww_jw_ku64(&w, "chunk", m->chunk_bytes);
    ww_jw_kstr(&w, "source", m->source_name);
    write_recipients(&w, m);
    write_files(&w, "sealed", "commitment", m->sealed, m->n_sealed);
    write_files(&w, "plain", "sha256", m->plain, m->n_plain);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_seal_manifest_mac(prk, out->data, out->len, mac, err);
    }
    if (rc) {
        return rc;
    }
    ww_hex(hex, mac, sizeof(mac));
    out->len--; /* the brace, which comes again */
    return ww_buf_addf(out, err, ",\"mac\":\"%s\"}", hex);
}

void ww_seal_manifest_release(struct ww_seal_manifest *m)
{
    ww_free(m->sealed);
    ww_free(m->plain);
    ww_json_free(m->json);
    memset(m, 0, sizeof(*m));
}
