/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Lineage from answers alone: logits, or log-probabilities, of a model behind an
 * interface lie in the column space of its head, whatever is done to the layers below.
 *
 * All numbers go through LAPACK: they are labels, the same to about ten digits on
 * different machines, and nothing that is signed.
 */
#ifndef WEIGHTWARD_LOGITS_H
#define WEIGHTWARD_LOGITS_H

#include <stdbool.h>

#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_logits_options {
    const char *const *candidates; /* model folders */
    size_t n_candidates;
    const char *const *controls; /* models that are known not to be behind the answers */
    size_t n_controls;
    const char *base; /* NULL: no share of a head is asked for */
    uint64_t seed;    /* of tokens and draws */
    struct ww_run_options run;
};

/** What the answers say of one head. */
struct ww_logits_head {
    char *name;
    uint64_t width;
    double residual;   /* length of what lies outside of the head's space, over all */
    double explained;  /* 1 - residual^2 */
    double unrelated;  /* residual that a head with nothing in common leaves */
    double p_labels;   /* of answers whose tokens changed places, those no worse */
    double p_controls; /* (1 + controls no worse) / (1 + controls); -1: no controls */
    bool supported;    /* at most half the residual of every control and of chance */
    char *note;        /* why a number says less than it seems; NULL: nothing */
};

/** The head as base + share x (candidate - base). */
struct ww_logits_blend {
    char *name;
    double share;     /* -1: could not be told, see note */
    double low, high; /* 95 %, answers drawn anew; -1: none */
    double residual;  /* at the share */
    double at_base;   /* at 0 */
    double at_source; /* at 1 */
    double rounding;  /* shift by rounding the head to its dtype, taken off */
    char *note;
};

struct ww_logits_report {
    bool logprobs;     /* known up to a constant for each answer */
    uint64_t n;        /* answers */
    uint64_t vocab;    /* tokens of a full answer; 0: lists of some tokens */
    uint64_t n_tokens; /* that were compared */
    uint64_t width;    /* hidden width by the rank of the answers; 0: could not be told */
    uint64_t at_least; /* directions that are surely there */
    double gap;        /* singular value at the width over the next; 0: none found */
    struct ww_logits_head *heads; /* candidates, then controls */
    size_t n_heads;
    size_t n_candidates;
    struct ww_logits_blend *blends; /* of the candidates, when a base was given */
    size_t n_blends;
    char **warnings;
    size_t n_warnings;
    struct ww_run_report run;
};
WW_API void ww_logits_report_release(struct ww_logits_report *report);

/**
 * Compare answers with heads. answers is a file of JSON lines, or a .safetensors file
 * with a matrix "logits" or "logprobs" (docs/formats/logits.md). Works without any
 * candidate: then only the width is told. Memory: five times answers x tokens doubles,
 * the workspace of a decomposition, and twice the rows of a head.
 * WW_E_JSON, WW_E_MALFORMED, WW_E_SHAPE, WW_E_LIMIT; WW_E_UNSUPPORTED when too few tokens
 * are common to all answers for a head of a candidate's width.
 */
WW_API enum ww_err ww_lineage_logits(const char *answers,
                                     const struct ww_logits_options *options,
                                     struct ww_logits_report *report,
                                     struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
