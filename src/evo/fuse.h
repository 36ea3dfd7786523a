/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A pool while it answers: what all members say about the next token becomes one list,
 * and the token that is taken counts for or against each member. Tokens are told apart by
 * their bytes.
 */
#ifndef WW_EVO_FUSE_H
#define WW_EVO_FUSE_H

#include "evo/rules.h"

/** What a member says: likeliest first, no token twice; nothing, where one does, is a
 * list that leaves all mass. */
struct ww_fuse_list {
    const struct ww_span *token; /* [n]; empty: the end */
    const double *logprob;       /* [n] */
    uint32_t n;
};

struct ww_fuse_token {
    struct ww_span token; /* borrowed from the lists */
    double logprob;       /* of the pool */
    uint32_t row;
};

struct ww_fuse {
    const struct ww_rule *rule;
    uint32_t vocabulary;
    double surprise[WW_POOL_MAX_MEMBERS]; /* by the answer so far */
    struct ww_fuse_token *list;           /* [n], likeliest first, of equal ones the one
                                             that was listed first */
    uint32_t n;
    struct ww_pool_union u;
};

/** A new answer; rule stays the caller's. */
void ww_fuse_begin(struct ww_fuse *fuse, const struct ww_rule *rule, uint32_t vocabulary);
void ww_fuse_release(struct ww_fuse *fuse);

/** lists [k]: fuse->list becomes the pool's, until the next call. WW_E_MALFORMED for
 * lists without sense, WW_E_NOMEM. */
enum ww_err ww_fuse_next(struct ww_fuse *fuse, const struct ww_fuse_list *lists,
                         struct ww_error *err) WW_MUST_USE;

/** The answer goes on with this entry of the list. */
void ww_fuse_take(struct ww_fuse *fuse, uint32_t at);

/**
 * An entry of the list: the likeliest at temperature 0, else drawn with p^(1/t) among the
 * likeliest whose mass reaches top_p (in 0..1], never what no list shows. random: uniform
 * in [0, 1).
 */
uint32_t ww_fuse_draw(const struct ww_fuse *fuse, double temperature, double top_p,
                      double random);

#endif
