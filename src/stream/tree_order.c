/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rank of every tensor by name: bytes are compared as unsigned, the shorter of two
 * names with a common start comes first. Which file a tensor lies in does not enter, so
 * re-sharding a model keeps its root.
 */
#include <stdlib.h>
#include <string.h>

#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"

struct named {
    const char *name;
    uint32_t index;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a;
    const struct named *y = b;
    return strcmp(x->name, y->name);
}

static enum ww_err refuse_duplicates(const struct named *names, uint32_t n,
                                     struct ww_error *err)
{
    for (uint32_t i = 1; i < n; i++) {
        if (strcmp(names[i - 1].name, names[i].name) == 0) {
            return WW_FAIL(err, WW_E_DUPLICATE,
                           "tensor '%.200s' is there twice, so the model has no tensor "
                           "tree; remove one of the two copies of the weights",
                           names[i].name);
        }
    }
    return WW_OK;
}

enum ww_err ww_tree_order(const struct ww_model *model, uint32_t **order, uint32_t **rank,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    uint32_t n = model->n_tensors;
    struct named *names = ww_calloc(n, sizeof(*names));
    uint32_t *by_rank = ww_calloc(n, sizeof(*by_rank));
    uint32_t *ranks = ww_calloc(n, sizeof(*ranks));

    *order = NULL;
    *rank = NULL;
    if (!names || !by_rank || !ranks) {
        rc = WW_FAIL_MEMORY(err, "a list of %u tensors", n);
        goto out;
    }
    for (uint32_t i = 0; i < n; i++) {
        names[i] = (struct named){model->tensors[i].name, i};
    }
    qsort(names, n, sizeof(*names), by_name);
    rc = refuse_duplicates(names, n, err);
    if (rc) {
        goto out;
    }
    for (uint32_t k = 0; k < n; k++) {
        by_rank[k] = names[k].index;
        ranks[names[k].index] = k;
    }
    *order = by_rank;
    *rank = ranks;
    by_rank = NULL;
    ranks = NULL;
out:
    ww_free(names);
    ww_free(by_rank);
    ww_free(ranks);
    return rc;
}
