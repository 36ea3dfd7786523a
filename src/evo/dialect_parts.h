/* SPDX-License-Identifier: Apache-2.0 */
/* What several dialects read and write alike. Internal to src/evo. */
#ifndef WW_EVO_DIALECT_PARTS_H
#define WW_EVO_DIALECT_PARTS_H

#include "evo/dialect.h"

/** prompt + answer + end of a question, as one text under a key. */
enum ww_err ww_part_text(const struct ww_ask *ask, struct ww_jw *w, const char *key,
                         struct ww_error *err) WW_MUST_USE;

/** Text of a server as a token; false when several tokens may be called so ("" and what
 *  holds U+FFFD). */
bool ww_part_token(const char *text, struct ww_span *out);

/** Does it hold U+FFFD, as what a server could not print? */
bool ww_part_replaced(struct ww_span bytes);

/** False for a text that is no "token_id:NUMBER". */
bool ww_part_token_id(const char *text, int64_t *id);

/** WW_E_USAGE: the server cuts "end" into several tokens, so that none of it is the end.
 */
enum ww_err ww_part_no_end(const struct ww_ask *ask, struct ww_error *err) WW_MUST_USE;

/** WW_E_UNSUPPORTED: another token stands where "end" was to be scored. */
enum ww_err ww_part_other_end(const struct ww_ask *ask, struct ww_error *err) WW_MUST_USE;

/** A growing list of tokens; names that had to be made live in it. */
struct ww_part_list {
    struct ww_said_token *token;
    size_t n;
    size_t room;
    char (*names)[24]; /* [room], of tokens told by number */
};
void ww_part_list_release(struct ww_part_list *list);
enum ww_err ww_part_list_room(struct ww_part_list *list, size_t n,
                              struct ww_error *err) WW_MUST_USE;
void ww_part_list_add(struct ww_part_list *list, struct ww_span bytes, double logprob);
/** By text where it is one token's, else by number (negative: left out). */
void ww_part_list_add_text(struct ww_part_list *list, const char *text, int64_t id,
                           double logprob);

/** A token of a prompt that a server scored. */
struct ww_part_row {
    const char *text;
    double logprob; /* NaN: null */
    int64_t id;     /* -1: not told */
    struct ww_part_list list;
};
/** Rows whose texts end in the answer and the end token: which are they? The rest is
 *  prompt. Written to *out; tokens: the server's count. */
enum ww_err ww_part_score(const struct ww_ask *ask, struct ww_part_row *rows, size_t n,
                          uint64_t tokens, struct ww_scored *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_part_rows_free(struct ww_part_row *rows, size_t n);

/** A single list, what comes next. */
enum ww_err ww_part_next(const struct ww_ask *ask, struct ww_part_list *list,
                         uint64_t tokens, struct ww_scored *out,
                         struct ww_error *err) WW_MUST_USE;

/** usage.total_tokens of an OpenAI-shaped answer; 0. */
uint64_t ww_part_usage(const struct ww_jnode *root);

/** choices[0]; NULL with a message. */
const struct ww_jnode *ww_part_choice(const struct ww_jnode *root, struct ww_error *err);

#endif
