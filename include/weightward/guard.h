/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Enforcing policies: before an action every source is verified, its lineage walked, and
 * the policies in force are asked; the decision is left as a signed summary. What this is
 * worth is said in docs/threat-model.md: it binds this tool, not who holds a lock key.
 */
#ifndef WEIGHTWARD_GUARD_H
#define WEIGHTWARD_GUARD_H

#include "weightward/evidence.h"
#include "weightward/policy.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In a model folder, under its signature: which policies must be asked about the model.
 */
#define WW_POLICY_REFERENCE "weightward-policy.json"
/** Write it, before the folder is signed: which signed policies the model, and what is
 * made of it, wants to be asked, in no older version. WW_E_EXISTS. */
WW_API enum ww_err ww_policy_refer(const char *model, const char *const *policies,
                                   size_t n_policies, struct ww_error *err) WW_MUST_USE;

/** What decides about an action, and who asks. */
struct ww_guard_options {
    /* no roots: only models that ask for a policy refuse */
    struct ww_trust_options trust;
    const char *request; /* NULL: made here and signed by key */
    const char *const *approvals;
    size_t n_approvals;
    struct ww_signkey *key; /* signs the decision, and the request when none is given */
    struct ww_run_options run;
};

/** A decision with what it rests on. */
struct ww_verdict;

/**
 * Decide. Every source is verified (its bytes, its tensor tree, its lineage) with keys of
 * the root; *out is there whenever a decision was made, also a denial. WW_OK: permitted,
 * or nobody asks (*out NULL). WW_E_DENIED: denied. WW_E_NOTFOUND: evidence is missing, so
 * it could not be told. Other codes: the root, a policy or a request does not hold.
 */
WW_API enum ww_err ww_policy_guard(const struct ww_policy_ask *ask,
                                   const struct ww_guard_options *options,
                                   struct ww_verdict **out,
                                   struct ww_error *err) WW_MUST_USE;
WW_API void ww_verdict_free(struct ww_verdict *verdict);

/** What a verdict says; strings are borrowed from it. */
struct ww_verdict_view {
    bool permit;
    const char *reason;
    const char *const *rules;
    size_t n_rules;
    const char *failed;   /* condition of the nearest permit, or "" */
    const char *model;    /* path of the source that was denied, or "" */
    const char *ancestor; /* name of the ancestor of it that decided, or "" */
    const char *requester;
    bool must_lock;           /* duties */
    const char *must_license; /* "" for none */
};
WW_API void ww_verdict_view(const struct ww_verdict *verdict,
                            struct ww_verdict_view *out);

/**
 * Leave the decision as a signed summary (SLSA VSA). A permitted action's goes into the
 * folder that it made, as attestations/decision.sigstore.json (of an unlocking or
 * unpacking, unlock-decision and unpack-decision.sigstore.json); a refusal's to path.
 * WW_E_USAGE without a key, WW_E_EXISTS, WW_E_IO, WW_E_NOSPACE.
 */
WW_API enum ww_err ww_verdict_record(const struct ww_verdict *verdict, const char *folder,
                                     const char *path, struct ww_signkey *key,
                                     struct ww_error *err) WW_MUST_USE;

/**
 * ww_verify_chain under a trust root (its policies are not looked at): the keys are those
 * that the last root lets sign models now, beside the certificates and the identity of
 * the options. WW_E_UNTRUSTED for a link whose key, statement, tensors or folder it
 * revokes.
 */
WW_API enum ww_err ww_verify_chain_under(const char *path,
                                         const struct ww_trust_options *trust,
                                         const struct ww_chain_options *options,
                                         struct ww_chain_report *report,
                                         struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
