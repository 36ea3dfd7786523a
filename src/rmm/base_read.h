/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of the base as predictions of a member's, which may be of another dtype. */
#ifndef WW_RMM_BASE_READ_H
#define WW_RMM_BASE_READ_H

#include "model/st_file.h"
#include "rmm/table.h"

/** Where a tensor of the base lies. */
struct ww_base_from {
    int fd; /* borrowed; -1: nowhere */
    const char *name;
    uint64_t offset;
    enum ww_dtype dtype;
};
struct ww_base_from ww_base_from(const struct ww_model *base,
                                 const struct ww_tensor *tensor);

/** May it predict a member's tensor of this dtype: the same one, or one that it becomes
 *  by model/recode.h? */
bool ww_base_becomes(enum ww_dtype base, enum ww_dtype dtype);
/** Is it what a part says that it is predicted by? */
bool ww_base_is(const struct ww_tensor *base, const struct ww_pack_table_part *part);
/** Is a part's prediction another dtype than what the base has? */
static inline bool ww_base_changes(const struct ww_pack_table_part *part)
{
    return part->predicted && part->base_dtype != part->dtype;
}
/** Bytes of the base for so many of the part. */
uint64_t ww_base_bytes(enum ww_dtype base, enum ww_dtype dtype, uint64_t bytes);

/** n bytes of the prediction, from `at` on: the tensor in this dtype, which it becomes.
 * Both are whole numbers. */
enum ww_err ww_base_read(const struct ww_base_from *from, enum ww_dtype dtype,
                         uint64_t at, uint8_t *out, size_t n,
                         struct ww_error *err) WW_MUST_USE;

#endif
