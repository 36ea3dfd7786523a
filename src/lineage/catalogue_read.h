/* SPDX-License-Identifier: Apache-2.0 */
/* One tensor of a model to hashes and sketch, in one reading of its bytes. */
#ifndef WW_LINEAGE_CATALOGUE_READ_H
#define WW_LINEAGE_CATALOGUE_READ_H

#include "crypto/sha.h"
#include "lineage/catalogue_print.h"
#include "stream/tree.h"

/** A part of a leaf of the tensor tree, small enough for all its users to find it in the
 *  second cache. */
#define WW_READ_CHUNK (UINT64_C(256) << 10)

/** What one thread needs; all-zero may be released. */
struct ww_tensor_reader {
    uint8_t *bytes;  /* [WW_READ_CHUNK] */
    double *values;  /* a stretch of it, widened */
    double *buckets; /* [m], of this tensor alone */
    size_t m;
    struct ww_sha content; /* the tensor's bytes */
    struct ww_sha leaf;    /* of the tensor tree */
    struct ww_sha256 *fold;
    uint8_t (*leaves)[WW_SHA256_BYTES];
    size_t n_leaves;
    size_t capacity;
};
enum ww_err ww_tensor_reader_init(struct ww_tensor_reader *r, size_t m,
                                  struct ww_error *err) WW_MUST_USE;
void ww_tensor_reader_release(struct ww_tensor_reader *r);

/** Fill out's hashes, and r->buckets when the tensor is of the body and how asks for more
 *  than bytes; rank is its place by name. *bytes grows by what was read. */
enum ww_err ww_tensor_reader_run(struct ww_tensor_reader *r, const struct ww_model *model,
                                 const struct ww_print_options *how, uint32_t rank,
                                 struct ww_print_tensor *out, uint64_t *bytes,
                                 struct ww_error *err) WW_MUST_USE;

#endif
