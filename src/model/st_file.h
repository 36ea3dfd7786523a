/* SPDX-License-Identifier: Apache-2.0 */
/* One safetensors file: opened once, header read and checked. */
#ifndef WW_MODEL_ST_FILE_H
#define WW_MODEL_ST_FILE_H

#include <sys/stat.h>

#include "model/safetensors.h"

struct ww_st_file {
    int fd;
    struct stat st;  /* as it was when the header was read */
    uint8_t *header; /* 8 + N bytes, verbatim */
    uint64_t header_bytes;
    struct ww_st_header parsed;
};

/** Open name below dirfd (links as in a hub cache) and check all that its header says.
 *  Peak memory: about three times the header. */
enum ww_err ww_st_file_open(int dirfd, const char *name, struct ww_st_file *out,
                            struct ww_error *err) WW_MUST_USE;
/** The same of a file that is open, and has perhaps no name; fd is taken over. */
enum ww_err ww_st_file_of(int fd, const char *name, struct ww_st_file *out,
                          struct ww_error *err) WW_MUST_USE;
/** A parsed tensor as the rest of the program sees it; name stays a borrow. */
void ww_st_tensor_fill(struct ww_tensor *to, const struct ww_st_tensor *from,
                       uint64_t header_bytes, uint32_t file);
/** Also for a record that is all zero but for fd = -1. */
void ww_st_file_close(struct ww_st_file *file);

#endif
