/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints of one training are hundreds of models that are nearly one. A search
 * compares the files of a few; what these explain the others would explain as well.
 */
#include "lineage/catalogue_twins.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

struct twins {
    const struct ww_lookup *search;
    const struct ww_decompose_report *found;
    bool *use;        /* [family.n]: not compared */
    float *target;    /* [WW_SKETCH_COARSE] */
    double *products; /* [family.n] each */
    double *squares;
    double all; /* of what all sources moved, squared */
};

static size_t member_of(const struct ww_lookup *s, size_t i)
{
    return i < s->pursuit.n ? s->pursuit.picks[i].member : s->more[i - s->pursuit.n];
}

static const float *sketch_of(const struct ww_lookup *s, size_t member)
{
    return s->family.sketches + member * WW_SKETCH_COARSE;
}

/* The model's difference from the root; its squared length. */
static double aim(struct twins *t, size_t i)
{
    const float *of = sketch_of(t->search, member_of(t->search, i));
    const float *root = sketch_of(t->search, t->search->root);
    double square = 0;

    for (size_t j = 0; j < WW_SKETCH_COARSE; j++) {
        t->target[j] = of[j] - root[j];
        square += (double)t->target[j] * (double)t->target[j];
    }
    return square;
}

static bool has_twin(struct twins *t, size_t i)
{
    const struct ww_lookup *s = t->search;
    const double share = t->found->sources[i].share;
    const double own = aim(t, i);
    const double part = t->all > 0 ? share * share * own / t->all : 0;
    const struct ww_scan scan = {.sketches = s->family.sketches,
                                 .use = t->use,
                                 .root = sketch_of(s, s->root),
                                 .n = s->family.n,
                                 .m = WW_SKETCH_COARSE,
                                 .threads = s->threads};
    const float *targets[] = {t->target};
    double *with[] = {t->products};

    ww_scan_products(&scan, targets, 1, with, t->squares);
    for (size_t j = 0; j < s->family.n; j++) {
        const double lengths = own * t->squares[j];
        const double alike = t->products[j];
        if (t->use[j] && alike > 0 &&
            part * (lengths - alike * alike) <= WW_LINEAGE_ELSEWHERE * lengths) {
            return true;
        }
    }
    return false;
}

static void look(struct twins *t, size_t n, bool *twin)
{
    const struct ww_lookup *s = t->search;

    memset(t->use, 1, s->family.n * sizeof(*t->use));
    t->use[s->root] = false;
    for (size_t i = 0; i < n; i++) {
        const double share = t->found->sources[i].share;
        t->use[member_of(s, i)] = false;
        t->all += t->found->sources[i].included ? share * share * aim(t, i) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        twin[i] = t->found->sources[i].included && has_twin(t, i);
    }
}

enum ww_err ww_twins_find(const struct ww_lookup *search,
                          const struct ww_decompose_report *found, bool *twin,
                          struct ww_error *err)
{
    const size_t n = search->family.n;
    struct twins t = {.search = search,
                      .found = found,
                      .use = ww_calloc(n, sizeof(bool)),
                      .target = ww_calloc(WW_SKETCH_COARSE, sizeof(float)),
                      .products = ww_calloc(n, sizeof(double)),
                      .squares = ww_calloc(n, sizeof(double))};
    enum ww_err rc = t.use && t.target && t.products && t.squares
                         ? WW_OK
                         : WW_FAIL_MEMORY(err, "a search");

    if (!rc) {
        look(&t, (size_t)search->pursuit.n + search->n_more, twin);
    }
    ww_free(t.use);
    ww_free(t.target);
    ww_free(t.products);
    ww_free(t.squares);
    return rc;
}
