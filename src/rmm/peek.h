/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of a member by name and shape, read without restoring it: nothing of a
 * sealed member touches a disk. */
#ifndef WW_RMM_PEEK_H
#define WW_RMM_PEEK_H

#include "model/adapter.h"
#include "rmm/rank.h"
#include "rmm/unpack_run.h"

struct ww_peek_tensor {
    const char *name;
    enum ww_dtype dtype;
    unsigned rank;
    uint64_t shape[WW_MAX_RANK];
    uint64_t n_elements;
    const struct ww_pack_table_part *part;
    uint32_t base; /* what it was coded against, itself or by its parents, or WW_NONE */
};

struct ww_peek {
    bool open;
    struct ww_unpack_run run;
    struct ww_unpack_rooms rooms;
    struct ww_unpack_room *room;
    struct ww_peek_tensor *tensors; /* in file order */
    uint32_t n_tensors;
    struct ww_adapter *adapter; /* of an adapter; its tensors are those above */
    uint8_t *bytes;             /* WW_CHUNK_BYTES of the chunk read last, and as many */
    uint8_t *prediction;        /* of the base's bytes there */
};

/** form of the options is not looked at. WW_E_DENIED for members that ask for policies.
 */
enum ww_err ww_peek_open(const char *path, const char *name,
                         const struct ww_unpack_options *options, struct ww_peek *out,
                         struct ww_error *err) WW_MUST_USE;
/** Also for one that is all zero. */
void ww_peek_close(struct ww_peek *peek);

/** Chunk c of a tensor into bytes and, with a base, prediction; *n bytes each. */
enum ww_err ww_peek_chunk(struct ww_peek *peek, uint32_t tensor, uint64_t c, size_t *n,
                          struct ww_error *err) WW_MUST_USE;
/** A whole tensor as doubles, finite; *out is the caller's to free. WW_E_QUANTISED,
 *  WW_E_NONFINITE, WW_E_LIMIT above a gibibyte of doubles. */
enum ww_err ww_peek_read(struct ww_peek *peek, uint32_t tensor, double **out,
                         struct ww_error *err) WW_MUST_USE;
/** The tensor of this name, or WW_NONE. */
uint32_t ww_peek_find(const struct ww_peek *peek, const char *name);

#endif
