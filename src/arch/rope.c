/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rotary position embedding (Su et al., arXiv 2104.09864): pair f of a head turns by
 * position * frequency[f]. Pairs are (f, f + r/2) or (2f, 2f + 1), which no shape tells;
 * dimensions behind the first r stay. Angles are taken in double, where the libraries use
 * single precision.
 */
#include "arch/rope.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"

static void fill(struct ww_rope_table *table, const double *frequency, double factor,
                 const uint64_t *positions)
{
    for (size_t t = 0; t < table->n; t++) {
        for (size_t f = 0; f < table->n_pairs; f++) {
            double angle = (double)positions[t] * frequency[f];
            table->cos[t * table->n_pairs + f] = cos(angle) * factor;
            table->sin[t * table->n_pairs + f] = sin(angle) * factor;
        }
    }
}

static struct ww_rope_table *table_alloc(const struct ww_attention *att, size_t n)
{
    struct ww_rope_table *table = ww_calloc(1, sizeof(*table));
    if (!table) {
        return NULL;
    }
    table->style = att->rope.style;
    table->n = n;
    table->n_pairs = (size_t)(att->rope.dims / 2);
    table->cos = ww_calloc(n, table->n_pairs * sizeof(double));
    table->sin = ww_calloc(n, table->n_pairs * sizeof(double));
    if (!table->cos || !table->sin) {
        ww_rope_table_free(table);
        return NULL;
    }
    return table;
}

enum ww_err ww_rope_table_new(const struct ww_layout *layout,
                              const struct ww_attention *att, const uint64_t *positions,
                              size_t n, size_t sequence_length,
                              struct ww_rope_table **out, struct ww_error *err)
{
    struct ww_rope_table *table = NULL;
    double *frequency = NULL;
    double factor = 1;
    enum ww_err rc = WW_OK;
    *out = NULL;
    if (att->rope.dims % 2 != 0 || att->rope.dims > att->head_dim) {
        rc = WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "rotary embedding of '%s': %llu of %llu dimensions rotate, expected an "
            "even number that fits the head",
            att->name, (unsigned long long)att->rope.dims,
            (unsigned long long)att->head_dim);
        goto out;
    }
    table = table_alloc(att, n);
    frequency = ww_calloc((size_t)att->rope.dims / 2, sizeof(*frequency));
    if (!table || !frequency) {
        rc = WW_FAIL_MEMORY(err, "the rotary table of '%s'", att->name);
        goto out;
    }
    rc = ww_rope_frequencies(layout, att, sequence_length, frequency, &factor, err);
    if (rc) {
        goto out;
    }
    fill(table, frequency, factor, positions);
    *out = table;
    table = NULL;
out:
    ww_rope_table_free(table);
    ww_free(frequency);
    return rc;
}

void ww_rope_table_free(struct ww_rope_table *table)
{
    if (table) {
        ww_free(table->cos);
        ww_free(table->sin);
        ww_free(table);
    }
}

void ww_rope_turn(const struct ww_rope_table *table, size_t t, double *x, size_t n_heads,
                  size_t head_dim, size_t first)
{
    bool adjacent = table->style == WW_ROPE_ADJACENT;
    size_t n_pairs = table->n_pairs;
    for (size_t h = 0; h < n_heads; h++) {
        double *head = x + h * head_dim + first;
        for (size_t f = 0; f < n_pairs; f++) {
            double *a = adjacent ? head + 2 * f : head + f;
            double *b = adjacent ? head + 2 * f + 1 : head + f + n_pairs;
            double c = table->cos[t * n_pairs + f];
            double s = table->sin[t * n_pairs + f];
            double turned = *a * c - *b * s;
            *b = *b * c + *a * s;
            *a = turned;
        }
    }
}
