/* SPDX-License-Identifier: Apache-2.0 */
/* A member on its way into its section, chunk by chunk. */
#ifndef WW_RMM_PACK_WRITING_H
#define WW_RMM_PACK_WRITING_H

#include "crypto/sha_blocks.h"
#include "rmm/pack_member.h"

struct ww_writing {
    uint32_t index; /* among those that are written together */
    struct ww_member *member;
    struct ww_base_use *use;
    struct ww_pack_crew *crew;
    struct ww_pace *pace;
    struct ww_section_out *out;
    struct ww_pack_manifest_member *entry;
    struct ww_sha sha;   /* of the file that is being written */
    struct ww_sha coded; /* of a chunk of it */
    double exact2;       /* of the matrix that is being written: see add_error */
    bool lossy;
    /* The next chunk to hand out. */
    uint32_t file;
    uint32_t part;
    uint64_t chunk;
    uint64_t offset; /* in the file */
};

/** Move to a chunk that is there; false at the end. */
bool ww_writing_find(struct ww_writing *w);
/** What tells readers of a base's tensor from each other (rmm/base_use.h). */
uint64_t ww_writing_reader(const struct ww_writing *w, uint32_t part);
/** The next chunks, and how each is to be coded, as many as the batch has room for. */
enum ww_err ww_writing_fill(struct ww_writing *w, struct ww_pack_batch *batch,
                            struct ww_error *err) WW_MUST_USE;

#endif
