/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk, then everything is decided on the list. Links are opened once here, because a
 * link that leaves the folder must be refused whatever its name is: a signer would read
 * through it. .git and .cache are left out at the top, as signing tools for models do.
 */
#include "model/folder.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

struct scan {
    int dirfd;
    struct ww_folder *folder;
};

static enum ww_err add_entry(struct ww_folder *folder, struct ww_entry entry,
                             const char *path, struct ww_error *err)
{
    if (folder->n == folder->capacity) {
        size_t wide = folder->capacity ? 2 * folder->capacity : 32;
        struct ww_entry *moved = ww_realloc_array(folder->items, wide, sizeof(*moved));
        if (!moved) {
            return WW_FAIL_MEMORY(err, "a list of files");
        }
        folder->items = moved;
        folder->capacity = wide;
    }
    entry.path = ww_strdup(path);
    if (!entry.path) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    folder->items[folder->n++] = entry;
    return WW_OK;
}

static enum ww_err visit(void *payload, const struct ww_walk_entry *found, bool *skip,
                         struct ww_error *err)
{
    const struct scan *scan = payload;
    struct ww_entry entry = {.size_bytes = found->size_bytes,
                             .is_regular = S_ISREG(found->type),
                             .is_folder = S_ISDIR(found->type)};
    if (strcmp(found->path, ".git") == 0 || strcmp(found->path, ".cache") == 0) {
        *skip = true;
        return WW_OK;
    }
    if (entry.is_folder && !ww_str_ends(found->path, ".safetensors")) {
        return WW_OK;
    }
    if (S_ISLNK(found->type)) {
        struct stat st;
        int fd = -1;
        enum ww_err rc =
            ww_file_open_at(scan->dirfd, found->path, WW_LINKS_HUB, &fd, &st, err);
        if (rc) {
            return rc;
        }
        close(fd);
        entry.is_regular = true;
        entry.size_bytes = (uint64_t)st.st_size;
    }
    return add_entry(scan->folder, entry, found->path, err);
}

static int path_order(const void *a, const void *b)
{
    const struct ww_entry *x = a;
    const struct ww_entry *y = b;
    return strcmp(x->path, y->path);
}

enum ww_err ww_folder_scan(int dirfd, struct ww_folder *out, struct ww_error *err)
{
    struct scan scan = {.dirfd = dirfd, .folder = out};
    memset(out, 0, sizeof(*out));
    enum ww_err rc = ww_walk(dirfd, visit, &scan, err);
    if (rc) {
        ww_folder_release(out);
        return rc;
    }
    if (out->n > 1) {
        qsort(out->items, out->n, sizeof(*out->items), path_order);
    }
    return WW_OK;
}

void ww_folder_release(struct ww_folder *folder)
{
    for (size_t i = 0; i < folder->n; i++) {
        ww_free(folder->items[i].path);
    }
    ww_free(folder->items);
    memset(folder, 0, sizeof(*folder));
}

struct ww_entry *ww_folder_find(const struct ww_folder *folder, const char *path)
{
    size_t low = 0;
    size_t high = folder->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(path, folder->items[mid].path);
        if (order == 0) {
            return &folder->items[mid];
        }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

bool ww_entry_is_top(const struct ww_entry *entry)
{
    return !strchr(entry->path, '/');
}
