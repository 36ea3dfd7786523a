/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One member of a pool behind its server. A dialect is a row of functions (dialect.h)
 * that writes a request and reads an answer; what differs between servers of one dialect
 * is found by probing (probe.h), not by believing documentation.
 *
 * Not for two threads at once: a pool opens one endpoint per connection.
 */
#ifndef WW_EVO_ENDPOINT_H
#define WW_EVO_ENDPOINT_H

#include <stdatomic.h>

#include "evo/dialect.h"
#include "evo/members.h"
#include "http/client.h"

/** Asked before every try and told after it; what limits calls, tokens and money. */
struct ww_meter {
    /** May a call of at most so many tokens be made? WW_E_LIMIT when not. */
    enum ww_err (*start)(void *payload, const struct ww_member *member, uint64_t tokens,
                         struct ww_error *err);
    /** It ended: reserved as given to start, used as the server counted. */
    void (*end)(void *payload, const struct ww_member *member, uint64_t reserved,
                uint64_t used);
    /** Another try follows after a while, for this member; NULL: the while is over. */
    void (*waits)(void *payload, const struct ww_member *member);
    void *payload;
};

struct ww_endpoint_options {
    atomic_bool *heard;    /* somebody listens there, or did: told to all endpoints of
                              a member, which set it; NULL: this one's alone */
    unsigned tries;        /* of a call; 0: 6, and 3 s where nobody listens */
    double longest_wait_s; /* between tries; 0: 60 */
    uint32_t total_ms;     /* of a call; 0: the client's default */
    const struct ww_meter *meter; /* NULL: none */
    const volatile bool *cancel;  /* NULL: never */
};

struct ww_endpoint;

/** Reads the member's key, opens no connection yet. Borrows member and what options point
 *  to. WW_E_KEY_ACCESS, WW_E_USAGE. */
enum ww_err ww_endpoint_open(const struct ww_member *member,
                             const struct ww_endpoint_options *options,
                             struct ww_endpoint **out, struct ww_error *err) WW_MUST_USE;
void ww_endpoint_free(struct ww_endpoint *endpoint);

/** A question, tried again where that may help. WW_E_KEY: the key is refused;
 *  WW_E_NOTFOUND: no such model or path; WW_E_UNSUPPORTED: the server cannot do it;
 *  WW_E_IO: no answer. */
enum ww_err ww_endpoint_ask(struct ww_endpoint *endpoint,
                            const struct ww_dialect *dialect, const struct ww_ask *ask,
                            struct ww_scored *out, struct ww_error *err) WW_MUST_USE;

/** GET path, tried again while no connection comes about: the body if the answer is 200
 * and JSON, else an empty *out. WW_E_IO where nobody listens. */
enum ww_err ww_endpoint_get(struct ww_endpoint *endpoint, const char *path,
                            struct ww_json **out, struct ww_error *err) WW_MUST_USE;
/** The same of a POST that costs nothing. */
enum ww_err ww_endpoint_post(struct ww_endpoint *endpoint, const char *path,
                             const char *body, size_t len, struct ww_json **out,
                             struct ww_error *err) WW_MUST_USE;
/** Into how many tokens the server cuts what body, written for its dialect, asks about,
 * and the number of the first; 0 and UINT64_MAX where it does not say. */
enum ww_err ww_endpoint_tokens(struct ww_endpoint *endpoint, const struct ww_buf *body,
                               size_t *n, uint64_t *first,
                               struct ww_error *err) WW_MUST_USE;

#endif
