/* SPDX-License-Identifier: Apache-2.0 */
/**
 * HTTP requests with JSON bodies to one server, by libcurl (the only room that includes
 * it). What a server may do to us is bounded: no redirects, one protocol, caps on the
 * answer's bytes and on time, certificates checked; a key goes to no other host and into
 * no error text. Plain http is for this machine alone unless allowed.
 */
#ifndef WW_HTTP_CLIENT_H
#define WW_HTTP_CLIENT_H

#include "util/buf.h"
#include "weightward/key.h"

struct ww_http_options {
    const char *base;         /* "https://host[:port][/path]", no query, no user */
    struct ww_secret *bearer; /* sent as Authorization: Bearer; NULL: none; borrowed */
    const char *ca_file;      /* PEM, instead of the system's; NULL */
    bool allow_plain;         /* http also to other machines */
    uint32_t connect_ms;      /* 0: 10,000 */
    uint32_t total_ms;        /* 0: 600,000 */
    uint32_t stall_s;         /* no byte for so long ends it; 0: 120 */
    size_t max_bytes;         /* of an answer; 0: 64 MiB */
};

/** One connection, kept alive between requests. Not for two threads at once. */
struct ww_http;

/** WW_E_USAGE for an address that is not as above. */
enum ww_err ww_http_new(const struct ww_http_options *options, struct ww_http **out,
                        struct ww_error *err) WW_MUST_USE;
void ww_http_free(struct ww_http *http);

struct ww_http_reply {
    unsigned status;      /* 0: no answer came */
    bool may_retry;       /* the same request may succeed later */
    bool maybe_done;      /* sent whole and no answer: a server may count it */
    bool unreachable;     /* no connection came about */
    double retry_after_s; /* what the server asks for; -1: nothing */
    struct ww_buf body;   /* set up by the caller or zero */
    char problem[256];    /* why no answer came, for people; "" */
};
void ww_http_reply_release(struct ww_http_reply *reply);

/**
 * POST body (NULL: GET) to base + path. WW_OK also when the server refuses or does not
 * answer: look at status. WW_E_LIMIT for an answer beyond max_bytes, WW_E_NOMEM,
 * WW_E_CANCELLED when *cancel became true (may be NULL).
 */
enum ww_err ww_http_send(struct ww_http *http, const char *path, const char *body,
                         size_t len, const volatile bool *cancel,
                         struct ww_http_reply *reply, struct ww_error *err) WW_MUST_USE;

/** May a request be sent again after such a status? 408, 409, 425, 429, 500, 502, 503,
 *  504 and 529; 0 (no answer) as well. */
bool ww_http_retryable(unsigned status);

/** Seconds to wait before attempt number n (from 1): what the server asked for, at most
 *  cap_s, else full jitter below 0.5 * 2^n seconds. random: any number. */
double ww_http_backoff(unsigned attempt, double retry_after_s, double cap_s,
                       uint64_t random);

/** Retry-After: seconds, or a date (RFC 9110, 10.2.3) compared with now; -1 otherwise. */
double ww_http_retry_after(const char *value, int64_t now);

#endif
