/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Trust, opened: the last root of a chain, the policies in force under it, and the facts
 * that the evaluator wants of both. Everything in here was verified.
 */
#ifndef WW_TRUST_TRUST_H
#define WW_TRUST_TRUST_H

#include "trust/root.h"
#include "weightward/policy.h"

struct ww_trust {
    struct ww_root root; /* the last of the chain */
    struct ww_policy *policies;
    const struct ww_policy **list; /* the same, as the evaluator takes them */
    size_t n_policies;
    struct ww_trust_facts facts;
    int64_t now;
};

/**
 * Walk the roots from the first, which is believed, to the last, which must not have
 * expired; read the policies, which the last root must name by id, version and digest and
 * which enough keys of its role 'policy' must have signed; compare with what the state
 * file saw before, and write it. Without policies only the root is opened.
 */
enum ww_err ww_trust_open(const struct ww_trust_options *options, struct ww_trust *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_trust_release(struct ww_trust *trust);

/** Read and check one policy under the root; its own times are the evaluator's affair. */
enum ww_err ww_trust_policy(const struct ww_trust *trust, const char *path,
                            struct ww_policy *out, struct ww_error *err) WW_MUST_USE;
/** Is every policy that the root names among those opened (revoked ones aside)?
 *  WW_E_NOTFOUND: one that was left out could be the one that forbids. */
enum ww_err ww_trust_complete(const struct ww_trust *trust,
                              struct ww_error *err) WW_MUST_USE;

/** Walk the chain of roots alone. */
enum ww_err ww_root_walk(const char *const *paths, size_t n, int64_t now,
                         struct ww_root *out, struct ww_error *err) WW_MUST_USE;

/** Read a signed file of one kind. */
enum ww_err ww_signed_read(const char *path, enum ww_signed_kind kind,
                           struct ww_envelope *out, struct ww_error *err) WW_MUST_USE;

#endif
