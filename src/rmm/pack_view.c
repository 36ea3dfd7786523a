/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a member: its key, its section, its table. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "crypto/lockkey.h"
#include "rmm/pack_file.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

enum ww_err ww_pack_view_key(const struct ww_pack_manifest_member *member,
                             const struct ww_record *record,
                             const struct ww_unsealer *unsealer, struct ww_secret **key,
                             struct ww_error *err)
{
    static const struct ww_unsealer none = {0};
    struct ww_secret *content_key = NULL;
    enum ww_err rc =
        ww_record_unseal(record, unsealer ? unsealer : &none, &content_key, NULL, err);

    if (rc) {
        ww_error_context(err, "member '%s'", member->name);
        return rc;
    }
    rc = ww_section_key(content_key, member->key_id, key, err);
    ww_secret_free(content_key);
    return rc;
}

static enum ww_err read_table(struct ww_pack_view *v, struct ww_error *err)
{
    const char *name = v->member->name;
    const uint64_t end = v->section.plain_bytes;
    uint8_t length[8];
    uint8_t *text = NULL;
    uint64_t len = 0;
    enum ww_err rc = WW_OK;

    if (end < sizeof(length)) {
        return WW_FAIL(err, WW_E_MALFORMED, "member '%s': its section is too short",
                       name);
    }
    rc = ww_section_read(&v->section, end - sizeof(length), length, sizeof(length), err);
    if (rc) {
        return rc;
    }
    len = ww_get_u64le(length);
    if (len > WW_PACK_TABLE_MAX_BYTES || len > end - sizeof(length)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "member '%s': its table of %llu bytes is longer "
                       "than its section",
                       name, (unsigned long long)len);
    }
    text = ww_calloc(1, (size_t)len + 1);
    if (!text) {
        return WW_FAIL_MEMORY(err, "a table");
    }
    rc = ww_section_read(&v->section, end - sizeof(length) - len, text, (size_t)len, err);
    if (!rc && v->member->old && ww_pack_text_goes_back(text, (size_t)len)) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "member '%s': its table is coded as in no package of version 2",
                     name);
    }
    if (!rc) {
        rc = ww_pack_table_open(text, (size_t)len, end - sizeof(length) - len, name,
                                &v->table, err);
    }
    ww_free(text);
    return rc;
}

static enum ww_err check_commitment(const struct ww_pack_view *v, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    const enum ww_err rc = ww_pack_table_commitment(&v->table, digest, err);

    if (!rc && memcmp(digest, v->member->commitment, sizeof(digest)) != 0) {
        return WW_FAIL(
            err, WW_E_TAMPERED,
            "member '%s': its files are not those that the manifest commits to",
            v->member->name);
    }
    return rc;
}

enum ww_err ww_pack_view_open_with(int fd, uint64_t offset,
                                   const struct ww_pack_manifest_member *member,
                                   struct ww_secret *key, struct ww_pack_view *out,
                                   struct ww_error *err)
{
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (own < 0) {
        const int e = errno;
        ww_secret_free(key);
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open member '%s'",
                           member->name);
    }
    out->member = member;
    out->key = key;
    out->section = (struct ww_section_in){.fd = own,
                                          .name = member->name,
                                          .offset = offset,
                                          .bytes = member->bytes,
                                          .key = key,
                                          .cipher = member->cipher};
    rc = ww_section_open(&out->section, err);
    if (!rc) {
        rc = read_table(out, err);
    }
    if (!rc) {
        rc = check_commitment(out, err);
    }
    if (rc) {
        ww_pack_view_close(out);
    }
    return rc;
}

enum ww_err ww_pack_view_open(const struct ww_pack_file *f, size_t member,
                              const struct ww_unsealer *unsealer,
                              struct ww_pack_view *out, struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &f->manifest.members[member];
    struct ww_secret *key = NULL;
    uint64_t offset = 0;
    int fd = -1;
    enum ww_err rc = ww_pack_section_at(f, member, &fd, &offset, err);

    memset(out, 0, sizeof(*out));
    if (!rc && m->sealed) {
        rc = ww_pack_view_key(m, &f->records[member], unsealer, &key, err);
    }
    if (!rc) {
        rc = ww_pack_view_open_with(fd, offset, m, key, out, err);
    }
    ww_pack_section_give(f, fd);
    return rc;
}

void ww_pack_view_close(struct ww_pack_view *v)
{
    if (v->member) {
        close(v->section.fd);
    }
    ww_section_close(&v->section);
    ww_secret_free(v->key);
    ww_pack_table_release(&v->table);
    memset(v, 0, sizeof(*v));
}
