/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces that every plan over a model's folder has. */
#ifndef WW_STREAM_PIECES_H
#define WW_STREAM_PIECES_H

#include "stream/stream.h"

/** A weight file's header as it is; source: where the file begins. */
static inline struct ww_piece ww_piece_header(const struct ww_weight_file *file,
                                              const struct ww_piece_source *source)
{
    return (struct ww_piece){.kind = WW_PIECE_BYTES,
                             .n_bytes = file->header_bytes,
                             .bytes = file->header,
                             .n_sources = 1,
                             .sources = source,
                             .tree_index = WW_NONE};
}

/** n_bytes as they lie at the source. */
static inline struct ww_piece ww_piece_copy(uint64_t n_bytes,
                                            const struct ww_piece_source *source)
{
    return (struct ww_piece){.kind = WW_PIECE_COPY,
                             .n_bytes = n_bytes,
                             .n_sources = 1,
                             .sources = source,
                             .tree_index = WW_NONE};
}

#endif
