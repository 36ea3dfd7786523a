/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Policies: who may do what with which model, as documents that can be read, tested and
 * explained. What they are worth is said in docs/threat-model.md: on somebody else's
 * machine only the custody of keys enforces anything.
 */
#ifndef WEIGHTWARD_POLICY_H
#define WEIGHTWARD_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "weightward/key.h"
#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The effective rules of a policy file, signed or not, one line each in order of id;
 * free *text with ww_string_free. No signature is checked. WW_E_POLICY,
 * WW_E_VERSION. */
WW_API enum ww_err ww_policy_explain(const char *path, char **text,
                                     struct ww_error *err) WW_MUST_USE;

/** One case of a decision table. */
struct ww_policy_case {
    char *name;
    bool permit;
    char reason[32]; /* a stable word: docs/formats/policy.md */
    char **rules;    /* ids of the rules that decided */
    size_t n_rules;
    char failed[32];   /* the condition of the nearest permit that did not hold, or "" */
    char model[65];    /* tensor root of the model that was denied, or "" */
    bool as_expected;  /* true when nothing was expected */
    char expected[48]; /* "deny", with a reason "deny: no-permit"; "" */
};

struct ww_policy_test_report {
    struct ww_policy_case *cases;
    size_t n_cases;
    size_t n_wrong; /* other than expected */
};
WW_API void ww_policy_test_report_release(struct ww_policy_test_report *report);

/** Evaluate a table of requests under policies. The facts in a table are claims. WW_OK
 * also when cases come out otherwise: see n_wrong. WW_E_POLICY, WW_E_JSON and
 * WW_E_VERSION for documents that cannot be read. The report is the caller's to release.
 */
WW_API enum ww_err ww_policy_test(const char *table, const char *const *policies,
                                  size_t n_policies, struct ww_policy_test_report *report,
                                  struct ww_error *err) WW_MUST_USE;

/** Seconds since 1970 of "2026-11-25T12:00:00Z"; false for any other spelling. */
WW_API bool ww_time_parse(const char *text, int64_t *seconds);

/** What is believed, and since when. */
struct ww_trust_options {
    const char *const *roots; /* the one that is believed, then its successors; a folder
                                 stands for its 1.root.json, 2.root.json, ... */
    size_t n_roots;
    const char *const *policies; /* signed policies in force */
    size_t n_policies;
    const char *state; /* remembers the highest versions seen; NULL: nothing is kept */
    int64_t at_unix;   /* 0: now */
};

struct ww_policy_signed {
    char kind[16]; /* trust root, policy, request, approval */
    char keyid[65];
    size_t n_signatures;
};
/**
 * Sign a root, policy, request or approval, or add a signature to a signed one; those
 * that are there stay. The document is read whole first: what a reader would refuse is
 * not signed. out NULL: a signed file is replaced, X.json becomes X.signed.json.
 * WW_E_EXISTS when the key has signed already or out is there.
 */
WW_API enum ww_err ww_policy_sign(const char *path, struct ww_signkey *key,
                                  const char *out, struct ww_policy_signed *report,
                                  struct ww_error *err) WW_MUST_USE;

/** A signed file that was checked under a root. */
struct ww_policy_checked {
    char *path;
    char kind[16];
    char id[257];     /* of a policy; digest of a request; request of an approval */
    char version[24]; /* of a policy */
    char expires[64]; /* of a policy */
    char **signers;   /* key ids that count */
    size_t n_signers;
    size_t n_signatures;
};
struct ww_policy_check_report {
    char root_version[24];
    char root_expires[64];
    struct ww_policy_checked *files;
    size_t n_files;
};
WW_API void ww_policy_check_report_release(struct ww_policy_check_report *report);

/**
 * Check signed policies, requests and approvals under the trust options (whose policies
 * are not used). WW_OK only when every file holds: WW_E_UNTRUSTED, WW_E_SIGNATURE,
 * WW_E_EXPIRED, WW_E_DENIED for something older than was seen before.
 */
WW_API enum ww_err ww_policy_check(const char *const *files, size_t n_files,
                                   const struct ww_trust_options *trust,
                                   struct ww_policy_check_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/** A model that something is asked for. */
struct ww_policy_source {
    char *path;
    int64_t weight;   /* in a merge, in millionths; the largest that any tensor gets */
    const char *name; /* NULL; or path is a folder in the making, which this is the name
                         of in texts and records, and whose journal is passed over */
};
/** What somebody wants to do. */
struct ww_policy_ask {
    const char *action; /* lock, unlock, merge, extract, redistribute */
    const char *method; /* NULL: none */
    const char *recipe; /* path: its digest is part of the request; NULL: none */
    const struct ww_policy_source *sources;
    size_t n_sources;
    const char *output_name;    /* NULL: not said */
    const char *output_license; /* NULL: not promised */
    bool output_locked;         /* promised */
    const char *purpose;        /* NULL: not said */
    bool restores; /* the output is the source itself: its own decision record
                      is left as it is, and this one lies beside it */
};

/** Make a request from what is asked for, and sign it; out is a new file. Sources must
 *  carry a tensor statement (else WW_E_NOTFOUND). WW_E_EXISTS, WW_E_USAGE, WW_E_POLICY.
 */
WW_API enum ww_err ww_policy_request(const struct ww_policy_ask *ask,
                                     struct ww_signkey *key, const char *out,
                                     struct ww_error *err) WW_MUST_USE;

/** Approve a signed request, whose digest the approval names; out is a new file.
 *  WW_E_BUNDLE and WW_E_POLICY for what is no signed request, WW_E_EXISTS. */
WW_API enum ww_err ww_policy_approve(const char *request, struct ww_signkey *key,
                                     const char *out, struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
