/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a recipient's key to the manifest: the keys file gives the content key, the
 * content key's MAC vouches for the manifest, and the manifest names every file, so that
 * a file left out, put in the place of another or taken from another sealed model is
 * noticed.
 */
#include "seal/sealed_folder.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crypto/aead.h"
#include "crypto/keyfile.h"
#include "seal/seal_keys.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/seal.h"

static enum ww_err read_keys_file(struct ww_sealed_folder *folder, struct ww_error *err)
{
    struct ww_error local = {0};
    const enum ww_err rc = ww_file_read_at(folder->dirfd, WW_SEAL_KEYS_FILE, WW_LINKS_HUB,
                                           &folder->keys, &local);

    if (rc == WW_E_NOTFOUND) {
        return WW_FAIL(err, rc, "there is no '" WW_SEAL_KEYS_FILE "', it is not sealed");
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

enum ww_err ww_sealed_keys_read(struct ww_sealed_folder *folder, const char *path,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(folder, 0, sizeof(*folder));
    folder->path = path;
    folder->dirfd = -1;
    ww_buf_init(&folder->keys, WW_KEYFILE_MAX_BYTES);
    rc = ww_dir_open(path, &folder->dirfd, err);
    if (!rc) {
        rc = read_keys_file(folder, err);
    }
    if (!rc) {
        rc = ww_record_parse(folder->keys.data, folder->keys.len, &folder->record, err);
    }
    if (!rc && folder->record.kind != WW_RECORD_CONTENT) {
        rc = WW_FAIL(err, WW_E_KEY, "found %s, expected the key of a sealed model",
                     ww_record_kind_name(folder->record.kind));
    }
    if (rc) {
        ww_error_context(err, "model '%s'", path);
    }
    return rc;
}

static enum ww_err read_manifest(struct ww_sealed_folder *folder, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, ww_json_limits_bundle.max_bytes);
    rc = ww_file_read_at(folder->dirfd, WW_SEAL_MANIFEST_FILE, WW_LINKS_HUB, &text, err);
    if (!rc) {
        rc = ww_seal_manifest_read(&text, folder->prk, &folder->manifest, err);
    }
    if (!rc && memcmp(folder->manifest.seal_id, folder->record.id, WW_SEAL_ID_BYTES)) {
        rc = WW_FAIL(err, WW_E_SEALED,
                     "'sealed.json' and the keys file have two seal ids");
    }
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_sealed_open(struct ww_sealed_folder *folder, const char *path,
                           const struct ww_unsealer *unsealer, struct ww_error *err)
{
    struct ww_secret *content_key = NULL;
    enum ww_err rc = ww_sealed_keys_read(folder, path, err);

    if (rc) {
        return rc;
    }
    rc = ww_record_unseal(&folder->record, unsealer, &content_key, NULL, err);
    if (!rc) {
        rc = ww_seal_root(content_key, &folder->prk, err);
    }
    ww_secret_free(content_key);
    if (!rc) {
        rc = read_manifest(folder, err);
    }
    if (rc) {
        ww_error_context(err, "sealed model '%s'", path);
    }
    return rc;
}

void ww_sealed_close(struct ww_sealed_folder *folder)
{
    if (folder->path && folder->dirfd >= 0) {
        close(folder->dirfd);
    }
    ww_buf_release(&folder->keys);
    ww_secret_free(folder->prk);
    ww_seal_manifest_release(&folder->manifest);
    memset(folder, 0, sizeof(*folder));
}

bool ww_folder_is_sealed(const char *path)
{
    struct stat st;
    int dirfd = -1;
    int fd = -1;
    bool found = false;

    if (!ww_dir_open(path, &dirfd, NULL)) {
        found = !ww_file_open_at(dirfd, WW_SEAL_KEYS_FILE, WW_LINKS_HUB, &fd, &st, NULL);
        close(dirfd);
    }
    if (fd >= 0) {
        close(fd);
    }
    return found;
}

static enum ww_err check_head(const struct ww_sealed_folder *folder,
                              const struct ww_seal_file *file,
                              const struct ww_seal_item *item, struct ww_error *err)
{
    const struct ww_seal_head *head = &item->head;
    const struct ww_seal_manifest *m = &folder->manifest;

    if (strcmp(head->name, file->path) != 0) {
        return WW_FAIL(err, WW_E_SEALED, "sealed file '%s' holds '%s', expected '%s'",
                       item->from, head->name, file->path);
    }
    if (head->plain_bytes != file->size_bytes || head->cipher != m->cipher ||
        head->chunk_bytes != m->chunk_bytes ||
        memcmp(head->seal_id, m->seal_id, WW_SEAL_ID_BYTES) != 0) {
        return WW_FAIL(err, WW_E_SEALED,
                       "sealed file '%s' is not the one that 'sealed.json' lists",
                       item->from);
    }
    return WW_OK;
}

enum ww_err ww_sealed_add(const struct ww_sealed_folder *folder,
                          const struct ww_seal_file *file, struct ww_seal_items *list,
                          struct ww_seal_item **item, struct ww_error *err)
{
    char *stored = NULL;
    struct stat st;
    struct ww_error own = {0};
    enum ww_err rc = ww_seal_stored_path(file->path, &stored, err);

    if (!rc) {
        rc = ww_seal_items_add(list, WW_SEAL_OPEN, stored, file->path, item, err);
    }
    if (rc) {
        goto out;
    }
    rc = ww_file_open_at(folder->dirfd, stored, WW_LINKS_HUB, &(*item)->fd, &st, &own);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_FAIL(err, WW_E_SEALED,
                     "sealed file '%s' is missing, which the manifest names; copy the "
                     "folder again",
                     stored);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", own.text);
    }
    if (rc) {
        goto out;
    }
    (*item)->size_bytes = (uint64_t)st.st_size;
    rc = ww_seal_item_open(*item, folder->prk, err);
    if (!rc) {
        rc = check_head(folder, file, *item, err);
    }
out:
    ww_free(stored);
    return rc;
}

enum ww_err ww_sealed_check_digest(const struct ww_sealed_folder *folder,
                                   const struct ww_seal_file *file,
                                   const uint8_t sha256[WW_SHA256_BYTES],
                                   struct ww_error *err)
{
    uint8_t commitment[WW_SHA256_BYTES];
    enum ww_err rc = ww_seal_commitment(folder->prk, file->path, sha256, commitment, err);

    if (!rc && !ww_bytes_equal(commitment, file->digest, sizeof(commitment))) {
        rc = WW_FAIL(err, WW_E_SEALED,
                     "file '%s' opens, but is not what 'sealed.json' commits to",
                     file->path);
    }
    return rc;
}

void ww_sealed_describe(const struct ww_sealed_folder *folder,
                        struct ww_seal_report *report)
{
    const struct ww_seal_manifest *m = &folder->manifest;

    report->chunk_bytes = m->chunk_bytes;
    report->recipients =
        folder->record.sealing == WW_SEALED_RECIPIENTS ? folder->record.n_stanzas : 0;
    ww_hex(report->seal_id, m->seal_id, sizeof(m->seal_id));
    (void)snprintf(report->cipher, sizeof(report->cipher), "%s", ww_aead_name(m->cipher));
}
