/* SPDX-License-Identifier: Apache-2.0 */
/* The model to sign or verify, opened once: a folder, or one file in a folder. */
#ifndef WW_SIGN_TARGET_H
#define WW_SIGN_TARGET_H

#include "sign/ignore.h"
#include "util/fs.h"

struct ww_target {
    const char *given; /* path as given, borrowed */
    char *real;        /* resolved path of the folder */
    char *file;        /* name of the one file, NULL for a folder */
    int dirfd;         /* -1 when not open */
    char *signature;   /* path of the signature in the folder, NULL: outside */
};

/** A lone file is opened as its folder and its name. */
enum ww_err ww_target_open(const char *path, struct ww_target *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_target_release(struct ww_target *target);
/** The last component of the resolved path; "model" when that is no name. */
const char *ww_target_name(const struct ww_target *target);
/** Find out whether a signature path lies in the folder; sets target->signature. */
enum ww_err ww_target_place_signature(struct ww_target *target, const char *path,
                                      struct ww_error *err) WW_MUST_USE;

struct ww_listed {
    char *path;
    mode_t type; /* S_IFMT bits */
    uint64_t size_bytes;
    bool is_ignored; /* named by the ignore list; what lies below is not listed */
};
/** What lies in a model, folders aside, by path. All-zero is empty. */
struct ww_listing {
    struct ww_listed *items;
    size_t n;
    size_t capacity;
};

enum ww_err ww_listing_read(const struct ww_target *target,
                            const struct ww_ignore *ignore, struct ww_listing *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_listing_release(struct ww_listing *listing);
/** NULL when there is none. */
const struct ww_listed *ww_listing_find(const struct ww_listing *listing,
                                        const char *path);
/** "symbolic link", "FIFO", ... for a type that cannot be signed. */
const char *ww_type_name(mode_t type);

#endif
