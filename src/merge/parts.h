/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A merge in parts, on several machines or one after the other. Part i of n computes a
 * run of consecutive tensors, about one n-th of the output's bytes, into a folder of its
 * own; the join puts them together. docs/formats/merge-part.md.
 */
#ifndef WW_MERGE_PARTS_H
#define WW_MERGE_PARTS_H

#include "merge/merge_work.h"

#define WW_PART_FILE "tensors.bin"
#define WW_PART_RECORD "part.json"
#define WW_MAX_PARTS 1024u

/** Compute part `part` (from 1) of n beside out_path. */
enum ww_err ww_merge_part(struct ww_work *work, const char *out_path, uint32_t part,
                          uint32_t n, struct ww_error *err) WW_MUST_USE;
/** Put n parts together: what ww_merge_run does for the whole plan. Every part must be of
 *  this plan, as it was written, and of sources that are the same still. WW_E_NOTFOUND,
 *  WW_E_DIFFERS, WW_E_DAMAGED, WW_E_CHANGED. */
enum ww_err ww_merge_join(const struct ww_work *work, const char *out_path, uint32_t n,
                          uint64_t extra_bytes, struct ww_out **out,
                          struct ww_merge_result *result,
                          struct ww_error *err) WW_MUST_USE;

/** A part's record. */
struct ww_part_record {
    uint8_t plan_sha256[WW_SHA256_BYTES];
    uint64_t part;
    uint64_t of;
    uint64_t n_bytes;
    uint8_t sha256[WW_SHA256_BYTES]; /* of the tensors */
    uint32_t n_inputs;               /* read by the part: */
    uint32_t *inputs;                /* index in the plan */
    uint8_t (*input_sha256)[WW_SHA256_BYTES];
};
enum ww_err ww_part_record_read(const void *text, size_t len, struct ww_part_record *out,
                                struct ww_error *err) WW_MUST_USE;
enum ww_err ww_part_record_write(const struct ww_part_record *record, struct ww_buf *out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_part_record_release(struct ww_part_record *record);

#endif
