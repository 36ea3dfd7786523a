/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a server really does, found by asking. The answer to a fixed question is kept as
 * the member's canary: when the same question gets another answer later, another model
 * stands behind the name.
 */
#ifndef WW_EVO_PROBE_H
#define WW_EVO_PROBE_H

#include "evo/endpoint.h"

struct ww_member_facts {
    const struct ww_dialect *dialect;
    bool scores_prompts; /* one call for an item; else one for each token */
    bool bytes;          /* tokens that are no text came as something to tell them by */
    uint32_t top;        /* tokens of a list that it returns, of those asked for */
    uint32_t question;   /* of the canary */
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
