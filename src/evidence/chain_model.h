/* SPDX-License-Identifier: Apache-2.0 */
/* The model that a walk along a chain begins with. */
#ifndef WW_EVIDENCE_CHAIN_MODEL_H
#define WW_EVIDENCE_CHAIN_MODEL_H

#include "evidence/chain.h"

/** The caller sets path, options, keys, report and dirfd = -1, and closes dirfd. */
struct ww_chain_model {
    const char *path;
    const struct ww_chain_options *options;
    const struct ww_chain_keys *keys; /* NULL: nothing is verified */
    struct ww_verify_report *report;
    int dirfd;     /* where its evidence lies */
    bool is_file;  /* its evidence lies beside it */
    bool is_known; /* and what it must speak of was said by who knows such files */
    char hint[WW_HINT_BYTES]; /* of the key that signed its files */
};

/** Open and check it; own is its provenance, of kind NONE when it has none, and the
 *  caller's either way. */
enum ww_err ww_chain_model_open(struct ww_chain_model *model,
                                struct ww_chain_evidence *own,
                                struct ww_error *err) WW_MUST_USE;

#endif
