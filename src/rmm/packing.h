/* SPDX-License-Identifier: Apache-2.0 */
/* A run that writes a package, new or changed. */
#ifndef WW_RMM_PACKING_H
#define WW_RMM_PACKING_H

#include "rmm/basis.h"
#include "rmm/pack_file.h"
#include "rmm/pack_member.h"
#include "rmm/parent.h"

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
    struct ww_parent *parents; /* as the manifest's members: those that are opened */
    struct ww_unpack_rooms rooms;
    struct ww_basis basis; /* of members that share numbers */
    char *basis_name;      /* NULL: none do */
    bool base_checked;     /* it is the one of the old package */
    uint64_t *measured;    /* not NULL: only its size is wanted, and nothing stays */
    bool base_lent;        /* base is open already, and stays so */
    struct ww_base_roots *measured_base; /* with it: from one run to the next */
    uint64_t most;                       /* bytes that it may have; 0: any */
};

/** Everything up to the rename; the report says what was written. */
enum ww_err ww_packing_run(struct ww_packing *p, struct ww_pack_report *report,
                           struct ww_error *err) WW_MUST_USE;

/** Key and keys entry of a member that is sealed for recipients. */
enum ww_err ww_packing_seal(struct ww_packing *p, const struct ww_pack_member *given,
                            struct ww_pack_manifest_member *entry, struct ww_secret **key,
                            struct ww_error *err) WW_MUST_USE;

/** May the members that are given share numbers, if they are to? WW_E_USAGE. */
enum ww_err ww_packing_group_check(const struct ww_packing *p,
                                   struct ww_error *err) WW_MUST_USE;
/** Work out what they share and write it as a member before them; nothing where they
 * share nothing. WW_E_DENIED when they have other recipients. */
enum ww_err ww_packing_group(struct ww_packing *p, struct ww_error *err) WW_MUST_USE;
/** Write a member as the manifest's next one, sealed as `given` says, and open it as a
 * parent where others need it. The entry has what is known before. */
enum ww_err ww_packing_write(struct ww_packing *p, struct ww_member *member,
                             const struct ww_pack_member *given,
                             struct ww_pack_manifest_member *entry,
                             struct ww_error *err) WW_MUST_USE;

/** What the manifest says of given member i before it is written. */
void ww_packing_entry(const struct ww_packing *p, size_t i,
                      struct ww_pack_manifest_member *entry);
/** Write all members that are given at once: the sources of one merge, each of which is
 *  predicted by all others. */
enum ww_err ww_packing_together(struct ww_packing *p, struct ww_error *err) WW_MUST_USE;

/** May each member be a version of what it names? WW_E_NOTFOUND, WW_E_DENIED when its
 *  recipients may not open that. */
enum ww_err ww_packing_chain_check(const struct ww_packing *p,
                                   struct ww_error *err) WW_MUST_USE;
/** The member that is dropped is nobody's parent. WW_E_USAGE. */
enum ww_err ww_packing_drop_check(const struct ww_packing *p,
                                  struct ww_error *err) WW_MUST_USE;
/** The same of new recipients of a member. WW_E_DENIED. */
enum ww_err ww_packing_share_check(const struct ww_pack_file *file, size_t member,
                                   const uint8_t (*add)[WW_RECORD_SECRET_BYTES],
                                   size_t n_add, const char *const *to,
                                   struct ww_error *err) WW_MUST_USE;
/** A member of the manifest, whose section is written, opened as a parent. */
enum ww_err ww_packing_parent(struct ww_packing *p, const char *name,
                              const struct ww_parent **out,
                              struct ww_error *err) WW_MUST_USE;
/** Member `at` of the manifest is written: open it if one that is given needs it. key: of
 *  its section, taken over. */
enum ww_err ww_packing_keep(struct ww_packing *p, size_t at, struct ww_secret *key,
                            struct ww_error *err) WW_MUST_USE;

/** Add warnings to the report: members that are not what they may be taken for. */
enum ww_err ww_packing_doubts(const struct ww_packing *p, struct ww_pack_report *report,
                              struct ww_error *err) WW_MUST_USE;

/** Put what a signed package was made of beside it. */
enum ww_err ww_packing_evidence(const struct ww_packing *p,
                                const struct ww_pack_file *made,
                                struct ww_error *err) WW_MUST_USE;

#endif
