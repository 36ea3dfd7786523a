/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The safetensors header: one pass over the bytes, no recursion, no floats.
 *
 *   1. u64 LE: N, length of the JSON text; N <= 100,000,000 and 8 + N <= file size
 *   2. N bytes: one JSON object, UTF-8, white space before and after allowed
 *        NAME: {"dtype": string, "shape": [u64...], "data_offsets": [begin, end]}
 *        "__metadata__": {string: string} or null
 *   3. tensor bytes; offsets count from 8 + N, packed without hole or overlap to the end
 *
 * Stricter than the reference: duplicate names, NUL or control characters in names,
 * names over 1024 bytes, rank over 8, arrays in place of tensor objects, unknown members.
 */
#ifndef WW_MODEL_SAFETENSORS_H
#define WW_MODEL_SAFETENSORS_H

#include "model/names.h"
#include "weightward/model.h"

#define WW_ST_MAX_HEADER_BYTES 100000000 /* the limit of the reference */
#define WW_ST_HUB_HEADER_BYTES 25000000  /* above it the hub's remote reader stops */
#define WW_ST_MAX_TENSORS 1000000
#define WW_ST_MAX_NAME_BYTES 1024

struct ww_st_tensor {
    const char *name; /* first, so that a name table can be built */
    uint32_t name_len;
    enum ww_dtype dtype;
    unsigned rank;
    uint64_t shape[WW_MAX_RANK];
    uint64_t n_elements;
    uint64_t begin; /* relative to the data area */
    uint64_t end;
    uint32_t header_position; /* rank in the header's own order */
};

struct ww_st_header {
    struct ww_st_tensor *tensors; /* sorted by (begin, end, header position) */
    uint32_t n_tensors;
    char *names;             /* storage of the NUL-terminated names */
    struct ww_names by_name; /* of tensors; empty when they had to be sorted */
    uint64_t data_bytes;     /* end of the last tensor */
    bool has_metadata;
};

/** Parse N bytes of header text; data_bytes is what the file holds behind it. name goes
 *  into error texts. */
enum ww_err ww_st_parse(const uint8_t *json, uint64_t n, uint64_t data_bytes,
                        const char *name, struct ww_st_header *out,
                        struct ww_error *err) WW_MUST_USE;
void ww_st_release(struct ww_st_header *header);

#endif
