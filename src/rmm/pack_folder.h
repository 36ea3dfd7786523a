/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A package as a folder, for stores of objects: the file "package" has the head (in
 * version 2 zeros up to 4096 behind it), manifest, signature and keys; every section is a
 * file named by its SHA-256 in hex. All bytes are those of the package as one file, so
 * the manifest and its signature are too. A version replaces "package", in one step, and
 * adds the sections that are new; sections that no member has any more go last.
 */
#ifndef WW_RMM_PACK_FOLDER_H
#define WW_RMM_PACK_FOLDER_H

#include "evidence/beside.h"
#include "rmm/pack_file.h"

#define WW_PACK_FOLDER_FILE WW_PACKED_FILE

/** Is there a folder with such a file? */
bool ww_pack_folder_is(const char *path);
/** Is this what a section's file is called? */
bool ww_pack_folder_names_section(const char *name);
/** Is this the file of a section that some member has? */
bool ww_pack_folder_wants(const struct ww_pack_manifest *manifest, const char *name);
/** How much lies there that the manifest does not name, and the first of it by name, to
 *  be freed; NULL: nothing. */
enum ww_err ww_pack_folder_foreign(const struct ww_pack_file *file, uint64_t *n,
                                   char **first, struct ww_error *err) WW_MUST_USE;
/** Open "package" and the folder; out->path is set. */
enum ww_err ww_pack_folder_open(struct ww_pack_file *out,
                                struct ww_error *err) WW_MUST_USE;
/** Nothing lies there but that file and files with names of sections: whoever verifies a
 *  folder must not take it for what else is in it. WW_E_TAMPERED. */
enum ww_err ww_pack_folder_alone(const struct ww_pack_file *file,
                                 struct ww_error *err) WW_MUST_USE;
/** A section of it, from its first byte on; the caller closes it, since there may be more
 *  sections than a process may have files open. WW_E_MALFORMED when its length is not the
 *  manifest's. */
enum ww_err ww_pack_folder_section(const struct ww_pack_file *file, size_t member,
                                   int *fd, struct ww_error *err) WW_MUST_USE;
/** A package is complete in made->fd, with tail_bytes behind its sections: as the folder
 *  made->path, new (WW_E_EXISTS) or in place of its version before. */
enum ww_err ww_pack_folder_place(struct ww_pack_new *made,
                                 const struct ww_pack_manifest *manifest,
                                 uint64_t tail_bytes, bool replace,
                                 struct ww_error *err) WW_MUST_USE;

#endif
