/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Model folders: safetensors headers, shards and index, config.json, side files.
 *
 * A folder is opened once: every header is parsed, every descriptor stays open and is
 * the one that is read later, so what was checked is what is used. Nothing in a file is
 * trusted: docs/formats/safetensors.md lists the rules.
 */
#ifndef WEIGHTWARD_MODEL_H
#define WEIGHTWARD_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, text, bits, writer's alignment rank) - the 22 dtypes of safetensors 0.8.0. */
#define WW_DTYPE_LIST(X)                                                                 \
    X(BOOL, "BOOL", 8, 0)                                                                \
    X(F4, "F4", 4, 1)                                                                    \
    X(F6_E2M3, "F6_E2M3", 6, 2)                                                          \
    X(F6_E3M2, "F6_E3M2", 6, 3)                                                          \
    X(U8, "U8", 8, 4)                                                                    \
    X(I8, "I8", 8, 5)                                                                    \
    X(F8_E5M2, "F8_E5M2", 8, 6)                                                          \
    X(F8_E4M3, "F8_E4M3", 8, 7)                                                          \
    X(F8_E8M0, "F8_E8M0", 8, 8)                                                          \
    X(F8_E4M3FNUZ, "F8_E4M3FNUZ", 8, 9)                                                  \
    X(F8_E5M2FNUZ, "F8_E5M2FNUZ", 8, 10)                                                 \
    X(I16, "I16", 16, 11)                                                                \
    X(U16, "U16", 16, 12)                                                                \
    X(F16, "F16", 16, 13)                                                                \
    X(BF16, "BF16", 16, 14)                                                              \
    X(I32, "I32", 32, 15)                                                                \
    X(U32, "U32", 32, 16)                                                                \
    X(F32, "F32", 32, 17)                                                                \
    X(C64, "C64", 64, 18)                                                                \
    X(F64, "F64", 64, 19)                                                                \
    X(I64, "I64", 64, 20)                                                                \
    X(U64, "U64", 64, 21)

enum ww_dtype {
#define WW_DTYPE_ENUM(name, text, bits, rank) WW_DTYPE_##name,
    WW_DTYPE_LIST(WW_DTYPE_ENUM)
#undef WW_DTYPE_ENUM
        WW_DTYPE_COUNT
};

/** As safetensors spells it ("BF16"), and the bits of one element. */
WW_API const char *ww_dtype_name(enum ww_dtype dtype);
WW_API unsigned ww_dtype_bits(enum ww_dtype dtype);
/** F64, F32, F16, BF16: what a lock may move. */
WW_API bool ww_dtype_is_plain_float(enum ww_dtype dtype);

#define WW_MAX_RANK 8
#define WW_NONE UINT32_MAX /* "no such index" everywhere in this library */

/** One tensor of a file. All pointers are borrows that end with the model. */
struct ww_tensor {
    const char *name; /* UTF-8, NUL-terminated, no control characters */
    enum ww_dtype dtype;
    unsigned rank;
    uint64_t shape[WW_MAX_RANK];
    uint64_t n_elements;
    uint64_t n_bytes;
    uint64_t offset; /* of its first byte, from the start of the file */
    uint32_t file;   /* index into ww_model.files */
};

struct ww_reader; /* src/util/reader.h */

/** One safetensors file of the model. */
struct ww_weight_file {
    const char *name; /* relative to the folder */
    int fd;           /* open for reading, owned by the model */
    uint64_t size_bytes;
    const uint8_t *header; /* the first header_bytes bytes of the file, verbatim */
    uint64_t header_bytes; /* 8 + N */
    uint32_t first_tensor; /* its tensors lie in ww_model.tensors from here, */
    uint32_t n_tensors;    /* in offset order */
    const struct ww_reader *reader; /* bytes that lie in no file yet; NULL: fd has them */
};

/** A file that is not a weight file: config.json, tokenizer, README.md, ... */
struct ww_side_file {
    const char *path; /* relative, '/'-separated */
    uint64_t size_bytes;
};

/** Something a person should know that is no error: "pickle file 'x.bin' beside ...". */
struct ww_finding {
    enum ww_err code; /* what lock would refuse it with, or WW_OK */
    const char *text;
};

struct ww_config; /* parsed config.json; see src/model/config.h */

struct ww_model {
    const char *path; /* as given, without trailing slashes */
    const char *name; /* its last component, resolved */
    int dirfd;
    struct ww_weight_file *files; /* sorted by name */
    uint32_t n_files;
    struct ww_tensor *tensors; /* by (file, offset) */
    uint32_t n_tensors;
    struct ww_side_file *side; /* sorted by path; signatures and attestations too */
    uint32_t n_side;
    struct ww_finding *findings;
    uint32_t n_findings;
    struct ww_config *config; /* NULL when the folder has no config.json */
    bool has_index;
    void *impl;
};

/**
 * Open a model folder. Refuses: no weights (naming pickle or GGUF files if there are
 * some: WW_E_PICKLE, WW_E_GGUF), an adapter alone (WW_E_ADAPTER), malformed headers
 * (WW_E_SAFETENSORS), an index that lies (WW_E_INDEX), links out of the tree (WW_E_PATH).
 * Two copies of the weights, pickle files beside and the like are findings.
 */
WW_API enum ww_err ww_model_open(const char *path, struct ww_model **out,
                                 struct ww_error *err) WW_MUST_USE;
WW_API void ww_model_close(struct ww_model *model);

/** Index of a tensor by exact name, or WW_NONE. */
WW_API uint32_t ww_model_find(const struct ww_model *model, const char *name);

/** The first finding that a lock must refuse, as an error; WW_OK when there is none. */
WW_API enum ww_err ww_model_check_lockable(const struct ww_model *model,
                                           struct ww_error *err) WW_MUST_USE;

/** Read a whole tensor's bytes (n_bytes of them) into out. WW_E_USAGE for an index that
 * is none, WW_E_IO. */
WW_API enum ww_err ww_model_read(const struct ww_model *model, uint32_t tensor, void *out,
                                 struct ww_error *err) WW_MUST_USE;

/** WW_E_CHANGED when a weight file's size or times moved since it was opened. */
WW_API enum ww_err ww_model_unchanged(const struct ww_model *model,
                                      struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
