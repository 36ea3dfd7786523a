/* SPDX-License-Identifier: Apache-2.0 */
/* What the making of a part and the join of all must agree about. */
#ifndef WW_MERGE_PARTS_INT_H
#define WW_MERGE_PARTS_INT_H

#include "merge/parts.h"

/** Bytes of a tensor of a plan that was checked. */
uint64_t ww_part_tensor_bytes(const struct ww_merge_tensor *t);
/** Tensors [first, end) of part i (from 0) of n, and their bytes. */
void ww_part_cut(const struct ww_merge_plan *plan, uint32_t i, uint32_t n,
                 uint32_t *first, uint32_t *end, uint64_t *n_bytes);
/** Where part `part` (from 1) of n lies, beside the output; NULL: no memory. The caller
 *  frees it. */
char *ww_part_folder(const char *out_path, uint32_t part, uint32_t n);

#endif
