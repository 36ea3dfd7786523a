/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One answer of the pool, token by token: all members are asked, their lists become one
 * by the recipe's rule, and a token of it is taken. The same request with a seed gives
 * the same answer as long as the members say the same.
 */
#ifndef WW_SERVE_FUSED_ANSWER_H
#define WW_SERVE_FUSED_ANSWER_H

#include "evo/fuse.h"
#include "serve/panel.h"
#include "serve/question.h"

#define WW_ANSWER_SECONDS 600

struct ww_answer {
    const struct ww_question *question;
    const struct ww_member *member;
    struct ww_panel *panel;
    struct ww_fuse fuse; /* its list: of the token that was taken last */
    struct ww_buf text;
    size_t shown;           /* bytes of text that went out */
    size_t certain;         /* bytes of text that no stop can take back */
    uint32_t at;            /* in fuse.list, what was taken */
    bool ended;             /* that was the end token */
    uint32_t tokens;        /* the end token too */
    uint64_t prompt_tokens; /* as a member counts; 0: not told */
    const char *finish;     /* "stop", "length"; NULL: it goes on */
    uint64_t draws;
    double started;
    struct ww_scored said[WW_POOL_MAX_MEMBERS];
};

/** Everything stays the caller's. */
void ww_answer_begin(struct ww_answer *answer, const struct ww_question *question,
                     const struct ww_rule *rule, uint32_t vocabulary,
                     const struct ww_member *member, struct ww_panel *panel);
void ww_answer_release(struct ww_answer *answer);

/** The next token; not after finish is set. What ww_panel_ask says; WW_E_LIMIT after
 *  WW_ANSWER_SECONDS, WW_E_UNSUPPORTED when a list shows no token that is text. */
enum ww_err ww_answer_step(struct ww_answer *answer, struct ww_error *err) WW_MUST_USE;

/** Bytes of said token t that can go on with the text: whole characters, or the end token
 *  (empty). False: a token that is no text by itself. */
bool ww_answer_token(const struct ww_member *member, struct ww_span said,
                     struct ww_span *out);

#endif
