/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in a model folder, sorted by whole path so that it can be searched. Ignored
 * entries stay in the list, marked: a person must be able to see what was left out.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sign/target.h"
#include "util/alloc.h"
#include "util/fail.h"

struct visit {
    struct ww_listing *listing;
    const struct ww_ignore *ignore;
};

static enum ww_err add(struct ww_listing *listing, const struct ww_walk_entry *entry,
                       bool is_ignored, struct ww_error *err)
{
    if (listing->n == listing->capacity) {
        size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
        struct ww_listed *items =
            ww_realloc_array(listing->items, capacity, sizeof(*items));
        if (!items) {
            return WW_FAIL_MEMORY(err, "%zu files", capacity);
        }
        listing->items = items;
        listing->capacity = capacity;
    }
    struct ww_listed *item = &listing->items[listing->n];
    item->path = ww_strdup(entry->path);
    if (!item->path) {
        return WW_FAIL_MEMORY(err, "a file name");
    }
    item->type = entry->type;
    item->size_bytes = entry->size_bytes;
    item->is_ignored = is_ignored;
    listing->n++;
    return WW_OK;
}

static enum ww_err visit_entry(void *payload, const struct ww_walk_entry *entry,
                               bool *skip, struct ww_error *err)
{
    struct visit *visit = payload;
    bool is_ignored = ww_ignore_has(visit->ignore, entry->path);

    *skip = is_ignored;
    if (S_ISDIR(entry->type) && !is_ignored) {
        return WW_OK;
    }
    return add(visit->listing, entry, is_ignored, err);
}

static enum ww_err add_lone_file(const struct ww_target *target, struct ww_listing *out,
                                 struct ww_error *err)
{
    struct stat st;
    int fd = -1;
    enum ww_err rc =
        ww_file_open_at(target->dirfd, target->file, WW_LINKS_REFUSE, &fd, &st, err);
    if (rc) {
        return rc;
    }
    close(fd);
    struct ww_walk_entry entry = {
        .path = target->file, .type = S_IFREG, .size_bytes = (uint64_t)st.st_size};
    return add(out, &entry, false, err);
}

static int compare_path(const void *a, const void *b)
{
    const struct ww_listed *x = a;
    const struct ww_listed *y = b;

    return strcmp(x->path, y->path);
}

enum ww_err ww_listing_read(const struct ww_target *target,
                            const struct ww_ignore *ignore, struct ww_listing *out,
                            struct ww_error *err)
{
    struct visit visit = {out, ignore};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (target->file) {
        rc = add_lone_file(target, out, err);
    } else {
        rc = ww_walk(target->dirfd, visit_entry, &visit, err);
    }
    if (rc) {
        ww_listing_release(out);
        return rc;
    }
    if (out->n > 1) {
        qsort(out->items, out->n, sizeof(*out->items), compare_path);
    }
    return WW_OK;
}

void ww_listing_release(struct ww_listing *listing)
{
    if (!listing) {
        return;
    }
    for (size_t i = 0; i < listing->n; i++) {
        ww_free(listing->items[i].path);
    }
    ww_free(listing->items);
    memset(listing, 0, sizeof(*listing));
}

static int compare_key(const void *key, const void *item)
{
    const struct ww_listed *listed = item;

    return strcmp(key, listed->path);
}

const struct ww_listed *ww_listing_find(const struct ww_listing *listing,
                                        const char *path)
{
    return listing->n ? bsearch(path, listing->items, listing->n, sizeof(*listing->items),
                                compare_key)
                      : NULL;
}

struct type_row {
    mode_t type;
    const char *name;
};

static const struct type_row type_rows[] = {
    {S_IFLNK, "symbolic link"},    {S_IFIFO, "FIFO"},
    {S_IFSOCK, "socket"},          {S_IFBLK, "block device"},
    {S_IFCHR, "character device"}, {S_IFDIR, "folder"},
};

const char *ww_type_name(mode_t type)
{
    for (size_t i = 0; i < WW_LEN(type_rows); i++) {
        if (type_rows[i].type == type) {
            return type_rows[i].name;
        }
    }
    return "special file";
}
