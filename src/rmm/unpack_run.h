/* SPDX-License-Identifier: Apache-2.0 */
/* A member being restored, to a folder or in memory alone. */
#ifndef WW_RMM_UNPACK_RUN_H
#define WW_RMM_UNPACK_RUN_H

#include "rmm/parent.h"
#include "rmm/unmerge.h"
#include "rmm/unpack_kernel.h"
#include "rmm/pack_file.h"

struct ww_unpack_run {
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_model *base;
    struct ww_unmerge unmerge;
    struct ww_parents parents;
    char signer[256];
    bool is_signed; /* by who was asked for */
    enum ww_err (*before_commit)(void *payload, const char *folder, struct ww_error *err);
    void *before_commit_payload;
};

enum ww_err ww_unpack_open(struct ww_unpack_run *run, const char *path, const char *name,
                           const struct ww_unpack_options *options,
                           struct ww_error *err) WW_MUST_USE;
void ww_unpack_close(struct ww_unpack_run *run);
/** out_path NULL: nothing is written. Every file must have its digest. */
enum ww_err ww_unpack_restore(struct ww_unpack_run *run, const char *out_path,
                              const struct ww_run_options *options,
                              struct ww_run_report *report,
                              struct ww_error *err) WW_MUST_USE;

/** The bytes of one chunk of a part. prediction: room of WW_CHUNK_BYTES, which then holds
 * what predicts them, where something does: the base's bytes, or the parent's. */
enum ww_err ww_unpack_part_chunk(const struct ww_unpack_run *run,
                                 const struct ww_pack_table_part *part, uint64_t chunk,
                                 uint8_t *prediction, struct ww_unpack_room *room,
                                 uint8_t *bytes, struct ww_error *err) WW_MUST_USE;
/** WW_E_DENIED for a member that asks for policies: parts of it are given to nobody. */
enum ww_err ww_unpack_refuse_asking(const struct ww_unpack_run *run,
                                    struct ww_error *err) WW_MUST_USE;
/** For who reads parts of a member that must be signed: a chunk is checked by the table,
 * and that is under the signature by the digest of its section alone. WW_E_TAMPERED. */
enum ww_err ww_unpack_check_signed(const struct ww_unpack_run *run,
                                   struct ww_error *err) WW_MUST_USE;

#endif
