/* SPDX-License-Identifier: Apache-2.0 */
/* A decision and all that it rests on. */
#ifndef WW_TRUST_VERDICT_H
#define WW_TRUST_VERDICT_H

#include "trust/facts.h"
#include "weightward/guard.h"

struct ww_verdict {
    struct ww_trust trust;
    struct ww_buf request_text; /* the signed bytes, where the request was made here */
    struct ww_request request;
    char requester[WW_HINT_CHARS + 1];
    struct ww_words approvals; /* key ids */
    char (*approval_sha256)[2 * WW_SHA256_BYTES + 1];
    size_t n_approval_files;
    struct ww_source_facts *facts; /* one per source of the ask */
    char **paths;
    size_t n_sources;
    struct ww_model_facts *models; /* one per source of the request */
    struct ww_decision decision;
    const char *rules[WW_DECISION_MAX_RULES];
    const char *model_path; /* of the source that was denied, or "" */
    const char *ancestor;   /* name of the ancestor of it that decided, or "" */
    char *output_name;      /* NULL */
    char action[16];
    bool restores; /* see struct ww_policy_ask */
};

#endif
