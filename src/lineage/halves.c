/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stratified halves: tensors whose names differ in the last part but one alone ("q_proj",
 * "k_proj" of one attention) are shuffled by the seed and fall into the halves in turns,
 * matrices before vectors. A coin for each tensor would leave one in eight attentions
 * without any tensor in one of the halves.
 */
#include "lineage/halves.h"

#include <stdlib.h>
#include <string.h>

#include "lineage/depth_stack.h"
#include "lineage/draws.h"
#include "util/alloc.h"
#include "util/fail.h"

struct drawn {
    const char *name;
    size_t part; /* bytes of the name that tensors of one part have in common */
    uint64_t draw;
    uint32_t tensor;
    bool matrix;
};

/* Up to the dot before the last part but one: "layers.3.mlp" of "layers.3.mlp.up.weight".
 * What is in no layer is one part. */
static size_t part_of(const char *name)
{
    size_t dots[2] = {0, 0}; /* the last one, the one before */
    struct ww_depth_name split;

    for (size_t i = 0; name[i]; i++) {
        if (name[i] == '.') {
            dots[1] = dots[0];
            dots[0] = i;
        }
    }
    return ww_depth_split(name, &split) ? dots[1] : 0;
}

static int by_part(const struct drawn *x, const struct drawn *y)
{
    const size_t n = x->part < y->part ? x->part : y->part;
    const int order = memcmp(x->name, y->name, n);

    return order ? order : (x->part > y->part) - (x->part < y->part);
}

static int in_turns(const void *a, const void *b)
{
    const struct drawn *x = a;
    const struct drawn *y = b;
    const int part = by_part(x, y);

    if (part || x->matrix != y->matrix) {
        return part ? part : x->matrix ? -1 : 1;
    }
    return x->draw != y->draw ? (x->draw > y->draw ? 1 : -1) : strcmp(x->name, y->name);
}

enum ww_err ww_halves_draw(const struct ww_model *suspect, uint64_t seed, bool **fitted,
                           struct ww_error *err)
{
    const uint32_t n = suspect->n_tensors;
    struct drawn *drawn = ww_calloc(n + (size_t)1, sizeof(*drawn));
    bool turn = false;

    *fitted = ww_calloc(n + (size_t)1, sizeof(**fitted));
    if (!drawn || !*fitted) {
        ww_free(drawn);
        ww_free(*fitted);
        *fitted = NULL;
        return WW_FAIL_MEMORY(err, "halves of tensors");
    }
    for (uint32_t t = 0; t < n; t++) {
        const char *name = suspect->tensors[t].name;
        drawn[t] = (struct drawn){name, part_of(name), ww_draw_name(seed, name), t,
                                  suspect->tensors[t].rank >= 2};
    }
    qsort(drawn, n, sizeof(*drawn), in_turns);
    for (uint32_t t = 0; t < n; t++) {
        const bool first = t == 0 || by_part(&drawn[t], &drawn[t - 1]) != 0;
        turn = first ? ww_draw_name(~seed, drawn[t].name) >> 63 : !turn;
        (*fitted)[drawn[t].tensor] = turn;
    }
    ww_free(drawn);
    return WW_OK;
}
