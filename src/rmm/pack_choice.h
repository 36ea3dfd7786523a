/* SPDX-License-Identifier: Apache-2.0 */
/* Base or parent: what a part of a version is coded against. */
#ifndef WW_RMM_PACK_CHOICE_H
#define WW_RMM_PACK_CHOICE_H

#include "rmm/pack_batch.h"
#include "rmm/rank_code.h"

/** A part whose first chunk is about to be handed out. */
struct ww_pack_choice {
    const struct ww_pack_job *job; /* of that chunk: bytes and prediction are room */
    uint64_t part_bytes;
    const struct ww_rank_coded *rank; /* the product that the base's prediction has */
    uint32_t parent_part;
};

/** Is the part shorter against its parent? Both are measured, on at most four chunks. */
enum ww_err ww_pack_choose(const struct ww_pack_choice *choice,
                           struct ww_chunk_room *coder, bool *parent,
                           struct ww_error *err) WW_MUST_USE;

#endif
