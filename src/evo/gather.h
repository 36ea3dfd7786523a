/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What all members said about one item, by questions whose answers come from anywhere:
 * the cache, or a server. The same walk asks and reads again, so what was collected is
 * what is read.
 *
 * Members that score prompts are asked once. The others are asked for what comes next at
 * every token; where its right token ends is said by a member that scores, else the
 * longest token that anybody lists and the answer goes on with.
 *
 * Where members have unlike tokenizers the same is made of options (one position, the
 * options in place of tokens) or of bytes (a position for each byte of the answer).
 */
#ifndef WW_EVO_GATHER_H
#define WW_EVO_GATHER_H

#include "evo/byte_walk.h"
#include "evo/members.h"
#include "evo/probe.h"
#include "weightward/evo.h"

/** What a position of bytes can be: a byte, or the end. */
#define WW_GATHER_BYTES WW_BYTE_CHOICES
/** Tokens of a tokenizer where nobody says how many. */
#define WW_GATHER_VOCABULARY 32768

/** Answer to a question to a member. *found false: not there, and the walk ends. */
typedef enum ww_err (*ww_fetch)(void *payload, uint32_t member, const struct ww_ask *ask,
                                const uint8_t key[32], bool *found, struct ww_scored *out,
                                struct ww_error *err);

struct ww_gather {
    const struct ww_members *members;
    const struct ww_member_facts *facts; /* [k] */
    uint32_t top;
    ww_fetch fetch;
    void *payload;
    enum ww_evo_level level;
    bool per_byte;       /* options: their log-probabilities divided by their lengths */
    uint32_t vocabulary; /* of members that told none; 0: WW_GATHER_VOCABULARY */
    bool no_lists;       /* tokens: only the right ones' log-probabilities are wanted */
};

struct ww_gathered {
    bool complete;
    uint32_t n; /* positions */
    uint32_t k;
    uint32_t vocabulary;  /* what a position can be; 0: the tokenizer's tokens */
    struct ww_span *gold; /* [n]; empty: the end token */
    double *logprob;      /* [n][k] */
    bool *untold; /* [n][k]: of a token in no list, and so an estimate for who does
                     not know the vocabulary */
    const struct ww_scored_at **at; /* [n][k], for its list */
    double *prompt_surprise;        /* [k]; NaN */
    struct ww_scored *made;         /* [k] lists of options or bytes; NULL */
    struct ww_scored *said;         /* [n_said], what the others lie in */
    uint8_t (*keys)[32];            /* [n_said] */
    size_t n_said;
    size_t room;
    size_t assumed; /* right tokens in no list of members that told no vocabulary */
};
void ww_gathered_release(struct ww_gathered *gathered);

/** number: of the item, for messages. WW_E_UNRELATED when members cut the answer into
 *  unlike tokens. */
enum ww_err ww_gather_item(const struct ww_gather *gather,
                           const struct ww_task_item *item, size_t number,
                           struct ww_gathered *out, struct ww_error *err) WW_MUST_USE;

/** Name of an answer in the cache: member, dialect and everything that was asked. */
enum ww_err ww_answer_key(const struct ww_member *member, const char *dialect,
                          uint32_t version, const struct ww_ask *ask, uint8_t out[32],
                          struct ww_error *err) WW_MUST_USE;

#endif
