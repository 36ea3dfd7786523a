/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence of what is one file, or a package as a folder: it lies in a folder beside it.
 */
#ifndef WW_EVIDENCE_BESIDE_H
#define WW_EVIDENCE_BESIDE_H

#include "evidence/ancestors.h"

/** The file that makes a folder a package, and how it begins (rmm/head.h). */
#define WW_PACKED_FILE "package"
#define WW_PACKED_MAGIC "weightward-pack\n"

/** "FILE.evidence"; NULL when memory is out. */
char *ww_evidence_path(const char *path) WW_MUST_USE;

/** SHA-256 of a whole file, and its length. */
enum ww_err ww_file_sha256(const char *path, uint8_t out[WW_SHA256_BYTES],
                           uint64_t *bytes, struct ww_error *err) WW_MUST_USE;

/** Does the statement in a folder of evidence speak of what is known by this digest? Its
 *  signature is not verified. */
bool ww_evidence_speaks_of(int dirfd, const uint8_t root[WW_SHA256_BYTES]);

/** Sign a statement about a file and put it beside the file with the evidence of what it
 *  was made of, in place of an older one. A bill of materials that was there goes. */
enum ww_err ww_evidence_beside(const char *path, const struct ww_provenance *provenance,
                               const struct ww_ancestors *ancestors,
                               const struct ww_signer *signer,
                               struct ww_error *err) WW_MUST_USE;

#endif
