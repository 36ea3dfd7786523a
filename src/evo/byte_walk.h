/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One member's bytes along an answer, whatever tokens it has. The same walk is gone along
 * an answer that is known and along one that is being made, so that both have the same
 * numbers.
 *
 * For each place in order: ww_byte_walk_enter; where it says so, the member's list there;
 * then what the next byte can be.
 */
#ifndef WW_EVO_BYTE_WALK_H
#define WW_EVO_BYTE_WALK_H

#include "evo/scored.h"

/** What a place can be: a byte, or the end. */
#define WW_BYTE_END 256
#define WW_BYTE_CHOICES 257

struct ww_byte_walk {
    const char *end;                /* text of the member's end token */
    double *mass;                   /* [room] of "a token ends here" */
    const struct ww_scored_at **at; /* [room] what the member said there; NULL */
    size_t room;
    size_t longest;                 /* token that was listed so far */
    size_t past;                    /* places before it are looked at no more */
    double choice[WW_BYTE_CHOICES]; /* of the place that was looked at last */
};

void ww_byte_walk_begin(struct ww_byte_walk *walk, const char *end);
void ww_byte_walk_release(struct ww_byte_walk *walk);

/** At place j, behind the j bytes of said. *ask: the member must be asked for what
 *  follows. WW_E_UNSUPPORTED where it should be and cannot, inside of a character. */
enum ww_err ww_byte_walk_enter(struct ww_byte_walk *walk, const uint8_t *said, size_t j,
                               bool *ask, struct ww_error *err) WW_MUST_USE;
/** What it said at place j; stays the caller's as long as ww_byte_walk_needs says. */
void ww_byte_walk_told(struct ww_byte_walk *walk, size_t j,
                       const struct ww_scored_at *at);
/** First place whose list is still looked at at place j and behind it; never an earlier
 *  one once ww_byte_walk_told has answered for place j, however long tokens become. */
size_t ww_byte_walk_needs(const struct ww_byte_walk *walk, size_t j);

/** The masses of choices at place j: walk->choice. */
void ww_byte_walk_choose(struct ww_byte_walk *walk, const uint8_t *said, size_t j);
/** The same as a list without order; bytes [WW_BYTE_CHOICES] and list too. Its length;
 *  *left: the mass that is not in it. */
size_t ww_byte_walk_list(const struct ww_byte_walk *walk, uint8_t *bytes,
                         struct ww_said_token *list, double *left);

/** Bytes of the character that the text ends inside of; 0: it ends between two. */
size_t ww_byte_inside(const uint8_t *text, size_t len);
/** Can the byte follow in well-formed UTF-8 without NUL? */
bool ww_byte_fits(const uint8_t *text, size_t len, unsigned byte);

#endif
