/* SPDX-License-Identifier: Apache-2.0 */
/* What the walks over an item's questions share. Internal to the gather files. */
#ifndef WW_EVO_GATHER_INT_H
#define WW_EVO_GATHER_INT_H

#include "evo/gather.h"

/** Ask a member; the answer is the last of g->said unless g->complete became false.
 *  Arrays inside of an answer do not move when others are added. */
enum ww_err ww_gather_ask(const struct ww_gather *gather, uint32_t member,
                          const struct ww_ask *ask, struct ww_gathered *g,
                          struct ww_error *err) WW_MUST_USE;
/** Take over what another walk was told. */
enum ww_err ww_gather_take(struct ww_gathered *g, struct ww_gathered *from,
                           struct ww_error *err) WW_MUST_USE;
/** Lists of a member that were made for it become its column; the first column makes the
 *  positions. */
enum ww_err ww_gather_made(struct ww_gathered *g, uint32_t member,
                           struct ww_scored_writer *w, struct ww_error *err) WW_MUST_USE;

/** One position: which option. WW_E_USAGE for an item without options. */
enum ww_err ww_gather_options(const struct ww_gather *gather,
                              const struct ww_task_item *item, size_t number,
                              struct ww_gathered *g, struct ww_error *err) WW_MUST_USE;
/** A position for each byte, and the end where the first member names it. */
enum ww_err ww_gather_bytes(const struct ww_gather *gather,
                            const struct ww_task_item *item, size_t number,
                            struct ww_gathered *g, struct ww_error *err) WW_MUST_USE;

#endif
