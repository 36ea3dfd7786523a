/* SPDX-License-Identifier: Apache-2.0 */
/* Documents that are signed: whether a reader takes one, and writing it signed. */
#ifndef WW_TRUST_DOCUMENT_H
#define WW_TRUST_DOCUMENT_H

#include "sign/envelope.h"

/** Is the document of this kind? WW_E_POLICY, and what the readers say. */
enum ww_err ww_document_check(const uint8_t *payload, size_t len,
                              enum ww_signed_kind kind, struct ww_error *err) WW_MUST_USE;

/** Sign a payload into a new file, as its first signature. */
struct ww_signkey;
enum ww_err ww_document_write(enum ww_signed_kind kind, const struct ww_buf *payload,
                              struct ww_signkey *key, const char *out,
                              struct ww_error *err) WW_MUST_USE;

#endif
