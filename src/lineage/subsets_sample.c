/* SPDX-License-Identifier: Apache-2.0 */
/* One reading for the elements that tell sums over some of the sources apart. */
#include <math.h>
#include <string.h>

#include "lineage/subsets.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SAMPLE ((size_t)1 << 16) /* elements of all tensors */
#define LEAST_ROOM 64            /* of one */
#define SPREAD 16                /* places that are looked at for one that is taken */
#define LONG 8                   /* of the longest part, in steps */
#define STILL 1000               /* elements that say what strayed */
#define SMALL 4096 /* elements of a tensor in which rescaling by what was kept varies */

struct sample {
    struct ww_subsets_element *items;
    size_t n;
    size_t room;
    uint32_t tensor;
    uint64_t seen;
    uint64_t until; /* elements that were seen when the room was full, or in all */
    uint64_t stride;
    uint64_t still; /* no source differs from the base */
    uint64_t strayed;
};

struct sampling {
    const struct ww_family *family;
    unsigned k;
    unsigned of[WW_SUBSETS_MOST]; /* places among the family's sources */
    double shares[WW_SUBSETS_MOST];
    size_t room; /* of a tensor */
    struct sample *samples;
};

static void take(const struct sampling *s, struct sample *to,
                 const struct ww_moments_tile *tile, size_t e, enum ww_dtype grid)
{
    const double suspect = tile->columns[e];
    const double base = tile->columns[WW_MOMENTS_TILE + e];
    struct ww_subsets_element item = {.y = suspect - base, .tensor = to->tensor};
    double longest = 0;
    bool differs = false;

    for (unsigned i = 0; i < s->k; i++) {
        item.x[i] = tile->columns[(size_t)(s->of[i] + 2) * WW_MOMENTS_TILE + e] - base;
        longest = fmax(longest, fabs(s->shares[i] * item.x[i]));
        differs |= item.x[i] != 0;
    }
    to->still += !differs;
    to->strayed += !differs && item.y != 0;
    if (to->n == to->room) {
        return;
    }
    to->until = to->seen + e + 1;
    if ((to->seen + e) % to->stride != 0) {
        return;
    }
    item.half = ldexp(0.5, ww_moments_step(suspect, grid));
    if (longest >= 2 * LONG * item.half) {
        to->items[to->n++] = item;
    }
}

static enum ww_err visit(void *payload, uint32_t tensor, struct ww_moments_tile *tile,
                         size_t n, struct ww_error *err)
{
    const struct sampling *s = payload;
    struct sample *to = &s->samples[tensor];
    (void)err;

    for (size_t e = 0; e < n; e++) {
        if (!ww_moments_pruned(tile->columns[e], tile->columns[WW_MOMENTS_TILE + e],
                               false)) {
            take(s, to, tile, e, s->family->tensors[tensor].grid);
        }
    }
    to->seen += n;
    return WW_OK;
}

static enum ww_err make_samples(struct sampling *s, struct ww_subsets_element **items,
                                struct ww_error *err)
{
    const uint32_t n = s->family->n_tensors;

    s->room = SAMPLE / n > LEAST_ROOM ? SAMPLE / n : LEAST_ROOM;
    *items = ww_calloc(n * s->room, sizeof(**items));
    s->samples = ww_calloc(n, sizeof(*s->samples));
    if (!*items || !s->samples) {
        return WW_FAIL_MEMORY(err, "a sample of elements");
    }
    for (uint32_t t = 0; t < n; t++) {
        const uint64_t places = s->family->tensors[t].n_elements / (SPREAD * s->room);
        s->samples[t].items = *items + t * s->room;
        s->samples[t].tensor = t;
        s->samples[t].room = s->family->tensors[t].n_elements < SMALL ? 0 : s->room;
        s->samples[t].stride = places > 1 ? places : 1;
    }
    return WW_OK;
}

/* One run, in the order of tensors. */
static size_t pack(const struct sampling *s, struct ww_subsets_element *items)
{
    size_t n = 0;

    for (uint32_t t = 0; t < s->family->n_tensors; t++) {
        const struct sample *from = &s->samples[t];
        const double many = (double)from->stride *
                            (double)s->family->tensors[t].n_elements /
                            (double)(from->until ? from->until : 1);
        memmove(items + n, from->items, from->n * sizeof(*items));
        for (size_t i = 0; i < from->n; i++) {
            items[n++].many = many;
        }
    }
    return n;
}

static double strayed(const struct sampling *s)
{
    uint64_t still = 0;
    uint64_t moved = 0;

    for (uint32_t t = 0; t < s->family->n_tensors; t++) {
        still += s->samples[t].still;
        moved += s->samples[t].strayed;
    }
    return still >= STILL ? (double)moved / (double)still : -1;
}

/* What was found of those that take part, at their places among all. */
static void put_back(const struct sampling *s, struct ww_subsets *out)
{
    const struct ww_subsets found = *out;

    for (unsigned i = 0; i < WW_LINEAGE_MAX_SOURCES; i++) {
        out->weight[i] = out->slope[i] = 0;
        out->kept[i] = -1;
    }
    for (unsigned i = 0; i < s->k && found.told; i++) {
        out->weight[s->of[i]] = found.weight[i];
        out->kept[s->of[i]] = found.kept[i];
        out->slope[s->of[i]] = found.slope[i];
    }
}

enum ww_err ww_subsets_measure(const struct ww_family *family, const double *shares,
                               const bool *use, const struct ww_run_options *run,
                               struct ww_subsets *out, uint64_t *bytes_read,
                               struct ww_error *err)
{
    const unsigned n_sources = family->n_models - WW_FAMILY_SOURCES;
    struct sampling s = {.family = family};
    bool read[WW_LINEAGE_MAX_SOURCES];
    const struct ww_sweep_ask ask = {
        .phase = "method", .use = use, .sources = read, .in_part = true};
    struct ww_subsets_element *items = NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_subsets){.strayed = -1};
    for (unsigned i = 0; i < n_sources; i++) {
        read[i] = shares[i] != 0;
        if (read[i] && s.k < WW_SUBSETS_MOST) {
            s.shares[s.k] = shares[i];
            s.of[s.k] = i;
        }
        s.k += read[i];
    }
    if (s.k == 0 || s.k > WW_SUBSETS_MOST || family->disguise.read) {
        return WW_OK;
    }
    rc = make_samples(&s, &items, err);
    if (!rc) {
        rc = ww_sweep(family, &ask, run, visit, &s, bytes_read, err);
    }
    if (!rc) {
        rc = ww_subsets_fit(items, pack(&s, items), s.k, s.shares, out, err);
        out->strayed = strayed(&s);
        put_back(&s, out);
    }
    ww_free(items);
    ww_free(s.samples);
    return rc;
}
