/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that goes into a package: its files as parts that are coded on their own. */
#ifndef WW_RMM_MEMBER_H
#define WW_RMM_MEMBER_H

#include "model/folder.h"
#include "model/st_file.h"
#include "rmm/table.h"
#include "weightward/package.h"

/** A file being read; parts are in the table. */
struct ww_member_file {
    int fd;
    struct stat st;
    struct ww_st_file weights; /* fd -1: no weight file */
};

struct ww_member {
    const char *name; /* borrowed */
    const char *path;
    int dirfd;
    bool adapter;
    struct ww_folder folder;
    struct ww_member_file *files; /* as the table's */
    struct ww_pack_table table;   /* digests and chunks still to come */
    uint32_t *base_tensors;       /* per part: in the base, or WW_NONE */
    uint64_t bytes;               /* of all files */
};

/** Open every file and cut it into parts. base may be NULL. WW_E_UNSUPPORTED for a folder
 *  without weights in safetensors files. */
enum ww_err ww_member_open(const char *name, const char *path,
                           const struct ww_model *base, struct ww_member *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_member_close(struct ww_member *member);
/** WW_E_CHANGED when a file is not what it was. */
enum ww_err ww_member_unchanged(const struct ww_member *member,
                                struct ww_error *err) WW_MUST_USE;

#endif
