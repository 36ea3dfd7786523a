/* SPDX-License-Identifier: Apache-2.0 */
/* What a recipe says about how adapters are put together: the adapter block. */
#include <string.h>

#include "merge/recipe.h"
#include "util/fail.h"

/* The word's place among those allowed; 0 where there is none. */
static enum ww_err read_word(const struct ww_ynode *adapter, const char *key,
                             const char *const *words, size_t n_words,
                             const char *allowed, size_t *out, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(adapter, key);
    const char *text = "";

    *out = 0;
    if (!node) {
        return WW_OK;
    }
    if (ww_ytext(node, &text)) {
        while (*out < n_words && strcmp(words[*out], text) != 0) {
            ++*out;
        }
    } else {
        *out = n_words;
    }
    return *out < n_words ? WW_OK
                          : WW_FAIL(err, WW_E_RECIPE, "line %zu: %s of an adapter is %s",
                                    ww_yline(node), key, allowed);
}

/* adapter: {combine: sum | factors | whole, sign: total | frequency, rank: N,
 * energy: SHARE} */
enum ww_err ww_recipe_read_adapter(struct ww_recipe *recipe, struct ww_error *err)
{
    static const char *const keys[] = {"combine", "sign", "rank", "energy"};
    const struct ww_ynode *node = ww_yget(recipe->root, "adapter");
    struct ww_recipe_adapter *out = &recipe->adapter;
    const struct ww_ynode *rank = ww_yget(node, "rank");
    const struct ww_ynode *energy = ww_yget(node, "energy");
    static const char *const ways[] = {"sum", "factors", "whole"};
    static const char *const signs[] = {"total", "frequency"};
    size_t way = 0;
    size_t sign = 0;
    int64_t n = 0;
    enum ww_err rc = WW_OK;

    if (!node) {
        return WW_OK;
    }
    out->given = true;
    out->line = ww_yline(node);
    rc = ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, "adapter", err);
    if (!rc) {
        rc = read_word(node, "combine", ways, WW_LEN(ways), "'sum', 'factors' or 'whole'",
                       &way, err);
    }
    if (!rc) {
        rc = read_word(node, "sign", signs, WW_LEN(signs), "'total' or 'frequency'",
                       &sign, err);
    }
    if (rc) {
        return rc;
    }
    if (rank && (!ww_yi64(rank, &n) || n < 1 || n > 65536)) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: rank of an adapter is a whole number from 1 to 65536",
                       out->line);
    }
    if (energy &&
        (!ww_ynumber(energy, &out->energy) || !(out->energy > 0) || out->energy > 1)) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: energy of an adapter is a share above 0, at most 1",
                       out->line);
    }
    out->rank = (uint64_t)n;
    out->factors = way == 1;
    out->whole = way == 2;
    out->by_count = sign == 1;
    return WW_OK;
}
