/* SPDX-License-Identifier: Apache-2.0 */
/**
 * One model out of several that can only be asked: rules fitted to what they said about
 * items whose answers are known, confirmed on others, and written as a signed recipe.
 */
#ifndef WEIGHTWARD_FUSION_H
#define WEIGHTWARD_FUSION_H

#include "weightward/evo.h"
#include "weightward/key.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_fusion_options {
    struct ww_collect_options collect; /* pool, tasks and cache; the rest where asked */
    bool ask;            /* collect what the cache lacks; else WW_E_NOTFOUND */
    const char *confirm; /* held-out items, as a task file; NULL: none */
    const char *rule;    /* NULL: adaptive */
    unsigned vocabulary; /* tokens that members know, by options of those that told none;
                            0: 32,768, or those seen if more */
    bool per_byte;       /* options: their log-probabilities divided by their lengths */
    bool details;        /* for a page: weights, tasks, the learning curve */
    uint64_t seed;       /* below 2^53 */
    const char *output;  /* a new file for the recipe; NULL: none */
    struct ww_signkey *key; /* signs it; NULL: a bare document, which is not served */
};

struct ww_fusion_rule {
    const char *name;
    double bits;      /* per token */
    double next;      /* share of tokens right */
    double whole;     /* share of answers right */
    double gain;      /* bits per token over the best single member */
    double low, high; /* its 95 % interval; 0 unless confirmed */
};

/** Items of one task, by what its items say it is. */
struct ww_fusion_task {
    char *name; /* "": they say nothing */
    uint64_t items;
    bool has_intervals;             /* 30 held-out items, or more */
    struct ww_fusion_rule *rules;   /* [n_rules] of the report */
    struct ww_fusion_rule *members; /* [n_members], each alone */
};

/** What the rule that was asked for gains when it is fitted to so many items. */
struct ww_fusion_point {
    uint64_t items;
    double gain, low, high;
};

#define WW_FUSION_MAX_POINTS 6
#define WW_FUSION_MAX_TASKS 64
struct ww_fusion_details {
    char **members; /* [n_members] names */
    size_t n_members;
    double *weights; /* [n_rules][n_members], means over the scored positions; of log-
                        linear rules the powers */
    struct ww_fusion_task *tasks; /* [n_tasks]; tasks beyond the most are one, the last */
    size_t n_tasks;
    struct ww_fusion_point curve[WW_FUSION_MAX_POINTS];
    size_t n_curve; /* 0: nothing was held out */
};

#define WW_FUSION_MAX_RULES 8
struct ww_fusion_report {
    struct ww_fusion_rule rules[WW_FUSION_MAX_RULES];
    size_t n_rules;
    char best[256];     /* name of the best single member */
    const char *asked;  /* rule */
    const char *chosen; /* the same, or best-single where it is not confirmed better */
    bool confirmed;     /* scores are of held-out items */
    uint64_t fitted, held_out; /* items */
    uint64_t calls, calls_avoided;
    /** Right tokens that no list shows and that are estimated as one of so many, which no
     *  server told and nobody gave; 0 where it was told or given, or by bytes. */
    uint64_t assumed;
    unsigned vocabulary;
    double cost;
    bool complete;     /* false: a limit ended the asking, and nothing was fitted */
    char stopped[256]; /* which */
    struct ww_fusion_details *details; /* NULL unless asked for */
};
WW_API void ww_fusion_report_release(struct ww_fusion_report *report);

/** Scores are of the held-out items, or of the fitted ones where none are. WW_E_DENIED
 * for a held-out item that is fitted to, WW_E_USAGE below 30 held-out items, WW_E_EXISTS.
 */
WW_API enum ww_err ww_fusion_fit(const struct ww_fusion_options *options,
                                 struct ww_fusion_report *report,
                                 struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
