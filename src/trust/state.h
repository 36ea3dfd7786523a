/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What was seen before: the highest version of the root and of each policy. A file of the
 * user's (0600), locked while it is compared and written whole, so that an old root or
 * policy cannot be played back to a machine that has seen a newer one.
 */
#ifndef WW_TRUST_STATE_H
#define WW_TRUST_STATE_H

#include "trust/root.h"

/** A state file's text, read back; all-zero: nothing was seen. */
struct ww_state {
    struct ww_json *json;
    uint64_t root;
    const char *policy_keys; /* digest over the ids of the role 'policy' */
    const struct ww_jnode *policies;
};

/** WW_E_POLICY. */
enum ww_err ww_state_parse(const uint8_t *text, size_t len, struct ww_state *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_state_release(struct ww_state *state);
/** The highest version of a policy that was seen; 0: none. */
uint64_t ww_state_seen(const struct ww_state *state, const char *id);

/** WW_E_DENIED when the root, or a policy in force, is older than what was seen; then
 *  nothing is written. A policy may go back only where a newer root has exchanged the
 * keys of the role 'policy': that is how a stolen policy key that raced ahead is undone.
 */
enum ww_err ww_state_advance(const char *path, const struct ww_root *root,
                             struct ww_error *err) WW_MUST_USE;

#endif
