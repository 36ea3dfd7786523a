/* SPDX-License-Identifier: Apache-2.0 */
/* What an attack looks for, in which order, and when two models are no relatives; for
 * attacks that write a folder and for those that are only read through. */
#ifndef WW_ATTACK_SEARCH_H
#define WW_ATTACK_SEARCH_H

#include "attack/attack_plan.h"
#include "weightward/attack.h"

/** Cosine of aligned weights below which models are no relatives: unrelated ones reach
 * 0.4 where rows are short, a fine-tune that moved by half of its norm 0.9. */
#define WW_ATTACK_LEAST_COSINE 0.7

/** Does the mode put the models into one order, so that its cosine tells relatives? */
bool ww_attack_aligns(enum ww_attack_mode mode);
/** The steps of a mode; ends early with strangers. */
enum ww_err ww_attack_search(struct ww_pair *pair, enum ww_attack_mode mode,
                             struct ww_error *err) WW_MUST_USE;

/** How alike two aligned models are in what decides whether they are relatives. */
struct ww_kinship {
    const char *what; /* was compared, in the plural */
    double cosine;
    double least; /* of relatives */
};
struct ww_kinship ww_attack_kinship(const struct ww_pair *pair);
bool ww_attack_related(const struct ww_pair *pair);

/** Does a failure say something about the machine or who waits, and not about the models?
 */
bool ww_attack_is_grave(enum ww_err rc);

/** A job that undoes what was found. pair is borrowed. */
struct ww_attack_job ww_attack_job_of(const struct ww_pair *pair);

#endif
