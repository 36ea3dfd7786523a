/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying a folder with a verifier that is already there. */
#ifndef WW_SIGN_VERIFY_H
#define WW_SIGN_VERIFY_H

#include "sign/bundle.h"

/** ww_verify_folder by this verifier; whom the options trust is not looked at. */
enum ww_err ww_verify_folder_by(const char *path, const struct ww_verifier *verifier,
                                const struct ww_verify_options *options,
                                struct ww_verify_report *report,
                                struct ww_error *err) WW_MUST_USE;

#endif
