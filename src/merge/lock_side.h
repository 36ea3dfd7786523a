/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a model's tensor statement says of its lock, and whether two models are in the
 * coordinates of one lock: only then are their sums and differences of any use.
 */
#ifndef WW_MERGE_LOCK_SIDE_H
#define WW_MERGE_LOCK_SIDE_H

#include <stdbool.h>

#include "sign/statement.h"

/* The schema of a lock of which the model was merged. */
#define WW_LOCK_SIDE_MERGED "weightward.lock-merge/1"

struct ww_lock_side {
    const char *text; /* the model, as errors name it; borrowed */
    bool locked;
    bool merged; /* while its sources were locked */
    bool exact;  /* the level: what merges */
    bool scale;  /* with powers of two */
    const char *group;
    const char *descriptor;
    const char *descriptor_sha256;
    struct ww_tensor_statement statement; /* owns them */
};

/** All of it is false for a model without a statement. WW_E_VERSION for a lock of a
 * schema that is not known; what ww_tensors_read fails with. *out is to be released. */
enum ww_err ww_lock_side_read(const struct ww_model *model, const char *text,
                              struct ww_lock_side *out, struct ww_error *err) WW_MUST_USE;
void ww_lock_side_release(struct ww_lock_side *side);

/** Neither is locked, or both are by one key in one way. WW_E_WRONG_KEY when keys differ,
 * else WW_E_UNSUPPORTED; `advice` ends the text: how to open them. */
enum ww_err ww_lock_sides_agree(const struct ww_lock_side *first,
                                const struct ww_lock_side *other, const char *advice,
                                struct ww_error *err) WW_MUST_USE;

#endif
