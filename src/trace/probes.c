/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coordinates are taken evenly from all that the layout has, in the order of names, their
 * samples by hashing (tensor, index, number), so that nothing but the layout is needed to
 * find them again. Tensors whose place changes with experts are left out: what is left
 * has thousands of signs in any model that is worth a trace.
 */
#include "trace/probes.h"

#include <stdlib.h>
#include <string.h>

#include "lock/axis_map.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define PLACE_LABEL "weightward/trace/place/v1"
#define UNRANKED 99

const struct ww_probes_size ww_probes_ledger = {2048, 32};
const struct ww_probes_size ww_probes_anchor = {8192, 64};

static int rank_of(enum ww_space_kind kind)
{
    switch (kind) {
    case WW_SPACE_RESIDUAL:
        return 0;
    case WW_SPACE_LATENT:
    case WW_SPACE_Q_LATENT:
        return 1;
    case WW_SPACE_NEURON:
    case WW_SPACE_VALUE:
        return 2;
    case WW_SPACE_QUERY:
    case WW_SPACE_KEY:
    case WW_SPACE_CONTEXT:
    case WW_SPACE_QUERY_HEAD:
    case WW_SPACE_KV_HEAD:
    case WW_SPACE_QK_GAIN:
    case WW_SPACE_MLA_Q_NOPE:
    case WW_SPACE_MLA_K_NOPE:
    case WW_SPACE_MLA_Q_ROPE:
    case WW_SPACE_MLA_K_ROPE:
    case WW_SPACE_EXPERT:
        break;
    }
    return UNRANKED;
}

/* Does every index of the space have a sign that is drawn for it and for no other space?
 */
static bool has_signs(const struct ww_layout *layout, const struct ww_space *space)
{
    switch (space->kind) {
    case WW_SPACE_RESIDUAL:
        return ww_layout_stream(layout, space->owner)->group == WW_RESIDUAL_SIGNED;
    case WW_SPACE_LATENT:
        return true;
    case WW_SPACE_NEURON:
        return layout->mlps[space->owner].sign_moves;
    case WW_SPACE_VALUE:
        return layout->attentions[space->owner].vo_class != WW_VO_NONE &&
               layout->attentions[space->owner].element_owner == space->owner;
    case WW_SPACE_Q_LATENT:
    case WW_SPACE_QUERY:
    case WW_SPACE_KEY:
    case WW_SPACE_CONTEXT:
    case WW_SPACE_QUERY_HEAD:
    case WW_SPACE_KV_HEAD:
    case WW_SPACE_QK_GAIN:
    case WW_SPACE_MLA_Q_NOPE:
    case WW_SPACE_MLA_K_NOPE:
    case WW_SPACE_MLA_Q_ROPE:
    case WW_SPACE_MLA_K_ROPE:
    case WW_SPACE_EXPERT:
        break;
    }
    return false;
}

static const struct ww_segment *segment_of(const struct ww_layout *layout,
                                           uint32_t tensor, unsigned axis, uint32_t space)
{
    const struct ww_axis *a = &layout->bindings[tensor].axis[axis];

    for (uint32_t i = 0; i < a->n_segments; i++) {
        const struct ww_segment *s = &layout->segments[a->first_segment + i];
        if (s->space == space && s->action != WW_ACT_PERMUTE) {
            return s;
        }
    }
    return NULL;
}

/* Nothing on the other axes may bring in a sign of this rank or above. */
static bool axis_is_below(const struct ww_layout *layout, uint32_t tensor, unsigned axis,
                          int rank)
{
    const struct ww_axis *a = &layout->bindings[tensor].axis[axis];

    for (uint32_t i = 0; i < a->n_segments; i++) {
        const struct ww_segment *s = &layout->segments[a->first_segment + i];
        if (s->action != WW_ACT_PERMUTE &&
            rank_of(layout->spaces[s->space].kind) >= rank) {
            return false;
        }
    }
    return true;
}

/* The axis on which a tensor shows the signs of a space, or its rank when it does not. */
static unsigned shows(const struct ww_layout *layout, uint32_t tensor, uint32_t space)
{
    const struct ww_tensor *t = &layout->model->tensors[tensor];
    const struct ww_binding *b = &layout->bindings[tensor];
    const int rank = rank_of(layout->spaces[space].kind);

    if (t->rank < 2 || b->ignored || b->name_space != WW_NONE ||
        !ww_dtype_is_plain_float(t->dtype) || t->n_elements == 0 ||
        ww_axis_stack(layout, tensor) != WW_NONE) {
        return t->rank;
    }
    for (unsigned a = 0; a < t->rank; a++) {
        bool fits = segment_of(layout, tensor, a, space) != NULL;
        for (unsigned other = 0; other < t->rank && fits; other++) {
            fits = other == a || axis_is_below(layout, tensor, other, rank);
        }
        if (fits) {
            return a;
        }
    }
    return t->rank;
}

/* A space and the tensor that shows it. */
struct view {
    const char *name; /* of the space */
    uint32_t space;
    uint32_t tensor;
    unsigned axis;
    uint64_t first; /* number of its first coordinate among all */
};

/* Of several tensors the first by name: their order in the files is nobody's promise. */
static bool find_view(const struct ww_layout *layout, uint32_t space, struct view *out)
{
    const struct ww_tensor *tensors = layout->model->tensors;
    bool found = false;

    for (uint32_t t = 0; t < layout->model->n_tensors; t++) {
        const unsigned axis = shows(layout, t, space);
        const struct ww_segment *s = axis < layout->model->tensors[t].rank
                                         ? segment_of(layout, t, axis, space)
                                         : NULL;
        /* In parts it would need a look at each; no tensor of rank 2 comes so. */
        if (s && s->space_start == 0 &&
            s->count * s->width == layout->spaces[space].size &&
            (!found || strcmp(tensors[t].name, tensors[out->tensor].name) < 0)) {
            *out = (struct view){layout->spaces[space].name, space, t, axis, 0};
            found = true;
        }
    }
    return found;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct view *)a)->name, ((const struct view *)b)->name);
}

static enum ww_err list_views(const struct ww_layout *layout, struct view **out,
                              uint32_t *n, uint64_t *total, struct ww_error *err)
{
    struct view *views = ww_calloc(layout->n_spaces, sizeof(*views));

    *n = 0;
    *total = 0;
    *out = views;
    if (!views) {
        return WW_FAIL_MEMORY(err, "the probes");
    }
    for (uint32_t s = 0; s < layout->n_spaces; s++) {
        if (has_signs(layout, &layout->spaces[s]) && find_view(layout, s, &views[*n])) {
            (*n)++;
        }
    }
    qsort(views, *n, sizeof(*views), by_name);
    for (uint32_t v = 0; v < *n; v++) {
        views[v].first = *total;
        *total += layout->spaces[views[v].space].size;
    }
    return *total
               ? WW_OK
               : WW_FAIL(err, WW_E_UNSUPPORTED,
                         "the layout of '%s' has no coordinate with a sign of its own: "
                         "its copies cannot be told apart",
                         layout->model->path);
}

struct hasher {
    struct ww_sha256 *sha;
    uint8_t digest[WW_SHA256_BYTES];
    unsigned used;
    uint64_t block;
};

static uint64_t next_random(struct hasher *h, const char *name, uint64_t index)
{
    uint8_t n[16];
    uint64_t value = 0;

    if (h->used + 8 > WW_SHA256_BYTES) {
        ww_put_u64le(n, index);
        ww_put_u64le(n + 8, h->block++);
        ww_sha256_reset(h->sha);
        ww_sha256_update(h->sha, PLACE_LABEL, sizeof(PLACE_LABEL));
        ww_sha256_update(h->sha, name, strlen(name) + 1);
        ww_sha256_update(h->sha, n, sizeof(n));
        ww_sha256_final(h->sha, h->digest);
        h->used = 0;
    }
    value = ww_get_u64le(h->digest + h->used);
    h->used += 8;
    return value;
}

/* The element at index on the axis and, on the others, at the place that rest says. */
static uint64_t element_at(const struct ww_tensor *t, unsigned axis, uint64_t index,
                           uint64_t rest)
{
    uint64_t stride = 1;
    uint64_t at = 0;

    for (unsigned a = t->rank; a-- > 0;) {
        if (a == axis) {
            at += index * stride;
        } else {
            at += rest % t->shape[a] * stride;
            rest /= t->shape[a];
        }
        stride *= t->shape[a];
    }
    return at;
}

static void choose_samples(const struct ww_layout *layout, const struct view *view,
                           uint64_t index, struct hasher *h, uint64_t *out, uint32_t n)
{
    const struct ww_tensor *t = &layout->model->tensors[view->tensor];
    const struct ww_segment *s =
        segment_of(layout, view->tensor, view->axis, view->space);
    const uint64_t others = t->n_elements / t->shape[view->axis];

    h->used = WW_SHA256_BYTES;
    h->block = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t rest = next_random(h, t->name, index) % others;
        out[i] = element_at(t, view->axis, ww_segment_at(s, index), rest);
    }
}

static enum ww_err allocate(struct ww_places *places, uint32_t n_views,
                            struct ww_error *err)
{
    places->tensors = ww_calloc(n_views, sizeof(*places->tensors));
    places->coords = ww_calloc(places->n_coords, sizeof(*places->coords));
    places->elements =
        ww_calloc(places->n_coords, places->samples * sizeof(*places->elements));
    if (!places->tensors || !places->coords || !places->elements) {
        return WW_FAIL_MEMORY(err, "the probes");
    }
    return WW_OK;
}

static uint32_t slot_of(struct ww_places *places, uint32_t tensor)
{
    for (uint32_t i = 0; i < places->n_tensors; i++) {
        if (places->tensors[i] == tensor) {
            return i;
        }
    }
    places->tensors[places->n_tensors] = tensor;
    return places->n_tensors++;
}

enum ww_err ww_places_init(struct ww_places *places, const struct ww_layout *layout,
                           const struct ww_probes_size *size, struct ww_error *err)
{
    struct hasher h = {0};
    struct view *views = NULL;
    uint32_t n_views = 0;
    uint32_t v = 0;
    uint64_t total = 0;
    enum ww_err rc = WW_OK;

    memset(places, 0, sizeof(*places));
    rc = list_views(layout, &views, &n_views, &total, err);
    if (rc) {
        goto out;
    }
    rc = ww_sha256_new(&h.sha, err);
    if (rc) {
        goto out;
    }
    places->n_coords = (uint32_t)ww_min_u64(total, size->max_coords);
    places->samples = size->samples;
    rc = allocate(places, n_views, err);
    for (uint32_t c = 0; c < places->n_coords && !rc; c++) {
        const uint64_t number = c * total / places->n_coords;
        while (v + 1 < n_views && number >= views[v + 1].first) {
            v++;
        }
        places->coords[c] = (struct ww_coord){slot_of(places, views[v].tensor),
                                              views[v].space, number - views[v].first};
        choose_samples(layout, &views[v], places->coords[c].index, &h,
                       places->elements + (size_t)c * places->samples, places->samples);
    }
out:
    ww_sha256_free(h.sha);
    ww_free(views);
    if (rc) {
        ww_places_release(places);
    }
    return rc;
}

void ww_places_release(struct ww_places *places)
{
    ww_free(places->tensors);
    ww_free(places->coords);
    ww_free(places->elements);
    memset(places, 0, sizeof(*places));
}

enum ww_err ww_places_digest(const struct ww_places *places,
                             const struct ww_layout *layout, uint8_t out[WW_SHA256_BYTES],
                             struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_sha256_new(&sha, err);

    if (rc) {
        return rc;
    }
    for (uint32_t c = 0; c < places->n_coords; c++) {
        const char *name =
            layout->model->tensors[places->tensors[places->coords[c].slot]].name;
        ww_sha256_update(sha, name, strlen(name) + 1);
        for (uint32_t i = 0; i < places->samples; i++) {
            ww_sha256_u64le(sha, places->elements[(size_t)c * places->samples + i]);
        }
    }
    ww_sha256_final(sha, out);
    ww_sha256_free(sha);
    return WW_OK;
}
