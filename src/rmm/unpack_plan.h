/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a member as a plan of the executor. */
#ifndef WW_RMM_UNPACK_PLAN_H
#define WW_RMM_UNPACK_PLAN_H

#include "rmm/unpack_kernel.h"

struct ww_unpack_plan {
    struct ww_plan plan;
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    struct ww_unpack_piece *params;
    size_t n_pieces;
    int *fds; /* of the base's side files */
    size_t n_fds;
    struct ww_unpack_rooms rooms;
    const struct ww_pack_view *view;
    const struct ww_model *base;
    const struct ww_unmerge *unmerge;
};

/** view, base (which may be NULL) and unmerge are borrowed until release.
 * WW_E_USAGE when a base is needed, WW_E_UNRELATED when it lacks what is. */
enum ww_err ww_unpack_plan_init(struct ww_unpack_plan *plan,
                                const struct ww_pack_view *view,
                                const struct ww_model *base,
                                const struct ww_unmerge *unmerge,
                                struct ww_error *err) WW_MUST_USE;
void ww_unpack_plan_release(struct ww_unpack_plan *plan);

/** The base's tensor that a part was coded against; WW_NONE: none. */
enum ww_err ww_unpack_base_tensor(const struct ww_pack_view *view,
                                  const struct ww_pack_table_part *part,
                                  const struct ww_model *base, uint32_t *tensor,
                                  struct ww_error *err) WW_MUST_USE;

#endif
