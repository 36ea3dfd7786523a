/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Permits of members: policies signed by the owners of models that can only be asked.
 * Such a model has no tensors to name it by, so its name in policies is a digest of where
 * it is asked for and under which name; what stands behind that name is the canary's
 * matter. The evaluator of all other verbs decides.
 */
#ifndef WW_EVO_PERMITS_H
#define WW_EVO_PERMITS_H

#include "crypto/hash.h"
#include "evo/members.h"

/** SHA-256 over "weightward.remote-model/1", url and model, each behind its length. */
enum ww_err ww_remote_identity(const struct ww_member *member,
                               uint8_t out[WW_SHA256_BYTES],
                               struct ww_error *err) WW_MUST_USE;

struct ww_permit {
    bool given;
    uint8_t digest[WW_SHA256_BYTES];     /* of the file */
    char owner[2 * WW_SHA256_BYTES + 1]; /* hint of the key that signed it */
};

/** Permits that were read and whose signatures hold, to be asked again as time passes. */
struct ww_permits;

/**
 * *permits NULL: no member has one. out [k]. member stays the caller's. WW_E_DENIED when
 * only some members have a permit, or when one speaks of another owner's model;
 * WW_E_NOT_SIGNED, WW_E_UNTRUSTED, WW_E_SIGNATURE for a permit that its owner did not
 * sign; WW_E_POLICY.
 */
enum ww_err ww_permits_open(const struct ww_member *member, uint32_t k,
                            struct ww_permit *out, struct ww_permits **permits,
                            struct ww_error *err) WW_MUST_USE;
void ww_permits_free(struct ww_permits *permits);

/** May the holder of a key pool these models at that time (of the epoch)? requester: the
 *  key's hint; method: the rule's name. permits NULL: nothing is asked. WW_E_DENIED.
 * Reads no file; safe from several threads. */
enum ww_err ww_permits_allow(const struct ww_permits *permits, const char *requester,
                             const char *method, int64_t now,
                             struct ww_error *err) WW_MUST_USE;

/** Both, now. */
enum ww_err ww_permits_check(const struct ww_member *member, uint32_t k,
                             const char *requester, const char *method,
                             struct ww_permit *out, struct ww_error *err) WW_MUST_USE;

#endif
