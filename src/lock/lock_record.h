/* SPDX-License-Identifier: Apache-2.0 */
/* Provenance of a lock: what was locked, and the evidence that it carried. */
#ifndef WW_LOCK_LOCK_RECORD_H
#define WW_LOCK_LOCK_RECORD_H

#include "evidence/ancestors.h"
#include "lock/lock_plan.h"

struct ww_lock_record {
    const char *name;             /* of the locked folder */
    const struct ww_model *model; /* that was locked */
    const struct ww_lock_plan *plan;
    const struct ww_stream_result *result;
    const uint8_t *tree; /* of the locked tensors */
    const uint8_t *lock_id;
    const char *level;
    bool scale;
    const char *descriptor;
    const struct ww_signer *signer; /* NULL: a statement without envelope */
};

/** Write the statement and the ancestors' evidence into the output. */
enum ww_err ww_lock_record_add(const struct ww_lock_record *record, struct ww_out *out,
                               struct ww_error *err) WW_MUST_USE;

#endif
