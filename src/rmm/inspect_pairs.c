/* SPDX-License-Identifier: Apache-2.0 */
/* Factors of the members' adapters, by their modules. */
#include <stdlib.h>
#include <string.h>

#include "rmm/inspect.h"
#include "util/alloc.h"
#include "util/fail.h"

static int by_module(const void *x, const void *y)
{
    const struct ww_inspect_pair *a = x;
    const struct ww_inspect_pair *b = y;

    return strcmp(a->module, b->module);
}

static bool fits(const struct ww_adapter_entry *a, const struct ww_adapter_entry *b)
{
    return a->part == WW_PART_A && b->part == WW_PART_B &&
           strcmp(a->module, b->module) == 0 && a->tensor->rank == 2 &&
           b->tensor->rank == 2 && a->tensor->shape[0] == b->tensor->shape[1] &&
           a->tensor->shape[0] > 0 && a->tensor->shape[0] <= WW_OWN_MAX_RANK &&
           a->tensor->dtype == b->tensor->dtype && a->tensor->n_elements > 0 &&
           b->tensor->n_elements > 0;
}

enum ww_err ww_inspect_pairs(const struct ww_peek *peek, struct ww_inspect_pair **items,
                             size_t *n, struct ww_error *err)
{
    const struct ww_adapter *adapter = peek->adapter;

    *n = 0;
    *items = ww_calloc(adapter->n_tensors, sizeof(**items));
    if (!*items) {
        return WW_FAIL_MEMORY(err, "the factors of an adapter");
    }
    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        for (uint32_t k = 0;
             k < adapter->n_tensors && adapter->entries[i].part == WW_PART_A; k++) {
            if (fits(&adapter->entries[i], &adapter->entries[k])) {
                (*items)[(*n)++] =
                    (struct ww_inspect_pair){adapter->entries[i].module, i, k};
                break;
            }
        }
    }
    qsort(*items, *n, sizeof(**items), by_module);
    return WW_OK;
}

static enum ww_err check_scalings(const struct ww_adapter *adapter,
                                  const struct ww_inspect_pair *items, size_t n,
                                  struct ww_error *err)
{
    double scaling = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_adapter_scaling(adapter, items[i].module,
                                adapter->tensors[items[i].a].shape[0], &scaling, err);
    }
    return rc;
}

enum ww_err ww_inspect_check_pairs(const struct ww_peek *peek, struct ww_error *err)
{
    const struct ww_adapter *adapter = peek->adapter;
    const char *name = peek->run.view.member->name;
    struct ww_inspect_pair *items = NULL;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (adapter->dora || adapter->parameters) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "member '%s' uses %s, and its change is no sum of products", name,
                       adapter->dora ? "DoRA" : "target_parameters");
    }
    rc = ww_inspect_pairs(peek, &items, &n, err);
    if (!rc && 2 * n != adapter->n_tensors) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "member '%s' has %u tensors, and %zu of them are pairs of matrices "
                     "of one type and a rank up to %d; its change is no sum of products",
                     name, adapter->n_tensors, 2 * n, WW_OWN_MAX_RANK);
    }
    if (!rc) {
        rc = check_scalings(adapter, items, n, err);
    }
    ww_free(items);
    return rc;
}

const struct ww_inspect_pair *ww_inspect_find(const struct ww_inspect_pair *items,
                                              size_t n, const char *module)
{
    const struct ww_inspect_pair key = {.module = module};

    return n ? bsearch(&key, items, n, sizeof(*items), by_module) : NULL;
}

enum ww_err ww_inspect_read(struct ww_peek *peek, const struct ww_inspect_pair *pair,
                            struct ww_inspect_side *out, struct ww_error *err)
{
    const struct ww_tensor *a = &peek->adapter->tensors[pair->a];
    const struct ww_tensor *b = &peek->adapter->tensors[pair->b];
    double scaling = 0;
    enum ww_err rc =
        ww_adapter_scaling(peek->adapter, pair->module, a->shape[0], &scaling, err);

    *out = (struct ww_inspect_side){.m = (size_t)b->shape[0],
                                    .r = (size_t)a->shape[0],
                                    .d = (size_t)a->shape[1],
                                    .type = ww_chunk_type_of(a->dtype)};
    if (!rc) {
        rc = ww_peek_read(peek, pair->a, &out->a, err);
    }
    if (!rc) {
        rc = ww_peek_read(peek, pair->b, &out->b, err);
    }
    for (uint64_t i = 0; i < b->n_elements && !rc; i++) {
        out->b[i] *= scaling;
    }
    if (rc) {
        ww_inspect_side_release(out);
    }
    return rc;
}

void ww_inspect_side_release(struct ww_inspect_side *s)
{
    ww_free(s->a);
    ww_free(s->b);
    memset(s, 0, sizeof(*s));
}

/* Sum over the ranks of (B^T B') (A' A^T), entry by entry. */
double ww_inspect_inner(const struct ww_inspect_side *s, const struct ww_inspect_side *t)
{
    double sum = 0;

    if (s->m != t->m || s->d != t->d) {
        return 0;
    }
    for (size_t p = 0; p < s->r; p++) {
        for (size_t q = 0; q < t->r; q++) {
            double left = 0;
            double right = 0;
            for (size_t i = 0; i < s->m; i++) {
                left += s->b[i * s->r + p] * t->b[i * t->r + q];
            }
            for (size_t j = 0; j < s->d; j++) {
                right += s->a[p * s->d + j] * t->a[q * t->d + j];
            }
            sum += left * right;
        }
    }
    return sum;
}
