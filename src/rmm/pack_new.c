/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a package: sections where they go in PATH.partial, the head as the last bytes,
 * then fsync and a rename. What a killed run leaves has no head.
 */
#include <string.h>
#include <unistd.h>

#include "rmm/pack_folder.h"
#include "sign/oms.h"
#include "sign/statement.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/partial.h"

#define ROOM_TO_SIGN 8192
#define ROOM_TO_SEAL 16 /* coded, what is drawn has no fixed length */
#define COPY_STEP ((size_t)1 << 20)

enum ww_err ww_pack_new_begin(const char *path, struct ww_pack_new *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->dirfd = -1;
    out->fd = -1;
    out->version = WW_PACK_VERSION;
    out->at = ww_pack_first(out->version);
    out->path = ww_strdup(path);
    out->partial = ww_asprintf("%s.partial", path);
    if (!out->path || !out->partial) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    out->folder = ww_pack_folder_is(path);
    rc = ww_dir_open_of(path, &out->dirfd, err);
    if (rc) {
        return rc;
    }
    return ww_partial_open(out->dirfd, ww_path_base(out->partial), out->partial, 0644, 0,
                           &out->fd, err);
}

void ww_pack_new_after(struct ww_pack_new *made, uint64_t end)
{
    made->at = ww_round_up(end, ww_pack_align(made->version));
}

/* sha: takes the bytes along, or NULL. */
static enum ww_err copy(struct ww_pack_new *made, int fd, uint64_t offset, uint64_t bytes,
                        const char *name, struct ww_sha256 *sha, struct ww_error *err)
{
    uint8_t *room = ww_calloc(1, COPY_STEP);
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "copying");

    for (uint64_t at = 0; at < bytes && !rc; at += COPY_STEP) {
        const size_t n = (size_t)ww_min_u64(COPY_STEP, bytes - at);
        rc = ww_pread_full(fd, room, n, offset + at, name, err);
        if (!rc) {
            rc = ww_pwrite_full(made->fd, room, n, made->at + at, made->partial, err);
        }
        if (!rc && sha) {
            ww_sha256_update(sha, room, n);
        }
    }
    ww_pack_new_after(made, made->at + bytes);
    ww_free(room);
    return rc;
}

enum ww_err ww_pack_new_copy(struct ww_pack_new *made, const struct ww_pack_file *from,
                             size_t member, struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &from->manifest.members[member];
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_sha256 *sha = NULL;
    uint64_t offset = 0;
    int fd = -1;
    enum ww_err rc = ww_pack_section_at(from, member, &fd, &offset, err);

    if (rc) {
        return rc;
    }
    rc = ww_sha256_new(&sha, err);
    if (!rc) {
        rc = copy(made, fd, offset, m->bytes, from->path, sha, err);
    }
    if (!rc) {
        ww_sha256_final(sha, digest);
    }
    if (!rc && memcmp(digest, m->sha256, sizeof(digest)) != 0) {
        rc = WW_FAIL(err, WW_E_TAMPERED,
                     "package '%s': the section of member '%s' is not what the manifest "
                     "says, so it is not carried on; go on from a whole copy, or drop it",
                     from->path, m->name);
    }
    ww_sha256_free(sha);
    ww_pack_section_give(from, fd);
    return rc;
}

enum ww_err ww_pack_new_append(struct ww_pack_new *made, int fd, uint64_t bytes,
                               struct ww_error *err)
{
    return copy(made, fd, 0, bytes, made->partial, NULL, err);
}

static enum ww_err make_bundle(const struct ww_pack_manifest *m,
                               const struct ww_signer *signer,
                               const uint8_t sha256[WW_SHA256_BYTES], struct ww_buf *out,
                               struct ww_error *err)
{
    char id[WW_HEX_BYTES(WW_PACK_ID_BYTES)];
    struct ww_buf payload;
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, 4096);
    ww_hex(id, m->id, sizeof(m->id));
    ww_jw_init(&w, &payload, 0);
    ww_statement_begin(&w, id, sha256, WW_PACKAGE_PREDICATE);
    ww_jw_object(&w);
    ww_jw_ku64(&w, "version", m->version);
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, out, err);
    }
    ww_buf_release(&payload);
    return rc;
}

static enum ww_err put(struct ww_pack_new *made, const struct ww_buf *bytes, uint64_t *at,
                       struct ww_error *err)
{
    const enum ww_err rc =
        ww_pwrite_full(made->fd, bytes->data, bytes->len, *at, made->partial, err);

    *at += bytes->len;
    return rc;
}

static enum ww_err put_head(struct ww_pack_new *made, const struct ww_buf *text,
                            const struct ww_buf *bundle, const struct ww_buf *keys,
                            struct ww_error *err)
{
    struct ww_pack_head head = {.version = made->version,
                                .manifest_offset = made->at,
                                .manifest_bytes = text->len,
                                .bundle_bytes = bundle->len,
                                .keys_bytes = keys->len};
    uint8_t bytes[WW_PACK_HEAD_BYTES];
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (rc) {
        return rc;
    }
    ww_sha256_of(text->data, text->len, head.manifest_sha256);
    ww_sha256_update(sha, bundle->data, bundle->len);
    ww_sha256_update(sha, keys->data, keys->len);
    ww_sha256_final(sha, head.tail_sha256);
    ww_sha256_free(sha);
    memcpy(made->manifest_sha256, head.manifest_sha256, sizeof(made->manifest_sha256));
    ww_pack_head_write(&head, bytes);
    return ww_pwrite_full(made->fd, bytes, sizeof(bytes), 0, made->partial, err);
}

enum ww_err ww_pack_new_name(struct ww_pack_new *made, bool replace, struct ww_error *err)
{
    enum ww_err rc = ww_fsync(made->fd, made->partial, err);

    if (!rc) {
        rc = ww_rename_at(made->dirfd, ww_path_base(made->partial), made->dirfd,
                          ww_path_base(made->path), replace, err);
    }
    if (!rc) {
        ww_free(made->partial);
        made->partial = NULL;
    }
    return rc;
}

/* A manifest as it is stored. */
static enum ww_err store(const struct ww_pack_manifest *manifest, struct ww_buf *out,
                         struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, (size_t)WW_PACK_MAX_MANIFEST);
    rc = ww_pack_manifest_write(manifest, &text, err);
    if (!rc) {
        rc = ww_pack_text_code(&text, out, err);
    }
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_pack_new_measure(const struct ww_pack_new *made,
                                const struct ww_pack_manifest *manifest, bool is_signed,
                                const struct ww_buf *keys, uint64_t *bytes,
                                struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, (size_t)WW_PACK_MAX_MANIFEST);
    rc = store(manifest, &text, err);
    *bytes = made->at + text.len + keys->len + (is_signed ? ROOM_TO_SIGN : 0);
    for (size_t i = 0; i < manifest->n_members; i++) {
        *bytes += manifest->members[i].sealed ? ROOM_TO_SEAL : 0;
    }
    ww_buf_release(&text);
    return rc;
}

/* A signature with many certificates is longer than what was kept for it. */
static enum ww_err check_size(const struct ww_pack_new *made, uint64_t bytes,
                              struct ww_error *err)
{
    if (made->most == 0 || bytes <= made->most) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_LIMIT,
                   "the package has %llu bytes with its signature, and %llu are allowed",
                   (unsigned long long)bytes, (unsigned long long)made->most);
}

enum ww_err ww_pack_new_finish(struct ww_pack_new *made,
                               const struct ww_pack_manifest *manifest,
                               const struct ww_signer *signer, const struct ww_buf *keys,
                               bool replace, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_buf text;
    struct ww_buf bundle;
    uint64_t at = made->at;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, (size_t)WW_PACK_MAX_MANIFEST);
    ww_buf_init(&bundle, (size_t)WW_PACK_MAX_BUNDLE);
    rc = store(manifest, &text, err);
    if (!rc && signer) {
        ww_sha256_of(text.data, text.len, digest);
        rc = make_bundle(manifest, signer, digest, &bundle, err);
    }
    if (!rc) {
        rc = check_size(made, at + text.len + bundle.len + keys->len, err);
    }
    if (!rc) {
        rc = put(made, &text, &at, err);
    }
    if (!rc) {
        rc = put(made, &bundle, &at, err);
    }
    if (!rc) {
        rc = put(made, keys, &at, err);
    }
    if (!rc) {
        rc = put_head(made, &text, &bundle, keys, err);
    }
    if (!rc) {
        rc = made->folder
                 ? ww_pack_folder_place(made, manifest, at - made->at, replace, err)
                 : ww_pack_new_name(made, replace, err);
    }
    ww_buf_release(&text);
    ww_buf_release(&bundle);
    return rc;
}

enum ww_err ww_pack_new_with_keys(struct ww_pack_new *made,
                                  const struct ww_pack_file *from,
                                  const struct ww_buf *keys, struct ww_error *err)
{
    uint64_t at = 0;
    enum ww_err rc = WW_OK;

    made->version = from->head.version;
    made->at = ww_pack_first(made->version);
    for (size_t i = 0; i < from->manifest.n_members && !rc; i++) {
        rc = ww_pack_new_copy(made, from, i, err);
    }
    at = made->at;
    if (!rc) {
        rc = put(made, &from->text, &at, err);
    }
    if (!rc) {
        rc = put(made, &from->bundle, &at, err);
    }
    if (!rc) {
        rc = put(made, keys, &at, err);
    }
    if (!rc) {
        rc = put_head(made, &from->text, &from->bundle, keys, err);
    }
    if (!rc) {
        rc = ww_file_unchanged(from->fd, &from->st, from->path, err);
    }
    if (rc) {
        return rc;
    }
    return made->folder
               ? ww_pack_folder_place(made, &from->manifest, at - made->at, true, err)
               : ww_pack_new_name(made, true, err);
}

void ww_pack_new_release(struct ww_pack_new *made)
{
    if (made->fd >= 0 && made->path) {
        close(made->fd);
        if (made->partial) {
            (void)unlinkat(made->dirfd, ww_path_base(made->partial), 0);
        }
    }
    if (made->dirfd >= 0 && made->path) {
        close(made->dirfd);
    }
    ww_free(made->path);
    ww_free(made->partial);
    memset(made, 0, sizeof(*made));
    made->dirfd = -1;
    made->fd = -1;
}

enum ww_err ww_pack_keys_add(struct ww_buf *keys, const uint8_t *record, size_t len,
                             struct ww_error *err)
{
    const enum ww_err rc = ww_buf_add_u32le(keys, (uint32_t)len, err);

    return rc ? rc : ww_buf_add(keys, record, len, err);
}
