/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Attacks on locks: how far a lock is undone by somebody who has no key, but an anchor:
 * the base model, a sibling, or the model that he wants to merge with.
 *
 * The weights of a locked model and of its anchor differ by a transform that the anchor
 * gives away. docs/attack.md says how it is found and what that proves.
 */
#ifndef WEIGHTWARD_ATTACK_H
#define WEIGHTWARD_ATTACK_H

#include "weightward/lock.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ww_attack_mode {
    WW_ATTACK_JOINT,     /* order, signs, factors; then one joint fix per head */
    WW_ATTACK_AGA,       /* the published solver as it is (arXiv 2606.30360) */
    WW_ATTACK_INVARIANT, /* no solve inside of heads: merged with the anchor by what a
                            lock cannot change, the products of heads */
    WW_ATTACK_NAIVE      /* nothing is undone: the baseline of a report, no output */
};
/** The word for a mode ("joint"), as options and reports have it; "?" for none of them.
 */
WW_API const char *ww_attack_mode_name(enum ww_attack_mode mode);

struct ww_attack_options {
    enum ww_attack_mode mode;
    const char *anchor; /* model folder */
    const char *truth;  /* the model before its lock, to score by, or NULL */
    double weight;      /* invariant: of the locked model in the merge, between 0
                           and 1; 0: one half */
    const struct ww_signer *signer; /* NULL: what is written stays unsigned */
    struct ww_layout_options layout;
    struct ww_run_options run;
};

/** One tensor. Distances are norms of differences, not divided by anything. */
struct ww_attack_tensor {
    char *name;
    double anchor_norm;
    double before;   /* locked to anchor */
    double after;    /* attacked to anchor */
    double to_truth; /* attacked to truth, and anchor to truth: with a truth */
    double task;
    uint64_t bytes;
    uint64_t identical_bytes; /* to the truth's */
};

/** What the lock turned out to be made of. */
struct ww_attack_found {
    uint64_t residual_moved; /* indices of residual streams that changed place */
    uint64_t residual_negated;
    uint64_t residual_rotated; /* width of a stream that was rotated, its gains folded */
    uint64_t heads_moved;      /* query heads */
    uint64_t inner_moved;      /* dimensions inside of heads: order, turns */
    uint64_t inner_negated;
    uint64_t neurons_moved;
    uint64_t neurons_negated;
    uint64_t experts_moved;
    uint64_t scaled;        /* indices with a factor of two */
    uint64_t dense_heads;   /* KV heads undone by a dense matrix, values or keys */
    uint64_t product_heads; /* KV heads merged by products, values or keys */
    uint64_t rows_alone;    /* of tables, that the anchor does not have: undone, but
                               compared with nothing */
};

struct ww_attack_report {
    enum ww_attack_mode mode;
    struct ww_attack_found found;
    double distance_before; /* ||locked - anchor|| / ||anchor|| over all tensors */
    double distance_after;
    double weight;    /* invariant: as used; 0 in other modes */
    double dropped;   /* invariant: norm of what merged products have beyond
                         the dimensions of a head, as a share of theirs */
    bool scored;      /* a truth was given; the next three say something: about
                         weight truth + (1 - weight) anchor in mode invariant */
    bool has_task;    /* the truth differs from the anchor */
    double recovered; /* 1 - ||attacked - truth|| / ||truth - anchor|| */
    double identical; /* share of bytes that are the truth's */
    bool drift_known;
    double function_drift; /* of some blocks: largest difference of an output
                              to the locked block's, relative to what it adds */
    struct ww_attack_tensor *tensors;
    size_t n_tensors;
    char root_sha256[65]; /* OMS root of what was written, empty when unsigned */
    struct ww_run_report run;
    double seconds; /* all of it */
};
WW_API void ww_attack_report_release(struct ww_attack_report *report);

/**
 * Undo a lock by an anchor and write what comes out to a new folder. out_path NULL (and
 * always in naive mode): measure only.
 * WW_E_UNRELATED: another architecture, other shapes, or after alignment still far apart;
 * the text gives the distances and nothing is written. WW_E_LIBRARY without OpenBLAS but
 * in naive mode. Its products are not the same to the last bit on other machines.
 */
WW_API enum ww_err ww_attack_folder(const char *path, const char *out_path,
                                    const struct ww_attack_options *options,
                                    struct ww_attack_report *report,
                                    struct ww_error *err) WW_MUST_USE;

/** For ww_lock_options.measure; payload is a struct ww_attack_options with the anchor,
 *  whose truth is not looked at. The attack runs in memory and writes nothing. Errors are
 *  those of ww_attack_folder. */
WW_API enum ww_err ww_attack_measure(void *payload, const char *locked,
                                     const char *source, struct ww_lock_attack *out,
                                     struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
