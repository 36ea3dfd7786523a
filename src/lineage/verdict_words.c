/* SPDX-License-Identifier: Apache-2.0 */
/* Methods and what they are not told from, where bits do not say: names are those of the
 * merge methods. */
#include "lineage/verdict_work.h"

#include <string.h>

#include "util/fail.h"

struct words {
    const char *best;
    const char *others[11];
};

static const struct words by_shape[] = {
    [WW_KEEP_ALL] = {"unclear", {NULL}},
    /* With several sources the longest of them hides the ramp of each. */
    [WW_KEEP_FLAT] = {"dare_linear", {"dare_ties", "della_linear", "della", "sce", NULL}},
    /* A source that is not known has dropped and kept by lengths that are not known. */
    [WW_KEEP_RAMP] = {"della_linear",
                      {"della", "dare_linear", "dare_ties", "sce",
                       "ties with a source that was not given", NULL}},
    [WW_KEEP_STEP] = {"ties", {"della", "della_linear", "sce", NULL}},
    /* Selected by length, but of no recipe that the sources allow, and never so little
     * that nothing else was added. */
    [WW_KEEP_FLOOR] = {"unclear",
                       {"ties with a source that was not given",
                        "breadcrumbs with a source that was not given", "ties",
                        "breadcrumbs", "sce", NULL}},
    [WW_KEEP_BAND] = {"breadcrumbs", {"breadcrumbs_ties", NULL}},
};

static const struct words by_name[] = {
    [WW_SAY_NONE] = {"none", {NULL}},
    [WW_SAY_UNCLEAR] = {"unclear", {NULL}},
    /* The shortest elements are so little of a task vector that a third may be gone. */
    [WW_SAY_BLEND] = {"blend",
                      {"linear", "task_arithmetic", "slerp", "model_stock", "ties", "sce",
                       "other arithmetic", "training after a merge", NULL}},
    [WW_SAY_LOW_RANK] = {"lora",
                         {"training in few directions",
                          "difference of another model, truncated", NULL}},
    /* Nothing else went in, and no number says which elements of what did were taken. */
    [WW_SAY_SELECTED] = {"unclear",
                         {"ties", "breadcrumbs", "breadcrumbs_ties", "sce", "dare_linear",
                          "dare_ties", "della_linear", "della", "a merge of merges",
                          NULL}},
    /* Nothing but noise beside it; what drops at random leaves noise as well. */
    [WW_SAY_NOISY] = {"blend",
                      {"linear", "task_arithmetic", "slerp", "model_stock", "dare_linear",
                       "dare_ties", "della_linear", "della", "other arithmetic", NULL}},
};

#define SURE 4          /* standard errors */
#define LEAST_RAMP 0.02 /* an epsilon of DELLA of 0.03 leaves as much */
#define LEAST_OUTVOTED 0.02

/* Methods that drop by chance. */
static const struct {
    const char *name;
    bool ramp;    /* the shorter ones more often */
    bool elected; /* and those that are outvoted */
} by_chance[] = {{"dare_linear", false, false},
                 {"dare_ties", false, true},
                 {"della_linear", true, false},
                 {"della", true, true}};

static void set_words(struct ww_decompose_report *r, const struct words *w)
{
    size_t n = 0;

    r->method = w->best;
    memset(r->not_excluded, 0, sizeof(r->not_excluded));
    for (; w->others[n]; n++) {
        r->not_excluded[n] = w->others[n];
    }
}

void ww_verdict_say(struct ww_decompose_report *r, enum ww_verdict_words w)
{
    set_words(r, &by_name[w]);
}

void ww_verdict_say_shape(struct ww_decompose_report *r, enum ww_keep_shape shape)
{
    set_words(r, &by_shape[shape]);
}

/* Is it so, is it not? Both may be. */
struct answer {
    bool may_be;
    bool may_not_be;
    bool likely;
};

/* all: whatever it was, nothing is excluded. */
static struct answer answer_of(const struct ww_subsets_odds *o, double least, bool all)
{
    return (struct answer){all || o->by + SURE * o->error >= least,
                           all || o->by - SURE * o->error <= least / 2, o->by >= least};
}

static bool allows(const struct answer *a, bool is)
{
    return is ? a->may_be : a->may_not_be;
}

void ww_verdict_say_chance(struct ww_decompose_report *r, const struct ww_subsets *parts)
{
    const bool all = !ww_verdict_is_whole(parts);
    const struct answer ramp = answer_of(&parts->longer, LEAST_RAMP, all);
    const struct answer elected = answer_of(&parts->opposed, LEAST_OUTVOTED, all);
    size_t n = 0;

    memset(r->not_excluded, 0, sizeof(r->not_excluded));
    for (size_t i = 0; i < WW_LEN(by_chance); i++) {
        if (by_chance[i].ramp == ramp.likely && by_chance[i].elected == elected.likely) {
            r->method = by_chance[i].name;
        } else if (allows(&ramp, by_chance[i].ramp) &&
                   allows(&elected, by_chance[i].elected)) {
            r->not_excluded[n++] = by_chance[i].name;
        }
    }
    r->not_excluded[n++] = "sce";
    if (ramp.may_be) { /* it has dropped and kept by lengths that are not known */
        r->not_excluded[n] = "ties with a source that was not given";
    }
}

bool ww_verdict_is_unclear(const struct ww_decompose_report *r)
{
    return strcmp(r->method, by_name[WW_SAY_UNCLEAR].best) == 0;
}
