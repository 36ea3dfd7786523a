/* SPDX-License-Identifier: Apache-2.0 */
/* From stored bytes to blocks of doubles, and back: one walk over one tile. */
#ifndef WW_MERGE_WALK_H
#define WW_MERGE_WALK_H

#include "merge/kernel.h"

/** A tensor with its inputs in one line: sources, statistics, then the base. */
struct ww_merge_item {
    struct ww_merge_job job;
    const struct ww_merge_source **in; /* [n_in], own */
    uint32_t n_in;
    bool by_rows;
    uint64_t n_chunk;       /* elements read at once */
    uint64_t axis_elements; /* of one index of axis 0: what row maps move */
    const uint8_t *const
        *lent;   /* [n_in]: all of each input, in memory; NULL: passes read */
    bool finite; /* a pass saw all that was lent, which is what the output is made of */
};

enum ww_err ww_merge_item_init(struct ww_merge_item *item,
                               const struct ww_merge_plan *plan, uint32_t tensor,
                               struct ww_error *err) WW_MUST_USE;
void ww_merge_item_release(struct ww_merge_item *item);
/** Tiles of the last walk, which passes keep to. */
void ww_merge_item_tiles(struct ww_merge_item *item, uint64_t tile_elements);

/** A thread's room for walks over one tensor; sizes as the job has them now. */
struct ww_walk;
enum ww_err ww_walk_new(const struct ww_merge_item *item, bool reads,
                        struct ww_walk **out, struct ww_error *err) WW_MUST_USE;
void ww_walk_free(struct ww_walk *walk);
/** Bytes that ww_walk_new takes. */
uint64_t ww_walk_bytes(const struct ww_merge_item *item, bool reads);

/** Zeroed sums of a tile, acc_bytes of them: what the scan fills. */
void *ww_walk_acc(const struct ww_walk *walk);
/** One tile of a pass, read from the inputs. */
enum ww_err ww_walk_scan(struct ww_walk *walk, unsigned pass, uint64_t tile,
                         struct ww_error *err) WW_MUST_USE;
/** One tile of the output: in[i] are the tile's bytes of each input, NULL: read them. */
enum ww_err ww_walk_write(struct ww_walk *walk, const uint8_t *const *in, uint64_t tile,
                          uint8_t *out, struct ww_error *err) WW_MUST_USE;

#endif
