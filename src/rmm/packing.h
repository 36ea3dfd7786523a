/* SPDX-License-Identifier: Apache-2.0 */
/* A run that writes a package, new or changed. */
#ifndef WW_RMM_PACKING_H
#define WW_RMM_PACKING_H

#include "rmm/pack_file.h"
#include "rmm/pack_member.h"

#define WW_PACK_KEEP_ALL SIZE_MAX

struct ww_packing {
    const char *path;
    const struct ww_pack_member *given; /* to be added */
    size_t n_given;
    const struct ww_pack_options *options;
    struct ww_pack_file *old; /* NULL: a new package */
    size_t drop;              /* member of the old one that is left out */
    struct ww_model *base;
    struct ww_base_use use;
    struct ww_pack_crew *crew;
    struct ww_pace pace;
    struct ww_member *members; /* n_given, opened */
    struct ww_pack_new made;
    struct ww_pack_manifest manifest;
    struct ww_buf keys;
    uint64_t *measured; /* not NULL: only its size is wanted, and nothing stays */
    uint64_t most;      /* bytes that it may have; 0: any */
};

/** Everything up to the rename; the report says what was written. */
enum ww_err ww_packing_run(struct ww_packing *p, struct ww_pack_report *report,
                           struct ww_error *err) WW_MUST_USE;

/** Key and keys entry of a member that is sealed for recipients. */
enum ww_err ww_packing_seal(struct ww_packing *p, const struct ww_pack_member *given,
                            struct ww_pack_manifest_member *entry, struct ww_secret **key,
                            struct ww_error *err) WW_MUST_USE;

/** Put what a signed package was made of beside it. */
enum ww_err ww_packing_evidence(const struct ww_packing *p,
                                const struct ww_pack_file *made,
                                struct ww_error *err) WW_MUST_USE;

#endif
