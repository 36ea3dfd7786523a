/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What was seen before: the highest version of the root and of each policy. A file of the
 * user's (0600), locked while it is compared and written whole, so that an old root or
 * policy cannot be played back to a machine that has seen a newer one.
 */
#ifndef WW_TRUST_STATE_H
#define WW_TRUST_STATE_H

#include "trust/root.h"

/** WW_E_DENIED when the root, or a policy in force, is older than what was seen; then
 *  nothing is written. A policy may go back only where a newer root has exchanged the
 * keys of the role 'policy': that is how a stolen policy key that raced ahead is undone.
 */
enum ww_err ww_state_advance(const char *path, const struct ww_root *root,
                             struct ww_error *err) WW_MUST_USE;

#endif
