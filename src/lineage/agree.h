/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a comparison with declared lineage share. */
#ifndef WW_LINEAGE_AGREE_H
#define WW_LINEAGE_AGREE_H

#include "lineage/declared.h"
#include "weightward/lineage.h"

struct ww_agreeing {
    const char *suspect;
    const struct ww_verify_lineage_options *options;
    struct ww_verify_lineage_report *report;
    struct ww_declared declared;
};

/** The verdict, and one sentence why. WW_E_NOMEM. */
enum ww_err ww_agree_conclude(struct ww_agreeing *a, enum ww_lineage_agreement what,
                              const char *why, struct ww_error *err) WW_MUST_USE;
/** One more declared source; found: its folder is known. WW_E_NOMEM. */
enum ww_err ww_agree_add(struct ww_agreeing *a, const char *name, bool found,
                         struct ww_error *err) WW_MUST_USE;

/** The models of a card, decomposed beside the candidates that nobody declared. */
enum ww_err ww_agree_card(struct ww_agreeing *a, struct ww_error *err) WW_MUST_USE;
/** The same of a recipe that was replayed and whose bits say nothing, as its masks are
 *  drawn by chance, and what these leave when they are drawn anew: its sources are in
 *  report->declared, in the order of the replay. */
enum ww_err ww_agree_drawn(struct ww_agreeing *a, struct ww_error *err) WW_MUST_USE;

#endif
