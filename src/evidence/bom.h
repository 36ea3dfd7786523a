/* SPDX-License-Identifier: Apache-2.0 */
/* Bills of materials: written beside a model when it is made, and checked along its
 * chain. */
#ifndef WW_EVIDENCE_BOM_H
#define WW_EVIDENCE_BOM_H

#include "evidence/chain.h"

#define WW_BOM_PREDICATE "https://cyclonedx.org/bom"
#define WW_BOM_MAX_BYTES ((size_t)32 << 20)
#define WW_BOM_SERIAL_BYTES 48

struct ww_bom_form {
    bool signers; /* who signed each link: only where that was verified */
};
/** The document as a value. */
enum ww_err ww_bom_write_into(struct ww_jw *w, const struct ww_chain_report *report,
                              const struct ww_bom_form *form,
                              struct ww_error *err) WW_MUST_USE;
/** "urn:uuid:...", from names, digests and licences of all links. */
enum ww_err ww_bom_serial(const struct ww_chain_report *report,
                          char out[WW_BOM_SERIAL_BYTES],
                          struct ww_error *err) WW_MUST_USE;

/** The statement that is signed, and the plain file; both without signers. */
enum ww_err ww_bom_payload(const struct ww_chain_report *report, struct ww_buf *out,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_bom_plain(const struct ww_chain_report *report, struct ww_buf *out,
                         struct ww_error *err) WW_MUST_USE;

/** The signed bill of a folder, when it has one, against a chain that was verified.
 *  WW_E_UNTRUSTED, WW_E_SIGNATURE, WW_E_BUNDLE; WW_E_WRONG_MODEL when it tells of another
 *  chain. */
enum ww_err ww_bom_check(int dirfd, const struct ww_chain_keys *keys,
                         const struct ww_chain_report *report, bool *found,
                         struct ww_error *err) WW_MUST_USE;

#endif
