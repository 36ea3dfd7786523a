/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying a folder with a key that is already here. */
#ifndef WW_SIGN_VERIFY_H
#define WW_SIGN_VERIFY_H

#include "crypto/verify.h"
#include "weightward/sign.h"

/** ww_verify_folder by this key; method and key of the options are not looked at. */
enum ww_err ww_verify_folder_by(const char *path, const struct ww_pubkey *key,
                                const struct ww_verify_options *options,
                                struct ww_verify_report *report,
                                struct ww_error *err) WW_MUST_USE;

#endif
