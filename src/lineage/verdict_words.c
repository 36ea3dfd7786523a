/* SPDX-License-Identifier: Apache-2.0 */
/* Methods and what they are not told from, where bits do not say: names are those of the
 * merge methods. */
#include "lineage/verdict_work.h"

#include <string.h>

struct words {
    const char *best;
    const char *others[9];
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
    [WW_SAY_BLEND] = {"blend",
                      {"linear", "task_arithmetic", "slerp", "model_stock",
                       "other arithmetic", "training after a merge", NULL}},
    [WW_SAY_LOW_RANK] = {"lora",
                         {"training in few directions",
                          "difference of another model, truncated", NULL}},
    /* Nothing else went in, and no number says which elements of what did were taken. */
    [WW_SAY_SELECTED] = {"unclear",
                         {"ties", "breadcrumbs", "breadcrumbs_ties", "sce", "dare_linear",
                          "dare_ties", "della_linear", "a merge of merges", NULL}},
    /* Nothing but noise beside it; what drops at random leaves noise as well. */
    [WW_SAY_NOISY] = {"blend",
                      {"linear", "task_arithmetic", "slerp", "model_stock", "dare_linear",
                       "della_linear", "other arithmetic", NULL}},
};

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

bool ww_verdict_is_unclear(const struct ww_decompose_report *r)
{
    return strcmp(r->method, by_name[WW_SAY_UNCLEAR].best) == 0;
}
