/* SPDX-License-Identifier: Apache-2.0 */
/* A merge that goes on from an earlier one: what it must know of that, from its record.
 */
#ifndef WW_MERGE_EARLIER_H
#define WW_MERGE_EARLIER_H

#include "merge/build.h"

/** What a continual merge (OPCM) leaves for the next one: its models, the mean norm of
 *  their changes, and what the merged change was multiplied by at the end. */
struct ww_merge_state {
    uint64_t tasks; /* 0: none is known */
    double mean_norm;
    double scale;
};

struct ww_merge_earlier;

/** The first source of a method that has a parameter `earlier`, where it is 1: read its
 *  record. Sets plan->earlier. */
enum ww_err ww_build_earlier(struct ww_build *build, struct ww_error *err) WW_MUST_USE;
void ww_merge_earlier_free(struct ww_merge_earlier *earlier);
/** Are the earlier merge and the base what the record says? With the digests of a run. */
enum ww_err ww_merge_check_earlier(const struct ww_merge_plan *plan,
                                   const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                                   struct ww_error *err) WW_MUST_USE;

#endif
