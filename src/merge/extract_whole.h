/* SPDX-License-Identifier: Apache-2.0 */
/* A weight of a model in float32, read where it is written: no copy of it in between. */
#ifndef WW_MERGE_EXTRACT_WHOLE_H
#define WW_MERGE_EXTRACT_WHOLE_H

#include "stream/stream.h"
#include "weightward/model.h"

struct ww_extract_whole {
    const struct ww_model *model;
    uint32_t tensor; /* of it */
    uint64_t unit;   /* elements of a row */
};

/** A piece of float32; whole is borrowed, and filled in. */
void ww_extract_whole_piece(const struct ww_model *model, uint32_t tensor,
                            uint32_t tree_index, struct ww_extract_whole *whole,
                            struct ww_piece *piece);

#endif
