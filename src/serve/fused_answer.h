/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One answer of the pool, token by token: all members are asked, their lists become one
 * by the recipe's rule, and a token of it is taken. The same request with a seed gives
 * the same answer as long as the members say the same.
 *
 * What a token is depends on what the members were compared by: one of their tokenizer's,
 * a character (of bytes), or a whole option of the request.
 */
#ifndef WW_SERVE_FUSED_ANSWER_H
#define WW_SERVE_FUSED_ANSWER_H

#include "evo/fuse.h"
#include "serve/panel.h"
#include "serve/question.h"
#include "weightward/evo.h"

#define WW_ANSWER_SECONDS 600

/** Who answers, and by which rule; everything is the caller's. */
struct ww_answer_pool {
    const struct ww_rule *rule;
    uint32_t vocabulary;
    enum ww_evo_level level;
    bool per_byte; /* options: their log-probabilities divided by their lengths */
    uint32_t top;
    const struct ww_member *member;      /* [rule->k] */
    const struct ww_member_facts *facts; /* [rule->k] */
};

struct ww_byte_answer;

struct ww_answer {
    const struct ww_question *question;
    struct ww_answer_pool pool;
    struct ww_panel *panel;
    struct ww_fuse fuse;
    struct ww_byte_answer *bytes;     /* NULL: not by bytes */
    struct ww_fuse_token taken;       /* the last token; empty: the end */
    const struct ww_fuse_token *list; /* [n] it was one of, likeliest first; of bytes */
    uint32_t n;                       /* those that are characters */
    struct ww_buf text;
    size_t shown;           /* bytes of text that went out */
    size_t certain;         /* bytes of text that no stop can take back */
    uint32_t tokens;        /* the end token too */
    uint64_t prompt_tokens; /* as a member counts; 0: not told */
    const char *finish;     /* "stop", "length"; NULL: it goes on */
    uint64_t draws;
    double started;
    struct ww_scored said[WW_POOL_MAX_MEMBERS];
};

/** Everything stays the caller's. WW_E_NOMEM. */
enum ww_err ww_answer_begin(struct ww_answer *answer, const struct ww_question *question,
                            const struct ww_answer_pool *pool, struct ww_panel *panel,
                            struct ww_error *err) WW_MUST_USE;
void ww_answer_release(struct ww_answer *answer);

/** The next token; not after finish is set. What ww_panel_ask says; WW_E_LIMIT after
 *  WW_ANSWER_SECONDS, WW_E_UNSUPPORTED when a list shows no token that is text. */
enum ww_err ww_answer_step(struct ww_answer *answer, struct ww_error *err) WW_MUST_USE;

/** Bytes of said token t that can go on with the text: whole characters, or the end token
 *  (empty). False: a token that is no text by itself. */
bool ww_answer_token(const struct ww_member *member, struct ww_span said,
                     struct ww_span *out);

/** Tokens of the question by what member m counted for its last answer; 0: not told. */
uint64_t ww_answer_counted(const struct ww_answer *answer, uint32_t m);

/** WW_E_LIMIT for an answer that began WW_ANSWER_SECONDS before or earlier. */
enum ww_err ww_answer_in_time(double started, struct ww_error *err) WW_MUST_USE;

/** In [0, 1), the next of the answer's draws. */
double ww_answer_draw(struct ww_answer *answer);

/* How the next token is taken where it is no token: to answer->taken and ->list. */
enum ww_err ww_byte_answer_new(uint32_t k, const struct ww_member *member,
                               struct ww_byte_answer **out,
                               struct ww_error *err) WW_MUST_USE;
void ww_byte_answer_free(struct ww_byte_answer *bytes);
enum ww_err ww_byte_answer_step(struct ww_answer *answer,
                                struct ww_error *err) WW_MUST_USE;
enum ww_err ww_option_answer_step(struct ww_answer *answer,
                                  struct ww_error *err) WW_MUST_USE;

#endif
