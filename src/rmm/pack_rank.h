/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for products of low rank while a member is packed. */
#ifndef WW_RMM_PACK_RANK_H
#define WW_RMM_PACK_RANK_H

#include "rmm/base_use.h"
#include "rmm/member.h"
#include "rmm/pack_batch.h"

/** A part that is about to be handed out, and where it begins in its file. */
struct ww_pack_rank_at {
    struct ww_member *member;
    const struct ww_model *base; /* NULL: none */
    uint32_t file;
    uint32_t part; /* of the file */
    uint64_t offset;
};

/** member->ranks of the part is what it will be. Parts behind it are looked into at the
 *  same time, as many as there are threads: what is found depends on the part alone. */
enum ww_err ww_pack_rank(const struct ww_pack_rank_at *at, struct ww_pack_crew *crew,
                         struct ww_error *err) WW_MUST_USE;

#endif
