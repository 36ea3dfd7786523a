/* SPDX-License-Identifier: Apache-2.0 */
/* One member into its section. */
#ifndef WW_RMM_PACK_MEMBER_H
#define WW_RMM_PACK_MEMBER_H

#include "rmm/base_use.h"
#include "rmm/member.h"
#include "rmm/pace.h"
#include "rmm/pack_batch.h"
#include "rmm/section.h"

/** A member and its section, which has begun. */
struct ww_member_out {
    struct ww_member *member;
    struct ww_section_out *section;
    struct ww_pack_manifest_member *entry;
};

/** Code every file of the members into their sections, which end then; entries get what
 *  the manifest says but for name, offset and sealing. Several members take turns, some
 *  chunks each, so that what they read of the same models lies in memory. */
enum ww_err ww_members_write(const struct ww_member_out *all, size_t n,
                             struct ww_base_use *use, struct ww_pack_crew *crew,
                             struct ww_pace *pace, struct ww_error *err) WW_MUST_USE;

#endif
