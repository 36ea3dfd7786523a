/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in a model folder, before anything is opened. */
#ifndef WW_MODEL_FOLDER_H
#define WW_MODEL_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_entry {
    char *path; /* relative, '/'-separated */
    uint64_t size_bytes;
    bool is_regular; /* or a link to a regular file */
    bool is_folder;
    bool is_weights; /* set once the weight files are chosen */
};

/* Sorted by path. Folders are listed only when they bear the name of a weight file. */
struct ww_folder {
    struct ww_entry *items;
    size_t n;
    size_t capacity;
};

/** List everything below dirfd but .git and .cache at the top. Links are followed as in a
 *  hub cache; one that leads elsewhere is WW_E_PATH. */
enum ww_err ww_folder_scan(int dirfd, struct ww_folder *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_folder_release(struct ww_folder *folder);

struct ww_entry *ww_folder_find(const struct ww_folder *folder, const char *path);

/** True for a path without '/'. */
bool ww_entry_is_top(const struct ww_entry *entry);

#endif
