/* SPDX-License-Identifier: Apache-2.0 */
/* A package as a file: opened, or in the making under another name. */
#ifndef WW_RMM_PACK_FILE_H
#define WW_RMM_PACK_FILE_H

#include <sys/stat.h>

#include "rmm/manifest.h"
#include "rmm/section.h"
#include "rmm/table.h"

struct ww_bundle;
struct ww_verifier;

struct ww_pack_file {
    char *path;
    int folder; /* -1: it is one file; else its sections are files of their own */
    int fd;
    struct stat st;
    uint64_t bytes; /* in all, as one file */
    struct ww_pack_head head;
    struct ww_pack_manifest manifest;
    struct ww_buf text; /* of the manifest, as it is stored */
    struct ww_buf bundle;
    struct ww_buf keys;
    struct ww_record *records; /* per member; of sealed ones */
};

/** Read all but the sections; digests of the head must hold. WW_E_MALFORMED,
 * WW_E_VERSION, WW_E_NOTFOUND. */
enum ww_err ww_pack_open(const char *path, struct ww_pack_file *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_pack_close(struct ww_pack_file *file);
/** Where a member's section lies; fd is to be given back, unless this fails. */
enum ww_err ww_pack_section_at(const struct ww_pack_file *file, size_t member, int *fd,
                               uint64_t *offset, struct ww_error *err) WW_MUST_USE;
void ww_pack_section_give(const struct ww_pack_file *file, int fd);
/** Index of a member. WW_E_NOTFOUND offers the nearest name. */
enum ww_err ww_pack_member_find(const struct ww_pack_file *file, const char *name,
                                size_t *out, struct ww_error *err) WW_MUST_USE;
/** WW_E_DENIED for a version below this one. */
enum ww_err ww_pack_check_version(const struct ww_pack_file *file, uint64_t least,
                                  struct ww_error *err) WW_MUST_USE;
/** Check the signature with a public key (PEM path). signer: 256 bytes.
 *  WW_E_NOT_SIGNED, WW_E_UNTRUSTED, WW_E_SIGNATURE, WW_E_TAMPERED. */
enum ww_err ww_pack_check_signature(const struct ww_pack_file *file,
                                    const char *public_key, char *signer,
                                    struct ww_error *err) WW_MUST_USE;
/** The same with the bundle parsed and whom it is to be checked with. signer may be NULL.
 */
enum ww_err ww_pack_check_bundle(const struct ww_pack_file *file,
                                 struct ww_bundle *bundle,
                                 const struct ww_verifier *verifier, char *signer,
                                 struct ww_error *err) WW_MUST_USE;
/** A member's section has its digest. WW_E_TAMPERED. */
enum ww_err ww_pack_check_section(const struct ww_pack_file *file,
                                  const struct ww_pack_manifest_member *member,
                                  struct ww_error *err) WW_MUST_USE;
/** Every section has its digest, and what lies between is zero. WW_E_TAMPERED. */
enum ww_err ww_pack_check_sections(const struct ww_pack_file *file,
                                   const struct ww_run_options *run,
                                   struct ww_run_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/** Fill a report that is all zero. */
enum ww_err ww_pack_describe(const struct ww_pack_file *file,
                             struct ww_pack_report *report,
                             struct ww_error *err) WW_MUST_USE;

/** A member that was opened: its section and its table. */
struct ww_pack_view {
    const struct ww_pack_manifest_member *member;
    struct ww_secret *key; /* NULL: plain */
    struct ww_section_in section;
    struct ww_pack_table table;
};
/** unsealer may be NULL. The table must be what the manifest commits to.
 * WW_E_NOT_FOR_YOU, WW_E_SEALED, WW_E_MALFORMED, WW_E_TAMPERED. */
enum ww_err ww_pack_view_open(const struct ww_pack_file *file, size_t member,
                              const struct ww_unsealer *unsealer,
                              struct ww_pack_view *out, struct ww_error *err) WW_MUST_USE;
/** The same with the section's key at hand, which is taken over; NULL: plain. fd, where
 *  it begins at offset, is borrowed. */
enum ww_err ww_pack_view_open_with(int fd, uint64_t offset,
                                   const struct ww_pack_manifest_member *member,
                                   struct ww_secret *key, struct ww_pack_view *out,
                                   struct ww_error *err) WW_MUST_USE;
/** The key of a sealed member's section. */
enum ww_err ww_pack_view_key(const struct ww_pack_manifest_member *member,
                             const struct ww_record *record,
                             const struct ww_unsealer *unsealer, struct ww_secret **key,
                             struct ww_error *err) WW_MUST_USE;
void ww_pack_view_close(struct ww_pack_view *view);

/** A package, or another file, in the making: PATH.partial. */
struct ww_pack_new {
    char *path;
    char *partial; /* for texts; NULL once it has its name */
    int dirfd;     /* the folder of both */
    int fd;
    uint32_t version;                         /* of the format */
    uint64_t at;                              /* where the next section goes */
    uint64_t most;                            /* bytes that it may have; 0: any */
    bool folder;                              /* it becomes, or is, a folder */
    uint8_t manifest_sha256[WW_SHA256_BYTES]; /* as it was written */
};
enum ww_err ww_pack_new_begin(const char *path, struct ww_pack_new *out,
                              struct ww_error *err) WW_MUST_USE;
/** A section ends there: the next one follows. */
void ww_pack_new_after(struct ww_pack_new *made, uint64_t end);
/** Copy a section as it is. WW_E_TAMPERED when it has not its digest. */
enum ww_err ww_pack_new_copy(struct ww_pack_new *made, const struct ww_pack_file *from,
                             size_t member, struct ww_error *err) WW_MUST_USE;
/** Append a section that lies at the beginning of another file. */
enum ww_err ww_pack_new_append(struct ww_pack_new *made, int fd, uint64_t bytes,
                               struct ww_error *err) WW_MUST_USE;
/** Manifest, signature (signer may be NULL), keys; head last; fsync, rename. */
enum ww_err ww_pack_new_finish(struct ww_pack_new *made,
                               const struct ww_pack_manifest *manifest,
                               const struct ww_signer *signer, const struct ww_buf *keys,
                               bool replace, struct ww_error *err) WW_MUST_USE;
/** What finish would write in all, or a little more when it is to be signed. */
enum ww_err ww_pack_new_measure(const struct ww_pack_new *made,
                                const struct ww_pack_manifest *manifest, bool is_signed,
                                const struct ww_buf *keys, uint64_t *bytes,
                                struct ww_error *err) WW_MUST_USE;
/** The same package with other keys; manifest and signature stay. */
enum ww_err ww_pack_new_with_keys(struct ww_pack_new *made,
                                  const struct ww_pack_file *from,
                                  const struct ww_buf *keys,
                                  struct ww_error *err) WW_MUST_USE;
/** fsync and rename: what was written has its name. */
enum ww_err ww_pack_new_name(struct ww_pack_new *made, bool replace,
                             struct ww_error *err) WW_MUST_USE;
/** Not finished: the partial file is removed. */
void ww_pack_new_release(struct ww_pack_new *made);

/** Append a record as the part keys has it. */
enum ww_err ww_pack_keys_add(struct ww_buf *keys, const uint8_t *record, size_t len,
                             struct ww_error *err) WW_MUST_USE;

#define WW_PACKAGE_PREDICATE "urn:weightward:predicate:package:1"

#endif
