/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a server really does, found by asking. The answer to a fixed question is kept as
 * the member's canary: when the same question gets another answer later, another model
 * stands behind the name.
 */
#ifndef WW_EVO_PROBE_H
#define WW_EVO_PROBE_H

#include "evo/endpoint.h"

#define WW_MOST_VOCABULARY ((uint64_t)1 << 24)

struct ww_member_facts {
    const struct ww_dialect *dialect;
    bool scores_prompts; /* one call for an item; else one for each token */
    bool bytes;          /* tokens that are no text came as something to tell them by */
    uint32_t top;        /* tokens of a list that it returns, of those asked for */
    bool forces;         /* tells the log-probability of a token that it is told to say */
    uint32_t question;   /* of the canary */
    uint32_t vocabulary; /* tokens that it knows; 0: not told */
    uint32_t adapters;   /* that requests can scale */
    struct ww_hints hints;
    struct ww_scored canary;
};
void ww_member_facts_release(struct ww_member_facts *facts);

/** Ask for the facts, lists being of so many tokens. WW_E_NOTFOUND when the server lists
 *  its models and this is none; else what ww_endpoint_ask says. */
enum ww_err ww_probe(struct ww_endpoint *endpoint, const struct ww_member *member,
                     uint32_t top, struct ww_member_facts *out,
                     struct ww_error *err) WW_MUST_USE;

/** Ask the canary's question again. *same: is every token that both lists show, and that
 *  is likelier than 1 in 150, within 0.1 nats (servers that batch move by about 0.01)?
 *  *exact: the same bits. */
enum ww_err ww_probe_canary(struct ww_endpoint *endpoint, const struct ww_member *member,
                            const struct ww_member_facts *facts, uint32_t top, bool *same,
                            bool *exact, struct ww_error *err) WW_MUST_USE;

/** A member's question for what comes after prompt and answer. Borrows everything. */
struct ww_ask ww_ask_next(const struct ww_member *member,
                          const struct ww_member_facts *facts, struct ww_span prompt,
                          struct ww_span answer, uint32_t top);

/** What has no canary in it, asked after the dialect is known (probe_hints.c): number of
 *  the end token, adapters, whether an answer that was begun goes on. WW_E_USAGE for
 *  scales that do not fit the server's adapters. */
enum ww_err ww_probe_hints(struct ww_endpoint *endpoint, const struct ww_member *member,
                           struct ww_member_facts *facts,
                           struct ww_error *err) WW_MUST_USE;

/** Whether chats go on with an answer and tokens can be forced, found by the canary. */
enum ww_err ww_probe_ways(struct ww_endpoint *endpoint, const struct ww_member *member,
                          struct ww_member_facts *facts,
                          struct ww_error *err) WW_MUST_USE;

/** The tokens that a llama-server cuts a text into, as right tokens of positions.
 *  WW_E_UNSUPPORTED where it does not tell. */
enum ww_err ww_probe_cuts(struct ww_endpoint *endpoint, const char *text,
                          struct ww_scored *out, struct ww_error *err) WW_MUST_USE;

/** Do two lists say the same, within what servers that batch move by? */
bool ww_scored_near(const struct ww_scored_at *a, const struct ww_scored_at *b);

/** Digest of the canary, its log-probabilities rounded to 1/8 nat. */
void ww_canary_digest(const struct ww_member_facts *facts, uint8_t out[32]);

/** Facts as bytes and back, for the cache. WW_E_MALFORMED; WW_E_VERSION for a dialect
 *  that is read otherwise now. */
enum ww_err ww_member_facts_write(const struct ww_member_facts *facts, struct ww_buf *out,
                                  struct ww_error *err) WW_MUST_USE;
enum ww_err ww_member_facts_read(const uint8_t *bytes, size_t len,
                                 struct ww_member_facts *out,
                                 struct ww_error *err) WW_MUST_USE;

#endif
