/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One member of a pool behind its server. A dialect is a row of functions (dialect.h)
 * that writes a request and reads an answer; what differs between servers of one dialect
 * is found by probing, not by believing documentation.
 *
 * Not for two threads at once: a pool opens one endpoint per connection.
 */
#ifndef WW_EVO_ENDPOINT_H
#define WW_EVO_ENDPOINT_H

#include "evo/members.h"
#include "http/client.h"

/** What a server was seen to do. */
struct ww_endpoint_facts {
    const char *dialect; /* name of a row */
    uint32_t top;        /* tokens per list that it really returns */
    bool scores_prompts; /* echo or prompt_logprobs: one call per item */
    bool bytes;          /* tokens come as bytes */
    bool ids;            /* tokens come as numbers */
    bool deterministic;  /* the same request twice, the same numbers */
    bool adapter_scales; /* per request */
    uint8_t canary[32];  /* SHA-256 of rounded log-probabilities on fixed prompts */
};

struct ww_endpoint;

/** facts: NULL: probe before the first use. Borrows member and facts. */
enum ww_err ww_endpoint_open(const struct ww_member *member,
                             const struct ww_endpoint_facts *facts,
                             struct ww_endpoint **out, struct ww_error *err) WW_MUST_USE;
void ww_endpoint_free(struct ww_endpoint *endpoint);

/** One token of a list as the server gave it. */
struct ww_said_token {
    struct ww_span bytes;
    double logprob;
};

/** A distribution cut after the likeliest tokens; memory is the caller's to release. */
struct ww_said {
    struct ww_said_token *top; /* [n], likeliest first */
    uint32_t n;
};
void ww_said_release(struct ww_said *said);

/** What follows text: the likeliest top tokens. One call. */
enum ww_err ww_endpoint_next(struct ww_endpoint *endpoint, struct ww_span text,
                             uint32_t top, const volatile bool *cancel,
                             struct ww_said *out, struct ww_error *err) WW_MUST_USE;

#endif
