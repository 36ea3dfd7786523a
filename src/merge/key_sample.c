/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram over the top bits of the sample's keys brackets a cut. */
#include "merge/key_sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/num.h"

#define SAMPLE_SHIFT 16u
#define SAMPLE_BINS ((size_t)1 << (31 - SAMPLE_SHIFT))
#define SPOTS ((uint64_t)1024)
#define SPOT_ELEMENTS ((uint64_t)64)
#define SMALL (2 * SPOTS * SPOT_ELEMENTS) /* elements: all of it is the sample */
#define SORTED ((uint64_t)512) /* elements: sorted sooner than bins are cleared */
#define MARGIN 0.03 /* of all, times sqrt(p (1 - p)), as a sample's share p varies */
#define TRIED 64u   /* keys of a sample: is one of them common? */
#define OFTEN 6u    /* among those */

/* A spot in so many elements, and not always of the same columns. */
static uint64_t stride_of(const struct ww_merge_job *job, uint64_t n)
{
    const uint64_t stride = ww_div_up(n, SPOTS);

    if (job->n_cols < 2 || job->n_cols >= stride) {
        return stride;
    }
    return stride - stride % job->n_cols + job->n_cols * 5 / 8;
}

bool ww_key_sample_init(struct ww_key_sample *sample, const struct ww_select *select,
                        struct ww_merge_job *job)
{
    memset(sample, 0, sizeof(*sample));
    sample->n = select->n;
    sample->of_all = select->n <= SMALL;
    for (uint32_t c = 0; c < select->n_cuts; c++) {
        if (select->cuts[c].vector >= sample->n_vectors) {
            sample->n_vectors = select->cuts[c].vector + 1;
        }
    }
    job->spot_stride = sample->of_all ? 0 : stride_of(job, select->n);
    job->spot_first = 0;
    job->spot_elements = SPOT_ELEMENTS;
    sample->capacity =
        sample->of_all ? select->n : (select->n / job->spot_stride + 1) * SPOT_ELEMENTS;
    sample->keys =
        ww_calloc(sample->n_vectors * sample->capacity + 1, sizeof(*sample->keys));
    sample->filled = ww_calloc(sample->n_vectors + (size_t)1, sizeof(*sample->filled));
    return sample->keys && sample->filled;
}

void ww_key_sample_release(struct ww_key_sample *sample)
{
    ww_free(sample->keys);
    ww_free(sample->filled);
    ww_free(sample->bins);
    memset(sample, 0, sizeof(*sample));
}

void ww_key_sample_add(const struct ww_key_sample *sample, uint32_t vector,
                       const uint32_t *keys, uint64_t n)
{
    if (vector >= sample->n_vectors) {
        return;
    }
    const uint64_t at = atomic_fetch_add(&sample->filled[vector], n);
    if (at < sample->capacity) {
        memcpy(sample->keys + vector * sample->capacity + at, keys,
               ww_min_u64(n, sample->capacity - at) * sizeof(*keys));
    }
}

static int descending(const void *x, const void *y)
{
    const uint32_t a = *(const uint32_t *)x;
    const uint32_t b = *(const uint32_t *)y;

    return (a < b) - (a > b);
}

bool ww_key_sample_order(const struct ww_key_sample *sample)
{
    if (!sample->of_all || sample->n > SORTED) {
        return false;
    }
    for (uint32_t v = 0; v < sample->n_vectors; v++) {
        qsort(sample->keys + v * sample->capacity, sample->n, sizeof(*sample->keys),
              descending);
    }
    return true;
}

void ww_key_sample_cut(const struct ww_key_sample *sample, struct ww_cut *cut)
{
    const uint32_t *keys = sample->keys + cut->vector * sample->capacity;

    cut->prefix = keys[cut->rank - 1];
    for (uint64_t i = 0; i < sample->n; i++) {
        cut->larger += keys[i] > cut->prefix;
        cut->equal += keys[i] == cut->prefix;
    }
    ww_cut_settle(cut);
}

/* The bin of the sample in which the element of this rank lies; 0 past the end. */
static uint32_t sample_bin(const uint64_t *bins, double rank)
{
    double seen = 0;
    for (uint32_t i = SAMPLE_BINS; i-- > 0;) {
        seen += (double)bins[i];
        if (seen >= rank) {
            return i;
        }
    }
    return 0;
}

/* The key of most of those that are tried, out of a sample's in the bracket: differences
 * of 16-bit floats are few, and a cut lies among equal ones. */
static uint32_t common_key(uint32_t low, uint32_t high, const uint32_t *keys, uint64_t n)
{
    uint32_t tried[TRIED];
    uint32_t n_tried = 0;
    uint32_t best = WW_KEY_NONE;
    uint32_t most = OFTEN - 1;

    for (uint64_t i = 0; i < n && n_tried < TRIED; i += 7) {
        tried[n_tried] = keys[i];
        n_tried += keys[i] - low <= high - low;
    }
    for (uint32_t i = 0; i < n_tried; i++) {
        uint32_t alike = 0;
        for (uint32_t k = 0; k < n_tried; k++) {
            alike += tried[k] == tried[i];
        }
        best = alike > most ? tried[i] : best;
        most = alike > most ? alike : most;
    }
    return best;
}

bool ww_key_sample_bracket(struct ww_key_sample *sample, const struct ww_cut *cut,
                           uint32_t *low, uint32_t *high, uint32_t *common)
{
    const uint32_t *keys = sample->keys + cut->vector * sample->capacity;
    const uint64_t n =
        ww_min_u64(atomic_load(&sample->filled[cut->vector]), sample->capacity);

    if (!sample->bins) {
        sample->bins = ww_calloc(SAMPLE_BINS, sizeof(*sample->bins));
    }
    if (!sample->bins) {
        return false;
    }
    memset(sample->bins, 0, SAMPLE_BINS * sizeof(*sample->bins));
    for (uint64_t i = 0; i < n; i++) {
        sample->bins[keys[i] >> SAMPLE_SHIFT]++;
    }
    const double share = (double)cut->rank / (double)sample->n;
    const double rank = share * (double)n;
    const double margin =
        sample->of_all ? 0 : MARGIN * sqrt(share * (1 - share)) * (double)n;
    *low = sample_bin(sample->bins, rank + margin) << SAMPLE_SHIFT;
    *high = rank - margin <= 0 ? WW_KEY_MOST
                               : sample_bin(sample->bins, rank - margin) << SAMPLE_SHIFT |
                                     ((1U << SAMPLE_SHIFT) - 1);
    if (rank + margin >= (double)n && !sample->of_all) {
        *low = 0;
    }
    *common = common_key(*low, *high, keys, n);
    return true;
}
