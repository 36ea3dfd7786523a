/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Dialects: how servers are asked, and how their answers are read. One row of functions
 * each; reading is a pure function of a JSON document, so that every shape can be tested
 * without a server.
 */
#ifndef WW_EVO_DIALECT_H
#define WW_EVO_DIALECT_H

#include "evo/scored.h"
#include "json/json.h"

/** How a server goes on with an answer that was begun. */
enum ww_continues {
    WW_CONTINUES_NOT,
    WW_CONTINUES_TOLD,  /* where the request says so */
    WW_CONTINUES_ALONE, /* whenever the last message is the assistant's */
};

/** What was found out about a server, as far as requests and answers depend on it. */
struct ww_hints {
    bool has_end_id;
    uint32_t end_id; /* number of the end token, which may have no text in lists */
    enum ww_continues continues; /* of chats */
    bool hides_end; /* its lists call the end token nothing, as they call others too: it
                       is scored behind the text, with the list that it is one of */
};

/** One question. */
struct ww_ask {
    bool score;            /* every token of answer; else: what follows prompt + answer */
    struct ww_span prompt; /* UTF-8 */
    struct ww_span answer; /* UTF-8; of a question for what follows, may be empty */
    const char *end;       /* text of the end token, scored behind the answer; "" */
    const char *model;
    uint32_t top;
    const struct ww_hints *hints; /* NULL: nothing is known */
    const double *scales;         /* [n_scales] of the server's adapters, all of them */
    uint32_t n_scales;
    struct ww_span forced; /* the next token, whose log-probability is asked for, as text;
                              empty: none */
    uint32_t forced_id;    /* its number, where the dialect asks by numbers */
    uint32_t skip;         /* generated tokens before the one whose list is wanted */
    bool whole; /* told to say something whole: what it would say by itself is part
                   of a character, and it showed nothing of it */
};

typedef enum ww_err (*ww_ask_writer)(const struct ww_ask *ask, struct ww_jw *w,
                                     struct ww_error *err);
typedef enum ww_err (*ww_answer_reader)(const struct ww_ask *ask,
                                        const struct ww_jnode *root,
                                        struct ww_scored *out, struct ww_error *err);

#define WW_DIALECT_SIGNS 2

struct ww_dialect {
    const char *name;
    uint32_t version; /* of our reading: a higher one asks again */
    bool by_number;   /* tells of a token that is in no list by its number */
    bool quiet_end;   /* shows no list where the likeliest token is the end */
    const char *sign[WW_DIALECT_SIGNS]; /* paths that only this server answers a GET on */
    const char *member;                 /* in the answer there */
    const char *next_path;
    ww_ask_writer next_write;
    ww_answer_reader next_read;
    const char *score_path; /* NULL: it scores no prompts */
    ww_ask_writer score_write;
    ww_answer_reader score_read;
};

const struct ww_dialect *ww_dialect_named(const char *name);
const struct ww_dialect *ww_dialect_at(size_t index); /* NULL behind the last */
/** ", a, b, c" for messages. */
const char *ww_dialect_names(void);

/** Body of a question to buf. */
enum ww_err ww_dialect_write(const struct ww_dialect *dialect, const struct ww_ask *ask,
                             struct ww_buf *buf, struct ww_error *err) WW_MUST_USE;
/** An answer's body. WW_E_UNSUPPORTED: well formed, and without what was asked for (echo
 *  ignored, no log-probabilities); WW_E_MALFORMED, WW_E_JSON. */
enum ww_err ww_dialect_read(const struct ww_dialect *dialect, const struct ww_ask *ask,
                            const uint8_t *body, size_t len, struct ww_scored *out,
                            struct ww_error *err) WW_MUST_USE;

/* Readers and writers, by file. */
enum ww_err ww_text_write(const struct ww_ask *ask, struct ww_jw *w,
                          struct ww_error *err);
enum ww_err ww_text_read_next(const struct ww_ask *ask, const struct ww_jnode *root,
                              struct ww_scored *out, struct ww_error *err);
enum ww_err ww_text_read_score(const struct ww_ask *ask, const struct ww_jnode *root,
                               struct ww_scored *out, struct ww_error *err);
enum ww_err ww_chat_write(const struct ww_ask *ask, struct ww_jw *w,
                          struct ww_error *err);
enum ww_err ww_chat_read(const struct ww_ask *ask, const struct ww_jnode *root,
                         struct ww_scored *out, struct ww_error *err);
enum ww_err ww_llama_write(const struct ww_ask *ask, struct ww_jw *w,
                           struct ww_error *err);
enum ww_err ww_llama_read(const struct ww_ask *ask, const struct ww_jnode *root,
                          struct ww_scored *out, struct ww_error *err);
enum ww_err ww_ollama_write(const struct ww_ask *ask, struct ww_jw *w,
                            struct ww_error *err);
enum ww_err ww_ollama_read(const struct ww_ask *ask, const struct ww_jnode *root,
                           struct ww_scored *out, struct ww_error *err);
enum ww_err ww_vllm_write(const struct ww_ask *ask, struct ww_jw *w,
                          struct ww_error *err);
enum ww_err ww_vllm_read(const struct ww_ask *ask, const struct ww_jnode *root,
                         struct ww_scored *out, struct ww_error *err);
enum ww_err ww_sglang_write(const struct ww_ask *ask, struct ww_jw *w,
                            struct ww_error *err);
enum ww_err ww_sglang_read_next(const struct ww_ask *ask, const struct ww_jnode *root,
                                struct ww_scored *out, struct ww_error *err);
enum ww_err ww_sglang_read_score(const struct ww_ask *ask, const struct ww_jnode *root,
                                 struct ww_scored *out, struct ww_error *err);
enum ww_err ww_tgi_write(const struct ww_ask *ask, struct ww_jw *w, struct ww_error *err);
enum ww_err ww_tgi_read_next(const struct ww_ask *ask, const struct ww_jnode *root,
                             struct ww_scored *out, struct ww_error *err);
enum ww_err ww_tgi_read_score(const struct ww_ask *ask, const struct ww_jnode *root,
                              struct ww_scored *out, struct ww_error *err);

#endif
