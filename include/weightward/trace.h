/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tracing: every recipient gets a copy of their own, a ledger remembers which, and a
 * suspect is compared with all of them.
 *
 * The answer rests on the randomness of the locks alone: docs/trace.md has the argument.
 * A party who deliberately draws new symmetries over a copy erases the trace.
 */
#ifndef WEIGHTWARD_TRACE_H
#define WEIGHTWARD_TRACE_H

#include "weightward/lock.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_ledger_options {
    const char *path;      /* made when it is missing */
    const char *recipient; /* 1 to 200 bytes of UTF-8, not in the ledger yet */
    bool mend;        /* cut off a last line that an interrupted run left unfinished */
    int64_t now_unix; /* date of the entry; 0: now */
};

/**
 * Lock a copy for one recipient and enter it in the ledger, which is signed with the
 * lock's signer and held against other writers meanwhile. The entry is on the disk before
 * the folder appears. The handout and before_commit of options are not used.
 * WW_E_USAGE without a signer; WW_E_EXISTS for a name that has a copy; what
 * ww_lock_folder and ww_trace_model say of folders and ledgers.
 */
WW_API enum ww_err ww_lock_for(const char *path, const char *out_path,
                               const struct ww_ledger_options *ledger,
                               const struct ww_lock_options *options,
                               struct ww_lock_report *report,
                               struct ww_error *err) WW_MUST_USE;

struct ww_trace_options {
    const char *ledger;
    struct ww_secret *secret; /* the lock key of the copies */
    const char *public_key;   /* PEM of who signs the ledger; NULL: as it states */
    const char *anchor;       /* source or base, needed for a GGUF file, which takes its
                                 layout; NULL: the samples in the ledger */
    double bound;             /* on a false accusation; 0: 1e-6 */
    struct ww_layout_options layout;
    struct ww_run_options run;
};

/** How one copy compares with the suspect. */
struct ww_trace_row {
    char recipient[201];
    char lock_id[65];
    char date[21];
    uint64_t votes; /* coordinates that could be compared */
    uint64_t agree; /* of them, those with the sign of the copy */
    double p_value; /* at least the chance of so many, by accident */
    bool found; /* p_value times the number of copies is within the bound: of a merge of
                   several copies that holds for several, and that any of them is
                   accused without cause has no larger chance than the bound */
};

#define WW_TRACE_BEST 5
struct ww_trace_report {
    bool found; /* best[0] is accused */
    double bound;
    double p_value;       /* of best[0], times the number of copies, at most 1 */
    uint64_t entries;     /* copies in the ledger */
    uint64_t compared;    /* of them, under this key and of this shape */
    uint64_t coordinates; /* looked at in each */
    bool anchored;
    struct ww_trace_row best[WW_TRACE_BEST];
    size_t n_best;
    char **warnings;
    size_t n_warnings;
};
WW_API void ww_trace_report_release(struct ww_trace_report *report);

/**
 * Whose copy did the suspect, a model folder or a GGUF file, come from? WW_OK with
 * report->found either way. WW_E_GGUF (no anchor for a GGUF file, or a malformed one),
 * WW_E_LEDGER (malformed), WW_E_TAMPERED (entries changed, moved or cut out),
 * WW_E_UNTRUSTED (another signer), WW_E_WRONG_KEY (no entry is of this lock key),
 * WW_E_SHAPE (the suspect's tensors are not those of any model of the ledger).
 */
WW_API enum ww_err ww_trace_model(const char *suspect,
                                  const struct ww_trace_options *options,
                                  struct ww_trace_report *report,
                                  struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
