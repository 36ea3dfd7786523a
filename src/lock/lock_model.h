/* SPDX-License-Identifier: Apache-2.0 */
/* Locking a model that is open already; its weights may lie in no file. */
#ifndef WW_LOCK_LOCK_MODEL_H
#define WW_LOCK_LOCK_MODEL_H

#include "stream/stream.h"
#include "util/str.h"
#include "weightward/lock.h"

/** For a model whose evidence is made from the digests of this very reading. */
struct ww_lock_late {
    const struct ww_input_tree *const *model_trees; /* per weight file of the model: open
                                                       tensors whose roots are wanted */
    const struct ww_input *inputs;          /* beside them, read for what is wanted of */
    const struct ww_reader *const *readers; /* them: as in a plan, [n_inputs] each */
    const struct ww_input_tree *const *trees;
    uint32_t n_inputs;
    /** All bytes have passed: write the evidence into the model's folder and append its
     *  paths in there. */
    enum ww_err (*make)(void *payload, const uint8_t (*model_sha256)[WW_SHA256_BYTES],
                        const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                        struct ww_strlist *paths, struct ww_error *err);
    void *payload;
};

/** As ww_lock_folder; the model is borrowed. That out_path is not inside of it is for the
 *  caller to see to. late: NULL, or what comes when the weights have been locked. */
enum ww_err ww_lock_model(struct ww_model *model, const char *out_path,
                          const struct ww_lock_options *options,
                          const struct ww_lock_late *late, struct ww_lock_report *report,
                          struct ww_error *err) WW_MUST_USE;

#endif
