/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: made from what is asked for, and compared with it. */
#ifndef WW_TRUST_REQUEST_H
#define WW_TRUST_REQUEST_H

#include "trust/facts.h"
#include "util/buf.h"

/** The document for an ask. roots: of the tensor trees of its sources, in their order;
 *  sources with the same weights become one, their shares added. */
enum ww_err ww_request_make(const struct ww_policy_ask *ask,
                            const uint8_t (*roots)[WW_SHA256_BYTES], int64_t now,
                            struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** Is what is about to be done what was requested? why says what is not. A request may
 *  allow more (a larger weight), never less. */
enum ww_err ww_request_fits(const struct ww_request *request,
                            const struct ww_policy_ask *ask,
                            const uint8_t (*roots)[WW_SHA256_BYTES], bool *fits,
                            char why[200], struct ww_error *err) WW_MUST_USE;

#endif
