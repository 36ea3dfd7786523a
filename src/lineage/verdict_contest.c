/* SPDX-License-Identifier: Apache-2.0 */
/* A contest about a suspect: which sources it is held among, and what it says of them. */
#include <math.h>
#include <string.h>

#include "lineage/places.h"
#include "lineage/verdict_work.h"
#include "util/alloc.h"
#include "util/fail.h"

/* The included sources as a contest takes them; false when there is none to name. */
static bool ask_for(const struct ww_decompose_report *r, const char **sources,
                    double *shares, size_t *which, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included) {
            if (!ww_sketch_can_name(r->sources[i].name)) {
                return false;
            }
            which[*n] = i;
            sources[*n] = r->sources[i].name;
            shares[(*n)++] = r->sources[i].recipe;
        }
    }
    return *n > 0;
}

/* Layers that follow each other are one slice. */
static size_t cut_slices(const struct ww_decompose_report *r, bool as_they_are,
                         struct ww_sketch_slice *slices)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_places; i++) {
        if (!ww_places_follows(r, i, as_they_are)) {
            slices[n++] =
                (struct ww_sketch_slice){as_they_are ? r->places[i].model : NULL,
                                         r->places[i].of_layer, r->places[i].of_layer};
        }
        slices[n - 1].end++;
    }
    return n;
}

/* Can the layers be named as slices of models? */
bool ww_verdict_can_slice(const struct ww_decompose_report *r, bool as_they_are)
{
    for (size_t i = 0; i < r->n_places; i++) {
        if (r->places[i].of_layer == UINT32_MAX ||
            (as_they_are && !ww_sketch_can_name(r->places[i].model))) {
            return false;
        }
    }
    return r->n_places > 0;
}

enum ww_err ww_verdict_run(const struct ww_verdict_ask *v, struct ww_contest_ask *ask,
                           bool as_they_are, struct ww_decompose_report *r,
                           struct ww_contest *contest, struct ww_error *err)
{
    const bool sliced = as_they_are || v->family->disguise.depths.n > 0;
    struct ww_sketch_slice *slices = ww_calloc(r->n_places + 1, sizeof(*slices));
    enum ww_err rc = slices ? WW_OK : WW_FAIL_MEMORY(err, "slices");

    if (!rc) {
        ask->as_they_are = as_they_are;
        ask->n_slices = sliced && ww_verdict_can_slice(r, as_they_are)
                            ? cut_slices(r, as_they_are, slices)
                            : 0;
        ask->slices = ask->n_slices ? slices : NULL;
        rc = ww_contest_run(ask, contest, &r->run.bytes_read, err);
    }
    ww_free(slices);
    return rc;
}

struct ww_contest_ask ww_verdict_ask_of(const struct ww_verdict_ask *v)
{
    return (struct ww_contest_ask){.suspect = v->family->models[WW_FAMILY_SUSPECT],
                                   .open = v->family->models + WW_FAMILY_BASE,
                                   .n_open = v->family->n_models - WW_FAMILY_BASE,
                                   .base = v->options->base,
                                   .half = v->half,
                                   .seed = v->options->seed,
                                   .run = &v->options->run};
}

/* Candidates that the sums left out, though they are no copies of others. */
static size_t name_others(const struct ww_verdict_ask *v,
                          const struct ww_decompose_report *r, const char **others)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        const struct ww_lineage_source *s = &r->sources[i];
        if (!s->included && v->side[i] && ww_sketch_can_name(s->name)) {
            others[n++] = s->name;
        }
    }
    return n;
}

/* The bits decide which candidates are sources; why a sum says otherwise is noted. */
enum ww_err ww_verdict_take_set(const struct ww_verdict_ask *v,
                                const struct ww_contest *contest,
                                struct ww_decompose_report *r, struct ww_error *err)
{
    bool was[WW_LINEAGE_MAX_SOURCES];
    size_t at = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        was[i] = r->sources[i].included;
    }
    for (unsigned turn = 0; turn < 2; turn++) { /* those asked for, then the others */
        for (size_t i = 0; i < r->n_sources; i++) {
            struct ww_lineage_source *s = &r->sources[i];
            if (was[i] == (turn == 1) ||
                (turn && (!v->side[i] || !ww_sketch_can_name(s->name)))) {
                continue;
            }
            s->included = contest->set[at++];
            if (s->included != was[i]) {
                s->note = ww_strdup(s->included ? "the recipe that gives the bits needs "
                                                  "it, though it leaves no share in a sum"
                                                : "the recipe that gives the bits does "
                                                  "without it");
                s->recipe = s->included ? s->recipe : 0;
                if (!s->note) {
                    return WW_FAIL_MEMORY(err, "a verdict");
                }
            }
        }
    }
    return WW_OK;
}

enum ww_err ww_verdict_contest(const struct ww_verdict_ask *v, const struct ww_keep *keep,
                               struct ww_decompose_report *r, struct ww_contest *contest,
                               struct ww_error *err)
{
    double core[WW_LINEAGE_MAX_SOURCES];
    size_t n_core = 0;
    const char *sources[WW_LINEAGE_MAX_SOURCES];
    const char *others[WW_LINEAGE_MAX_SOURCES];
    double shares[WW_LINEAGE_MAX_SOURCES];
    double lengths[WW_LINEAGE_MAX_SOURCES];
    size_t which[WW_LINEAGE_MAX_SOURCES];
    struct ww_contest_ask ask = ww_verdict_ask_of(v);

    memset(contest, 0, sizeof(*contest));
    ask.sources = sources;
    ask.others = others;
    ask.shares = shares;
    ask.lengths = lengths;
    ask.scale = v->scale;
    ask.which = which;
    ask.core = keep ? core : NULL;
    ask.over = v->over;
    /* Bits can only be compared where they are the suspect's own. */
    if (v->family->disguise.read || !ww_sketch_can_name(v->options->base) ||
        !ask_for(r, sources, shares, which, &ask.n)) {
        return WW_OK;
    }
    for (size_t i = 0; i < ask.n; i++) {
        lengths[i] = v->lengths[which[i]];
    }
    for (size_t i = 0; keep && i < r->n_sources; i++) {
        if (r->sources[i].included) {
            core[n_core++] = keep->core[i];
        }
    }
    ask.kept = r->kept;
    ask.n_others = keep ? name_others(v, r, others) : 0;
    return ww_verdict_run(v, &ask, false, r, contest, err);
}

static uint32_t smallest(const struct ww_decompose_report *r)
{
    uint32_t least = WW_NONE;

    for (uint32_t i = 0; i < r->n_sources; i++) {
        if (r->sources[i].included &&
            (least == WW_NONE ||
             fabs(r->sources[i].share) < fabs(r->sources[least].share))) {
            least = i;
        }
    }
    return least;
}

/* Takes those out that may be none: sources that a recipe of most bits weighs with
 * nothing, or else the smallest share where no recipe gives the bits. *least: which match
 * says that they are none; 2 where there is none such. */
static void leave_out(struct ww_decompose_report *r, const struct ww_contest *contest,
                      bool *was, double *least)
{
    const bool most = contest->match >= WW_VERDICT_NEARLY && !contest->has_set;
    size_t at = 0;

    *least = 2;
    for (uint32_t i = 0; i < r->n_sources; i++) {
        was[i] = r->sources[i].included;
        if (was[i] && most && contest->idle[at]) {
            r->sources[i].included = false;
            *least = contest->match - WW_VERDICT_AS_GOOD;
        }
        at += was[i];
    }
    if (*least > 1 && contest->match < WW_VERDICT_BITS) {
        r->sources[smallest(r)].included = false;
        *least = WW_VERDICT_BITS;
    }
}

/* What a selection leaves over is taken up by relatives of the sources. A recipe that
 * gives the bits without them decides that they are none. */
enum ww_err ww_verdict_prune(const struct ww_verdict_ask *v, const struct ww_keep *keep,
                             struct ww_decompose_report *r, struct ww_contest *contest,
                             struct ww_error *err)
{
    bool was[WW_LINEAGE_MAX_SOURCES];
    struct ww_contest without = {0};
    double least = 0;
    enum ww_err rc = WW_OK;

    leave_out(r, contest, was, &least);
    if (least > 1) {
        return WW_OK;
    }
    rc = ww_verdict_contest(v, keep, r, &without, err);
    if (!rc && without.match >= least) {
        ww_free(contest->recipe);
        *contest = without;
        rc = without.has_set ? ww_verdict_take_set(v, contest, r, err) : WW_OK;
        for (size_t i = 0; i < r->n_sources; i++) {
            struct ww_lineage_source *s = &r->sources[i];
            s->recipe = s->included ? s->recipe : 0;
        }
        return rc;
    }
    for (size_t i = 0; i < r->n_sources; i++) {
        r->sources[i].included = was[i];
    }
    ww_free(without.recipe);
    return rc;
}
