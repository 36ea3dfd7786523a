/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The trust root: which keys there are, what each may sign, who is in which role and how
 * many of a role must sign, which policies are in force, and what is revoked. Its
 * successor is signed by the old keys and by the new ones, so trust is handed on and
 * never taken (TUF, section 5.3). docs/formats/trust.md has the members.
 */
#ifndef WW_TRUST_ROOT_H
#define WW_TRUST_ROOT_H

#include "policy/policy.h"
#include "sign/envelope.h"

#define WW_ROOT_MAX_KEYS 256
#define WW_ROOT_ROLE "root"     /* signs the next root */
#define WW_POLICY_ROLE "policy" /* signs policies */

struct ww_root_key {
    char id[WW_HINT_CHARS + 1]; /* computed from the key */
    struct ww_pubkey *key;
    int64_t not_before; /* INT64_MIN: any */
    int64_t not_after;  /* INT64_MAX: any */
    unsigned may_sign;  /* bit per enum ww_signed_kind */
};

/** A policy in force, by what identifies it. */
struct ww_root_policy {
    const char *id;
    uint64_t version;
    uint8_t sha256[WW_SHA256_BYTES]; /* of the signed document */
};

struct ww_root {
    struct ww_json *json; /* owns the strings */
    uint64_t version;
    int64_t issued;
    int64_t expires;
    struct ww_root_key *keys;
    size_t n_keys;
    struct ww_role *roles;
    size_t n_roles;
    struct ww_root_policy *policies;
    size_t n_policies;
    struct ww_revoked *revoked;
    size_t n_revoked;
    void **lists;
    size_t n_lists;
    uint8_t sha256[WW_SHA256_BYTES]; /* of the signed document */
};

/** Every key id must be that of its key, every member of a role a key, every threshold
 * one that can be met. WW_E_POLICY, WW_E_VERSION, WW_E_JSON, WW_E_LIMIT. */
enum ww_err ww_root_read(const uint8_t *payload, size_t len, struct ww_root *out,
                         struct ww_error *err) WW_MUST_USE;
void ww_root_release(struct ww_root *root);

/** NULL when there is none. */
const struct ww_root_key *ww_root_key(const struct ww_root *root, const char *id);
const struct ww_role *ww_root_role(const struct ww_root *root, const char *name);
bool ww_root_revokes(const struct ww_root *root, enum ww_revoked_kind kind,
                     const char *id);

/** May the key sign such a document at this time? WW_E_UNTRUSTED when it is unknown,
 *  revoked or not meant for it, WW_E_EXPIRED outside its time. */
enum ww_err ww_root_may_sign(const struct ww_root *root, const char *id,
                             enum ww_signed_kind kind, int64_t now,
                             const struct ww_root_key **out,
                             struct ww_error *err) WW_MUST_USE;

/** How an envelope was signed, seen from a root. */
struct ww_endorsement {
    const struct ww_root_key
        *keys[WW_ENVELOPE_MAX_SIGNATURES]; /* that count, each once */
    size_t n;
};
/* The keys' own times are not looked at. */
#define WW_ENDORSE_ANY_TIME 1u
/* Signatures by keys that the root does not name are passed over. */
#define WW_ENDORSE_STRANGERS 2u
/**
 * Check every signature of an envelope: each must verify under a key of the root (or of
 * the other root, which may be NULL), so that nothing in the file can be altered unseen.
 * out: those keys of the root that may sign this kind now and are not revoked.
 */
enum ww_err ww_root_endorse(const struct ww_root *root, const struct ww_root *other,
                            const struct ww_envelope *envelope, int64_t now,
                            unsigned flags, struct ww_endorsement *out,
                            struct ww_error *err) WW_MUST_USE;
/** Enough keys of the role? WW_E_UNTRUSTED says how many of how many. */
enum ww_err ww_root_threshold(const struct ww_root *root, const char *role,
                              const struct ww_endorsement *by, const char *what,
                              struct ww_error *err) WW_MUST_USE;

#endif
