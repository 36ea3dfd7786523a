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
    unsigned vocabulary; /* tokens that members know; 0: 32,768, or those seen if more */
    uint64_t seed;       /* below 2^53 */
    const char *output;  /* a new file for the recipe; NULL: none */
    struct ww_signkey *key; /* signs it; NULL: a bare document, which is not served */
};

struct ww_fusion_rule {
    const char *name;
    double bits;  /* per token */
    double next;  /* share of tokens right */
    double whole; /* share of answers right */
    double gain;  /* bits per token over the best single member */
    double low, high; /* its 95 % interval; 0 unless confirmed */
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
    double cost;
    bool complete;     /* false: a limit ended the asking, and nothing was fitted */
    char stopped[256]; /* which */
};

/** Scores are of the held-out items, or of the fitted ones where none are. WW_E_DENIED for
 *  a held-out item that is fitted to, WW_E_USAGE below 30 held-out items, WW_E_EXISTS. */
WW_API enum ww_err ww_fusion_fit(const struct ww_fusion_options *options,
                                 struct ww_fusion_report *report,
                                 struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
