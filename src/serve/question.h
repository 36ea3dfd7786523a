/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a client asks for: the body of POST /v1/completions or /v1/chat/completions. What
 * would change the answer and is not done here is refused, not ignored.
 */
#ifndef WW_SERVE_QUESTION_H
#define WW_SERVE_QUESTION_H

#include "evo/tasks.h"
#include "json/json.h"

#define WW_QUESTION_BYTES ((size_t)1 << 20)
#define WW_QUESTION_STOPS 4
#define WW_QUESTION_OPTIONS 256
#define WW_QUESTION_TOKENS 4096
#define WW_QUESTION_COMPLETION_TOP 5
#define WW_QUESTION_CHAT_TOP 20

/** How messages become one prompt; every text stands around one message's. All-zero:
 * there is no template, and chat is refused. */
struct ww_chat_template {
    struct {
        const char *before, *after;
    } system, user, assistant;
    const char *begin, *answer; /* of the whole; what the answer follows */
    bool given;
};

struct ww_question {
    bool chat;
    const char *model;
    struct ww_buf prompt; /* of messages: joined by the template */
    uint32_t max_tokens;
    double temperature, top_p;
    bool has_seed;
    uint64_t seed;
    uint32_t n_stops;
    const char *stop[WW_QUESTION_STOPS];
    uint32_t n_options;
    struct ww_span *option; /* [n_options] what is to be chosen from; owned */
    int top;                /* likeliest tokens to show; -1: no log-probabilities */
    bool stream;
    bool usage;           /* one more event with the counts */
    struct ww_json *text; /* what the strings lie in */
};

/** WW_E_JSON, WW_E_LIMIT, WW_E_MALFORMED for what is not understood, WW_E_UNSUPPORTED for
 *  what is not done. template: used for chat alone. */
enum ww_err ww_question_read(const uint8_t *body, size_t len, bool chat,
                             const struct ww_chat_template *how, struct ww_question *out,
                             struct ww_error *err) WW_MUST_USE;
void ww_question_release(struct ww_question *question);

#endif
