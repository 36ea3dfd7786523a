/* SPDX-License-Identifier: Apache-2.0 */
/* A decision in the making. */
#ifndef WW_TRUST_GUARD_INT_H
#define WW_TRUST_GUARD_INT_H

#include "trust/verdict.h"

struct ww_guard_job {
    const struct ww_policy_ask *given;
    const struct ww_guard_options *options;
    struct ww_policy_ask ask; /* given, with the licence that the output will have */
    struct ww_verdict *v;
    uint8_t (*roots)[WW_SHA256_BYTES];
    char why[400];
};

/** The request of v, signed by another one or made here, its requester and approvals;
 * root and sources are read already. WW_E_USAGE where nobody is named, WW_E_UNTRUSTED,
 *  WW_E_EXPIRED. */
enum ww_err ww_guard_ask(struct ww_guard_job *job, struct ww_error *err) WW_MUST_USE;

#endif
