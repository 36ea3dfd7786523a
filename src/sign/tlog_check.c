/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transparency log vouches for, offline. The proof is RFC 9162's (hash of a leaf
 * 00 || body, of a node 01 || left || right); the checkpoint is a signed note of the
 * transparency-dev family: origin, size and root on lines of their own, an empty line,
 * then one line per signature. The promise is a signature over four members as JSON with
 * sorted keys.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/base64.h"
#include "sign/tlog.h"
#include "util/fail.h"
#include "util/str.h"

#define NOTE_MAX_BYTES ((size_t)64 << 10)
#define NOTE_MAX_LINES 64
#define LINE_MAX_BYTES 4096
#define KEY_ID_BYTES 4

static void hash_node(const uint8_t left[WW_SHA256_BYTES],
                      const uint8_t right[WW_SHA256_BYTES], uint8_t out[WW_SHA256_BYTES])
{
    uint8_t bytes[1 + 2 * WW_SHA256_BYTES] = {1};

    memcpy(bytes + 1, left, WW_SHA256_BYTES);
    memcpy(bytes + 1 + WW_SHA256_BYTES, right, WW_SHA256_BYTES);
    ww_sha256_of(bytes, sizeof(bytes), out);
}

bool ww_tlog_fold(const uint8_t leaf[WW_SHA256_BYTES], uint64_t index, uint64_t size,
                  const uint8_t (*hashes)[WW_SHA256_BYTES], size_t n,
                  uint8_t root[WW_SHA256_BYTES])
{
    uint64_t last = size - 1;

    if (index >= size) {
        return false;
    }
    memcpy(root, leaf, WW_SHA256_BYTES);
    for (size_t i = 0; i < n; i++) {
        if (last == 0) {
            return false;
        }
        if (index % 2 == 1 || index == last) {
            hash_node(hashes[i], root, root);
            while (index % 2 == 0 && index != 0) {
                index /= 2;
                last /= 2;
            }
        } else {
            hash_node(root, hashes[i], root);
        }
        index /= 2;
        last /= 2;
    }
    return last == 0;
}

static enum ww_err check_proof(const struct ww_tlog_entry *entry, struct ww_error *err)
{
    uint8_t leaf[WW_SHA256_BYTES];
    uint8_t root[WW_SHA256_BYTES];
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (rc) {
        return rc;
    }
    ww_sha256_update(h, "", 1);
    ww_sha256_update(h, entry->body.data, entry->body.len);
    ww_sha256_final(h, leaf);
    ww_sha256_free(h);
    if (!ww_tlog_fold(leaf, entry->leaf_index, entry->tree_size,
                      (const uint8_t(*)[WW_SHA256_BYTES])entry->hashes, entry->n_hashes,
                      root) ||
        memcmp(root, entry->root, sizeof(root)) != 0) {
        return WW_FAIL(err, WW_E_SIGNATURE,
                       "proof of the log entry does not lead to the root of the log");
    }
    return WW_OK;
}

/* The text up to the next newline; *cursor moves behind it. False at the end. */
static bool next_line(const char **cursor, char out[LINE_MAX_BYTES])
{
    const char *end = strchr(*cursor, '\n');
    size_t len = end ? (size_t)(end - *cursor) : 0;

    if (!end || len >= LINE_MAX_BYTES) {
        return false;
    }
    memcpy(out, *cursor, len);
    out[len] = '\0';
    *cursor = end + 1;
    return true;
}

/* Origin, size, root, and perhaps lines of the log's own; then the empty line. Gives the
 * origin and leaves the cursor at the first signature. */
static enum ww_err read_note(const struct ww_tlog_entry *entry, const char **cursor,
                             char origin[LINE_MAX_BYTES], struct ww_error *err)
{
    char line[LINE_MAX_BYTES] = "";
    uint64_t size = 0;
    struct ww_buf root;
    bool ok = next_line(cursor, origin) && *origin && next_line(cursor, line) &&
              ww_parse_u64(line, strlen(line), &size) && next_line(cursor, line);

    ww_buf_init(&root, LINE_MAX_BYTES);
    ok = ok && ww_base64_decode(&root, line, strlen(line), NULL) == WW_OK;
    for (unsigned i = 0; ok && *line; i++) {
        ok = i < NOTE_MAX_LINES && next_line(cursor, line);
    }
    if (ok && (size != entry->tree_size || root.len != sizeof(entry->root) ||
               memcmp(root.data, entry->root, root.len) != 0)) {
        ww_buf_release(&root);
        return WW_FAIL(
            err, WW_E_SIGNATURE,
            "checkpoint of the log entry is about another tree than the proof");
    }
    ww_buf_release(&root);
    return ok ? WW_OK
              : WW_FAIL(err, WW_E_BUNDLE, "checkpoint of the log entry is malformed");
}

/* A log signs under the name that its origin begins with. */
static bool name_fits(const char *name, size_t len, const char *origin)
{
    return len > 0 && strncmp(origin, name, len) == 0 &&
           (origin[len] == '\0' || origin[len] == ' ');
}

/* "— NAME BASE64", the bytes being 4 of the key's id and the signature. *is_ours is false
 * for another signer, such as a witness. */
static enum ww_err check_note_line(const char *line, const char *origin, const char *text,
                                   size_t text_len, const struct ww_log *log,
                                   bool *is_ours, struct ww_error *err)
{
    static const char dash[] = "\xe2\x80\x94 ";
    const char *name = line + strlen(dash);
    const char *space = ww_str_starts(line, dash) ? strchr(name, ' ') : NULL;
    struct ww_buf bytes;
    enum ww_err rc = WW_OK;

    *is_ours = false;
    ww_buf_init(&bytes, LINE_MAX_BYTES);
    if (!space || ww_base64_decode(&bytes, space + 1, strlen(space + 1), NULL) != WW_OK ||
        bytes.len <= KEY_ID_BYTES) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "signature of the checkpoint is malformed");
        goto out;
    }
    *is_ours = name_fits(name, (size_t)(space - name), origin) &&
               memcmp(bytes.data, log->id, KEY_ID_BYTES) == 0;
    if (*is_ours) {
        rc = ww_logkey_verify(log->key, text, text_len, bytes.data + KEY_ID_BYTES,
                              bytes.len - KEY_ID_BYTES, err);
        if (rc) {
            ww_error_context(err, "checkpoint of the log");
        }
    }
out:
    ww_buf_release(&bytes);
    return rc;
}

static enum ww_err check_checkpoint(const struct ww_tlog_entry *entry,
                                    const struct ww_log *log, struct ww_error *err)
{
    const char *cursor = entry->checkpoint;
    char origin[LINE_MAX_BYTES] = "";
    char line[LINE_MAX_BYTES];
    size_t text_len = 0;
    unsigned n_ours = 0;
    enum ww_err rc = read_note(entry, &cursor, origin, err);

    if (rc) {
        return rc;
    }
    text_len = (size_t)(cursor - entry->checkpoint) - 1;
    for (unsigned i = 0; *cursor; i++) {
        bool is_ours = false;
        if (i == NOTE_MAX_LINES || !next_line(&cursor, line)) {
            return WW_FAIL(err, WW_E_BUNDLE, "checkpoint of the log entry is malformed");
        }
        rc = check_note_line(line, origin, entry->checkpoint, text_len, log, &is_ours,
                             err);
        if (rc) {
            return rc;
        }
        n_ours += is_ours;
    }
    return n_ours ? WW_OK
                  : WW_FAIL(err, WW_E_SIGNATURE,
                            "checkpoint of the log entry is not signed by the log");
}

/* Base64 text and hex need no escapes, so this is the canonical JSON. */
static enum ww_err check_promise(const struct ww_tlog_entry *entry,
                                 const struct ww_log *log, struct ww_error *err)
{
    char id[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_hex(id, entry->log_id, sizeof(entry->log_id));
    ww_buf_init(&text, 2 * entry->body.len + NOTE_MAX_BYTES);
    rc = ww_buf_addf(&text, err,
                     "{\"body\":\"%s\",\"integratedTime\":%lld,\"logID\":\"%s\","
                     "\"logIndex\":%llu}",
                     entry->body_text, (long long)entry->integrated_time, id,
                     (unsigned long long)entry->log_index);
    if (rc) {
        goto out;
    }
    rc = ww_logkey_verify(log->key, text.data, text.len, entry->promise.data,
                          entry->promise.len, err);
    if (rc) {
        ww_error_context(err, "time and place of the log entry");
    }
out:
    ww_buf_release(&text);
    return rc;
}

static const struct ww_log *find_log(const struct ww_tlog_entry *entry,
                                     const struct ww_log *logs, size_t n, int64_t at)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(logs[i].id, entry->log_id, sizeof(logs[i].id)) == 0 &&
            (at == 0 || (at >= logs[i].start && at <= logs[i].end))) {
            return &logs[i];
        }
    }
    return NULL;
}

enum ww_err ww_tlog_check(const struct ww_tlog_entry *entry, const struct ww_log *logs,
                          size_t n_logs, int64_t stamped, int64_t *at_unix,
                          struct ww_error *err)
{
    const bool has_promise = entry->promise.len > 0;
    const struct ww_log *log =
        find_log(entry, logs, n_logs, has_promise ? entry->integrated_time : stamped);
    char id[WW_HEX_BYTES(WW_SHA256_BYTES)];
    enum ww_err rc = WW_OK;

    *at_unix = 0;
    if (!has_promise &&
        (entry->integrated_time != 0 || entry->log_index != entry->leaf_index)) {
        return WW_FAIL(err, WW_E_SIGNATURE,
                       "log entry states a time or a place that the log did not sign");
    }
    if (!log) {
        ww_hex(id, entry->log_id, sizeof(entry->log_id));
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "entry of the log %s, which the trusted root does not name for "
                       "that time",
                       id);
    }
    rc = check_proof(entry, err);
    if (rc) {
        return rc;
    }
    rc = check_checkpoint(entry, log, err);
    if (rc || !has_promise) {
        return rc;
    }
    rc = check_promise(entry, log, err);
    if (!rc) {
        *at_unix = entry->integrated_time;
    }
    return rc;
}
