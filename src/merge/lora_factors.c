/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEFT 0.21.2's way by A and B apart: sqrt(|weight scaling|) on both, the sign on A. Its
 * trimming ("ties", "magnitude_prune") keeps int(density n) entries, none of them when
 * that is 0; its election goes by the unweighted sums and divides by the number of
 * adapters that agree; what chance leaves ("dare_linear", "dare_ties") is divided by the
 * density.
 */
#include <math.h>
#include <string.h>

#include "merge/frame_ties.h"
#include "merge/lora_pair.h"
#include "merge/mask.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static double root_of(const struct ww_lora_set *set, uint32_t i)
{
    return sqrt(fabs(set->parts[i].weight * set->parts[i].scaling));
}

static double weight_of(const struct ww_lora_set *set, uint32_t i, bool left)
{
    const double w = set->parts[i].weight * set->parts[i].scaling;
    return !left && w < 0 ? -root_of(set, i) : root_of(set, i);
}

static double *side_of(const struct ww_lora_set *set, uint32_t i, bool left)
{
    return left ? set->parts[i].pair.b : set->parts[i].pair.a;
}

/* Drop entries by chance, as masks of whole models are drawn: by the name of the tensor,
 * the adapter's place and the entry's. */
static enum ww_err thin(const struct ww_lora_set *set, const struct ww_frame_part *parts,
                        const char *name, size_t n, struct ww_error *err)
{
    uint32_t *draws = ww_calloc(n + 1, sizeof(*draws));

    if (!draws) {
        return WW_FAIL_MEMORY(err, "a mask");
    }
    const uint64_t key = ww_mask_key_of(set->seed, name);
    for (uint32_t i = 0; i < set->n; i++) {
        const double density = parts[i].density;
        const double factor = set->parts[i].rescale ? 1 / density : 1;
        if (density >= 1) {
            continue;
        }
        ww_mask_draw(key, (uint32_t)set->parts[i].order, 0, n, NULL, draws);
        for (size_t k = 0; k < n; k++) {
            parts[i].x[k] *= draws[k] < density * 4294967296.0 ? factor : 0;
        }
    }
    ww_free(draws);
    return WW_OK;
}

static void add_up(const struct ww_lora_set *set, const struct ww_frame_part *parts,
                   size_t n, double *out)
{
    for (size_t k = 0; k < n; k++) {
        out[k] = 0;
        for (uint32_t i = 0; i < set->n; i++) {
            out[k] += parts[i].weight * parts[i].x[k];
        }
    }
}

enum ww_err ww_lora_combine(const struct ww_lora_set *set,
                            const struct ww_frame_part *parts,
                            const struct ww_lora_rule *rule, const char *name, size_t n,
                            double *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (rule->prune == WW_LORA_KEEP_LARGEST) {
        rc = ww_frame_trim(parts, set->n, n, 0, err);
    } else if (rule->prune == WW_LORA_KEEP_BY_CHANCE) {
        rc = thin(set, parts, name, n, err);
    }
    if (!rc && rule->elect) {
        ww_frame_elect(parts, set->n, n, set->by_count);
        memcpy(out, parts[0].x, n * sizeof(*out));
    } else if (!rc) {
        add_up(set, parts, n, out);
    }
    return rc;
}

/* One side of all parts, n entries each, into out. */
static enum ww_err combine(const struct ww_lora_set *set, bool left,
                           const struct ww_lora_rule *rule, size_t n, double *out,
                           struct ww_error *err)
{
    struct ww_frame_part *parts = ww_calloc(set->n, sizeof(*parts));
    char *name = ww_asprintf("%s.lora_%c.weight", set->name, left ? 'B' : 'A');
    enum ww_err rc = parts && name ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint32_t i = 0; i < set->n && !rc; i++) {
        parts[i] = (struct ww_frame_part){side_of(set, i, left), set->parts[i].density,
                                          weight_of(set, i, left)};
    }
    if (!rc) {
        rc = ww_lora_combine(set, parts, rule, name, n, out, err);
    }
    ww_free(name);
    ww_free(parts);
    return rc;
}

enum ww_err ww_lora_factors(const struct ww_lora_set *set,
                            const struct ww_lora_rule *rule, struct ww_lora_pair *out,
                            struct ww_error *err)
{
    const size_t rank = set->parts[0].pair.rank;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 1; i < set->n; i++) {
        if (set->parts[i].pair.rank != rank) {
            return WW_FAIL(err, WW_E_SHAPE,
                           "factors of ranks %zu and %zu do not add up entry by entry; "
                           "'combine: sum' takes any",
                           rank, set->parts[i].pair.rank);
        }
    }
    out->rank = rank;
    out->a = ww_calloc(rank * set->n_in + 1, sizeof(*out->a));
    out->b = ww_calloc(set->m * rank + 1, sizeof(*out->b));
    if (!out->a || !out->b) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    rc = combine(set, false, rule, rank * set->n_in, out->a, err);
    return rc ? rc : combine(set, true, rule, set->m * rank, out->b, err);
}
