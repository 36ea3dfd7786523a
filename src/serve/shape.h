/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Answers as OpenAI's interface has them: whole, or as the chunks of a stream. Tokens are
 * added as they come; each chunk shows those since the last one.
 */
#ifndef WW_SERVE_SHAPE_H
#define WW_SERVE_SHAPE_H

#include "serve/fused_answer.h"

struct ww_shape {
    bool chat;
    int top; /* -1: no log-probabilities */
    const char *model;
    const char *end; /* text that stands for the end token */
    char id[40];
    int64_t created;
    bool begun;                                    /* a chunk with the role went out */
    uint64_t offset;                               /* of the next token, in characters */
    struct ww_buf tokens, logprobs, tops, offsets; /* parts of JSON arrays */
};

void ww_shape_begin(struct ww_shape *shape, const struct ww_question *question,
                    const char *model, const char *end);
void ww_shape_release(struct ww_shape *shape);

/** The token that the answer took last. */
enum ww_err ww_shape_token(struct ww_shape *shape, const struct ww_answer *answer,
                           struct ww_error *err) WW_MUST_USE;
/** The whole answer, as a body. */
enum ww_err ww_shape_whole(struct ww_shape *shape, const struct ww_answer *answer,
                           struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** What is certain and was not shown, as an event; behind the last token with the
 *  finish, and then, where asked for, one with the counts, and the end. */
enum ww_err ww_shape_event(struct ww_shape *shape, struct ww_answer *answer,
                           struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** {"error": ...}; type and code as clients know them. */
enum ww_err ww_shape_error(const char *message, const char *type, const char *code,
                           struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** One model, or the list of it. */
enum ww_err ww_shape_models(const char *model, int64_t created, bool list,
                            struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

#endif
