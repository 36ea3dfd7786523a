/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of tensors in stacks of layers. Names are sorted once, since a file may have a
 * hundred thousand of them in as many stacks.
 */
#include "lineage/depth_stack.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

bool ww_depth_split(const char *name, struct ww_depth_name *out)
{
    const char *part = name;

    while (part) {
        const char *end = strchr(part, '.');
        const size_t len = end ? (size_t)(end - part) : strlen(part);
        uint64_t number = 0;
        if (ww_parse_u64(part, len, &number) && number < WW_NONE) {
            *out = (struct ww_depth_name){(size_t)(part - name), (uint32_t)number,
                                          part + len};
            return true;
        }
        part = end ? end + 1 : NULL;
    }
    return false;
}

bool ww_depth_in_stack(const char *name, const char *stack, size_t len,
                       struct ww_depth_name *out)
{
    return ww_depth_split(name, out) && out->before == len &&
           memcmp(name, stack, len) == 0 && out->layer < WW_DEPTH_LAYERS;
}

struct stacked {
    const char *name;
    size_t before;
    uint32_t tensor;
};

static int same_stack(const struct stacked *x, const struct stacked *y)
{
    const size_t n = x->before < y->before ? x->before : y->before;
    const int order = memcmp(x->name, y->name, n);

    return order ? order : (x->before > y->before) - (x->before < y->before);
}

static int by_stack(const void *a, const void *b)
{
    const struct stacked *x = a;
    const struct stacked *y = b;
    const int order = same_stack(x, y);

    return order ? order : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

enum ww_err ww_depth_stack(const struct ww_model *model, uint32_t *first,
                           struct ww_error *err)
{
    struct stacked *list = ww_calloc(model->n_tensors + (size_t)1, sizeof(*list));
    uint32_t n = 0;
    uint32_t most = 0;

    *first = WW_NONE;
    if (!list) {
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    for (uint32_t t = 0; t < model->n_tensors; t++) {
        struct ww_depth_name name;
        if (ww_depth_split(model->tensors[t].name, &name) &&
            name.layer < WW_DEPTH_LAYERS) {
            list[n++] = (struct stacked){model->tensors[t].name, name.before, t};
        }
    }
    qsort(list, n, sizeof(*list), by_stack);
    for (uint32_t from = 0, i = 1; i <= n; i++) {
        if (i < n && same_stack(&list[i], &list[from]) == 0) {
            continue;
        }
        if (i - from > most || (i - from == most && list[from].tensor < *first)) {
            most = i - from;
            *first = list[from].tensor;
        }
        from = i;
    }
    ww_free(list);
    return WW_OK;
}

uint32_t ww_depth_layers(const struct ww_model *model, const char *stack)
{
    const size_t len = strlen(stack);
    struct ww_depth_name name;
    uint32_t n = 0;

    for (uint32_t t = 0; t < model->n_tensors; t++) {
        if (ww_depth_in_stack(model->tensors[t].name, stack, len, &name) &&
            name.layer >= n) {
            n = name.layer + 1;
        }
    }
    return n;
}
