/* SPDX-License-Identifier: Apache-2.0 */
/* One reading for the elements that tell sums over some of the sources apart. */
#include <math.h>
#include <string.h>

#include "lineage/subsets_mixture.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SAMPLE ((size_t)1 << 16) /* elements of all tensors */
#define LEAST_ROOM 64            /* of one */
#define SPREAD 16                /* places that are looked at for one that is taken */
#define LONG 8                   /* of the longest part, in steps, */
#define LONG_CELLS 4             /* or cells */
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
    double squares; /* of how far the blend moves all of them, */
    double away;    /* of how far they moved, */
    double left;    /* and of a small tensor of what is left of that */
    uint64_t all;
};

struct sampling {
    const struct ww_family *family;
    unsigned k;
    unsigned of[WW_SUBSETS_MOST]; /* places among the family's sources */
    double shares[WW_SUBSETS_MOST];
    size_t room; /* of a tensor */
    struct sample *samples;
};

/* Where it was before rounding, as far as that is known, from the base. */
static struct ww_subsets_element place_of(const struct ww_moments_tile *tile, size_t e,
                                          enum ww_dtype grid)
{
    const double suspect = tile->columns[e];
    const double base = tile->columns[WW_MOMENTS_TILE + e];
    struct ww_subsets_element item = {.y = suspect - base};

    item.half = ldexp(0.5, ww_moments_step(suspect, grid));
    if (tile->has_cells) {
        item.y = (tile->low[e] + tile->high[e]) / 2 - base;
        item.cell = (tile->high[e] - tile->low[e]) / 2;
    }
    return item;
}

/* Does it tell values apart? Of a cell one that the base lies in does not, unless parts
 * are long enough to tell whether they were kept. */
static bool tells(const struct ww_subsets_element *e, double longest)
{
    return e->cell > 0 ? ww_mixture_moved(e) || longest >= 2 * LONG_CELLS * e->cell
                       : longest >= 2 * LONG * e->half;
}

static void take(const struct sampling *s, struct sample *to,
                 const struct ww_moments_tile *tile, size_t e, enum ww_dtype grid)
{
    const double base = tile->columns[WW_MOMENTS_TILE + e];
    struct ww_subsets_element item = place_of(tile, e, grid);
    double longest = 0;
    double blend = 0;
    double rest = 0;
    bool differs = false;

    item.tensor = to->tensor;
    for (unsigned i = 0; i < s->k; i++) {
        item.x[i] = tile->columns[(size_t)(s->of[i] + 2) * WW_MOMENTS_TILE + e] - base;
        longest = fmax(longest, fabs(s->shares[i] * item.x[i]));
        blend += s->shares[i] * item.x[i];
        differs |= item.x[i] != 0;
    }
    to->squares += blend * blend;
    to->away += item.y * item.y;
    rest = fmax(0, fabs(item.y - blend) - item.cell - item.half);
    to->left += to->room == 0 ? rest * rest : 0;
    to->all++;
    to->still += !differs;
    to->strayed += !differs && ww_mixture_moved(&item);
    if (to->n == to->room) {
        return;
    }
    to->until = to->seen + e + 1;
    if ((to->seen + e) % to->stride != 0) {
        return;
    }
    if (tells(&item, longest)) {
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
                               tile->has_cells) &&
            (!tile->has_cells || isfinite(tile->low[e] + tile->high[e]))) {
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
        const double length = from->all ? sqrt(from->squares / (double)from->all) : 0;
        memmove(items + n, from->items, from->n * sizeof(*items));
        for (size_t i = 0; i < from->n; i++, n++) {
            items[n].many = many;
            items[n].length = length;
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

/* What the blend leaves of the squares, in tensors that no sample is taken of. */
static double left_of_small(const struct sampling *s)
{
    double away = 0;
    double left = 0;

    for (uint32_t t = 0; t < s->family->n_tensors; t++) {
        away += s->samples[t].away;
        left += s->samples[t].left;
    }
    return away > 0 ? left / away : 0;
}

/* What was found of those that take part, at their places among all. */
static void put_back(const struct sampling *s, struct ww_subsets *out)
{
    const struct ww_subsets found = *out;

    for (unsigned i = 0; i < WW_LINEAGE_MAX_SOURCES; i++) {
        out->weight[i] = out->slope[i] = 0;
        out->kept[i] = -1;
        out->needless[i] = false;
    }
    for (unsigned i = 0; i < s->k && found.told; i++) {
        out->weight[s->of[i]] = found.weight[i];
        out->kept[s->of[i]] = found.kept[i];
        out->slope[s->of[i]] = found.slope[i];
        out->needless[s->of[i]] = found.needless[i];
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
        .phase = "method", .use = use, .sources = read, .cells = true, .in_part = true};
    struct ww_subsets_element *items = NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_subsets){
        .strayed = -1, .longer.error = INFINITY, .opposed.error = INFINITY};
    for (unsigned i = 0; i < n_sources; i++) {
        read[i] = shares[i] != 0;
        if (read[i] && s.k < WW_SUBSETS_MOST) {
            s.shares[s.k] = shares[i];
            s.of[s.k] = i;
        }
        s.k += read[i];
    }
    if (s.k == 0 || s.k > WW_SUBSETS_MOST ||
        (family->disguise.read && !family->disguise.cells)) {
        return WW_OK;
    }
    rc = make_samples(&s, &items, err);
    if (!rc) {
        rc = ww_sweep(family, &ask, run, visit, &s, bytes_read, err);
    }
    if (!rc) {
        const size_t n = pack(&s, items);
        rc = ww_subsets_fit(items, n, s.k, s.shares, out, err);
        if (!rc && family->disguise.cells && out->sure &&
            out->explained >= WW_LINEAGE_PARTS) {
            rc = ww_subsets_need(items, n, s.k, s.shares, out, err);
        }
        out->strayed = strayed(&s);
        out->left += left_of_small(&s);
        put_back(&s, out);
    }
    ww_free(items);
    ww_free(s.samples);
    return rc;
}
