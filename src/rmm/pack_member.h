/* SPDX-License-Identifier: Apache-2.0 */
/* One member into its section. */
#ifndef WW_RMM_PACK_MEMBER_H
#define WW_RMM_PACK_MEMBER_H

#include "rmm/base_use.h"
#include "rmm/member.h"
#include "rmm/pace.h"
#include "rmm/pack_batch.h"
#include "rmm/section.h"

/** Code every file of the member into the section, which has begun, and end it. *entry
 *  gets what the manifest says but for name, offset and sealing. */
enum ww_err ww_member_write(struct ww_member *member, struct ww_base_use *use,
                            struct ww_pack_crew *crew, struct ww_pace *pace,
                            struct ww_section_out *out,
                            struct ww_pack_manifest_member *entry,
                            struct ww_error *err) WW_MUST_USE;

#endif
