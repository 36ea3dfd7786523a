/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what a part has of its own and what its basis has. */
#ifndef WW_RMM_SHARED_LOAD_H
#define WW_RMM_SHARED_LOAD_H

#include "rmm/parent.h"
#include "rmm/shared.h"

/** The numbers of a part that shares some, of it and of the basis that its table is bound
 * to. All of the room may be used. WW_E_TAMPERED, WW_E_MALFORMED. */
enum ww_err ww_shared_load(const struct ww_pack_view *view,
                           const struct ww_pack_table_part *part,
                           struct ww_unpack_room *room, struct ww_shared *out,
                           struct ww_error *err) WW_MUST_USE;

#endif
