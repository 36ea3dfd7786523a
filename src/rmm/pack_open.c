/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a package up to its sections, and finding a member in it. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rmm/pack_folder.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

static enum ww_err damaged(const struct ww_pack_file *f, const char *what,
                           struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MALFORMED, "package '%s': its %s is damaged", f->path, what);
}

static enum ww_err read_part(struct ww_pack_file *f, uint64_t offset, uint64_t len,
                             struct ww_buf *out, struct ww_error *err)
{
    enum ww_err rc = ww_buf_reserve(out, (size_t)len + 1, err);

    if (!rc) {
        rc = ww_pread_full(f->fd, out->data, (size_t)len, offset, f->path, err);
    }
    if (!rc) {
        out->len = (size_t)len;
        out->data[len] = '\0';
    }
    return rc;
}

static enum ww_err check_digests(const struct ww_pack_file *f, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (rc) {
        return rc;
    }
    ww_sha256_update(sha, f->text.data, f->text.len);
    ww_sha256_final(sha, digest);
    if (memcmp(digest, f->head.manifest_sha256, sizeof(digest)) != 0) {
        rc = damaged(f, "manifest", err);
        goto out;
    }
    ww_sha256_reset(sha);
    ww_sha256_update(sha, f->bundle.data, f->bundle.len);
    ww_sha256_update(sha, f->keys.data, f->keys.len);
    ww_sha256_final(sha, digest);
    if (memcmp(digest, f->head.tail_sha256, sizeof(digest)) != 0) {
        rc = damaged(f, "signature or list of keys", err);
    }
out:
    ww_sha256_free(sha);
    return rc;
}

static enum ww_err read_parts(struct ww_pack_file *f, struct ww_error *err)
{
    const struct ww_pack_head *h = &f->head;
    const uint64_t tail = f->folder >= 0 ? ww_pack_first(h->version) : h->manifest_offset;
    const uint64_t bundle = tail + h->manifest_bytes;
    enum ww_err rc = read_part(f, tail, h->manifest_bytes, &f->text, err);

    if (!rc) {
        rc = read_part(f, bundle, h->bundle_bytes, &f->bundle, err);
    }
    if (!rc) {
        rc = read_part(f, bundle + h->bundle_bytes, h->keys_bytes, &f->keys, err);
    }
    return rc ? rc : check_digests(f, err);
}

static enum ww_err read_key(struct ww_pack_file *f, size_t member, size_t *at,
                            struct ww_error *err)
{
    struct ww_record *record = &f->records[member];
    const uint8_t *bytes = f->keys.data + *at;
    const size_t left = f->keys.len - *at;
    const uint32_t len = left >= 4 ? ww_get_u32le(bytes) : 0;

    if (left < 4 || len > left - 4 || ww_record_parse(bytes + 4, len, record, NULL) ||
        record->kind != WW_RECORD_CONTENT || record->sealing != WW_SEALED_RECIPIENTS ||
        memcmp(record->id, f->manifest.members[member].key_id, WW_RECORD_ID_BYTES) != 0) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "package '%s': the sealed key of member '%s' is malformed, or of "
                       "another member",
                       f->path, f->manifest.members[member].name);
    }
    *at += 4 + (size_t)len;
    return WW_OK;
}

static enum ww_err read_keys(struct ww_pack_file *f, struct ww_error *err)
{
    size_t at = 0;
    enum ww_err rc = WW_OK;

    f->records = ww_calloc(f->manifest.n_members, sizeof(*f->records));
    if (!f->records) {
        return WW_FAIL_MEMORY(err, "keys of members");
    }
    for (size_t i = 0; i < f->manifest.n_members && !rc; i++) {
        if (f->manifest.members[i].sealed) {
            rc = read_key(f, i, &at, err);
        }
    }
    return rc || at == f->keys.len ? rc : damaged(f, "list of keys", err);
}

static enum ww_err open_file(struct ww_pack_file *f, struct ww_error *err)
{
    struct stat st;

    if (ww_pack_folder_is(f->path)) {
        return ww_pack_folder_open(f, err);
    }
    if (stat(f->path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return WW_FAIL(err, WW_E_PATH,
                       "folder '%s' is no package: it has no file '" WW_PACK_FOLDER_FILE
                       "'",
                       f->path);
    }
    return ww_file_open(f->path, &f->fd, &f->st, err);
}

/* As long as it would be in one file. */
static uint64_t span(const struct ww_pack_file *f, const uint8_t *head, size_t n)
{
    const uint64_t bytes = (uint64_t)f->st.st_size;
    uint64_t first = 0;
    uint64_t all = 0;

    if (f->folder < 0 || n < WW_PACK_HEAD_BYTES) {
        return f->folder < 0 ? bytes : 0;
    }
    first = ww_pack_first(ww_pack_head_version(head));
    return bytes >= first && ww_add_u64(ww_pack_head_sections(head), bytes - first, &all)
               ? all
               : 0;
}

enum ww_err ww_pack_section_at(const struct ww_pack_file *f, size_t member, int *fd,
                               uint64_t *offset, struct ww_error *err)
{
    *fd = f->fd;
    *offset = f->folder >= 0 ? 0 : f->manifest.members[member].offset;
    return f->folder >= 0 ? ww_pack_folder_section(f, member, fd, err) : WW_OK;
}

void ww_pack_section_give(const struct ww_pack_file *f, int fd)
{
    if (f->folder >= 0 && fd >= 0) {
        close(fd);
    }
}

/* Text of the manifest as it is stored: what the signature is about. */
static enum ww_err read_manifest(struct ww_pack_file *f, struct ww_error *err)
{
    const struct ww_buf *stored = &f->text;
    uint8_t *text = NULL;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (f->head.version == WW_PACK_VERSION_2 ||
        !ww_pack_text_is_coded(stored->data, stored->len)) {
        return ww_pack_manifest_read(stored->data, stored->len, &f->head, f->path,
                                     &f->manifest, err);
    }
    rc = ww_pack_text_open(stored->data, stored->len, &text, &n, err);
    if (!rc) {
        rc = text ? ww_pack_manifest_read(text, n, &f->head, f->path, &f->manifest, err)
                  : damaged(f, "manifest", err);
    }
    ww_free(text);
    return rc;
}

enum ww_err ww_pack_open(const char *path, struct ww_pack_file *out, struct ww_error *err)
{
    uint8_t head[WW_PACK_HEAD_BYTES];
    size_t n = 0;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->fd = -1;
    out->folder = -1;
    ww_buf_init(&out->text, (size_t)WW_PACK_MAX_MANIFEST + 1);
    ww_buf_init(&out->bundle, (size_t)WW_PACK_MAX_BUNDLE + 1);
    ww_buf_init(&out->keys, (size_t)WW_PACK_MAX_KEYS + 1);
    out->path = ww_strdup(path);
    if (!out->path) {
        rc = WW_FAIL_MEMORY(err, "a path");
        goto out;
    }
    rc = open_file(out, err);
    if (rc) {
        goto out;
    }
    n = (size_t)ww_min_u64(sizeof(head), (uint64_t)out->st.st_size);
    rc = ww_pread_full(out->fd, head, n, 0, path, err);
    if (!rc) {
        out->bytes = span(out, head, n);
        rc = ww_pack_head_parse(head, n, out->bytes, path, &out->head, err);
    }
    if (!rc) {
        rc = read_parts(out, err);
    }
    if (!rc) {
        rc = read_manifest(out, err);
    }
    if (!rc) {
        rc = read_keys(out, err);
    }
out:
    if (rc) {
        ww_pack_close(out);
    }
    return rc;
}

void ww_pack_close(struct ww_pack_file *f)
{
    if (f->path && f->fd >= 0) {
        close(f->fd);
    }
    if (f->path && f->folder >= 0) {
        close(f->folder);
    }
    ww_free(f->path);
    ww_pack_manifest_release(&f->manifest);
    ww_buf_release(&f->text);
    ww_buf_release(&f->bundle);
    ww_buf_release(&f->keys);
    ww_free(f->records);
    memset(f, 0, sizeof(*f));
}

enum ww_err ww_pack_member_find(const struct ww_pack_file *f, const char *name,
                                size_t *out, struct ww_error *err)
{
    const size_t n = f->manifest.n_members;
    const char **names = NULL;
    const char *nearest = NULL;

    *out = ww_pack_manifest_find(&f->manifest, name);
    if (*out != SIZE_MAX) {
        return WW_OK;
    }
    names = ww_calloc(n, sizeof(*names));
    for (size_t i = 0; names && i < n; i++) {
        names[i] = f->manifest.members[i].name;
    }
    nearest = names ? ww_str_nearest(name, names, n) : NULL;
    ww_free(names);
    return WW_FAIL(err, WW_E_NOTFOUND, "package '%s' has no member '%s'%s%s%s", f->path,
                   name,
                   nearest ? "; is '" : "; 'weightward rmm list' names those it has",
                   nearest ? nearest : "", nearest ? "' meant?" : "");
}

enum ww_err ww_pack_check_version(const struct ww_pack_file *f, uint64_t least,
                                  struct ww_error *err)
{
    if (f->manifest.version >= least) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_DENIED,
                   "package '%s' is version %llu, expected at least %llu: it was rolled "
                   "back, or is an old copy",
                   f->path, (unsigned long long)f->manifest.version,
                   (unsigned long long)least);
}
