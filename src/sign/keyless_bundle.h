/* SPDX-License-Identifier: Apache-2.0 */
/* Keyless signatures, offline, and signed timestamps of any method. */
#ifndef WW_SIGN_KEYLESS_BUNDLE_H
#define WW_SIGN_KEYLESS_BUNDLE_H

#include "sign/bundle.h"

/** Everything but the signature itself: holder, log entries, times, chain. Gives the key
 *  that the signature must be of. */
enum ww_err ww_keyless_bundle_check(struct ww_bundle *bundle,
                                    const struct ww_verifier *verifier,
                                    struct ww_pubkey **leaf_key,
                                    struct ww_error *err) WW_MUST_USE;

/** All timestamps of the bundle, by the authorities of the root. *at_unix gets the
 *  earliest time, and is 0 when there is no timestamp or the root names no authority. */
enum ww_err ww_stamps_check(struct ww_bundle *bundle, const struct ww_trusted_root *root,
                            int64_t *at_unix, struct ww_error *err) WW_MUST_USE;

#endif
