/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the root that is believed to the newest one. Each next root has the next version
 * and is signed by enough root keys of the one before and by enough of its own: whoever
 * stole keys that were exchanged since cannot go on from there, and nobody can step over
 * a rotation. Only the last root must be in time; that older ones have expired is normal.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trust/trust.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MAX_ROOTS 1024
#define SUFFIX ".root.json"

enum ww_err ww_signed_read(const char *path, enum ww_signed_kind kind,
                           struct ww_envelope *out, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *out = (struct ww_envelope){0};
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_envelope_parse(text.data, text.len, out, err);
    if (rc) {
        ww_error_context(err, "signed file '%s'", path);
        goto out;
    }
    if (out->kind != kind) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "'%s' holds a signed %s, expected a %s", path,
                     ww_signed_word(out->kind), ww_signed_word(kind));
        ww_envelope_release(out);
    }
out:
    ww_buf_release(&text);
    return rc;
}

/* The n of "n.root.json", 0 for another name. */
static uint64_t number_of(const char *name)
{
    const size_t len = strlen(name);
    uint64_t n = 0;

    if (!ww_str_ends(name, SUFFIX) || len == strlen(SUFFIX) ||
        !ww_parse_u64(name, len - strlen(SUFFIX), &n)) {
        return 0;
    }
    return n;
}

static enum ww_err note_root(void *payload, const struct ww_walk_entry *entry, bool *skip,
                             struct ww_error *err)
{
    *skip = S_ISDIR(entry->type);
    if (S_ISREG(entry->type) && number_of(entry->path) > 0) {
        return ww_strlist_add(payload, entry->path, err);
    }
    return WW_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t x = number_of(*(char *const *)a);
    const uint64_t y = number_of(*(char *const *)b);

    return (x > y) - (x < y);
}

/* A folder stands for its 1.root.json, 2.root.json, ... in the order of their numbers. */
static enum ww_err add_folder(const char *path, int fd, struct ww_strlist *files,
                              struct ww_error *err)
{
    struct ww_strlist names = {0};
    enum ww_err rc = ww_walk(fd, note_root, &names, err);

    if (!rc && names.n == 0) {
        rc =
            WW_FAIL(err, WW_E_NOTFOUND, "'%s' holds no root, expected 1.root.json", path);
    }
    if (names.n > 1) {
        qsort(names.items, names.n, sizeof(*names.items), by_number);
    }
    for (size_t i = 0; i < names.n && !rc; i++) {
        char *file = ww_path_join(path, names.items[i]);
        rc = file ? ww_strlist_add(files, file, err) : WW_FAIL_MEMORY(err, "a path");
        ww_free(file);
    }
    ww_strlist_release(&names);
    return rc;
}

static enum ww_err list_files(const char *const *paths, size_t n,
                              struct ww_strlist *files, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && !rc; i++) {
        struct stat st;
        int fd = -1;
        if (stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode)) {
            rc = ww_dir_open(paths[i], &fd, err);
            if (!rc) {
                rc = add_folder(paths[i], fd, files, err);
                close(fd);
            }
        } else {
            rc = ww_strlist_add(files, paths[i], err);
        }
    }
    if (!rc && files->n == 0) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "a trust root is needed, none was given; name its file");
    }
    if (!rc && files->n > MAX_ROOTS) {
        rc = WW_FAIL(err, WW_E_LIMIT, "%zu roots, at most %d are walked", files->n,
                     MAX_ROOTS);
    }
    return rc;
}

/* Signed by enough root keys: at any time, but for the last root's own. */
static enum ww_err endorsed(const struct ww_root *by, const struct ww_root *other,
                            const struct ww_envelope *envelope, int64_t now,
                            unsigned flags, const char *path, struct ww_error *err)
{
    struct ww_endorsement keys;
    enum ww_err rc = ww_root_endorse(by, other, envelope, now, flags, &keys, err);

    if (!rc) {
        rc = ww_root_threshold(by, WW_ROOT_ROLE, &keys, "root", err);
    }
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
    return rc;
}

/* believed: the root before, all zero for the first; replaced by the next on success. */
static enum ww_err step(const char *path, int64_t now, bool is_last,
                        struct ww_root *believed, struct ww_error *err)
{
    const bool is_first = believed->version == 0;
    struct ww_envelope envelope = {0};
    struct ww_root next = {0};
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_ROOT, &envelope, err);

    if (rc) {
        return rc;
    }
    rc = ww_root_read(envelope.payload.data, envelope.payload.len, &next, err);
    if (rc) {
        ww_error_context(err, "'%s'", path);
        goto out;
    }
    if (!is_first && next.version != believed->version + 1) {
        rc = WW_FAIL(err, WW_E_UNTRUSTED,
                     "root '%s' has version %llu, expected %llu: every version of the "
                     "root must be walked",
                     path, (unsigned long long)next.version,
                     (unsigned long long)believed->version + 1);
        goto out;
    }
    if (!is_first) {
        rc = endorsed(believed, &next, &envelope, now, WW_ENDORSE_ANY_TIME, path, err);
        if (rc) {
            goto out;
        }
    }
    /* The first may carry signatures of the keys that it took over from. */
    rc = endorsed(&next, is_first ? NULL : believed, &envelope, now,
                  (is_last ? 0 : WW_ENDORSE_ANY_TIME) |
                      (is_first ? WW_ENDORSE_STRANGERS : 0),
                  path, err);
    if (rc) {
        goto out;
    }
    ww_root_release(believed);
    *believed = next;
    next = (struct ww_root){0};
out:
    ww_root_release(&next);
    ww_envelope_release(&envelope);
    return rc;
}

enum ww_err ww_root_walk(const char *const *paths, size_t n, int64_t now,
                         struct ww_root *out, struct ww_error *err)
{
    struct ww_strlist files = {0};
    enum ww_err rc = list_files(paths, n, &files, err);

    *out = (struct ww_root){0};
    for (size_t i = 0; i < files.n && !rc; i++) {
        rc = step(files.items[i], now, i + 1 == files.n, out, err);
    }
    if (!rc && now < out->issued) {
        rc = WW_FAIL(
            err, WW_E_EXPIRED,
            "root version %llu is issued later than this clock says; set the clock",
            (unsigned long long)out->version);
    }
    if (!rc && now >= out->expires) {
        rc =
            WW_FAIL(err, WW_E_EXPIRED,
                    "root version %llu, the last one given, has expired; get a newer one",
                    (unsigned long long)out->version);
    }
    ww_strlist_release(&files);
    if (rc) {
        ww_root_release(out);
    }
    return rc;
}
