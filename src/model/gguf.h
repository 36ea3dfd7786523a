/* SPDX-License-Identifier: Apache-2.0 */
/**
 * GGUF files, versions 2 and 3, little-endian: metadata, tensor infos, block formats.
 *
 *   1. "GGUF", u32 version, u64 tensors, u64 keys
 *   2. per key: string, u32 type, value; a string is u64 length and bytes, an array u32
 *      type, u64 count and elements
 *   3. per tensor: string, u32 rank, u64 sizes (fastest first), u32 type, u64 offset
 *   4. padding to general.alignment, then tensors in the order of their infos, each
 * padded
 *
 * Stricter than the readers in use: names of tensors and keys once each, tensors packed
 * without hole or overlap to the end of the file, sizes that no product overflows.
 */
#ifndef WW_MODEL_GGUF_H
#define WW_MODEL_GGUF_H

#include <sys/stat.h>

#include "model/names.h"
#include "weightward/model.h"

#define WW_GGUF_MAX_RANK 4
#define WW_GGUF_MAX_TENSORS 1000000
#define WW_GGUF_MAX_KEYS 65536
#define WW_GGUF_MAX_NAME 1024
#define WW_GGUF_MAX_NESTING 4
#define WW_GGUF_MAX_HEADER ((size_t)512 << 20)

/* X(NAME, number in the file, elements of a block, bytes of a block) */
#define WW_GGUF_TYPE_LIST(X)                                                             \
    X(F32, 0, 1, 4)                                                                      \
    X(F16, 1, 1, 2)                                                                      \
    X(Q4_0, 2, 32, 18)                                                                   \
    X(Q4_1, 3, 32, 20)                                                                   \
    X(Q5_0, 6, 32, 22)                                                                   \
    X(Q5_1, 7, 32, 24)                                                                   \
    X(Q8_0, 8, 32, 34)                                                                   \
    X(Q2_K, 10, 256, 84)                                                                 \
    X(Q3_K, 11, 256, 110)                                                                \
    X(Q4_K, 12, 256, 144)                                                                \
    X(Q5_K, 13, 256, 176)                                                                \
    X(Q6_K, 14, 256, 210)                                                                \
    X(IQ4_NL, 20, 32, 18)                                                                \
    X(IQ4_XS, 23, 256, 136)                                                              \
    X(BF16, 30, 1, 2)                                                                    \
    X(TQ1_0, 34, 256, 54)                                                                \
    X(TQ2_0, 35, 256, 66)                                                                \
    X(MXFP4, 39, 32, 17)

enum ww_gguf_type {
#define WW_GGUF_ENUM(name, number, elements, bytes) WW_GGUF_##name,
    WW_GGUF_TYPE_LIST(WW_GGUF_ENUM)
#undef WW_GGUF_ENUM
        WW_GGUF_TYPE_COUNT
};
const char *ww_gguf_type_name(enum ww_gguf_type type);
unsigned ww_gguf_block_elements(enum ww_gguf_type type);
unsigned ww_gguf_block_bytes(enum ww_gguf_type type);

struct ww_gguf_key {
    const char *name; /* first, so that a name table can be built */
    uint32_t type;
    uint64_t at; /* of the value, in the header's bytes */
};

struct ww_gguf_tensor {
    const char *name;
    enum ww_gguf_type type;
    unsigned rank;
    uint64_t shape[WW_GGUF_MAX_RANK]; /* slowest first, as safetensors has it */
    uint64_t n_elements;
    uint64_t n_bytes;
    uint64_t offset; /* from the start of the file */
};

struct ww_gguf_header {
    const uint8_t *bytes; /* borrowed */
    struct ww_gguf_key *keys;
    uint32_t n_keys;
    struct ww_gguf_tensor *tensors; /* in file order */
    uint32_t n_tensors;
    uint64_t alignment;
    char *names; /* storage of the names */
    struct ww_names by_key;
    struct ww_names by_name;
    bool truncated; /* refused only because n bytes were too few: give more */
};

/** Parse the first n bytes of a file that has file_bytes. bytes must outlive the header;
 *  name goes into error texts. */
enum ww_err ww_gguf_parse(const uint8_t *bytes, uint64_t n, uint64_t file_bytes,
                          const char *name, struct ww_gguf_header *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_gguf_header_release(struct ww_gguf_header *header);

/** An unsigned or not negative integer of any width; false when the key is not there or
 *  something else. */
bool ww_gguf_get_u64(const struct ww_gguf_header *header, const char *key, uint64_t *out);
/** True when the key holds this very string. */
bool ww_gguf_is(const struct ww_gguf_header *header, const char *key, const char *text);

/** n_blocks blocks as floats, bit for bit those of the reference implementation. */
void ww_gguf_to_float(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                      float *out);
/** What each element was rounded by: the distance of neighbouring values in its block, or
 *  their mean distance on both sides where values are not evenly spaced (IQ4_NL, IQ4_XS,
 *  MXFP4); WW_STEP_LOST where the block's scale is zero; 0 for F32, F16, BF16. */
void ww_gguf_steps(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   double *out);

/** Between which numbers each element was before it was rounded to its block: half way to
 *  the neighbours of its value (of ww_gguf_to_float), infinite where it has none; the
 *  value itself for F32, F16, BF16. */
void ww_gguf_cells(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   const float *values, double *low, double *high);

/** By how much both ends of those may be off: some quantisers divide a block by its scale
 *  and round that to half precision afterwards, which is coarse where scales are small.
 */
void ww_gguf_slack(enum ww_gguf_type type, const uint8_t *blocks, size_t n_blocks,
                   double *out);

/** An open file. */
struct ww_gguf_file {
    int fd;
    struct stat st;
    char *name;
    uint8_t *bytes;
    struct ww_gguf_header header;
};
enum ww_err ww_gguf_open(const char *path, struct ww_gguf_file *out,
                         struct ww_error *err) WW_MUST_USE;
/** Also for a record that is all zero but for fd = -1. */
void ww_gguf_close(struct ww_gguf_file *file);

#endif
