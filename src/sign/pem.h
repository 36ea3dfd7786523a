/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates out of PEM text as DER, for writing them into a bundle. */
#ifndef WW_SIGN_PEM_H
#define WW_SIGN_PEM_H

#include "util/buf.h"

/** The DER of the next CERTIFICATE block; *cursor moves behind it and is NULL when there
 *  is none left. der is overwritten. */
enum ww_err ww_pem_next_certificate(const char **cursor, struct ww_buf *der,
                                    struct ww_error *err) WW_MUST_USE;

#endif
