/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of each matrix a corner: what shares leave over, weighed by rounding and noise so that
 * no element has most of it, and orthogonal to base and sources, whose own shares in this
 * matrix may be a little other ones. Sums over matrices then, one score for each
 * question, since what is little in each of them shows in all. Vectors of one length, as
 * gains of norms over the stream are, make one matrix more, a row each: what was learned
 * in them runs along in many.
 */
#include "lineage/whiteness_work.h"

#include <string.h>

#include "lineage/corner.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Vectors as long as the first one. */
static void choose_vectors(struct ww_whitening *w)
{
    const struct ww_family *family = w->ask->family;

    for (uint32_t t = 0; t < family->n_tensors && w->n_stack < WW_SIGNFLIP_SIDE; t++) {
        const struct ww_family_tensor *of = &family->tensors[t];
        if (ww_corner_is_vector(family, t) && (!w->ask->use || w->ask->use[t]) &&
            (w->n_stack == 0 ||
             of->n_elements == family->tensors[w->stack[0]].n_elements)) {
            w->stack[w->n_stack++] = t;
        }
    }
}

/* Some matrices over the whole depth, and those outside of layers: how many. */
static uint32_t choose(const struct ww_whitening *w, uint64_t *sizes)
{
    const struct ww_family *family = w->ask->family;
    uint32_t all = 0;
    uint32_t at = 0;
    uint32_t taken = 0;

    for (uint32_t turn = 0; turn < 2; turn++) {
        for (uint32_t t = 0; t < family->n_tensors; t++) {
            if (!ww_corner_has(family, t) || (w->ask->use && !w->ask->use[t])) {
                continue;
            }
            const bool outside = family->tensors[t].layer == WW_NONE;
            if (turn == 0) {
                all += !outside;
            } else if (outside ||
                       at++ % ((all + WW_WHITENESS_MOST - 1) / WW_WHITENESS_MOST) == 0) {
                sizes[t] = 1;
                taken++;
            }
        }
    }
    return taken;
}

static enum ww_err make_room(struct ww_whiteness_room *r, struct ww_error *err)
{
    const enum ww_err rc = ww_signflip_init(&r->flip, err);

    r->base = ww_calloc(WW_WHITENESS_ROOM, sizeof(double));
    r->weight = ww_calloc(WW_WHITENESS_ROOM, sizeof(double));
    r->x = ww_calloc(WW_WHITENESS_ROOM, sizeof(double));
    r->g = ww_calloc(WW_WHITENESS_ROOM, sizeof(double));
    r->taken = ww_calloc(WW_WHITENESS_TAKEN * WW_WHITENESS_ROOM, sizeof(double));
    return rc ? rc
           : r->base && r->weight && r->x && r->g && r->taken
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a test for noise");
}

static void release_room(struct ww_whiteness_room *r)
{
    ww_signflip_release(&r->flip);
    ww_free(r->base);
    ww_free(r->weight);
    ww_free(r->x);
    ww_free(r->g);
    ww_free(r->taken);
}

static bool can_tell(const struct ww_whitening *w)
{
    unsigned most = 0;

    for (uint32_t t = 0; t < (w->ask->per_tensor ? w->ask->family->n_tensors : 1); t++) {
        unsigned taken = 0;
        for (unsigned i = 0; i < w->n_sources; i++) {
            taken += ww_whiteness_shares(w, t)[i] != 0;
        }
        most = taken > most ? taken : most;
    }
    return most <= WW_WHITENESS_SOURCES;
}

static enum ww_err prepare(struct ww_whitening *w, unsigned n_threads,
                           const uint64_t *sizes, struct ww_error *err)
{
    const uint32_t n = w->ask->family->n_tensors;
    enum ww_err rc = WW_OK;

    w->rooms = ww_calloc(n_threads, sizeof(*w->rooms));
    w->found = ww_calloc(n + (size_t)1, sizeof(*w->found));
    if (!w->rooms || !w->found) {
        return WW_FAIL_MEMORY(err, "a test for noise");
    }
    for (unsigned i = 0; i < n_threads && !rc; i++) {
        rc = make_room(&w->rooms[i], err);
    }
    for (uint32_t t = 0; t < n && !rc; t++) {
        if (sizes[t]) {
            w->found[t].sources =
                ww_calloc(w->ask->n_candidates, sizeof(struct ww_whiteness_of_source));
            rc = w->found[t].sources ? WW_OK : WW_FAIL_MEMORY(err, "a test for noise");
        }
    }
    return rc;
}

enum ww_err ww_whiteness_measure(const struct ww_whiteness_ask *ask,
                                 struct ww_whiteness *out, struct ww_error *err)
{
    const unsigned n_threads = ww_per_tensor_threads(ask->run);
    struct ww_whitening w = {.ask = ask,
                             .n_sources = ask->family->n_models - WW_FAMILY_SOURCES};
    uint64_t *sizes = ww_calloc(ask->family->n_tensors + (size_t)1, sizeof(*sizes));
    uint64_t read = 0;
    const struct ww_per_tensor_job job = {.phase = "noise",
                                          .run = ask->run,
                                          .sizes = sizes,
                                          .n = ask->family->n_tensors + 1,
                                          .total_bytes = 1,
                                          .visit = ww_whiteness_visit,
                                          .payload = &w};
    enum ww_err rc = sizes ? WW_OK : WW_FAIL_MEMORY(err, "a test for noise");

    memset(out, 0, sizeof(*out));
    if (!rc && choose(&w, sizes) >= WW_WHITENESS_FEWEST && can_tell(&w)) {
        out->told = true;
        choose_vectors(&w);
        sizes[ask->family->n_tensors] = w.n_stack >= WW_WHITENESS_FEWEST;
        rc = prepare(&w, n_threads, sizes, err);
        rc = rc ? rc : ww_per_tensor_run(&job, &read, err);
        if (!rc) {
            ww_whiteness_conclude(&w, sizes, out);
        }
    }
    for (unsigned i = 0; w.rooms && i < n_threads; i++) {
        release_room(&w.rooms[i]);
    }
    for (uint32_t t = 0; w.found && t < ask->family->n_tensors; t++) {
        ww_free(w.found[t].sources);
    }
    ww_free(w.rooms);
    ww_free(w.found);
    ww_free(sizes);
    return rc;
}
