/* SPDX-License-Identifier: Apache-2.0 */
/* Signed evidence of an adapter that was carried over to a locked base. */
#ifndef WW_LOCK_CARRY_RECORD_H
#define WW_LOCK_CARRY_RECORD_H

#include "evidence/ancestors.h"
#include "model/adapter.h"
#include "stream/stream.h"

struct ww_carry_record {
    const char *name; /* of the folder that is made */
    const struct ww_adapter *adapter;
    const struct ww_plan *plan; /* output 0 is the weights, input i is that of output i */
    const struct ww_stream_result *result;
    const uint8_t *lock_id;
    const uint8_t *base; /* tensor root of the locked base */
    const struct ww_signer *signer;
};

/** Write tensor statement, provenance and the ancestors' evidence into the output. */
enum ww_err ww_carry_record_add(const struct ww_carry_record *record, struct ww_out *out,
                                struct ww_error *err) WW_MUST_USE;

#endif
