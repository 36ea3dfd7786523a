/* SPDX-License-Identifier: Apache-2.0 */
/* One tensor of a model to hashes and sketch, in one reading of its bytes. */
#ifndef WW_LINEAGE_CATALOGUE_READ_H
#define WW_LINEAGE_CATALOGUE_READ_H

#include "lineage/catalogue_print.h"
#include "stream/tree.h"

#define WW_READ_CHUNK (UINT64_C(4) << 20)

/** What one thread needs; all-zero may be released. */
struct ww_tensor_reader {
    uint8_t *bytes;  /* [WW_READ_CHUNK] */
    double *values;  /* a stretch of it, widened */
    double *buckets; /* [m], of this tensor alone */
    size_t m;
    struct ww_sha256 *hash;
    struct ww_tree_tensor *tree;
};
enum ww_err ww_tensor_reader_init(struct ww_tensor_reader *r, size_t m,
                                  struct ww_error *err) WW_MUST_USE;
void ww_tensor_reader_release(struct ww_tensor_reader *r);

/** Fill out's hashes, and r->buckets when the tensor is of the body; rank is its place by
 *  name. *bytes grows by what was read. */
enum ww_err ww_tensor_reader_run(struct ww_tensor_reader *r, const struct ww_model *model,
                                 bool sample, uint32_t rank, struct ww_print_tensor *out,
                                 uint64_t *bytes, struct ww_error *err) WW_MUST_USE;

#endif
