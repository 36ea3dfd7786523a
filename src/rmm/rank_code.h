/* SPDX-License-Identifier: Apache-2.0 */
/* Factors of a product as chunks of a section. */
#ifndef WW_RMM_RANK_CODE_H
#define WW_RMM_RANK_CODE_H

#include "rmm/rank_find.h"

struct ww_pack_view;
struct ww_unpack_room;

/** Factors of a part that is being written, until its last chunk is. */
struct ww_rank_coded {
    struct ww_rank rank;
    struct ww_buf *chunks; /* coded, one after the other */
    struct ww_pack_table_chunk *entries;
    uint64_t n;
};

/** Code what was found, which is taken over. */
enum ww_err ww_rank_encode(struct ww_chunk_room *room, struct ww_rank_found *found,
                           struct ww_rank_coded **out, struct ww_error *err) WW_MUST_USE;
void ww_rank_coded_free(struct ww_rank_coded *coded);

/** Read, check and decode a chunk of the factors of a part, or of its own numbers where
 *  it shares a basis: n bytes of fp32, of BF16 there. WW_E_TAMPERED, WW_E_MALFORMED. */
enum ww_err ww_factor_chunk(const struct ww_pack_view *view,
                            const struct ww_pack_table_part *part, uint64_t chunk,
                            struct ww_unpack_room *room, uint8_t *out, size_t n,
                            struct ww_error *err) WW_MUST_USE;
/** Read and decode the factors of a part that has some. WW_E_TAMPERED, WW_E_MALFORMED. */
enum ww_err ww_rank_load(const struct ww_pack_view *view,
                         const struct ww_pack_table_part *part,
                         struct ww_unpack_room *room, struct ww_rank *out,
                         struct ww_error *err) WW_MUST_USE;

#endif
