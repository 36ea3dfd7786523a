/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the members of a pool said about the items of a task file: for every position of
 * every answer, each member's log-probability of the right token and the list of the
 * likeliest ones. Fits, confirmation and reports read this and nothing else; where it
 * comes from (the cache, an endpoint) is decided elsewhere.
 *
 * Tokens are byte strings, interned to numbers in the order they first appear by item,
 * position, member and rank, so that the same answers give the same numbers whatever the
 * order they arrived in. Text is never compared by a server's printable form: unlike
 * tokens share one there.
 */
#ifndef WW_EVO_ANSWERS_H
#define WW_EVO_ANSWERS_H

#include "evo/answer_cache.h"
#include "evo/loglinear.h"
#include "evo/members.h"
#include "evo/pool.h"
#include "evo/tasks.h"
#include "weightward/evo.h"

/** One member at one position. */
struct ww_answer_at {
    double gold; /* log-probability of the right token, >= WW_POOL_FLOOR */
    bool untold; /* it is in no list: what lists do not show is all that is known */
    struct ww_pool_list top; /* likeliest first; the gold token only where it is one */
};

struct ww_answer_item {
    uint32_t task;  /* index in the task file */
    uint32_t n;     /* positions of the answer, its end token included where scored */
    uint32_t *gold; /* [n] tokens */
    double weight;
    uint32_t vocabulary;     /* what a position can be; 0: as all have it */
    struct ww_answer_at *at; /* [n][k] */
    double *prompt_surprise; /* [k], mean per prompt token, nats; NaN where not given */
};

struct ww_answers {
    uint32_t k;          /* members */
    uint32_t top;        /* tokens asked for per list */
    uint32_t vocabulary; /* of the members' tokenizer; 0: not known */
    uint32_t told;       /* by tokens: the largest that a server told of; 0: none */
    size_t assumed;      /* right tokens in no list of members that told none */
    size_t n;
    struct ww_answer_item *item; /* [n], in the order of the task file */
    size_t tokens;
    struct ww_span *token; /* [tokens], bytes of each number; empty: the end token; of
                              options the last item's */
    uint8_t root[32];      /* of the hash tree over the cached answers */
    size_t calls;          /* cached answers: what asking for all of this takes */
    struct ww_answer_owned *owned;
};

/** How answers are read. */
struct ww_answers_view {
    uint32_t top; /* as when they were collected; 0: 20 */
    enum ww_evo_level level;
    bool per_byte;       /* options: by their lengths */
    uint32_t vocabulary; /* options: of members that told none; 0: WW_GATHER_VOCABULARY */
};

/** From the cache in folder dir alone, every item whole; tasks must stay. vocabulary is
 *  left 0. WW_E_NOTFOUND when something is missing. */
enum ww_err ww_answers_load(const struct ww_members *members,
                            const struct ww_tasks *tasks, const char *dir,
                            const struct ww_answers_view *view, struct ww_answers *out,
                            struct ww_error *err) WW_MUST_USE;

/** Everything inside is owned. */
void ww_answers_release(struct ww_answers *answers);

#endif
