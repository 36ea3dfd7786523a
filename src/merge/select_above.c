/* SPDX-License-Identifier: Apache-2.0 */
/* Which elements of a block lie above a cut that is known. */
#include "merge/select.h"

#include <math.h>
#include <string.h>

#include "util/clones.h"

/* Keys are below 2^63, so that signed compares do. */
WW_CLONES static void at_least(const uint64_t *keys, size_t n, int64_t least,
                               uint8_t *above)
{
    for (size_t i = 0; i < n; i++) {
        above[i] = (int64_t)keys[i] >= least;
    }
}

/* All equal ones of a block lie on one side for most blocks. */
void ww_select_above(const struct ww_cut *cut, uint64_t tile, const uint64_t *keys,
                     size_t n, uint64_t *seen, uint8_t *above)
{
    uint64_t key = cut->key;
    const bool split = ww_cut_splits(cut);
    uint64_t before = (cut->before ? cut->before[tile] : 0) + (split ? *seen : 0);

    if (cut->take == 0 && key == UINT64_MAX) {
        memset(above, 0, n);
        return;
    }
    if (!split || before >= cut->take || before + n <= cut->take) {
        bool equal = cut->take == UINT64_MAX || (split && before + n <= cut->take);
        at_least(keys, n, (int64_t)(equal ? key : key + 1), above);
        *seen += split ? ww_keys_equal(keys, n, key) : 0;
        return;
    }
    uint64_t here = 0;
    for (size_t i = 0; i < n; i++) {
        bool equal = keys[i] == key;
        above[i] = (keys[i] > key) | (equal & (before + here < cut->take));
        here += equal;
    }
    *seen += here;
}

WW_CLONES static uint32_t at_least_float(const double *restrict x, size_t n,
                                         int32_t least, int32_t key,
                                         uint8_t *restrict above)
{
    uint32_t equal = 0;
    for (size_t i = 0; i < n; i++) {
        const float f = (float)x[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof(bits));
        const int32_t magnitude = (int32_t)(bits & 0x7fffffff);
        above[i] = magnitude >= least;
        equal += magnitude == key;
    }
    return equal;
}

void ww_select_above_float(const struct ww_cut *cut, uint64_t tile, const double *x,
                           size_t n, uint64_t *keys, uint64_t *seen, uint8_t *above)
{
    const bool split = ww_cut_splits(cut);
    const uint64_t before = (cut->before ? cut->before[tile] : 0) + (split ? *seen : 0);

    if (cut->key >= INT32_MAX ||
        (split && before < cut->take && before + n > cut->take)) {
        ww_key_magnitudes(x, n, false, keys);
        ww_select_above(cut, tile, keys, n, seen, above);
        return;
    }
    const bool with_equal = cut->take == UINT64_MAX || (split && before + n <= cut->take);
    const int32_t key = (int32_t)cut->key;
    const uint32_t equal = at_least_float(x, n, with_equal ? key : key + 1, key, above);
    *seen += split ? equal : 0;
}

WW_CLONES static uint64_t count_between(const double *x, size_t n, double least,
                                        double end)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const double magnitude = fabs(x[i]);
        const bool in = (magnitude >= least) & (magnitude < end);
        count += in;
    }
    return count;
}

/* Do all elements of a block that equal the cut lie on one side, and is it above? Those
 * of the tile may do so together: then nobody asks how many came before. */
static bool one_side(const struct ww_cut *cut, uint64_t tile, size_t n, uint64_t seen,
                     bool *above, bool *count)
{
    const bool split = ww_cut_splits(cut);
    const uint64_t before = (cut->before ? cut->before[tile] : 0) + seen;
    const bool tile_above = split && cut->before && cut->before[tile + 1] <= cut->take;
    const bool block_above = split && before + n <= cut->take;

    *above = cut->take == UINT64_MAX || tile_above || block_above;
    *count = block_above && !tile_above;
    return !split || *above || before >= cut->take;
}

bool ww_select_bounds(const struct ww_cut *cuts, uint32_t n_cuts, uint64_t tile, size_t n,
                      const uint64_t *seen, double range[2], bool count[2])
{
    bool above = false;

    range[1] = (double)INFINITY;
    for (uint32_t c = 0; c < n_cuts; c++) {
        const uint64_t key = cuts[c].key;
        const bool none = cuts[c].take == 0 && key == UINT64_MAX;
        if (!one_side(&cuts[c], tile, n, seen[c], &above, &count[c])) {
            return false;
        }
        range[c] = ww_key_least(none || above ? key : key + 1);
    }
    return true;
}

bool ww_select_range(const struct ww_cut *cuts, uint32_t n_cuts, uint64_t tile,
                     const double *x, size_t n, uint64_t *seen, double range[2])
{
    bool count[2];

    if (!ww_select_bounds(cuts, n_cuts, tile, n, seen, range, count)) {
        return false;
    }
    for (uint32_t c = 0; c < n_cuts; c++) {
        if (count[c]) {
            const uint64_t key = cuts[c].key;
            seen[c] += count_between(x, n, ww_key_least(key), ww_key_least(key + 1));
        }
    }
    return true;
}
