/* SPDX-License-Identifier: Apache-2.0 */
/* Which of two models was committed to first, by times that third parties signed. */
#ifndef WW_LINEAGE_PRIORITY_H
#define WW_LINEAGE_PRIORITY_H

#include "evidence/chain.h"
#include "weightward/lineage.h"

struct ww_priority_ask {
    const struct ww_chain_keys *keys;   /* n 0: nobody is trusted */
    const struct ww_trusted_root *root; /* of logs and authorities; NULL: none */
    const struct ww_run_options *run;
};

/** What is known of the model at out->name. Reads all of its files; a signature that does
 *  not hold is told in out. */
enum ww_err ww_commitment_find(const struct ww_priority_ask *ask,
                               struct ww_commitment *out,
                               struct ww_error *err) WW_MUST_USE;

enum ww_priority ww_priority_of(const struct ww_commitment *source,
                                const struct ww_commitment *suspect);

#endif
