/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a server said to one request, in the one form that is cached and read: positions,
 * each with the right token, its log-probability and the likeliest tokens. A request for
 * what comes next has one position without a right token.
 *
 * Tokens are byte strings. Where a server tells numbers only, or text that several tokens
 * share, a token is named by 0xFF and its number in decimal: no text begins so.
 */
#ifndef WW_EVO_SCORED_H
#define WW_EVO_SCORED_H

#include "evo/tasks.h"
#include "util/buf.h"

/** Of one answer, all positions together. */
#define WW_SCORED_MAX_BYTES ((size_t)32 << 20)
#define WW_SCORED_MAX_TOP 4096
#define WW_SCORED_MAX_POSITIONS 65536

struct ww_said_token {
    struct ww_span bytes;
    double logprob;
};

struct ww_scored_at {
    struct ww_span gold;             /* empty with a log-probability: the end token */
    double logprob;                  /* of gold; NaN where nothing was to be scored */
    const struct ww_said_token *top; /* [n], likeliest first, none twice */
    uint32_t n;
};

struct ww_scored {
    uint32_t n;
    struct ww_scored_at *at; /* [n] */
    bool nameless_end;       /* as it was read: lists have no name for the end token */
    bool unfinished; /* not read: nothing is shown of a token that was generated, as
                        where it is part of a character */
    double prompt_surprise; /* mean per token of the prompt, nats; NaN: not told */
    uint64_t tokens;        /* that the server counted; 0: not told */
    struct ww_buf bytes;    /* the record; spans lie in it */
    struct ww_said_token *token;
};
void ww_scored_release(struct ww_scored *scored);

/** Writing: begin, then for every position ww_scored_add, then end. Lists are put into
 *  order: log-probabilities below WW_POOL_FLOOR are raised to it, those up to 0.01 above
 * 0 become 0, tokens that are there twice with the same bytes are left out (nobody can
 * tell which is meant), no more than top stay, and the right token stays only where it is
 *  among the likeliest: a server that appends it would give the answer away. */
struct ww_scored_writer {
    struct ww_buf buf;
    uint32_t n;
    uint32_t top;
};
enum ww_err ww_scored_begin(struct ww_scored_writer *w, uint32_t top,
                            struct ww_error *err) WW_MUST_USE;
/** tokens is sorted in place. gold_logprob NaN: none. WW_E_MALFORMED for a
 *  log-probability above 0.01, WW_E_NONFINITE. */
enum ww_err ww_scored_add(struct ww_scored_writer *w, struct ww_span gold,
                          double gold_logprob, struct ww_said_token *tokens, size_t n,
                          struct ww_error *err) WW_MUST_USE;
enum ww_err ww_scored_end(struct ww_scored_writer *w, double prompt_surprise,
                          uint64_t tokens, struct ww_scored *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_scored_drop(struct ww_scored_writer *w);

/** Read a record again. WW_E_MALFORMED. */
enum ww_err ww_scored_read(const uint8_t *bytes, size_t len, struct ww_scored *out,
                           struct ww_error *err) WW_MUST_USE;

#endif
