/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a decomposition share, in the order in which they run. */
#ifndef WW_LINEAGE_DECOMPOSE_WORK_H
#define WW_LINEAGE_DECOMPOSE_WORK_H

#include "lineage/fit.h"
#include "lineage/gradient.h"
#include "lineage/replay.h"
#include "lineage/sweep.h"
#include "lineage/varied.h"

struct ww_decomposing {
    const struct ww_decompose_options *options;
    struct ww_decompose_report *report;
    struct ww_family family;
    unsigned k;                  /* candidates and controls */
    struct ww_moments **moments; /* per tensor */
    bool *half;   /* per tensor of the suspect: of the fitted half; NULL: no halves */
    bool *fitted; /* per tensor */
    bool *held;   /* per tensor: replayed; NULL: all are */
    struct ww_moments *whole;
    struct ww_moments *ranked; /* for ranks, where no model decides more than another;
                                  NULL: whole does */
    bool decides[WW_LINEAGE_MAX_SOURCES];
    uint32_t same[WW_LINEAGE_MAX_SOURCES]; /* ww_fit_collinear */
    int8_t side[WW_LINEAGE_MAX_SOURCES];   /* of zero, of candidates in the fit */
    struct ww_varied varied;
    struct ww_gradient_shares over;
    double scale;  /* of the base in the suspect, by the replayed matrices, */
    double cosine; /* mean of theirs with the base's, over weights */
    bool differs;  /* the suspect from the base, in what was replayed */
    struct ww_elsewhere elsewhere;
};

/** Has the suspect less or more of the base than all of it? It is no sum of differences
 *  then, and what is left of one is mostly the base. */
bool ww_decompose_rescaled(const struct ww_decomposing *d);

enum ww_err ww_decompose_warn(struct ww_decomposing *d, const char *text,
                              struct ww_error *err) WW_MUST_USE;

/** Draws the halves, and reads all models once for the sums of each tensor. */
enum ww_err ww_decompose_read(struct ww_decomposing *d, struct ww_error *err) WW_MUST_USE;
/** Leaves candidates out that the sums cannot tell from the base or from each other. */
enum ww_err ww_decompose_choose(struct ww_decomposing *d,
                                struct ww_error *err) WW_MUST_USE;
/** Reads once more where a model that went nowhere decided about elements. */
enum ww_err ww_decompose_read_again(struct ww_decomposing *d,
                                    struct ww_error *err) WW_MUST_USE;
/** Shares, their sides of zero and their intervals; who is included. */
enum ww_err ww_decompose_fit(struct ww_decomposing *d, struct ww_error *err) WW_MUST_USE;
/** Of two relatives in a suspect that was rounded once more: widens low and high ([k]) to
 *  the shares of blends that read like it when they are rounded. */
enum ww_err ww_decompose_rounding(const struct ww_decomposing *d,
                                  const struct ww_fit *fit, double *low, double *high,
                                  struct ww_error *err) WW_MUST_USE;
/** Ranks among the controls. */
enum ww_err ww_decompose_controls(struct ww_decomposing *d,
                                  struct ww_error *err) WW_MUST_USE;
/** The blend of the numbers that the report's sources have, against the suspect.
 *  WW_E_UNRELATED. */
enum ww_err ww_decompose_replay(struct ww_decomposing *d,
                                struct ww_error *err) WW_MUST_USE;
/** The same once more where a verdict left a source out. before: [n_sources] who was
 *  included. */
enum ww_err ww_decompose_replay_without(struct ww_decomposing *d, const bool *before,
                                        struct ww_error *err) WW_MUST_USE;
/** Notes on what is unexplained, and on a base that is not all there. */
enum ww_err ww_decompose_tell_rest(struct ww_decomposing *d,
                                   struct ww_error *err) WW_MUST_USE;
/** Part of the difference that a blend does not explain, beyond its rounding. */
double ww_decompose_unexplained(const struct ww_replay *sums);

#endif
