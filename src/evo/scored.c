/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of answers. Layout, little-endian: prompt surprise (8 bytes of a double),
 * tokens (8), positions (4), then for each position its right token (length 2, bytes,
 * log-probability 8) and its list (count 2, then entries of the same kind). Doubles, so
 * that what a server wrote is what is read.
 */
#include "evo/scored.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define HEAD 20
#define ENTRY 10
#define ROUNDING 0.01 /* servers round, and sums of exponentials end above 1 by it */

static enum ww_err add_double(struct ww_buf *buf, double v, struct ww_error *err)
{
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof(bits));
    return ww_buf_add_u64le(buf, bits, err);
}

static double get_double(const uint8_t *in)
{
    const uint64_t bits = ww_get_u64le(in);
    double v = 0;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static enum ww_err add_u16(struct ww_buf *buf, size_t v, struct ww_error *err)
{
    const uint8_t bytes[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    return ww_buf_add(buf, bytes, sizeof(bytes), err);
}

static enum ww_err add_entry(struct ww_buf *buf, struct ww_span bytes, double logprob,
                             struct ww_error *err)
{
    enum ww_err rc = add_u16(buf, bytes.len, err);
    rc = rc ? rc : ww_buf_add(buf, bytes.data, bytes.len, err);
    return rc ? rc : add_double(buf, logprob, err);
}

/* Zero comes as -9999 or the lowest float, one as a hair above 0. */
static enum ww_err tidy(double *logprob, struct ww_error *err)
{
    if (!isfinite(*logprob)) {
        return WW_FAIL(err, WW_E_NONFINITE, "a log-probability is NaN or infinite");
    }
    if (*logprob > ROUNDING) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "a log-probability is %g, above 0: these are no log-probabilities",
                       *logprob);
    }
    *logprob = *logprob > 0 ? 0 : *logprob < WW_POOL_FLOOR ? WW_POOL_FLOOR : *logprob;
    return WW_OK;
}

static int compare_bytes(struct ww_span a, struct ww_span b)
{
    const size_t len = a.len < b.len ? a.len : b.len;
    const int order = len ? memcmp(a.data, b.data, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_bytes(const void *a, const void *b)
{
    const struct ww_said_token *x = a;
    const struct ww_said_token *y = b;
    return compare_bytes(x->bytes, y->bytes);
}

static int by_likelihood(const void *a, const void *b)
{
    const struct ww_said_token *x = a;
    const struct ww_said_token *y = b;
    const int order = (x->logprob < y->logprob) - (x->logprob > y->logprob);
    return order ? order : compare_bytes(x->bytes, y->bytes);
}

/* Leave out what several tokens are called. */
static size_t only_unique(struct ww_said_token *t, size_t n)
{
    size_t kept = 0;
    if (n) {
        qsort(t, n, sizeof(*t), by_bytes);
    }
    for (size_t i = 0; i < n;) {
        size_t j = i + 1;
        while (j < n && ww_span_eq(t[i].bytes, t[j].bytes)) {
            j++;
        }
        if (j == i + 1) {
            t[kept++] = t[i];
        }
        i = j;
    }
    return kept;
}

/* The right token, when it was appended to a list that it is not part of, is the last. A
 * list that is short anyway (texts that several tokens share) leaves that open, and then
 * it is left out too. */
static size_t without_answer(struct ww_said_token *t, size_t n, struct ww_span gold,
                             size_t top)
{
    const bool last = n > 0 && ww_span_eq(t[n - 1].bytes, gold);
    const size_t kept = last && n != top ? n - 1 : n;
    return kept < top ? kept : top;
}

enum ww_err ww_scored_begin(struct ww_scored_writer *w, uint32_t top,
                            struct ww_error *err)
{
    static const uint8_t head[HEAD];
    w->n = 0;
    w->top = top;
    ww_buf_init(&w->buf, WW_SCORED_MAX_BYTES);
    if (top > WW_SCORED_MAX_TOP) {
        return WW_FAIL(err, WW_E_USAGE, "lists of %u tokens are asked for, at most %d",
                       top, WW_SCORED_MAX_TOP);
    }
    return ww_buf_add(&w->buf, head, sizeof(head), err);
}

enum ww_err ww_scored_add(struct ww_scored_writer *w, struct ww_span gold,
                          double gold_logprob, struct ww_said_token *tokens, size_t n,
                          struct ww_error *err)
{
    const bool scored = !isnan(gold_logprob);
    enum ww_err rc = scored ? tidy(&gold_logprob, err) : WW_OK;
    for (size_t i = 0; i < n && !rc; i++) {
        rc = tidy(&tokens[i].logprob, err);
        if (!rc && tokens[i].bytes.len > UINT16_MAX) {
            rc = WW_FAIL(err, WW_E_LIMIT, "a token has more than 65535 bytes");
        }
    }
    if (!rc && (w->n == WW_SCORED_MAX_POSITIONS || gold.len > UINT16_MAX)) {
        rc = WW_FAIL(err, WW_E_LIMIT, "an answer has too many tokens");
    }
    if (rc) {
        return rc;
    }
    n = only_unique(tokens, n);
    if (n) {
        qsort(tokens, n, sizeof(*tokens), by_likelihood);
    }
    n = scored ? without_answer(tokens, n, gold, w->top) : n < w->top ? n : w->top;
    w->n++;
    rc = add_entry(&w->buf, gold, scored ? gold_logprob : 1, err);
    rc = rc ? rc : add_u16(&w->buf, n, err);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = add_entry(&w->buf, tokens[i].bytes, tokens[i].logprob, err);
    }
    return rc;
}

void ww_scored_drop(struct ww_scored_writer *w)
{
    ww_buf_release(&w->buf);
}

enum ww_err ww_scored_end(struct ww_scored_writer *w, double prompt_surprise,
                          uint64_t tokens, struct ww_scored *out, struct ww_error *err)
{
    uint64_t bits = 0;
    const double told = isfinite(prompt_surprise) ? prompt_surprise : -1;
    memcpy(&bits, &told, sizeof(bits));
    ww_put_u64le(w->buf.data, bits);
    ww_put_u64le(w->buf.data + 8, tokens);
    ww_put_u32le(w->buf.data + 16, w->n);
    enum ww_err rc = ww_scored_read(w->buf.data, w->buf.len, out, err);
    ww_scored_drop(w);
    return rc;
}

/* Where a reader stands; false once something did not fit. */
struct cursor {
    const uint8_t *data;
    size_t len;
    size_t at;
};

static bool take_u16(struct cursor *c, uint32_t *out)
{
    if (c->len - c->at < 2) {
        return false;
    }
    *out = (uint32_t)c->data[c->at] | (uint32_t)c->data[c->at + 1] << 8;
    c->at += 2;
    return true;
}

static bool take_entry(struct cursor *c, struct ww_span *bytes, double *logprob)
{
    uint32_t len = 0;
    if (!take_u16(c, &len) || c->len - c->at < (size_t)len + 8) {
        return false;
    }
    *bytes = (struct ww_span){c->data + c->at, len};
    *logprob = get_double(c->data + c->at + len);
    c->at += (size_t)len + 8;
    return true;
}

static bool take_position(struct cursor *c, struct ww_scored_at *at,
                          struct ww_said_token *tokens)
{
    if (!take_entry(c, &at->gold, &at->logprob) || !take_u16(c, &at->n) ||
        at->n > WW_SCORED_MAX_TOP) {
        return false;
    }
    if (at->logprob == 1) {
        at->logprob = (double)NAN;
    } else if (!(at->logprob <= 0 && at->logprob >= WW_POOL_FLOOR)) {
        return false;
    }
    at->top = tokens;
    for (uint32_t i = 0; i < at->n; i++) {
        if (!take_entry(c, &tokens[i].bytes, &tokens[i].logprob) ||
            !(tokens[i].logprob <= 0 && tokens[i].logprob >= WW_POOL_FLOOR) ||
            (i && tokens[i].logprob > tokens[i - 1].logprob)) {
            return false;
        }
    }
    return true;
}

enum ww_err ww_scored_read(const uint8_t *bytes, size_t len, struct ww_scored *out,
                           struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    ww_buf_init(&out->bytes, WW_SCORED_MAX_BYTES);
    enum ww_err rc = ww_buf_add(&out->bytes, bytes, len, err);
    struct cursor c = {out->bytes.data, len, HEAD};
    if (!rc && len >= HEAD) {
        out->n = ww_get_u32le(out->bytes.data + 16);
    }
    if (!rc && (len < HEAD || out->n > WW_SCORED_MAX_POSITIONS ||
                out->n > (len - HEAD) / (ENTRY + 2))) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "a recorded answer is cut");
    }
    if (!rc) {
        out->prompt_surprise = get_double(out->bytes.data);
        out->tokens = ww_get_u64le(out->bytes.data + 8);
        if (!(out->prompt_surprise >= 0 && out->prompt_surprise < 1e9)) {
            out->prompt_surprise = (double)NAN;
        }
        out->at = ww_calloc(out->n, sizeof(*out->at));
        /* Every entry takes its own bytes, so there cannot be more than fit. */
        out->token = ww_calloc((len - HEAD) / ENTRY + 1, sizeof(*out->token));
        if (!out->at || !out->token) {
            rc = WW_FAIL_MEMORY(err, "an answer");
        }
    }
    size_t used = 0;
    for (uint32_t i = 0; i < out->n && !rc; i++) {
        uint32_t listed = 0;
        struct cursor ahead = c;
        struct ww_span gold;
        double logprob = 0;
        if (!take_entry(&ahead, &gold, &logprob) || !take_u16(&ahead, &listed) ||
            listed > (ahead.len - ahead.at) / ENTRY ||
            !take_position(&c, &out->at[i], out->token + used)) {
            rc = WW_FAIL(err, WW_E_MALFORMED,
                         "a recorded answer is damaged at position %u", i);
        }
        used += listed;
    }
    if (!rc && c.at != len) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "a recorded answer has bytes behind its end");
    }
    if (rc) {
        ww_scored_release(out);
    }
    return rc;
}

void ww_scored_release(struct ww_scored *scored)
{
    ww_free(scored->at);
    ww_free(scored->token);
    ww_buf_release(&scored->bytes);
    memset(scored, 0, sizeof(*scored));
}
