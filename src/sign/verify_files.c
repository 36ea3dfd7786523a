/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest check of OMS 1.0, section 8.4. Presence comes first, since a missing or an
 * added file is found without reading; then every listed file is hashed from the
 * descriptor it was opened with. A file that is listed is checked even where an ignore
 * path names it: ignoring can hide an extra file only.
 *
 * Links are refused whatever the signer allowed: what a link leads to may change after
 * the check without any file of the folder changing.
 */
#include "sign/verify_files.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sign/digests.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MODE_NOTES 8

struct check {
    const struct ww_target *target;
    const struct ww_oms *oms;
    const struct ww_verify_options *options;
    struct ww_ignore ignore;
    struct ww_listing listing;
    struct ww_file_digest *files; /* one per distinct path */
    size_t *first;                /* its first resource */
    size_t n_files;
    struct ww_notes *notes;
};

/* The name under which a lone file lies in its folder. */
static const char *local_path(const struct check *check, const char *signed_path)
{
    return check->target->file && ww_str_eq(signed_path, ".") ? check->target->file
                                                              : signed_path;
}

/* Resources come sorted by path, so the shards of one file are neighbours. */
static enum ww_err collect_files(struct check *check, struct ww_error *err)
{
    const struct ww_oms *oms = check->oms;

    check->files = ww_calloc(oms->n_resources, sizeof(*check->files));
    check->first = ww_calloc(oms->n_resources, sizeof(*check->first));
    if (!check->files || !check->first) {
        return WW_FAIL_MEMORY(err, "%zu files", oms->n_resources);
    }
    for (size_t i = 0; i < oms->n_resources; i++) {
        if (i > 0 && strcmp(oms->resources[i - 1].path, oms->resources[i].path) == 0) {
            continue;
        }
        check->files[check->n_files].path = local_path(check, oms->resources[i].path);
        check->first[check->n_files++] = i;
    }
    return WW_OK;
}

/* Index of the first signed path that is not below key. */
static size_t lower_bound(const struct check *check, const char *key)
{
    size_t low = 0;
    size_t high = check->n_files;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(check->files[middle].path, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_signed(const struct check *check, const char *path)
{
    size_t at = lower_bound(check, path);

    return at < check->n_files && strcmp(check->files[at].path, path) == 0;
}

/* A link may stand for a folder that signed files lie in. */
static enum ww_err holds_signed(const struct check *check, const char *path, bool *holds,
                                struct ww_error *err)
{
    char *prefix = ww_asprintf("%s/", path);

    if (!prefix) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    size_t at = lower_bound(check, prefix);
    *holds = is_signed(check, path) ||
             (at < check->n_files && ww_str_starts(check->files[at].path, prefix));
    ww_free(prefix);
    return WW_OK;
}

/* Git's own files, save where a signer signed some of them: nothing may hide beside. */
static enum ww_err add_defaults(struct check *check, struct ww_error *err)
{
    bool holds = false;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(ww_ignore_defaults) && !rc; i++) {
        rc = holds_signed(check, ww_ignore_defaults[i], &holds, err);
        if (!rc && !holds) {
            rc = ww_ignore_add(&check->ignore, ww_ignore_defaults[i], err);
        }
    }
    return rc;
}

static enum ww_err collect_ignored(struct check *check, struct ww_error *err)
{
    const struct ww_verify_options *options = check->options;
    const char *path = NULL;
    enum ww_err rc = add_defaults(check, err);

    for (const struct ww_jnode *at = ww_jfirst(check->oms->ignore_paths); at && !rc;
         at = ww_jnext(at)) {
        rc = ww_jstr(at, &path) ? ww_ignore_add(&check->ignore, path, err) : WW_OK;
    }
    for (size_t i = 0; i < options->n_ignore_paths && !rc; i++) {
        rc = ww_ignore_add_option(&check->ignore, check->target->given,
                                  check->target->real, options->ignore_paths[i], err);
    }
    if (!rc && check->target->signature) {
        rc = ww_ignore_add(&check->ignore, check->target->signature, err);
    }
    ww_ignore_ready(&check->ignore);
    return rc;
}

static enum ww_err refuse_special(const struct check *check, const struct ww_listed *item,
                                  struct ww_error *err)
{
    bool was_signed = false;
    enum ww_err rc = holds_signed(check, item->path, &was_signed, err);
    if (rc) {
        return rc;
    }
    return WW_FAIL(
        err, was_signed ? WW_E_TAMPERED : WW_E_EXTRA_FILE,
        "'%s' is a %s, and only regular files are signed; verify a real copy of "
        "the model, not a cache of links",
        item->path, ww_type_name(item->type));
}

static enum ww_err check_extra(const struct check *check, const struct ww_listed *item,
                               struct ww_error *err)
{
    if (item->is_ignored) {
        if (is_signed(check, item->path) ||
            (check->target->signature &&
             ww_str_eq(item->path, check->target->signature))) {
            return WW_OK;
        }
        return ww_notes_add(check->notes, err,
                            "'%s' is left out of the signature by its ignore list",
                            item->path);
    }
    if (!S_ISREG(item->type)) {
        return refuse_special(check, item, err);
    }
    if (is_signed(check, item->path)) {
        return WW_OK;
    }
    /* Shards have no place for a file without bytes. */
    if (check->oms->shard_size && item->size_bytes == 0) {
        return ww_notes_add(check->notes, err, "'%s' is empty and not signed",
                            item->path);
    }
    if (check->options->ignore_unsigned_files) {
        return ww_notes_add(check->notes, err, "'%s' is not signed", item->path);
    }
    return WW_FAIL(
        err, WW_E_EXTRA_FILE,
        "'%s' was not signed; remove it or verify with --ignore-unsigned-files",
        item->path);
}

/* What is not listed as a file may still lie below an ignored folder. */
static enum ww_err check_present(const struct check *check, const char *path,
                                 struct ww_error *err)
{
    struct stat st;
    const struct ww_listed *item = ww_listing_find(&check->listing, path);

    if (item && S_ISREG(item->type)) {
        return WW_OK;
    }
    if (ww_path_is_relative(path) &&
        fstatat(check->target->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISREG(st.st_mode)) {
            return WW_OK;
        }
        return WW_FAIL(err, WW_E_TAMPERED, "signed file '%s' is a %s now", path,
                       ww_type_name(st.st_mode & S_IFMT));
    }
    return WW_FAIL(err, WW_E_MISSING_FILE,
                   "signed file '%s' is missing; is the copy of the folder complete?",
                   path);
}

static enum ww_err check_presence(const struct check *check, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < check->listing.n && !rc; i++) {
        rc = check_extra(check, &check->listing.items[i], err);
    }
    for (size_t i = 0; i < check->n_files && !rc; i++) {
        rc = check_present(check, check->files[i].path, err);
    }
    return rc;
}

static enum ww_err differs(const char *path, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_TAMPERED, "'%s' differs from what was signed", path);
}

static enum ww_err check_whole_files(struct check *check, struct ww_error *err)
{
    const struct ww_oms *oms = check->oms;
    enum ww_err rc = ww_digest_files(check->target->dirfd, check->files, check->n_files,
                                     oms->algorithm, "verify", &check->options->run, err);

    for (size_t i = 0; i < check->n_files && !rc; i++) {
        const struct ww_oms_resource *resource = &oms->resources[check->first[i]];
        if (memcmp(check->files[i].digest, resource->digest, oms->digest_bytes) != 0) {
            rc = differs(check->files[i].path, err);
        }
    }
    return rc;
}

static enum ww_err check_sharded_file(struct check *check, size_t i, struct ww_digest *d,
                                      struct ww_error *err)
{
    const struct ww_oms *oms = check->oms;
    struct ww_file_digest *file = &check->files[i];
    size_t end = i + 1 < check->n_files ? check->first[i + 1] : oms->n_resources;
    struct stat st;
    int fd = -1;
    enum ww_err rc =
        ww_file_open_at(check->target->dirfd, file->path, WW_LINKS_REFUSE, &fd, &st, err);
    if (rc) {
        return rc;
    }
    file->size_bytes = (uint64_t)st.st_size;
    file->mode = st.st_mode & 07777;
    if (oms->resources[end - 1].end != file->size_bytes) {
        rc = differs(file->path, err);
        goto out;
    }
    for (size_t k = check->first[i]; k < end; k++) {
        const struct ww_oms_resource *shard = &oms->resources[k];
        rc = ww_digest_range(fd, file->path, d, shard->start, shard->end, file->digest,
                             err);
        if (rc) {
            goto out;
        }
        if (memcmp(file->digest, shard->digest, oms->digest_bytes) != 0) {
            rc = differs(file->path, err);
            goto out;
        }
    }
    rc = ww_file_unchanged(fd, &st, file->path, err);
out:
    close(fd);
    return rc;
}

static enum ww_err check_sharded_files(struct check *check, struct ww_error *err)
{
    struct ww_digest *d = NULL;
    enum ww_err rc = ww_digest_new(check->oms->algorithm, &d, err);

    for (size_t i = 0; i < check->n_files && !rc; i++) {
        rc = check_sharded_file(check, i, d, err);
    }
    ww_digest_free(d);
    return rc;
}

/* OMS does not sign modes: a file that can be run, or runs as someone else, is named. */
static enum ww_err note_modes(struct check *check, struct ww_error *err)
{
    size_t n_executable = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < check->n_files && !rc; i++) {
        const struct ww_file_digest *file = &check->files[i];
        bool special = (file->mode & (S_ISUID | S_ISGID)) != 0;
        bool executable = (file->mode & 0111) != 0;
        n_executable += executable && !special;
        if (special || (executable && n_executable <= MODE_NOTES)) {
            rc = ww_notes_add(check->notes, err, "mode of '%s' is not signed: %04o",
                              file->path, (unsigned)file->mode);
        }
    }
    if (!rc && n_executable > MODE_NOTES) {
        rc = ww_notes_add(check->notes, err,
                          "modes are not signed: %zu more files are executable",
                          n_executable - MODE_NOTES);
    }
    return rc;
}

static enum ww_err run_check(struct check *check, struct ww_error *err)
{
    enum ww_err rc = collect_files(check, err);
    if (rc) {
        return rc;
    }
    rc = collect_ignored(check, err);
    if (rc) {
        return rc;
    }
    rc = ww_listing_read(check->target, &check->ignore, &check->listing, err);
    if (rc) {
        return rc;
    }
    rc = check_presence(check, err);
    if (rc) {
        return rc;
    }
    rc = check->oms->shard_size ? check_sharded_files(check, err)
                                : check_whole_files(check, err);
    if (rc) {
        return rc;
    }
    return note_modes(check, err);
}

enum ww_err ww_verify_files(const struct ww_target *target, const struct ww_oms *oms,
                            const struct ww_verify_options *options,
                            struct ww_verify_report *report, struct ww_notes *notes,
                            struct ww_error *err)
{
    struct check check = {
        .target = target, .oms = oms, .options = options, .notes = notes};
    enum ww_err rc = run_check(&check, err);

    for (size_t i = 0; i < check.n_files && !rc; i++) {
        report->files_checked++;
        report->bytes_checked += check.files[i].size_bytes;
    }
    ww_listing_release(&check.listing);
    ww_ignore_release(&check.ignore);
    ww_free(check.files);
    ww_free(check.first);
    return rc;
}
