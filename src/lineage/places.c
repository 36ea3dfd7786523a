/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first weights of each tensor of a layer: one that was not blended has those of its
 * source. Whether the rest is the source's too is what the replay says. Of several models
 * that have them the one is named that has them for the most layers from there on, so
 * that a stack of few runs comes out as those.
 */
#include "lineage/places.h"

#include <string.h>

#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LOOK 4096 /* elements of a tensor */

struct placing {
    const struct ww_family *family;
    const bool *use;
    struct ww_decompose_report *report;
    uint8_t *same;    /* [layers][n_models]: all tensors so far are equal */
    uint32_t *looked; /* [layers]: tensors that were compared */
    size_t n;
};

/* The first weights as values: a stack may have been stored in a wider dtype. */
struct beginning {
    double values[LOOK];
    uint8_t bytes[LOOK * sizeof(double)];
};

static enum ww_err look_at(struct placing *p, uint32_t t, struct beginning *own,
                           struct beginning *other, struct ww_error *err)
{
    const struct ww_family_tensor *tensor = &p->family->tensors[t];
    const size_t n = tensor->n_elements < LOOK ? (size_t)tensor->n_elements : LOOK;
    uint8_t *same = p->same + (size_t)tensor->layer * p->family->n_models;
    enum ww_err rc =
        ww_elements_double(p->family->models[WW_FAMILY_SUSPECT], tensor->index[0], 0, n,
                           own->bytes, own->values, err);

    p->looked[tensor->layer]++;
    for (unsigned m = WW_FAMILY_BASE; m < p->family->n_models && !rc; m++) {
        if (same[m]) {
            rc = ww_elements_double(p->family->models[m], tensor->index[m], 0, n,
                                    other->bytes, other->values, err);
            same[m] = !rc && memcmp(own->values, other->values, n * sizeof(double)) == 0;
        }
    }
    return rc;
}

static enum ww_err look(struct placing *p, struct ww_error *err)
{
    struct beginning *own = ww_calloc(2, sizeof(*own));
    enum ww_err rc = own ? WW_OK : WW_FAIL_MEMORY(err, "the layers of a model");

    for (uint32_t t = 0; t < p->family->n_tensors && !rc; t++) {
        if (p->family->tensors[t].layer < p->n && (!p->use || p->use[t])) {
            rc = look_at(p, t, own, own + 1, err);
        }
    }
    ww_free(own);
    return rc;
}

/* Layers from `at` on that lie one after another and have this model's beginnings. */
static size_t run_of(const struct placing *p, size_t at, unsigned model)
{
    size_t i = at;

    while (i < p->n && p->looked[i] && p->same[i * p->family->n_models + model] &&
           (i == at || ww_places_follows(p->report, i, false))) {
        i++;
    }
    return i - at;
}

/* Candidates before the base: a layer that training left alone is in all of them. */
static void name_models(struct placing *p, const struct ww_decompose_options *options)
{
    size_t i = 0;

    while (i < p->n) {
        size_t longest = 0;
        const char *best = NULL;
        for (size_t c = 0; c <= options->n_candidates; c++) {
            const bool is_base = c == options->n_candidates;
            const size_t run =
                run_of(p, i, is_base ? WW_FAMILY_BASE : WW_FAMILY_SOURCES + (unsigned)c);
            if (run > longest) {
                longest = run;
                best = is_base ? options->base : options->candidates[c];
            }
        }
        for (size_t k = 0; k < longest; k++) {
            p->report->places[i + k].model = best;
        }
        i += longest ? longest : 1;
    }
}

static bool says_something(const struct placing *p)
{
    const struct ww_lineage_place *places = p->report->places;
    const char *first = NULL;

    for (size_t i = 0; i < p->n; i++) {
        first = first ? first : places[i].model;
        if (places[i].of_layer != i || (places[i].model && places[i].model != first)) {
            return true;
        }
    }
    return p->family->disguise.depths.n > 0;
}

static void take_depths(struct placing *p)
{
    const struct ww_depths *depths = &p->family->disguise.depths;

    for (uint32_t i = 0; i < p->n; i++) {
        p->report->places[i] =
            (struct ww_lineage_place){.of_layer = depths->n ? depths->of[i] : i,
                                      .cosine = depths->n ? depths->cosine[i] : -1};
    }
}

static size_t count_layers(const struct ww_family *family)
{
    size_t n = family->disguise.depths.n;

    for (uint32_t t = 0; t < family->n_tensors && !family->disguise.depths.n; t++) {
        const uint32_t layer = family->tensors[t].layer;
        n = layer != WW_NONE && layer >= n ? (size_t)layer + 1 : n;
    }
    return n;
}

enum ww_err ww_places_find(const struct ww_family *family,
                           const struct ww_decompose_options *options, const bool *use,
                           struct ww_decompose_report *report, struct ww_error *err)
{
    struct placing p = {.family = family, .use = use, .report = report};
    enum ww_err rc = WW_OK;

    p.n = family->disguise.read ? 0 : count_layers(family);
    if (p.n == 0 || p.n > family->n_tensors) {
        return WW_OK;
    }
    p.same = ww_calloc(p.n * family->n_models, sizeof(*p.same));
    p.looked = ww_calloc(p.n, sizeof(*p.looked));
    report->places = ww_calloc(p.n, sizeof(*report->places));
    if (!p.same || !p.looked || !report->places) {
        rc = WW_FAIL_MEMORY(err, "the layers of a model");
        goto out;
    }
    report->n_places = p.n;
    memset(p.same, 1, p.n * family->n_models);
    take_depths(&p);
    rc = look(&p, err);
    if (!rc) {
        name_models(&p, options);
    }
out:
    if (rc || !says_something(&p)) {
        ww_free(report->places);
        report->places = NULL;
        report->n_places = 0;
    }
    ww_free(p.same);
    ww_free(p.looked);
    return rc;
}

bool ww_places_whole(const struct ww_decompose_report *report)
{
    for (size_t i = 0; i < report->n_places; i++) {
        if (!report->places[i].model) {
            return false;
        }
    }
    return report->n_places > 0;
}

bool ww_places_follows(const struct ww_decompose_report *report, size_t i, bool of_model)
{
    const struct ww_lineage_place *p = &report->places[i];

    return i > 0 && p->of_layer != UINT32_MAX && p->of_layer == p[-1].of_layer + 1 &&
           (!of_model || p->model == p[-1].model);
}
